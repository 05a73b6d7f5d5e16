"""What a run tells: JSON for programs, and one HTML file with a picture of nodes, terms, faults and acknowledged writes."""

import dataclasses
import html
import json

from .checks import availability, durability, single_writer

WIDTH, LEFT, ROW = 1200, 150, 26
COLOURS = ("#2b6cb0", "#2f855a", "#b7791f", "#6b46c1")


def document(history, problems, about):
    lost = durability.lost(history) if history.final else []
    return {
        **about, "seconds": history.ended, "synchronous": history.synchronous, "violations": problems,
        "acknowledged": {c: len(history.acknowledged(c)) for c in sorted({w.client for w in history.writes})},
        "transactions": sum(t.outcome == "ok" for t in history.transactions), "reads": len(history.reads),
        "lost": [[w.client, w.number, w.node, w.timeline] for w in lost],
        "outages": [{"client": o.client, "began": o.began, "seconds": o.length(), "causes": [f.name for f in o.causes]}
                    for o in availability.outages(history)],
        "faults": [dataclasses.asdict(f) for f in history.faults],
        "terms": [{"node": node, "timeline": timeline, "began": min(e.sent for e in entries), "ended": max(e.ended for e in entries),
                   "acknowledged": len(entries)} for (node, timeline), entries in sorted(single_writer.terms(history).items(), key=lambda t: t[0][1])],
        "history": history.final.history if history.final else None,
    }


def write(path, history, problems, about):
    """path.json and path.html"""
    told = document(history, problems, about)
    path.with_suffix(".json").write_text(json.dumps(told, indent=1))
    path.with_suffix(".html").write_text(page(history, told))
    return told


def picture(history, told):
    length = max(history.ended or 1.0, 1.0)
    scale = (WIDTH - LEFT - 20) / length
    rows, parts = [], []

    def row(name):
        rows.append(name)
        return 30 + (len(rows) - 1) * ROW

    def bar(y, began, ended, colour, title, height=ROW - 8):
        parts.append(f'<rect x="{LEFT + began * scale:.1f}" y="{y:.1f}" width="{max((ended - began) * scale, 1.5):.1f}" height="{height}" '
                     f'fill="{colour}"><title>{html.escape(title)}</title></rect>')

    for node in sorted({t["node"] for t in told["terms"]}):
        y = row(f"{node} leads")
        for term in told["terms"]:
            if term["node"] == node:
                bar(y, term["began"], term["ended"], COLOURS[term["timeline"] % len(COLOURS)],
                    f"{node}, timeline {term['timeline']}: {term['acknowledged']} acknowledged, {term['began']:.1f} to {term['ended']:.1f} s")
    for client in told["acknowledged"]:
        y = row(f"writes {client}")
        for second, count in _per_second(w.ended for w in history.acknowledged(client)).items():
            height = min(count, 25) / 25 * (ROW - 8)
            bar(y + ROW - 8 - height, second, second + 1, "#4a5568", f"{count} acknowledged in second {second}", round(height, 1))
    for outage in told["outages"]:
        y = 30 + rows.index(f"writes {outage['client']}") * ROW
        bar(y, outage["began"], outage["began"] + outage["seconds"], "#fc818180",
            f"no service for {outage['seconds']:.1f} s: {', '.join(outage['causes']) or 'no fault'}")
    for name in sorted({f["name"] for f in told["faults"]}):
        y = row(name)
        for fault in told["faults"]:
            if fault["name"] == name:
                ended = fault["healed"] if fault["healed"] is not None else length
                bar(y, fault["began"], ended, "#c53030", f"{name} on {fault['target']}, {fault['began']:.1f} to {ended:.1f} s")
    height = 40 + len(rows) * ROW
    labels = "".join(f'<text x="4" y="{30 + i * ROW + 14}">{html.escape(name)}</text>'
                     f'<line x1="{LEFT}" x2="{WIDTH}" y1="{28 + i * ROW + ROW - 4}" y2="{28 + i * ROW + ROW - 4}" stroke="#e2e8f0"/>'
                     for i, name in enumerate(rows))
    step = next(s for s in (5, 10, 30, 60, 300, 600, 3600, 36000) if length / s <= 20 or s == 36000)
    axis = "".join(f'<text x="{LEFT + t * scale:.0f}" y="16">{t} s</text><line x1="{LEFT + t * scale:.0f}" x2="{LEFT + t * scale:.0f}" '
                   f'y1="20" y2="{height}" stroke="#edf2f7"/>' for t in range(0, int(length) + 1, step))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">'
            f"{axis}{labels}{''.join(parts)}</svg>")


def _per_second(times):
    counts = {}
    for moment in times:
        counts[int(moment)] = counts.get(int(moment), 0) + 1
    return counts


def page(history, told):
    found = [f"<li><b>{html.escape(check)}</b>: {html.escape(text)}</li>" for check, texts in told["violations"].items() for text in texts]
    outages = "".join(f"<tr><td>{html.escape(o['client'])}</td><td>{o['began']:.1f}</td><td>{o['seconds']:.1f}</td>"
                      f"<td>{html.escape(', '.join(o['causes']))}</td></tr>" for o in told["outages"])
    verdict = f"{len(found)} violations" if found else "no violation"
    settings = html.escape(json.dumps(told.get("settings", {})))
    return f"""<!doctype html><meta charset="utf-8"><title>pgvigil-chaos, seed {told.get('seed')}</title>
<style>body{{font-family:sans-serif;max-width:1240px;margin:1em auto}}td,th{{padding:2px 12px;text-align:left}}</style>
<h1>seed {told.get('seed')}: {verdict}</h1>
<p>{told['seconds']:.0f} s, {len(told['faults'])} faults, {sum(told['acknowledged'].values())} rows and {told['transactions']} transactions
acknowledged, {told['reads']} reads, {len(told['lost'])} acknowledged rows lost. Settings: <code>{settings}</code></p>
<ul>{''.join(found)}</ul>
{picture(history, told)}
<p>Colours of terms change with the timeline. Red over writes: an outage of a second or more. Point at anything for its numbers.</p>
<h2>Outages</h2><table><tr><th>client</th><th>began (s)</th><th>lasted (s)</th><th>faults at the time</th></tr>{outages}</table>
"""
