"""Every outage has a cause and an end: service is back 30 s after everything has been healed, and during a fault alone
within that fault's own bound."""

import dataclasses

HEALING = 30.0
SHORTEST = 1.0  # a gap that is called an outage


@dataclasses.dataclass
class Outage:
    client: str
    began: float
    ended: float
    causes: list

    def length(self):
        return self.ended - self.began


def outages(history, clients=("network", "pooler"), shortest=SHORTEST):
    found, end = [], history.ended if history.ended is not None else history.now()
    for client in clients:
        times = sorted(w.ended for w in history.acknowledged(client))
        if not times and not any(w.client == client for w in history.writes):
            continue
        for began, ended in zip([0.0, *times], [*times, end]):
            if ended - began >= shortest:
                causes = [f for f in history.faults if f.began <= ended and (f.healed is None or f.healed >= began - 1)]
                found.append(Outage(client, began, ended, causes))
    return sorted(found, key=lambda o: o.began)


def check(history):
    problems = []
    for outage in outages(history):
        name = f"{outage.client} had no service from {outage.began:.1f} to {outage.ended:.1f} ({outage.length():.1f} s)"
        if not outage.causes:
            if outage.length() > HEALING:
                problems.append(f"{name}, without a fault")
            continue
        healed = max((f.healed if f.healed is not None else outage.ended) for f in outage.causes)
        if outage.ended - max(healed, outage.began) > HEALING:
            problems.append(f"{name}: {outage.ended - healed:.1f} s after {_names(outage.causes)} had been healed")
        alone = outage.causes[0] if len(outage.causes) == 1 else None
        if alone is not None and alone.bound is not None and outage.ended - max(outage.began, alone.began) > alone.bound:
            problems.append(f"{name} during {_names(outage.causes)} alone; the bound is {alone.bound:.0f} s")
    return problems


def _names(faults):
    return ", ".join(f"{f.name} on {f.target}" for f in faults)
