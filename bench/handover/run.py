#!/usr/bin/python3
"""What the clients of the pooler see when the leader moves: pgbench runs through a pooler with [cluster] while the cluster is switched
over, its postmaster killed or its nodes restarted one after the other, again and again.

pgbench (TPC-B and select-only, half of the clients each) never reconnects, so an error ends a client for good; the pauses are the
latencies of its per-transaction log. Printed for each run of a fault: errors, and the longest pause of any client.

usage: bench/handover/run.py [--fault switchover|kill|rolling] [--runs 50] [--clients 50] [--seconds-between 4] [--json FILE]
environment: PGVIGIL_BIN (default build/release/bin)"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time

os.environ.setdefault("PGVIGIL_BIN", "build/release/bin")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "cluster"))

from harness import BIN, SUPERUSER_PASSWORD, Cluster, wait_for  # noqa: E402
from pool_harness import Pooler, scratch_directory, remove  # noqa: E402

RUN_SECONDS_MAX = 60
SCALE = 5


class Pgbench:
    """One pgbench for the whole measurement; restarted between runs when errors have ended clients of it."""

    def __init__(self, pooler, directory, name, clients, script):
        self.directory = directory / f"{name}-{time.monotonic_ns()}"
        self.directory.mkdir()
        self.name, self.clients, self.begun = name, clients, time.time()
        environment = {**os.environ, "PGPASSWORD": SUPERUSER_PASSWORD, "PGSSLMODE": "disable"}
        self.output = open(self.directory / "output", "w")
        self.process = subprocess.Popen(
            ["/usr/bin/pgbench", "-n", "-h", "127.0.0.1", "-p", str(pooler.port), "-U", "postgres", "-c", str(clients), "-j", "2",
             "-T", "100000", "-b", script, "-l", "--log-prefix", str(self.directory / "log"), "postgres"],
            env=environment, stdout=self.output, stderr=self.output, cwd=self.directory)

    def transactions(self):
        """(end, seconds it took) of each transaction that the logs tell of."""
        for file in self.directory.glob("log.*"):
            for line in file.read_text().splitlines():
                fields = line.split()
                if len(fields) >= 6:  # client transaction latency-in-us script epoch us
                    yield int(fields[4]) + int(fields[5]) / 1e6, int(fields[2]) / 1e6

    def errors(self):
        text = (self.directory / "output").read_text()
        return [line for line in text.splitlines() if re.search(r"client \d+ .*aborted", line)]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()


def switch(cluster, _pooler):
    leader, other = cluster.pair()
    code, text = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": other.name}, RUN_SECONDS_MAX)
    assert code == 200, text


def kill(cluster, _pooler):
    leader, _ = cluster.pair()
    os.kill(leader.postmaster_pid(), signal.SIGKILL)


def rolling(cluster, _pooler):
    leader, _ = cluster.pair()
    now = leader.query("SELECT setting::int * 8 / 1024 FROM pg_settings WHERE name = 'shared_buffers'")[0][0]
    code, text = leader.rest_call("/config", "PATCH", {"postgresql": {"parameters": {"shared_buffers": f"{32 if now != 32 else 48}MB"}}}, 10)
    assert code == 200, text
    wait_for(lambda: all(n.status().get("pending_restart") for n in cluster.nodes.values()), 30, "a restart is due")
    subprocess.run([BIN / "pgvigil", "-c", leader.config, "restart", cluster.scope, "--rolling", "--pending", "--force"], check=True,
                   capture_output=True)


FAULTS = {"switchover": switch, "kill": kill, "rolling": rolling}


def measure(cluster, pooler, directory, options, number, results):
    clients = [Pgbench(pooler, directory, f"{number}-{script}", options.clients // 2, script) for script in ("tpcb-like", "select-only")]
    try:
        wait_for(lambda: all(sum(1 for _ in c.transactions()) > c.clients for c in clients), 30, "pgbench is at work")
        time.sleep(options.seconds_between)  # a measurement under load, not a condition
        begun = time.time()
        FAULTS[options.fault](cluster, pooler)
        cluster.wait_healthy()
        took = time.time() - begun
        time.sleep(options.seconds_between)
        running = all(c.process.poll() is None for c in clients)
    finally:
        for client in clients:
            client.stop()
    after = [t for c in clients for t in c.transactions() if t[0] >= begun]
    errors = [line for c in clients for line in c.errors()]
    results.append({"errors": len(errors), "first": errors[:1], "pause": max((seconds for _, seconds in after), default=None),
                    "took": took, "transactions": len(after), "running": running})
    print(f"run {number}: {len(errors)} errors, longest pause {results[-1]['pause']:.2f} s, whole again after {took:.1f} s {errors[:1] or ''}",
          flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fault", choices=FAULTS, default="switchover")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds-between", type=float, default=2)
    parser.add_argument("--json")
    options = parser.parse_args()
    directory = scratch_directory("handover")
    results = []
    with Cluster() as cluster, contextlib.ExitStack() as stack:
        stack.callback(remove, directory)
        cluster.start()
        pooler = Pooler(None, {"query_wait_timeout": 60, "default_pool_size": 20}, {"postgres": "role=primary"},
                        users={"postgres": SUPERUSER_PASSWORD, "admin": "x"},
                        cluster={"scope": cluster.scope, "etcd_hosts": ", ".join(cluster.etcd.endpoints)})
        stack.callback(pooler.cleanup)
        pooler.start()
        subprocess.run(["/usr/bin/pgbench", "-i", "-q", "-s", str(SCALE), "-h", "127.0.0.1", "-p", str(pooler.port), "-U", "postgres",
                        "postgres"], check=True, capture_output=True,
                       env={**os.environ, "PGPASSWORD": SUPERUSER_PASSWORD, "PGSSLMODE": "disable"})
        for number in range(1, options.runs + 1):
            measure(cluster, pooler, directory, options, number, results)
    pauses = sorted(r["pause"] for r in results)
    print(f"\n| fault | runs | clients | errors | runs with errors | longest pause min | median | max |\n|---|---|---|---|---|---|---|---|\n"
          f"| {options.fault} | {len(results)} | {options.clients} | {sum(r['errors'] for r in results)} | "
          f"{sum(r['errors'] > 0 for r in results)} | {pauses[0]:.2f} s | {statistics.median(pauses):.2f} s | {pauses[-1]:.2f} s |")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
