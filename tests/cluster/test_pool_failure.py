"""Servers that are killed, refuse, hang, are slow or talk nonsense: what clients see, and that nothing is left over."""

import struct
import time

import pytest

from harness import wait_for
from pool_fake_server import PARAMETERS, READY, FakeServer, error, row
from pool_harness import Background, backend_of, holds, rows_of, since, value_of, version
from pool_wire import errors, kinds, message, query, text


def to_fake(pool, fake, more="", **settings):
    return pool({"server_login_retry": 0.5, **settings},
                databases={"db1": f"host=127.0.0.1 port={fake if isinstance(fake, int) else fake.port} dbname=db1 {more}"})


def fatal(client, seconds=10):
    found = client.fatal(seconds)
    return found["S"], found["C"], found["M"]


# --- the server goes away ---

def test_a_killed_backend_ends_its_client_with_the_servers_words(pool, pg):
    pooler = pool()
    client, other = pooler.raw(), pooler.connect()
    client.query("BEGIN")
    pg.query(f"SELECT pg_terminate_backend({client.value('SELECT pg_backend_pid()')})")
    messages = client.closed()
    assert [m.fields["C"] for m in messages if m.kind == "E"][0] == "57P01"
    assert value_of(other, "SELECT 1") == 1


def test_a_killed_idle_backend_is_noticed_by_nobody(pool, pg):
    pooler = pool({"default_pool_size": 1})
    client = pooler.connect()
    first = backend_of(client)
    pg.query(f"SELECT pg_terminate_backend({first})")
    wait_for(lambda: pooler.pool()["sv_idle"] == 0, 5, "the pooler has seen its end")
    assert backend_of(client) != first


def test_a_server_that_vanishes_without_a_word(pool):
    with FakeServer(answer=lambda client, got: client.socket.close()) as fake:
        pooler = to_fake(pool, fake)
        client = pooler.raw().send(query("SELECT 1"))
        severity, code, why = fatal(client)
        assert (severity, code) == ("FATAL", "08P01") and why in ("server conn crashed?", "server connection closed")


def test_clients_wait_while_the_server_restarts(pool, pg):
    pooler = pool({"query_wait_timeout": 30})
    clients = [pooler.connect() for _ in range(3)]
    assert [value_of(c, "SELECT 1") for c in clients] == [1, 1, 1]
    pooler.admin("PAUSE")
    waiting = [Background(value_of, client, "SELECT 2") for client in clients]
    pooler.wait_pool(cl_waiting=3)
    pg.stop()
    pg.start()
    pooler.admin("RESUME")
    assert [w.result(30) for w in waiting] == [2, 2, 2]


def test_after_a_crash_of_the_server_the_pool_recovers(pool, pg):
    pooler = pool({"server_login_retry": 0.3, "query_wait_timeout": 30})
    client = pooler.raw()
    client.query("BEGIN")
    pg.stop()
    client.closed()
    pg.start()
    wait_for(lambda: pooler.query("SELECT 1") == [(1,)], 20, "queries work again")
    row_ = pooler.pool()
    assert (row_["cl_waiting"], row_["sv_active"]) == (0, 0)


# --- the server refuses ---

def test_a_refused_login_waits_for_client_login_timeout(pool):
    pooler = to_fake(pool, 1, client_login_timeout=0.7)
    assert fatal(pooler.raw(login=False).start())[2] == "client_login_timeout (server down)"


def test_with_known_parameters_a_query_fails_fast_and_says_why(pool):
    fake = FakeServer()
    pooler = to_fake(pool, fake, server_login_retry=5)
    clients = [pooler.raw() for _ in range(3)]
    assert clients[0].value("SELECT 1") == "fake"
    fake.stop()
    wait_for(lambda: pooler.pool()["sv_idle"] == 0, 5, "the connection is gone")
    first = clients[0].send(query("SELECT 1"))  # its attempt fails; it waits, as nobody has failed before
    wait_for(lambda: "connect failed" in pooler.log(), 5, "an attempt has failed")
    severity, code, why = fatal(clients[1].send(query("SELECT 1")))
    assert (severity, code) == ("FATAL", "08P01")
    if version() >= (1, 21):
        assert why == "server login has been failing, cached error: connect failed (server_login_retry)"
    else:
        assert why.startswith("server login has been failing")
    first.close()


def test_a_client_that_waits_already_survives_a_refused_connect(pool):
    fake = FakeServer()
    pooler = to_fake(pool, fake, server_login_retry=0.4, query_wait_timeout=20)
    client = pooler.raw()
    client.value("SELECT 1")
    port = fake.port
    fake.stop()
    wait_for(lambda: pooler.pool()["sv_idle"] == 0, 5, "the connection is gone")
    client.send(query("SELECT 1"))
    wait_for(lambda: "connect failed" in pooler.log(), 5, "an attempt has failed")
    with wait_for(lambda: FakeServer(port=port), 5, "the port is free"):
        assert kinds(client.until("Z")) == "T D C Z"


def test_the_servers_refusal_reaches_waiting_clients(pool):
    def refuse(client):
        client.send(error("FATAL", "53300", "sorry, too many clients already"))
        return False
    with FakeServer(login=refuse) as fake:
        pooler = to_fake(pool, fake)
        severity, code, why = fatal(pooler.raw(login=False).start())
        assert (severity, why) == ("FATAL", "sorry, too many clients already")
        assert code == "53300" or version() < (1, 21)


@since(1, 21)
def test_a_server_that_starts_up_disconnects_nobody(pool):
    state = {"up": False}

    def login(client):
        if state["up"]:
            return FakeServer.welcome(client)
        client.send(error("FATAL", "57P03", "the database system is starting up"))
        return False
    with FakeServer(login=login) as fake:
        pooler = to_fake(pool, fake, server_login_retry=0.2)
        client = pooler.raw(login=False).start()
        wait_for(lambda: len(fake.logins) >= 2, 10, "it was tried again")
        state["up"] = True
        assert client.until("Z", "E")[-1].kind == "Z"


def test_server_login_retry_spaces_attempts(pool):
    def refuse(client):
        client.send(error("FATAL", "57P03", "the database system is starting up"))
        return False
    with FakeServer(login=refuse) as fake:
        pooler = to_fake(pool, fake, server_login_retry=1)
        pooler.raw(login=False).start()
        if version() < (1, 21):
            pytest.skip("1.18 disconnects the client")
        wait_for(lambda: len(fake.logins) >= 3, 10, "three attempts")
        gaps = [b - a for a, b in zip(fake.logins, fake.logins[1:])]
        assert min(gaps) > 0.9


def test_a_server_that_wants_an_unknown_authentication(pool):
    def kerberos(client):
        client.send(message("R", struct.pack("!I", 7)))
        return None
    with FakeServer(login=kerberos) as fake:
        pooler = to_fake(pool, fake, client_login_timeout=2)
        assert fatal(pooler.raw(login=False).start())[0] == "FATAL"
        assert pooler.process.running()


# --- the server hangs or is slow ---

def test_server_connect_timeout_of_a_server_that_never_answers(pool):
    def hang(client):
        client.read(1 << 20)
    with FakeServer(before_startup=hang) as fake:
        pooler = to_fake(pool, fake, server_connect_timeout=1, client_login_timeout=10, query_wait_timeout=10)
        pooler.raw(login=False).start()
        pooler.wait_log("connect timeout", 8)
        wait_for(lambda: len(fake.connections) >= 2, 8, "it is tried again")


def test_a_slow_login_of_the_server_delays_its_own_pool_only(pool, pg):
    def slow(client):
        client.socket.settimeout(60)
        release.wait(20)
        FakeServer.welcome(client)
    import threading
    release = threading.Event()
    with FakeServer(login=slow) as fake:
        pooler = pool(databases={"db1": f"host=127.0.0.1 port={fake.port}", "db2": f"host=127.0.0.1 port={pg.port}"})
        waiter = Background(pooler.raw)
        assert pooler.query("SELECT 1", dbname="db2") == [(1,)]
        assert not waiter.done()
        release.set()
        assert waiter.result().value("SELECT 1") == "fake"


@since(1, 25, "1.18 never finishes it")
def test_a_login_of_the_server_in_single_bytes(pool):
    def in_bytes(client):
        whole = b"".join([message("R", b"\0\0\0\0"), *(message("S", text(k) + text(v)) for k, v in PARAMETERS.items()),
                          message("K", struct.pack("!II", 1, 2)), READY])
        for byte in whole:
            client.send(bytes([byte]))
    with FakeServer(login=in_bytes) as fake:
        assert to_fake(pool, fake).raw().value("SELECT 1") == "fake"


def test_a_hung_query_ends_by_query_timeout(pool):
    with FakeServer(answer=lambda client, got: None) as fake:
        pooler = to_fake(pool, fake, query_timeout=0.7)
        assert fatal(pooler.raw().send(query("SELECT 1")))[2] == "query timeout"


def test_an_answer_in_single_bytes(pool):
    def slowly(client, got):
        if got.kind == "Q":
            for byte in row("fake") + READY:
                client.send(bytes([byte]))
    with FakeServer(answer=slowly) as fake:
        assert to_fake(pool, fake).raw().value("SELECT 1") == "fake"


# --- the server talks nonsense ---

@pytest.mark.parametrize("nonsense", [message("\x07", b"1234"), b"T" + struct.pack("!I", 1), b"D" + struct.pack("!I", 0xffffffff),
                                      b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_nonsense_from_the_server_ends_server_and_client_only(pool, nonsense):
    with FakeServer(answer=lambda client, got: client.send(nonsense)) as fake:
        pooler = to_fake(pool, fake, query_timeout=2)
        client, other = pooler.raw(), pooler.raw()
        client.send(query("SELECT 1")).closed()
        fake.answer = FakeServer.one_row
        assert other.value("SELECT 1") == "fake"


@pytest.mark.parametrize("nonsense", [b"X" * 20, message("R", b""), message("R", b"\0\0"), message("S", b"x"), pytest.param(message("Z", b""), marks=since(1, 21, "1.18 crashes")),
                                      message("R", struct.pack("!I", 10) + b"OTHER-MECHANISM\0\0"),
                                      message("R", struct.pack("!I", 11) + b"r=x,s=y,i=z"), message("\x07", b"")])
def test_nonsense_in_the_login_of_the_server_is_survived(pool, nonsense):
    def talk(client):
        client.send(nonsense)
        client.read(1 << 20)
    with FakeServer(login=talk) as fake:
        pooler = to_fake(pool, fake, server_connect_timeout=1, client_login_timeout=1)
        pooler.raw(login=False).start().closed(8)
        assert pooler.admin("SHOW VERSION")


def test_data_behind_the_answer_to_ssl_request_is_refused(pool):
    """What a man in the middle would push in before encryption."""
    def both(client):
        client.read(8)
        client.send(b"N" + error("FATAL", "XX000", "injected"))
        try:
            client.read(1 << 20)
        except OSError:
            pass
    with FakeServer(before_startup=both) as fake:
        pooler = to_fake(pool, fake, server_tls_sslmode="prefer", client_login_timeout=1.5, server_connect_timeout=1)
        why = fatal(pooler.raw(login=False).start())[2]
        assert why != "injected" or version() < (1, 21)


def test_a_query_sent_unasked_by_an_idle_server_reaches_nobody(pool):
    with FakeServer() as fake:
        pooler = to_fake(pool, fake, default_pool_size=1)
        client = pooler.raw()
        client.value("SELECT 1")
        fake.connections[0].send(row("smuggled"))
        assert client.silent(0.3)
        assert client.value("SELECT 1") == "fake"


@since(1, 21)
@pytest.mark.parametrize("unasked", [error("ERROR", "XX000", "odd"), message("N", b"SNOTICE\0C00000\0Modd\0\0"),
                                     message("S", text("TimeZone") + text("Asia/Tokyo"))])
def test_an_idle_server_that_speaks_is_not_used_again(pool, unasked):
    with FakeServer() as fake:
        pooler = to_fake(pool, fake, default_pool_size=1)
        client = pooler.raw()
        client.value("SELECT 1")
        fake.connections[0].send(unasked)
        wait_for(lambda: pooler.pool()["sv_idle"] == 0, 5, "it is closed")
        assert client.value("SELECT 1") == "fake" and len(fake.connections) == 2


def test_an_idle_server_may_send_a_notification(pool):
    with FakeServer() as fake:
        pooler = to_fake(pool, fake, default_pool_size=1)
        client = pooler.raw()
        client.value("SELECT 1")
        fake.connections[0].send(message("A", struct.pack("!I", 1) + text("news") + text("")))
        assert client.silent(0.4)
        assert client.value("SELECT 1") == "fake" and len(fake.connections) == 1


# --- several hosts ---

@since(1, 24)
def test_hosts_of_a_list_take_turns(pool):
    with FakeServer() as one:
        pooler = pool({"default_pool_size": 4}, databases={"db1": f"host=127.0.0.1,localhost port={one.port}"})
        holders = [pooler.raw() for _ in range(2)]
        for holder in holders:
            holder.send(query("SELECT 1")).until("Z")
        assert pooler.pool()["load_balance_hosts"] == "round-robin"


def test_a_host_name_is_resolved(pool, pg):
    pooler = pool(databases={"db1": f"host=localhost port={pg.port} dbname=db1"})
    assert pooler.query("SELECT 1") == [(1,)]
    assert "localhost" in [r["hostname"] for r in pooler.admin("SHOW DNS_HOSTS")]


def test_an_unknown_host_name(pool):
    pooler = pool({"client_login_timeout": 1.5, "dns_nxdomain_ttl": 1}, databases={"db1": "host=nosuch.invalid port=5432"})
    assert fatal(pooler.raw(login=False).start())[0] == "FATAL"
    pooler.wait_log("DNS")


def test_a_server_on_a_unix_socket(pool, pg):
    pooler = pool(databases={"db1": f"host={pg.directory} port={pg.port} dbname=db1"})
    assert pooler.query("SELECT inet_client_addr()") == [(None,)]


# --- random trouble ---

def test_nothing_leaks_in_a_series_of_kills(pool, pg):
    """Clients come and go, backends are killed, some leave in transactions: at the end the counters are what they were."""
    pooler = pool({"server_login_retry": 0.1, "default_pool_size": 4})
    for turn in range(15):
        clients = [pooler.raw() for _ in range(6)]
        for i, client in enumerate(clients):
            if i % 3 == 0:
                client.send(query("BEGIN"))
            else:
                client.send(query("SELECT pg_sleep(0.01)"))
        if turn % 2:
            pg.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'db1' AND pid <> pg_backend_pid()")
        for client in clients:
            client.close()
    wait_for(lambda: pooler.pool()["cl_active"] == pooler.pool()["cl_waiting"] == pooler.pool()["sv_active"] == 0, 10,
             "no client and no busy server is left")
    lists = {r["list"]: r["items"] for r in pooler.admin("SHOW LISTS")}
    assert lists["used_clients"] == 1 and lists["used_servers"] <= 4
    assert rows_of(pooler.connect(), "SELECT 1") == [(1,)]
    holds(lambda: len(pg.sessions()) <= 4, 0.2, "no connection is left over")


def test_errors_of_the_server_pass_verbatim(pool):
    whole = error("ERROR", "P0001", "all of it")
    with FakeServer(answer=lambda client, got: client.send(whole + READY)) as fake:
        answers = to_fake(pool, fake).raw().query("SELECT 1")
        assert answers[0].body == whole[5:] and errors(answers) == ["all of it"]


def test_a_slow_server_does_not_block_other_clients(pool, pg):
    with FakeServer(answer=lambda client, got: None) as fake:
        pooler = pool(databases={"db1": f"host=127.0.0.1 port={fake.port}", "db2": f"host=127.0.0.1 port={pg.port} dbname=db2"})
        for _ in range(5):
            pooler.raw().send(query("SELECT 1"))
        started = time.monotonic()
        client = pooler.connect(dbname="db2")
        for _ in range(50):
            value_of(client, "SELECT 1")
        assert time.monotonic() - started < 5
