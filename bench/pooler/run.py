#!/usr/bin/python3
"""The pooler beside Debian's PgBouncer: both in one run, turn by turn (A/B/A/B...), each result a ratio ours/PgBouncer.

CPU is user+system time of the pooler's process (all threads), from /proc/PID/stat, over the measured interval, divided by
transactions (or bytes). The other ends are `pgvigil-bench-pooler` (answers from memory; counts only) unless the case says
pgbench. TLS to the server is off on both sides.

usage: bench/pooler/run.py [--ours 'build/release/bin/pgvigil pool'] [--tool build/release/bin/pgvigil-bench-pooler]
                           [--rounds 5] [--seconds 4] [--cases simple,extended,...] [--json FILE] [--list]
`--ours pgbouncer` compares PgBouncer with itself: the noise of the machine."""

import argparse
import json
import os
import pathlib
import re
import resource
import shlex
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "cluster"))

from harness import Process, free_ports, postgres_bin, wait_for  # noqa: E402
from pool_harness import PASSWORD, Certificates, Pooler, Server, remove, scratch_directory  # noqa: E402

PGBOUNCER = ["/usr/sbin/pgbouncer"]
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    """Seconds of user and system time of a process, all its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_of(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def cpu_of_server(postmaster):
    """Of a PostgreSQL with all its backends, ended ones too."""
    fields = pathlib.Path(f"/proc/{postmaster}/stat").read_text().rsplit(")", 1)[1].split()
    total = (int(fields[13]) + int(fields[14])) / TICKS
    for child in pathlib.Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        try:
            total += cpu_of(child)
        except OSError:
            pass  # it has just ended, and is counted the next time
    return total


def scram_secret(password):
    """As pg_authid has it, so that a login costs the pooler no PBKDF2."""
    import base64
    import hashlib
    import hmac
    salt = b"pgvigil-pooler-b"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 4096)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    one, two, three = (base64.b64encode(x).decode() for x in (salt, stored, server))
    return f"SCRAM-SHA-256$4096:{one}${two}:{three}"


class Load:
    """A run of the load client: `ready` after the constructor, the interval between go() and result()."""

    def __init__(self, tool, port, **options):
        argv = [tool, "load", "--port", port]
        for name, value in options.items():
            argv += ["--" + name.replace("_", "-"), value]
        self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self

    def result(self):
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)


class Bench:
    def __init__(self, options):
        self.options = options
        self.tool = pathlib.Path(options.tool).absolute()
        self.is_ours = "pgvigil" in options.ours
        self.directory = scratch_directory("bench")
        certificates = Certificates(self.directory)
        certificates.issue("pooler", "localhost")
        (self.canned_port,) = free_ports(1)
        self.canned = Process([self.tool, "server", "--port", self.canned_port, "--threads", 1], self.directory / "canned.log",
                              self.directory).start()
        self.server = None
        self.poolers = []
        self.half_load = {}

    def postgres(self):
        if self.server is None:
            self.server = Server().create()
            subprocess.run([postgres_bin() / "pgbench", "-i", "-q", "-s", "10", "-h", str(self.server.directory), "-p",
                            str(self.server.port), "-U", "postgres", "db1"], check=True, capture_output=True)
            self.server.query("GRANT ALL ON ALL TABLES IN SCHEMA public TO app", dbname="db1")
        return self.server

    def pooler(self, ours, port, **settings):
        argv = shlex.split(self.options.ours) if ours else PGBOUNCER
        mine = ours and self.is_ours
        if "/" in argv[0]:
            argv[0] = str(pathlib.Path(argv[0]).absolute())
        keys = {"max_client_conn": 15000, "default_pool_size": 20, "min_pool_size": 20, "listen_backlog": 128, "log_connections": 0,
                "log_disconnections": 0, "stats_period": 3600, "query_wait_timeout": 120}
        own = {k: settings.pop(k) for k in ("workers", "io_backend") if k in settings}
        keys.update({"workers": 1, "io_backend": "auto", **own} if mine else {})
        keys.update(settings)
        pooler = Pooler(None, keys, databases={"db1": f"host=127.0.0.1 port={port} dbname=db1"}, argv=argv,
                        users={"app": scram_secret(PASSWORD), "admin": PASSWORD})
        self.poolers.append(pooler)
        return pooler.start()

    def close(self):
        for pooler in self.poolers:
            pooler.process.kill()
            remove(pooler.directory)
        self.canned.kill()
        if self.server:
            self.server.cleanup()
        remove(self.directory)

    def pair(self, port, ours=None, **settings):
        """The two poolers, PgBouncer first."""
        return [self.pooler(False, port, **settings), self.pooler(True, port, **{**settings, **(ours or {})})]

    def end_pair(self, pair):
        for pooler in pair:
            pooler.process.kill()

    def measure(self, pooler, **load):
        """One interval: CPU seconds of the pooler, and what the load tells."""
        client = Load(self.tool, pooler.port, **load)
        pid = pooler.process.process.pid
        before = cpu_of(pid)
        outcome = client.go().result()
        outcome["cpu"] = cpu_of(pid) - before
        client.end()
        assert outcome["errors"] == 0, outcome
        return outcome

    def rounds(self, pair, **load):
        """[(PgBouncer's outcome, ours)], after one unmeasured turn of each."""
        for pooler in pair:
            self.measure(pooler, **{**load, **({"seconds": 0.5} if "transactions" not in load else {})})
        return [[self.measure(pooler, **load) for pooler in pair] for _ in range(self.options.rounds)]


def ratios(rounds, value):
    return [value(ours) / value(theirs) for theirs, ours in rounds if value(theirs) > 0]


def per_transaction(outcome):
    return outcome["cpu"] / max(1, outcome["transactions"])


def per_byte(outcome):
    return outcome["cpu"] / max(1, outcome["bytes"])


def per_second(outcome):
    return outcome["transactions"] / outcome["seconds"]


def microseconds(value):
    return f"{1e6 * value:.1f} µs"


class Report:
    def __init__(self):
        self.rows = []

    def add(self, case, quantity, values, theirs, ours, target=""):
        ordered = sorted(values) or [float("nan")]
        row = {"case": case, "quantity": quantity, "min": ordered[0], "median": statistics.median(ordered), "max": ordered[-1],
               "pgbouncer": theirs, "ours": ours, "target": target}
        self.rows.append(row)
        print(self.line(row), flush=True)

    HEAD = ("| case | quantity | PgBouncer | ours | ratio min | median | max | target |\n|---|---|---|---|---|---|---|---|")

    @staticmethod
    def line(row):
        return (f"| {row['case']} | {row['quantity']} | {row['pgbouncer']} | {row['ours']} | {row['min']:.2f} | {row['median']:.2f} | "
                f"{row['max']:.2f} | {row['target']} |")


def compare_cpu(bench, report, name, load, target, ours=None, settings=None, value=per_transaction, unit=microseconds, port=None):
    pair = bench.pair(port or bench.canned_port, ours, **(settings or {}))
    rounds = bench.rounds(pair, **load)
    bench.end_pair(pair)
    theirs, mine = (statistics.median(value(r[i]) for r in rounds) for i in (0, 1))
    what = "CPU / MB" if value is per_byte else "CPU / transaction"
    if value is per_byte:
        theirs, mine = theirs * 2**20, mine * 2**20
    report.add(name, what, ratios(rounds, value), unit(theirs), unit(mine), target)
    return rounds


def canned_load(bench, **more):
    return {"connections": 40, "seconds": bench.options.seconds, **more}


# PgBouncer before 1.21 cannot carry named statements over transactions. So it gets session mode and a server for each client;
# ours is measured that way, too, and in transaction mode.
SESSION = {"pool_mode": "session", "default_pool_size": 40}
TRANSACTION = {"pool_mode": "transaction", "default_pool_size": 20}
PROTOCOLS = {"simple": ("simple", {}, {}), "extended": ("extended", {}, {}),
             "prepared (session mode, 40 servers)": ("prepared", SESSION, {}),
             "prepared (PgBouncer: session mode, 40 servers)": ("prepared", SESSION, TRANSACTION)}


def protocols(bench):
    return {k: v for k, v in PROTOCOLS.items() if not v[2] or bench.is_ours}


def case_protocols(bench, report, backend, target):
    for name, (protocol, settings, ours) in protocols(bench).items():
        rounds = compare_cpu(bench, report, f"40 clients, 20 servers, {name}, 1 worker, {backend}",
                             canned_load(bench, protocol=protocol), target, {"workers": 1, "io_backend": backend, **ours}, settings)
        bench.half_load.setdefault(protocol, statistics.median(per_second(r[0]) for r in rounds) / 2)


def case_pgbench(bench, report):
    server = bench.postgres()
    for name, (protocol, settings, ours) in protocols(bench).items():
        pair = bench.pair(server.port, {"workers": 1, **ours}, **settings)
        rounds = []
        for turn in range(bench.options.rounds + 1):
            outcomes = [pgbench(bench, pooler.port, protocol, pooler.process.process.pid) for pooler in pair]
            if turn:
                rounds.append(outcomes)
        bench.end_pair(pair)
        theirs, mine = (statistics.median(per_transaction(r[i]) for r in rounds) for i in (0, 1))
        report.add(f"pgbench -S -M {name}, 40 clients, 20 servers", "CPU / transaction", ratios(rounds, per_transaction),
                   microseconds(theirs), microseconds(mine), "0.80")


def pgbench(bench, port, protocol, pid=None, host="127.0.0.1", clients=40):
    before, server_before = cpu_of(pid) if pid else 0, cpu_of_server(bench.server.process.process.pid)
    out = subprocess.run([postgres_bin() / "pgbench", "-n", "-S", "-M", protocol, "-c", str(clients), "-j", "1", "-T",
                          str(max(1, int(bench.options.seconds))), "-h", host, "-p", str(port), "-U", "app", "db1"],
                         capture_output=True, text=True, env={**os.environ, "PGPASSWORD": PASSWORD, "PGSSLMODE": "disable"})
    assert out.returncode == 0, out.stderr
    count = int(re.search(r"actually processed: (\d+)", out.stdout)[1])
    return {"transactions": count, "cpu": (cpu_of(pid) if pid else 0) - before,
            "server_cpu": cpu_of_server(bench.server.process.process.pid) - server_before}


def case_unnamed(bench, report):
    """PostgreSQL's own CPU for statements without a name, through each pooler and directly (directly is the divisor)."""
    server = bench.postgres()
    pair = bench.pair(server.port, {"workers": 1})
    gained = {0: [], 1: []}
    for turn in range(bench.options.rounds + 1):
        direct = pgbench(bench, server.port, "extended", clients=20)
        for which, pooler in enumerate(pair):
            through = pgbench(bench, pooler.port, "extended", pooler.process.process.pid)
            if turn:
                gained[which].append((through["server_cpu"] / through["transactions"]) / (direct["server_cpu"] / direct["transactions"]))
    bench.end_pair(pair)
    report.add("pgbench -S -M extended", "PostgreSQL's CPU / transaction, ratio ours/direct", gained[1],
               f"{statistics.median(gained[0]):.2f} of direct", f"{statistics.median(gained[1]):.2f} of direct", "0.55")


def case_io_uring(bench, report):
    case_protocols(bench, report, "io_uring", "0.80")


def case_epoll(bench, report):
    case_protocols(bench, report, "epoll", "1.00")


def case_workers(bench, report):
    """Ours with two workers against ours with one: cost, and throughput where neither end is the limit."""
    pair = [bench.pooler(True, bench.canned_port, workers=1), bench.pooler(True, bench.canned_port, workers=2)]
    rounds = bench.rounds(pair, **canned_load(bench, connections=80))
    bench.end_pair(pair)
    for quantity, value, unit, target in (("CPU / transaction, 2 workers / 1 worker", per_transaction, microseconds, "1.05"),
                                          ("transactions / s, 2 workers / 1 worker", per_second, lambda v: f"{v:.0f}", "1.80 or more")):
        one, two = (unit(statistics.median(value(r[i]) for r in rounds)) for i in (0, 1))
        report.add("80 clients, two workers", quantity, ratios(rounds, value), f"(1 worker) {one}", f"(2 workers) {two}", target)


def case_rows(bench, report):
    compare_cpu(bench, report, "100 rows", canned_load(bench, sql="SELECT hundred"), "0.80", value=per_byte)
    compare_cpu(bench, report, "1 MB row", canned_load(bench, sql="SELECT mega"), "0.80", value=per_byte)


def case_copy(bench, report):
    size = bench.options.copy_mb * 2**20
    compare_cpu(bench, report, f"COPY out of {bench.options.copy_mb} MB", {"connections": 1, "transactions": 1, "sql": f"copyout {size}"},
                "0.80", value=per_byte)
    compare_cpu(bench, report, f"COPY in of {bench.options.copy_mb} MB",
                {"connections": 1, "transactions": 1, "sql": "copyin", "copy_bytes": size}, "0.80", value=per_byte)


def tls_settings(bench):
    return {"client_tls_sslmode": "require", "client_tls_key_file": bench.directory / "pooler.key",
            "client_tls_cert_file": bench.directory / "pooler.crt"}


def case_tls(bench, report):
    compare_cpu(bench, report, "TLS to the client, simple", canned_load(bench, tls=1), "1.00", settings=tls_settings(bench))
    compare_cpu(bench, report, "TLS to the client, 100 rows", canned_load(bench, tls=1, sql="SELECT hundred"), "1.00",
                settings=tls_settings(bench), value=per_byte)


def case_logins(bench, report):
    pair = bench.pair(bench.canned_port, {"workers": 1}, auth_type="scram-sha-256")
    rounds = bench.rounds(pair, **canned_load(bench, connections=16, reconnect=1))
    bench.end_pair(pair)
    for quantity, value, unit, target in (("logins / s", per_second, lambda v: f"{v:.0f}", "1.00 or more"),
                                          ("CPU / login", per_transaction, microseconds, "")):
        theirs, mine = (unit(statistics.median(value(r[i]) for r in rounds)) for i in (0, 1))
        report.add("a connection for each transaction, scram-sha-256", quantity, ratios(rounds, value), theirs, mine, target)


def case_idle(bench, report):
    """Memory of logged-in clients that do nothing, and what they cost in a second; then 1000 of them work."""
    count = bench.options.idle_clients
    kilobytes, costs, busy = [], [], []
    for _ in range(max(1, min(3, bench.options.rounds))):
        memory, cpu = [], []
        for ours in (False, True):
            pooler = bench.pooler(ours, bench.canned_port)
            pid = pooler.process.process.pid
            Load(bench.tool, pooler.port, connections=40, seconds=0.3).go().end()
            before = memory_of(pid)
            idle = Load(bench.tool, pooler.port, connections=count, idle=1)
            memory.append((memory_of(pid) - before) / count)
            started = cpu_of(pid)
            time.sleep(bench.options.idle_seconds)  # the measured interval itself
            cpu.append(1000 * (cpu_of(pid) - started) / bench.options.idle_seconds)
            busy.append(bench.measure(pooler, connections=1000, seconds=1)["errors"])
            idle.end()
            pooler.process.kill()
        kilobytes.append(memory)
        costs.append(cpu)
    report.add(f"{count} idle clients", "RSS / client", [m[1] / m[0] for m in kilobytes],
               f"{statistics.median(m[0] for m in kilobytes):.2f} KB", f"{statistics.median(m[1] for m in kilobytes):.2f} KB", "1 KB")
    report.add(f"{count} idle clients", "CPU / s", [c[1] / c[0] for c in costs if c[0]] or [float("nan")],
               f"{statistics.median(c[0] for c in costs):.1f} ms", f"{statistics.median(c[1] for c in costs):.1f} ms", "0.3 ms")
    report.add(f"{count} idle clients", "errors of 1000 more at work", [0.0], 0, sum(busy), "0")


def case_latency(bench, report):
    """p99 over a direct connection, at half of what PgBouncer can do here."""
    if "simple" not in bench.half_load:
        pooler = bench.pooler(False, bench.canned_port)
        bench.half_load["simple"] = per_second(bench.measure(pooler, **canned_load(bench, seconds=2))) / 2
        pooler.process.kill()
    rate = int(bench.half_load["simple"])
    pair = bench.pair(bench.canned_port, {"workers": 1})
    added = []
    for turn in range(bench.options.rounds + 1):
        values = []
        for port in (bench.canned_port, pair[0].port, pair[1].port):
            client = Load(bench.tool, port, **canned_load(bench, rate=rate)).go()
            values.append(client.result()["p99_us"])
            client.end()
        if turn:
            added.append([v - values[0] for v in values[1:]])
    bench.end_pair(pair)
    report.add(f"half load ({rate} / s)", "p99 added to a direct connection", [a[1] / a[0] for a in added if a[0] > 0],
               f"{statistics.median(a[0] for a in added):.0f} µs", f"{statistics.median(a[1] for a in added):.0f} µs", "1.00")


CASES = {"io_uring": case_io_uring, "epoll": case_epoll, "pgbench": case_pgbench, "unnamed": case_unnamed, "workers": case_workers,
         "rows": case_rows, "copy": case_copy, "tls": case_tls, "logins": case_logins, "idle": case_idle, "latency": case_latency}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", default="build/release/bin/pgvigil pool")
    parser.add_argument("--tool", default="build/release/bin/pgvigil-bench-pooler")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--copy-mb", type=int, default=1024)
    parser.add_argument("--idle-clients", type=int, default=10000)
    parser.add_argument("--idle-seconds", type=float, default=10)
    parser.add_argument("--cases", default=",".join(CASES), help="of " + ", ".join(CASES))
    parser.add_argument("--json")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report, failures, bench = Report(), [], Bench(options)
    print(report.HEAD)
    try:
        for name in options.cases.split(","):
            try:
                CASES[name](bench, report)
            except Exception as error:  # noqa: BLE001: reported below, the other cases go on
                failures.append(f"{name}: {type(error).__name__} {error}")
    finally:
        bench.close()
    for failure in failures:
        print("failed:", failure)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report.rows, indent=1))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
