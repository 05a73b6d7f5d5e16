"""Serializability of transactions that append to lists and read them, after Elle (Kingsbury and Alvaro, 2020): each value is
appended once, so a list tells in which order its appends took place, and every read where it stood in that order. The dependencies
(ww: appended after; wr: read what another appended; rw: read before another appended) must not form a cycle.

Asynchronous replication may lose transactions, and what had read them; those are told by their own appends, of which each
transaction has at least one, and left out. A transaction survives whole or not at all."""

from ..history import FAILED, OK


def check(history):
    if history.final is None:
        return []
    problems, writer_of = [], {}
    for number, transaction in enumerate(history.transactions):
        for kind, key, value in transaction.operations:
            if kind == "append":
                writer_of[value] = number
    order = history.final.lists
    place = {value: (key, i) for key, values in order.items() for i, value in enumerate(values)}
    problems += [f"list {key} holds a value twice" for key, values in order.items() if len(set(values)) < len(values)]
    problems += [f"list {key} holds {value}, which nobody appended" for value, (key, _) in place.items() if value not in writer_of]

    survivors = set()
    for number, transaction in enumerate(history.transactions):
        appended = [op[2] for op in transaction.operations if op[0] == "append"]
        there = [value for value in appended if value in place]
        if transaction.outcome == FAILED and there:
            problems.append(f"{_name(transaction)} was refused ({transaction.error}), and {there} is in the lists")
        elif there and len(there) < len(appended):
            problems.append(f"{_name(transaction)} survives in part: {there} of {appended}")
        elif there:
            survivors.add(number)
        elif transaction.outcome == OK and history.synchronous:
            problems.append(f"{_name(transaction)} was acknowledged and is lost under synchronous replication")

    edges = {}
    for values in order.values():
        for before, after in zip(values, values[1:]):
            _edge(edges, writer_of.get(before), writer_of.get(after), "ww")
    for number in survivors:
        transaction = history.transactions[number]
        if transaction.outcome != OK:
            continue  # its reads were not confirmed
        own = {op[2] for op in transaction.operations if op[0] == "append"}
        for kind, key, seen in transaction.operations:
            if kind != "read":
                continue
            foreign = [value for value in seen if value not in own]
            final = order.get(key, [])
            others = [v for v in final if v not in own]
            if foreign != others[:len(foreign)]:
                problems.append(f"{_name(transaction)} read {_short(seen)} from list {key}, which is no beginning of {_short(final)}")
                continue
            if foreign:
                _edge(edges, writer_of.get(foreign[-1]), number, "wr")
            if len(foreign) < len(others):
                _edge(edges, number, writer_of.get(others[len(foreign)]), "rw")
    for cycle in _cycles(edges):
        steps = ", ".join(f"{_name(history.transactions[a])} -{'/'.join(sorted(edges[a][b]))}-> {_name(history.transactions[b])}"
                          for a, b in zip(cycle, cycle[1:]))
        problems.append(f"a cycle: {steps}")
    return problems


def _edge(edges, source, target, kind):
    if source is not None and target is not None and source != target:
        edges.setdefault(source, {}).setdefault(target, set()).add(kind)


def _cycles(edges):
    """One cycle of each strongly connected component (Tarjan, without recursion)."""
    index, low, stack, on_stack, counter = {}, {}, [], set(), 0
    for root in list(edges):
        if root in index:
            continue
        work = [(root, iter(edges.get(root, {})))]
        index[root] = low[root] = counter
        counter += 1
        stack.append(root)
        on_stack.add(root)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = counter
                    counter += 1
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges.get(target, {}))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = set()
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.add(member)
                        if member == node:
                            break
                    if len(component) > 1:
                        yield _walk(edges, node, component)


def _walk(edges, start, component):
    """The shortest way from `start` back to it inside the component."""
    previous, queue = {}, [start]
    for node in queue:
        for target in edges.get(node, {}):
            if target == start:
                path = [node]
                while path[-1] != start:
                    path.append(previous[path[-1]])
                return [*reversed(path), start]
            if target in component and target not in previous:
                previous[target] = node
                queue.append(target)
    raise AssertionError("a component without a cycle")


def _name(transaction):
    return f"{transaction.client}@{transaction.sent:.3f}"


def _short(values):
    return str(values) if len(values) < 8 else f"[{values[0]}, ... {len(values) - 2} more ..., {values[-1]}]"
