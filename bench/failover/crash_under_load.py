#!/usr/bin/python3
"""The leader's postmaster is killed again and again under load, with asynchronous replication: what is lost and how long the
outage is. Eight client processes insert rows through `host=a,b target_session_attrs=read-write`; an outage is the longest gap
between two acknowledged rows around the kill, over all clients.

usage: PGVIGIL_BIN=build/release/bin bench/failover/crash_under_load.py [--runs 50] [--rate 1000] [--json FILE]"""

import argparse
import json
import multiprocessing
import os
import pathlib
import signal
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "cluster"))

import psycopg2  # noqa: E402
from harness import SUPERUSER_PASSWORD, Cluster, wait_for  # noqa: E402

CLIENTS = 8


def client(dsn, name, pause, total, stop, results):
    """Inserts at a steady pace until it is told to stop; then gives (number, time) of what was acknowledged."""
    acknowledged, number, connection, due = [], 0, None, time.monotonic()
    while not stop.is_set():
        due = max(due + pause, time.monotonic() - 0.1)
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if connection is None:
                connection = psycopg2.connect(dsn)
                connection.autocommit = True
                cursor = connection.cursor()
            number += 1
            cursor.execute("INSERT INTO writes VALUES (%s, %s)", (name, number))
            acknowledged.append((number, time.monotonic()))
            with total.get_lock():
                total.value += 1
        except psycopg2.Error:
            if connection is not None:
                connection.close()
            connection = None
            time.sleep(0.005)
    results.put((name, acknowledged))


class Load:
    def __init__(self, nodes, rate):
        self.dsn = (f"host={','.join('127.0.0.1' for _ in nodes)} port={','.join(str(n.port) for n in nodes)} user=postgres "
                    f"password={SUPERUSER_PASSWORD} dbname=postgres target_session_attrs=read-write connect_timeout=2")
        self.stop, self.results = multiprocessing.Event(), multiprocessing.Queue()
        self.total = multiprocessing.Value("q", 0)
        self.clients = [multiprocessing.Process(target=client, args=(self.dsn, i, CLIENTS / rate, self.total, self.stop, self.results))
                        for i in range(CLIENTS)]

    def __enter__(self):
        self.began = time.monotonic()
        for process in self.clients:
            process.start()
        return self

    def __exit__(self, *_):
        if not self.stop.is_set():
            self.finish()

    def count(self):
        return self.total.value

    def finish(self):
        self.stop.set()
        self.acknowledged = dict(self.results.get(timeout=30) for _ in self.clients)
        for process in self.clients:
            process.join(30)
        return self.acknowledged


def one_run(cluster, rate):
    leader = cluster.wait_healthy(120)
    leader.query("DROP TABLE IF EXISTS writes")
    leader.query("CREATE TABLE writes (client int, number bigint)")
    other = next(n for n in cluster.nodes.values() if n is not leader)
    wait_for(lambda: other.query("SELECT to_regclass('writes')") != [(None,)], 30, "the table is on the replica")
    with Load(list(cluster.nodes.values()), rate) as load:
        wait_for(lambda: load.count() > rate, 30, "a second's worth of rows")
        before, start = load.count(), time.monotonic()
        wait_for(lambda: time.monotonic() > start + 1, 5, "a second")
        reached = (load.count() - before) / (time.monotonic() - start)
        moment = time.monotonic()
        os.kill(leader.postmaster_pid(), signal.SIGKILL)
        wait_for(lambda: time.monotonic() > moment + 1, 5, "the kill is felt")
        settled = load.count()
        wait_for(lambda: load.count() > settled + rate / 2, 60, "writes go on")
        acknowledged = load.finish()
    times = sorted(t for rows in acknowledged.values() for _, t in rows if t > moment - 0.5)
    outage = max(b - a for a, b in zip(times, times[1:]))
    rows = set(cluster.wait_healthy(120).query("SELECT client, number FROM writes"))
    lost = sum((name, number) not in rows for name, entries in acknowledged.items() for number, _ in entries)
    return {"outage": outage, "lost": lost, "acknowledged": sum(map(len, acknowledged.values())), "rate": reached}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--rate", type=int, default=1000, help="rows per second, all clients together")
    parser.add_argument("--json")
    options = parser.parse_args()
    results = []
    # A kill every few seconds is a failing server by the agent's rules, which would hand over; a new cluster after two of them.
    while len(results) < options.runs:
        with Cluster(settings={"ttl": 10, "loop_wait": 1, "retry_timeout": 3}) as cluster:
            cluster.start(120)
            for _ in range(min(2, options.runs - len(results))):
                results.append(one_run(cluster, options.rate))
                print(f"{len(results)}: {results[-1]}", file=sys.stderr, flush=True)
    outages = sorted(r["outage"] for r in results)
    print("| runs | rows/s | acknowledged | lost | outage min | median | p95 | max |\n|---|---|---|---|---|---|---|---|")
    print(f"| {len(results)} | {statistics.mean(r['rate'] for r in results):.0f} | {sum(r['acknowledged'] for r in results)} | "
          f"{sum(r['lost'] for r in results)} | {outages[0]:.2f} s | {statistics.median(outages):.2f} s | "
          f"{outages[int(0.95 * (len(outages) - 1))]:.2f} s | {outages[-1]:.2f} s |")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results))
    return 1 if any(r["lost"] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
