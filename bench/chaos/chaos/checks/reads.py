"""Monotonic reads by LSN, on one node and from node to node: what was read at a position of the WAL holds no more than what is
read at a later one of the same history, wherever."""


def check(history):
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
        for client, number in highest.items():
            if read.highest.get(client, 0) < number:
                earlier = seen_by[client]
                problems.append(f"{read.node} showed {client}/{read.highest.get(client, 0)} at {read.before:#x} (timeline {read.timeline}, "
                                f"{read.sent:.3f}), but {earlier.node} had shown {client}/{number} at {earlier.after:#x} "
                                f"(timeline {earlier.timeline}, {earlier.ended:.3f})")
    return problems
