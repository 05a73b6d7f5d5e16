"""Plays a schedule against a deployment under load and judges what the clients saw."""

import random
import threading
import time

from harness import wait_for

from . import checks
from .clients import Clients
from .faults import REGISTRY
from .history import FaultRecord, Final, History

PROGRESS = 30.0  # after healing
WHOLE = 120.0  # until every node streams again


def inject(deployment, history, name, role, seed=0, whole=True):
    """Begins a fault; gives what ends it. No bound holds for one that hits a cluster that is not `whole`."""
    fault = REGISTRY[name](deployment, role, random.Random(seed))
    began = history.now()
    fault.begin()
    record = FaultRecord(name, fault.target(), began, None, fault.bound() if whole else None)
    history.add(history.faults, record)

    def heal():
        fault.heal()
        record.healed = history.now()
    return heal


def progress(history, since, clients=Clients.SERVICE):
    return all(any(w.sent >= since for w in history.acknowledged(c)[-3:]) for c in clients)


def play_round(deployment, history, steps, whole):
    """All faults of the round, each for its time; returns once everything has been healed."""
    def one(step):
        time.sleep(step.offset)
        heal = inject(deployment, history, step.name, step.role, step.seed, whole)
        time.sleep(step.duration)
        heal()

    threads = [threading.Thread(target=one, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def collect(deployment, history, seconds=WHOLE):
    """Waits until the cluster is whole and remembers what it holds."""
    leader = deployment.wait_healthy(seconds)
    rows = {(client, number) for client, number in leader.query("SELECT client, number FROM writes")}
    lists = {key: list(items) for key, items in leader.query("SELECT key, items FROM lists")}
    wait_for(lambda: leader.status()["timeline"] == max([e[0] for e in deployment.failover_history()], default=0) + 1, 30,
             "the history in etcd is current")
    history.final = Final(leader.name, leader.status()["timeline"], rows, lists, deployment.failover_history())


def prepare(deployment):
    Clients.make_schema(deployment.wait_healthy(60))


def run(deployment, rounds, seconds, seed=1, log=lambda text: None, rate=25):
    """Returns the history and what is wrong with it."""
    settings = deployment.settings
    history = History(synchronous=bool(settings.get("synchronous_mode")))
    problems = {}
    patient = seed % 2 == 0  # odd seeds also hit clusters that have not healed yet
    prepare(deployment)
    end = time.monotonic() + seconds
    with Clients(deployment, history, seed, rate) as clients:
        wait_for(lambda: progress(history, 0.0), PROGRESS, "clients are served before anything is done")
        for steps, calm in rounds:
            if time.monotonic() + max(s.offset + s.duration for s in steps) > end:
                break
            log(f"{history.now():7.1f}  " + ", ".join(f"{s.name} {s.role} +{s.offset:.1f}s for {s.duration:.1f}s" for s in steps))
            play_round(deployment, history, steps, patient)
            healed = history.now()
            try:
                wait_for(lambda: progress(history, healed), PROGRESS, "clients make progress")
            except AssertionError:
                problems.setdefault("progress", []).append(
                    f"no progress within {PROGRESS:.0f} s of {healed:.1f}, after " + ", ".join(f"{s.name} {s.role}" for s in steps))
                log("         no progress; waiting until the cluster is whole")
            try:
                if problems.get("progress") or patient:
                    deployment.wait_healthy(WHOLE)
            except AssertionError as error:
                problems.setdefault("healing", []).append(f"at {history.now():.1f}: {error}")
                break
            time.sleep(calm)
        try:
            deployment.wait_healthy(WHOLE)
        except AssertionError as error:
            problems.setdefault("healing", []).append(f"at the end: {error}")
        clients.stop()
    history.ended = history.now()
    try:
        collect(deployment, history, 30)
    except AssertionError as error:
        problems.setdefault("healing", []).append(f"at the end: {error}")
    for name, found in checks.check(history).items():
        problems.setdefault(name, []).extend(found)
    return history, problems
