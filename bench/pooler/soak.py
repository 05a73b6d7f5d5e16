#!/usr/bin/python3
"""Random kills for as long as asked, then the books: what the pooler holds once everybody has left is compared with what it
held before.

Clients run short transactions, prepared statements, COPY and sessions that break off; meanwhile server connections are ended,
killed (SIGKILL: PostgreSQL restarts) and frozen, the server is stopped and started, clients cancel, and the console pauses, reloads,
kills and reconnects. Afterwards: no client or server connection is counted that is not there, every descriptor is given back, memory has not
grown, and a client is served. Two equal rounds are compared, so that caches that fill once do not count as leaks.

usage: bench/pooler/soak.py [--minutes 60] [--clients 40] [--seed N] [--ours 'build/release/bin/pgvigil pool']"""

import argparse
import contextlib
import os
import pathlib
import random
import re
import shlex
import signal
import sys
import threading
import time

import psycopg2

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "cluster"))

from harness import wait_for  # noqa: E402
from pool_harness import Pooler, Server, wait_on_socket  # noqa: E402

SETTLED_SECONDS = 60
MEMORY_GROWTH_MAX_KB = 2048


class Client(threading.Thread):
    """Connects, works, breaks off, again and again; counts what it saw."""

    def __init__(self, pooler, seed, stop):
        super().__init__(daemon=True)
        self.pooler, self.random, self.stop_event = pooler, random.Random(seed), stop
        self.transactions = self.errors = 0

    def run(self):
        while not self.stop_event.is_set():
            try:
                self.session()
            except (psycopg2.Error, OSError):
                self.errors += 1
                self.stop_event.wait(0.05)

    def session(self):
        database = self.random.choice(("db1", "db2"))
        with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=self.pooler.port, user=self.random.choice(("app", "other")),
                                                 dbname=database, sslmode="disable", connect_timeout=20)) as connection:
            for _ in range(self.random.randrange(1, 200)):
                if self.stop_event.is_set():
                    return
                self.transaction(connection)
            if self.random.random() < 0.2:
                connection.cursor().execute("SELECT 1")  # leaves with a transaction open

    def transaction(self, connection):
        kind = self.random.randrange(6)
        with connection.cursor() as cursor:
            if kind == 0:
                cursor.execute("SELECT pg_sleep(0.01)")
            elif kind == 1:
                cursor.execute("SELECT i, repeat('x', 1000) FROM generate_series(1, 200) i")
                cursor.fetchall()
            elif kind == 2:
                cursor.execute("PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE p")
            elif kind == 3:
                with contextlib.suppress(psycopg2.errors.DivisionByZero):
                    cursor.execute("SELECT 1/0")
                connection.rollback()
            elif kind == 4:
                with open(os.devnull, "w") as nowhere:
                    cursor.copy_expert("COPY (SELECT generate_series(1, 1000)) TO STDOUT", nowhere)
            else:
                cursor.execute("SET application_name = 'soak'; SELECT 1")
        connection.commit()
        self.transactions += 1


class Faults(threading.Thread):
    def __init__(self, pooler, server, seed, stop):
        super().__init__(daemon=True)
        self.pooler, self.server, self.random, self.stop_event = pooler, server, random.Random(seed), stop
        self.counts = {}

    def run(self):
        kinds = [self.terminate, self.terminate, self.terminate, self.freeze, self.cancel, self.kill_backend, self.restart, self.console]
        while not self.stop_event.wait(self.random.uniform(0.1, 3)):
            kind = self.random.choice(kinds)
            with contextlib.suppress(psycopg2.Error, OSError, AssertionError, IndexError):
                kind()
            self.counts[kind.__name__] = self.counts.get(kind.__name__, 0) + 1

    def backend(self):
        return self.random.choice(self.server.sessions(self.random.choice(("db1", "db2"))))

    def terminate(self):
        self.server.query(f"SELECT pg_terminate_backend({self.backend()})")

    def cancel(self):
        self.server.query(f"SELECT pg_cancel_backend({self.backend()})")

    def kill_backend(self):
        os.kill(self.backend(), signal.SIGKILL)  # PostgreSQL ends all others and recovers
        wait_for(lambda: self.up(), 60, "PostgreSQL has recovered")

    def up(self):
        with contextlib.suppress(psycopg2.Error):
            return bool(self.server.query("SELECT 1"))

    def freeze(self):
        pid = self.backend()
        os.kill(pid, signal.SIGSTOP)
        self.stop_event.wait(self.random.uniform(0.1, 2))
        os.kill(pid, signal.SIGCONT)

    def restart(self):
        self.server.stop()
        self.stop_event.wait(self.random.uniform(0, 2))
        self.server.start()

    def console(self):
        self.pooler.admin(self.random.choice(("RELOAD", "RECONNECT", "PAUSE db1", "KILL db2", "DISABLE db1", "SHOW SERVERS")))
        for database in ("db1", "db2"):
            for command in ("RESUME", "ENABLE"):
                with contextlib.suppress(psycopg2.Error):
                    self.pooler.admin(f"{command} {database}")


def books(pooler):
    """What is held now, with the console's own connection as the only client."""
    pid = pooler.process.process.pid
    pools = [p for p in pooler.admin("SHOW POOLS") if p["database"] != "pgbouncer"]
    lists = {row["list"]: row["items"] for row in pooler.admin("SHOW LISTS")}
    return {
        "clients in pools": sum(int(p[column]) for p in pools for column in p if column.startswith("cl_")),
        "server connections": sum(int(p[column]) for p in pools for column in p if column.startswith("sv_")),
        "clients in lists": int(lists["used_clients"]), "servers in lists": int(lists["used_servers"]) + int(lists["free_servers"]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "resident KB": int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]),
    }


def settle(pooler, server):
    """All clients have left; server connections are closed on request, and the books are written once nothing changes any more."""
    wait_for(lambda: books(pooler)["clients in pools"] == 0, SETTLED_SECONDS, "no client is counted any more")
    pooler.admin("RECONNECT")
    wait_for(lambda: books(pooler)["server connections"] == 0, SETTLED_SECONDS, "no server connection is counted any more")
    held = server.sessions("db1") + server.sessions("db2")
    assert not held, f"PostgreSQL still has the sessions {held}"
    return books(pooler)


def one_round(pooler, server, seconds, options, number):
    stop = threading.Event()
    clients = [Client(pooler, options.seed * 1000 + number * 100 + i, stop) for i in range(options.clients)]
    faults = Faults(pooler, server, options.seed + number, stop)
    for thread in [*clients, faults]:
        thread.start()
    stop.wait(seconds)
    stop.set()
    faults.join(120)
    for thread in clients:
        thread.join(60)
        assert not thread.is_alive(), "a client hangs: nothing has answered it for a minute"
    done, errors = sum(c.transactions for c in clients), sum(c.errors for c in clients)
    print(f"round {number}: {done} transactions, {errors} broken off, faults {faults.counts}", flush=True)
    assert done > 0
    return settle(pooler, server)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--ours", default="build/release/bin/pgvigil pool")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    argv = shlex.split(options.ours)
    argv[0] = os.path.abspath(argv[0])
    psycopg2.extensions.set_wait_callback(wait_on_socket)
    server = Server(max_connections=200).create()
    pooler = Pooler(server, {"default_pool_size": 10, "log_connections": 0, "log_disconnections": 0, "log_pooler_errors": 0,
                             "server_login_retry": 1, "query_wait_timeout": 15, "query_timeout": 30, "client_login_timeout": 20},
                    argv=argv)
    try:
        pooler.start()
        # The first round fills what is kept on purpose: buffers, statement tables, the allocator's arenas.
        first = one_round(pooler, server, options.minutes * 60 / 2, options, 1)
        second = one_round(pooler, server, options.minutes * 60 / 2, options, 2)
        wrong = [f"{name}: {first[name]} after the first round, {second[name]} after the second" for name in first
                 if (second[name] - first[name] > MEMORY_GROWTH_MAX_KB if name == "resident KB" else second[name] != first[name])]
        print(f"after the first round  {first}\nafter the second round {second}")
        assert pooler.query("SELECT 42") == [(42,)], "a client is not served afterwards"
        print("\n".join(wrong) or "nothing leaked")
        return 1 if wrong else 0
    finally:
        pooler.cleanup()
        server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
