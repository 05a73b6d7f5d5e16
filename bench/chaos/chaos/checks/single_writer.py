"""At most one node accepts writes. A term is a node that writes on a timeline. Two nodes never write on the same one, and once a
commit on a later timeline has been acknowledged, none that is *sent* afterwards is acknowledged on an earlier one. (The time of
an acknowledgement says less: what a server had sent before it was cut off may arrive when the network is whole again.)"""

from ..history import OK


def terms(history):
    """(node, timeline) -> what was acknowledged there."""
    found = {}
    for entry in [*history.writes, *history.transactions]:
        if entry.outcome == OK and entry.node is not None:
            found.setdefault((entry.node, entry.timeline), []).append(entry)
    return found


def check(history):
    problems, found = [], terms(history)
    for (node, timeline), entries in sorted(found.items()):
        for (other, later), theirs in sorted(found.items()):
            if node < other and timeline == later:
                problems.append(f"{node} and {other} both wrote on timeline {timeline}: {node} {_span(entries)}, {other} {_span(theirs)}")
            if timeline < later:
                first = min(theirs, key=lambda e: e.ended)
                late = [e for e in entries if e.sent > first.ended]
                if late:
                    last = max(late, key=lambda e: e.sent)
                    problems.append(f"{node} acknowledged {len(late)} commits on timeline {timeline}, the last sent at {last.sent:.3f} by "
                                    f"{last.client}, after {other} had acknowledged one on timeline {later} at {first.ended:.3f}")
    return problems


def _span(entries):
    return f"{min(e.sent for e in entries):.3f} to {max(e.ended for e in entries):.3f}"
