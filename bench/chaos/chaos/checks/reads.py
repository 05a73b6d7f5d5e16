"""Monotonic reads by LSN: what was read at a position of the WAL, on any node, holds no more than what a replica shows at a
later one of the same history. A primary is held to what it has shown itself: it shows a commit only once its own processes have
been told, under synchronous replication once the standby has confirmed, and a replica may be earlier by that."""


import dataclasses


def check(history):
    primaries = {}
    for read in history.reads:
        if not read.replica:
            primaries.setdefault((read.node, read.timeline), []).append(read)
    problems = backwards(history, lambda later: later.replica)
    for reads in primaries.values():
        problems += backwards(dataclasses.replace(history, reads=reads), lambda later: True)
    return problems


def backwards(history, judged):
    switches, problems = history.switch_points(), []
    lineage = [r for r in history.reads if r.timeline not in switches or r.after <= switches[r.timeline]]
    if history.final is not None:  # a server that was promoted and lost is on a timeline that the history may not know
        lineage = [r for r in lineage if r.timeline in switches or r.timeline == history.final.timeline]
    by_end = sorted(lineage, key=lambda r: r.after)
    highest, seen_by, position = {}, {}, 0
    for read in sorted(lineage, key=lambda r: r.before):
        while position < len(by_end) and by_end[position].after <= read.before:
            earlier = by_end[position]
            for client, number in earlier.highest.items():
                if number > highest.get(client, 0):
                    highest[client], seen_by[client] = number, earlier
            position += 1
        for client, number in highest.items() if judged(read) else ():
            if read.highest.get(client, 0) < number:
                earlier = seen_by[client]
                problems.append(f"{read.node} showed {client}/{read.highest.get(client, 0)} at {read.before:#x} (timeline {read.timeline}, "
                                f"{read.sent:.3f}), but {earlier.node} had shown {client}/{number} at {earlier.after:#x} "
                                f"(timeline {earlier.timeline}, {earlier.ended:.3f})")
    return problems
