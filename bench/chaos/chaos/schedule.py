"""What happens when: made from a seed alone. A schedule is rounds; a round is one to three faults that may overlap, after which
everything is healed and the clients have to make progress before the next."""

import dataclasses
import random

from .faults import REGISTRY

# Beyond what is promised: with the guard gone or frozen, and the agent as well, nobody is left to end PostgreSQL.
GUARD = {"kill_guard", "stop_guard"}
AGENT = {"kill_agent", "stop_agent", "kill_node", "kill_everything", "starvation"}
# One of them at a time, since each takes etcd's majority together with others of its kind, or all of a machine's time.
ALONE = {"etcd_member_replaced", "starvation", "kill_everything"}


@dataclasses.dataclass
class Step:
    offset: float
    duration: float
    name: str
    role: str
    seed: int


def setup(seed):
    """The cluster's settings for this seed."""
    chosen = random.Random(f"setup {seed}")
    settings = {"synchronous_mode": chosen.choice((False, True, "quorum")), "failsafe_mode": chosen.random() < 0.4,
                "ttl": chosen.choice((5, 5, 10))}
    if settings["synchronous_mode"] and chosen.random() < 0.3:
        settings["synchronous_mode_strict"] = True
    return settings


def rounds(seed, only=None):
    """Endless: the run takes what its time allows."""
    chosen = random.Random(f"rounds {seed}")
    names = sorted(only or REGISTRY)
    while True:
        wanted = chosen.choice((1, 2, 2, 3, 3))
        steps = []
        for _ in range(wanted):
            name = chosen.choice(names)
            step = Step(0.0 if not steps else chosen.uniform(0.0, 6.0), chosen.uniform(*REGISTRY[name].duration), name,
                        chosen.choice(REGISTRY[name].roles), chosen.randrange(1 << 30))
            if possible([*(s.name for s in steps), name]):
                steps.append(step)
        yield sorted(steps, key=lambda s: s.offset), chosen.uniform(2.0, 6.0)


def possible(names):
    return not (GUARD & set(names) and AGENT & set(names)) and (len(names) == 1 or not ALONE & set(names)) and len(set(names)) == len(names)
