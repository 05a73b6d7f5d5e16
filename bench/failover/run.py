#!/usr/bin/python3
"""Outages as a client sees them, pgvigil beside Debian's Patroni, all clusters in one run on one machine.

A client inserts a row every 5 ms through a connection string with both hosts and target_session_attrs=read-write. An
outage is the longest gap between two acknowledged inserts around the fault; a lost row is one that was acknowledged and is
missing on the leader afterwards.

usage: PGVIGIL_BIN=build/release/bin bench/failover/run.py [--runs 20] [--node-runs 5] [--json FILE]"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "cluster"))

from harness import Cluster, wait_for  # noqa: E402
from writer import Writer  # noqa: E402

VARIANTS = {
    "pgvigil, ttl 5": ("pgvigil", {"ttl": 5, "loop_wait": 1, "retry_timeout": 2}),
    "pgvigil, defaults": ("pgvigil", {}),
    "Patroni 3.0.2, fastest (20/1/3)": ("patroni", {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}),
    "Patroni 3.0.2, defaults": ("patroni", {}),
}


def kill_postmaster(leader, other):
    os.kill(leader.postmaster_pid(), signal.SIGKILL)


def switch(leader, other):
    code, text = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": other.name}, timeout=120)
    assert code == 200, text


def kill_node(leader, other):
    pid = leader.postmaster_pid()
    leader.agent.kill()
    os.kill(pid, signal.SIGKILL)


SCENARIOS = {"postmaster killed": kill_postmaster, "switchover": switch, "node lost": kill_node}


def one_run(cluster, fault, patience):
    leader = cluster.wait_healthy(180)
    other = next(n for n in cluster.nodes.values() if n is not leader)
    leader.query("DROP TABLE IF EXISTS writes")
    leader.query("CREATE TABLE writes (number bigint)")
    wait_for(lambda: other.query("SELECT to_regclass('writes')") != [(None,)], 30, "the table is on the replica")
    with Writer(list(cluster.nodes.values())) as writer:
        wait_for(lambda: len(writer.acknowledged) > 100, 30, "writes run")
        moment = time.monotonic()
        fault(leader, other)
        wait_for(lambda: writer.errors and writer.last() > moment + 0.05, patience, "the fault is felt")
        settled = time.monotonic() + 1.0
        wait_for(lambda: writer.last() > settled, patience, "writes go on")
    outage = writer.outage_after(moment)
    if not leader.agent.running():
        leader.start()
    now = cluster.wait_healthy(180)
    return outage, len(writer.lost(now))


def measure(name, runs, results):
    kind, settings = VARIANTS[name]
    with Cluster(names=("a", "b"), kinds={"a": kind, "b": kind}, settings=settings) as cluster:
        cluster.start(120)
        for scenario, fault in SCENARIOS.items():
            for _ in range(runs[scenario]):
                results.setdefault((name, scenario), []).append(one_run(cluster, fault, 120))


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--node-runs", type=int, default=5)
    parser.add_argument("--json")
    options = parser.parse_args()
    runs = {"postmaster killed": options.runs, "switchover": options.runs, "node lost": options.node_runs}
    results, failures = {}, []

    def guarded(name):
        try:
            measure(name, runs, results)
        except BaseException as error:  # noqa: BLE001: reported below, the other variants go on
            failures.append(f"{name}: {error}")

    threads = [threading.Thread(target=guarded, args=(name,)) for name in VARIANTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("| fault | system | runs | outage min | median | p99 | lost rows |")
    print("|---|---|---|---|---|---|---|")
    for scenario in SCENARIOS:
        for name in VARIANTS:
            rows = results.get((name, scenario), [])
            if rows:
                outages = [r[0] for r in rows]
                print(f"| {scenario} | {name} | {len(rows)} | {min(outages):.2f} s | {statistics.median(outages):.2f} s | "
                      f"{percentile(outages, 0.99):.2f} s | {sum(r[1] for r in rows)} |")
    for failure in failures:
        print("failed:", failure)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({f"{n} / {s}": r for (n, s), r in results.items()}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
