"""Clients that mean harm: memory and time stay bounded, everyone else is served."""

import os
import struct
import threading
import time

import pytest

from harness import wait_for
from pool_harness import Background, rows_of, value_of
from pool_wire import SSL_REQUEST, SYNC, bind, execute, message, parse, query, startup, wait_closed

LIMIT_KB = 20000  # of growth, whatever a client does


class Bystander:
    """A client that works on; `worst` is its slowest query in seconds."""

    def __init__(self, pooler):
        self.client, self.worst, self.count, self.stopping = pooler.connect("other"), 0, 0, threading.Event()
        self.work = Background(self._run)

    def _run(self):
        while not self.stopping.is_set():
            started = time.monotonic()
            assert value_of(self.client, "SELECT 1") == 1
            self.worst = max(self.worst, time.monotonic() - started)
            self.count += 1

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            wait_for(lambda: self.count > 20 or self.work.done(), 10, "others are served")
        self.stopping.set()
        self.work.thread.join(20)
        if kind is None:
            self.work.result()
            assert self.count > 20 and self.worst < 3, f"{self.count} queries, the slowest took {self.worst:.2f} s"


def test_slow_logins_are_ended_and_harm_nobody(pool):
    pooler = pool({"client_login_timeout": 1})
    with Bystander(pooler):
        sockets = [pooler.plain_socket() for _ in range(50)]
        whole = startup({"user": "app", "database": "db1", "application_name": "x" * 500})
        ended = 0
        for at in range(20):
            for s in sockets:
                try:
                    s.sendall(whole[at:at + 1])
                except OSError:
                    ended += 1
        assert all(wait_closed(s, 5) for s in sockets)


def test_half_open_logins_do_not_take_all_places_for_ever(pool):
    pooler = pool({"client_login_timeout": 1, "max_client_conn": 20, "auth_type": "plain"})
    sockets = [pooler.plain_socket() for _ in range(60)]
    for s in sockets:
        s.sendall(startup({"user": "app", "database": "db1"}))
    wait_for(lambda: pooler.refusal() is None, 10, "a client can log in again")
    for s in sockets:
        s.close()


def test_a_flood_of_logins_harms_nobody(pool):
    pooler = pool({"max_client_conn": 1000})

    def flood():
        for _ in range(60):
            pooler.raw(login=False).start("app").close()
    with Bystander(pooler):
        for worker in [Background(flood) for _ in range(6)]:
            worker.result(60)
    wait_for(lambda: next(r["items"] for r in pooler.admin("SHOW LISTS") if r["list"] == "login_clients") == 0, 10, "no login is left")


def test_a_flood_of_wrong_passwords_harms_nobody(pool, pg):
    pooler = pool({"auth_type": "scram-sha-256"}, users={"app": pg.secret_of("app"), "other": "pool-secret", "admin": "pool-secret"})

    def flood():
        for _ in range(15):
            assert pooler.refusal(password="wrong")
    with Bystander(pooler):
        for worker in [Background(flood) for _ in range(6)]:
            worker.result(60)


def test_a_client_that_never_reads_takes_bounded_memory(pool):
    pooler = pool({"default_pool_size": 4})
    pooler.raw().value("SELECT 1")
    before = pooler.memory_kb()
    deaf = pooler.raw()
    with Bystander(pooler):
        deaf.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"))
        most, end = 0, time.monotonic() + 1.5
        while time.monotonic() < end:
            most = max(most, pooler.memory_kb())
    assert most - before < LIMIT_KB
    deaf.close()
    wait_for(lambda: pooler.pool()["sv_active"] == 0, 10, "its server connection is ended")


def test_many_clients_that_never_read_take_bounded_memory(pool):
    pooler = pool({"default_pool_size": 20})
    pooler.raw().value("SELECT 1")
    before = pooler.memory_kb()
    deaf = [pooler.raw() for _ in range(20)]
    for client in deaf:
        client.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)"))
    most, end = 0, time.monotonic() + 1
    while time.monotonic() < end:
        most = max(most, pooler.memory_kb())
    assert most - before < LIMIT_KB


def test_pipelining_without_reading_takes_bounded_memory(pool):
    pooler = pool()
    client = pooler.raw()
    before = pooler.memory_kb()
    client.socket.settimeout(0.5)
    batch = (parse("", f"SELECT '{'x' * 500}'") + bind() + execute() + SYNC) * 50
    sent, end = 0, time.monotonic() + 3
    with Bystander(pooler):
        try:
            while time.monotonic() < end and sent < 200_000_000:
                client.socket.sendall(batch)
                sent += len(batch)
        except TimeoutError:
            pass  # as it should: the pooler has stopped to read
        assert pooler.memory_kb() - before < LIMIT_KB


def test_a_giant_message_that_never_ends_takes_bounded_memory(pool):
    pooler = pool()
    client = pooler.raw()
    before = pooler.memory_kb()
    client.send(b"Q" + struct.pack("!I", 0x7fffffff - 100))
    with Bystander(pooler):
        try:
            client.socket.settimeout(1)
            for _ in range(100):
                client.socket.sendall(b"S" * 1_000_000)
        except OSError:
            pass
        assert pooler.memory_kb() - before < LIMIT_KB


def test_a_giant_parse_of_a_named_statement_does_not_stop_others(pool):
    pooler = pool({"max_packet_size": 10_000_000})
    client = pooler.raw()
    with Bystander(pooler):
        client.send(b"P" + struct.pack("!I", 50_000_000) + b"name\0").closed()


def test_giant_startup_packets_take_bounded_memory(pool):
    pooler = pool({"client_login_timeout": 1})
    before = pooler.memory_kb()
    clients = [pooler.raw(login=False) for _ in range(100)]
    for client in clients:
        try:
            client.send(struct.pack("!II", 9999, 0x00030000) + b"a" * 9000)
        except OSError:
            pass
    assert pooler.memory_kb() - before < LIMIT_KB
    assert pooler.query("SELECT 1") == [(1,)]


def test_connections_that_send_nothing_are_ended(pool):
    pooler = pool({"client_login_timeout": 1})
    with Bystander(pooler):
        sockets = [pooler.plain_socket() for _ in range(100)]
        for s in sockets[50:]:
            s.sendall(b"\0")
        assert all(wait_closed(s, 6) for s in sockets[50:])
        for s in sockets:
            s.close()


def test_random_bytes_are_survived(pool):
    pooler = pool({"client_login_timeout": 1})
    import random
    chance = random.Random(4711)
    with Bystander(pooler):
        for turn in range(150):
            client = pooler.raw(login=turn % 2 == 0)
            try:
                client.send(bytes(chance.randrange(256) for _ in range(chance.randrange(1, 300))))
            except OSError:
                pass
            client.close()


def test_mutated_sessions_are_survived(pool):
    """A sane session with single bytes changed: whatever happens, it happens to that client only."""
    pooler = pool({"query_timeout": 2, "query_wait_timeout": 5, "default_pool_size": 5})
    import random
    chance = random.Random(815)
    sane = (parse("s", "SELECT $1::text", [25]) + bind("p", "s", ["value"]) + execute("p") + SYNC + query("SELECT 1")
            + message("C", b"Ss\0") + SYNC)
    with Bystander(pooler):
        for _ in range(150):
            broken = bytearray(sane)
            for _ in range(chance.randrange(1, 4)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            client = pooler.raw()
            try:
                client.send(bytes(broken))
            except OSError:
                pass
            client.close()


@pytest.mark.parametrize("first", [SSL_REQUEST, b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_many_half_negotiated_connections(pool, first):
    pooler = pool({"client_login_timeout": 1})
    sockets = [pooler.plain_socket() for _ in range(50)]
    for s in sockets:
        s.sendall(first)
    assert pooler.query("SELECT 1") == [(1,)]
    for s in sockets:
        s.close()


def test_repeated_ssl_requests_end(pool):
    """Asking again and again must not be a way to stay for ever."""
    pooler = pool({"client_login_timeout": 1})
    client = pooler.raw(login=False)
    ended = time.monotonic() + 6
    try:
        while time.monotonic() < ended:
            client.send(SSL_REQUEST)
            if not client.socket.recv(1):
                return
    except OSError:
        return
    raise AssertionError("still connected")


def test_a_client_that_reads_one_byte_at_a_time_does_not_slow_others(pool):
    pooler = pool()
    slow = pooler.raw().send(query("SELECT repeat('x', 100) FROM generate_series(1, 20000)"))
    with Bystander(pooler):
        for _ in range(3000):
            slow.socket.recv(1)
    slow.close()


def test_files_are_not_leaked_by_refused_connections(pool):
    pooler = pool({"auth_type": "plain"})
    pid = pooler.process.process.pid
    rows_of(pooler.connect(), "SELECT 1")
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(40):
        pooler.raw(login=False).start("nobody").close()
        pooler.raw(login=False).send(b"GET / HTTP/1.0\r\n\r\n").close()
    wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before + 2, 10, "the files are closed")
