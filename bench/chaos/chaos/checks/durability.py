"""No acknowledged row is lost under synchronous replication. Otherwise only what the history says: rows behind the position
at which the cluster left their timeline. And a row that was refused is not there."""

from ..history import FAILED, OK


def lost(history):
    return [w for w in history.writes if w.outcome == OK and (w.client, w.number) not in history.final.rows]


def check(history):
    if history.final is None:
        return ["the cluster was not whole at the end, so that nothing could be compared"]
    problems = []
    missing, switches, behind = lost(history), history.switch_points(), commit_bounds(history)
    for write in missing:
        name = f"{write.client}/{write.number} (acknowledged by {write.node} at {write.ended:.3f}, timeline {write.timeline})"
        if history.synchronous:
            problems.append(f"lost under synchronous replication: {name}")
        elif write.timeline == history.final.timeline:
            problems.append(f"lost although its timeline is still the cluster's: {name}")
        elif write.timeline not in switches:
            problems.append(f"lost, and the history knows nothing of its timeline: {name}")
        else:
            bound = behind.get((write.client, write.number))
            if bound is not None and bound <= switches[write.timeline]:
                problems.append(f"lost although it was committed before {bound:#x}, and the history says that timeline {write.timeline} "
                                f"was left at {switches[write.timeline]:#x}: {name}")
    there = history.final.rows
    problems += [f"refused ({w.error}) and there all the same: {w.client}/{w.number}"
                 for w in history.writes if w.outcome == FAILED and (w.client, w.number) in there]
    return problems


def commit_bounds(history):
    """(client, number) -> a position behind the commit record, where one is known: that of any later insertion on the timeline."""
    bounds, timelines = {}, {}
    for write in history.writes:
        if write.outcome == OK:
            timelines.setdefault(write.timeline, []).append(write)
    for writes in timelines.values():
        by_time = sorted(writes, key=lambda w: w.sent)
        best = None  # the lowest position among insertions that were sent after the acknowledgement
        following = len(by_time)
        for write in sorted(writes, key=lambda w: -w.ended):
            while following > 0 and by_time[following - 1].sent >= write.ended:
                following -= 1
                position = by_time[following].lsn
                best = position if best is None else min(best, position)
            if best is not None:
                bounds[(write.client, write.number)] = best
    return bounds
