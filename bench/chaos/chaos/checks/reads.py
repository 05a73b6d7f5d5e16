"""Monotonic reads. What was read at a position of the WAL, on any node, holds no more than what a replica shows at a later one of
the same history. A primary is held to what it has shown itself before, by time: it shows a commit some time after its position,
under synchronous replication only once the standby has confirmed, and a replica may be earlier by that."""


def check(history):
    switches, problems = history.switch_points(), []
    lineage = [r for r in history.reads if r.timeline not in switches or r.after <= switches[r.timeline]]
    if history.final is not None:  # a server that was promoted and lost is on a timeline that the history may not know
        lineage = [r for r in lineage if r.timeline in switches or r.timeline == history.final.timeline]
    problems += backwards(lineage, lambda r: r.before, lambda r: r.after, lambda r: r.replica)
    primaries = {}
    for read in history.reads:
        if not read.replica:
            primaries.setdefault((read.node, read.timeline), []).append(read)
    for reads in primaries.values():
        problems += backwards(reads, lambda r: r.sent, lambda r: r.ended, lambda r: True)
    return problems


def backwards(reads, begin, end, judged):
    """Reads that show less than one that had ended where they began."""
    problems, by_end = [], sorted(reads, key=end)
    highest, seen_by, position = {}, {}, 0
    for read in sorted(reads, key=begin):
        while position < len(by_end) and end(by_end[position]) <= begin(read):
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
