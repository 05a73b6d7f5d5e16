"""The protocol by hand: before and during login, extended queries, COPY, large messages, cancel requests, garbage."""

import struct
import subprocess
import threading

import pytest

from harness import wait_for
from pool_harness import Background, holds, ours_only, rows_of, since, version
from pool_wire import (COPY_DONE, FLUSH, GSSENC_REQUEST, PROTOCOL_3_0, PROTOCOL_3_2, SSL_REQUEST, SYNC, TERMINATE, bind,
                       cancel_request, close, copy_data, copy_fail, describe, errors, execute, function_call, kinds, message, parse,
                       query, startup)


def fresh(pool, **settings):
    return pool(settings).raw(login=False)


def refused(client):
    error = client.fatal()
    assert (error["S"], error["C"]) == ("FATAL", "08P01")
    return error["M"]


# --- before the login ---

def test_ssl_request_is_answered_n_without_tls(pool):
    client = fresh(pool).send(SSL_REQUEST)
    assert client.read(1) == b"N"
    client.login()
    assert client.value("SELECT 1") == "1"


def test_gssenc_request_is_answered_n(pool):
    client = fresh(pool).send(GSSENC_REQUEST)
    assert client.read(1) == b"N"
    assert client.send(SSL_REQUEST).read(1) == b"N"
    client.login()


@since(1, 21)
@pytest.mark.parametrize("request_, text", [(SSL_REQUEST, "received unencrypted data after SSL request"),
                                            (GSSENC_REQUEST, "received unencrypted data after GSSAPI encryption request")])
def test_data_behind_a_negotiation_request_is_refused(pool, request_, text):
    client = fresh(pool).send(request_ + startup({"user": "app", "database": "db1"}))
    messages = client.socket.recv(4096)
    assert text.encode() in messages or b"R\0\0\0" not in messages


@ours_only  # 1.18: "client sent partial pkt in startup phase"
def test_a_startup_in_pieces_is_understood(pool):
    client = fresh(pool)
    for byte in startup({"user": "app", "database": "db1"}):
        client.send(bytes([byte]))
    assert client.until("Z", "E")[-1].kind == "Z"


def test_protocol_2_is_refused(pool):
    client = fresh(pool).send(struct.pack("!II", 296, 0x00020000) + b"\0" * 288)
    assert refused(client) == "old V2 protocol not supported"


@since(1, 23)
def test_protocol_3_2_is_negotiated_down(pool):
    client = fresh(pool).start(protocol=PROTOCOL_3_2)
    first = client.receive()
    assert (first.kind, struct.unpack_from("!II", first.body)) == ("v", (PROTOCOL_3_0, 0))
    assert client.until("Z", "E")[-1].kind == "Z"


@since(1, 23)
def test_unknown_protocol_options_are_listed_once(pool):
    client = fresh(pool).start(**{"_pq_.one": "1", "_pq_.two": "x"})
    messages = client.until("Z", "E")
    negotiated = [m for m in messages if m.kind == "v"]
    assert len(negotiated) == 1 and messages[0].kind == "v"
    version_, count = struct.unpack_from("!II", negotiated[0].body)
    assert (version_, count) == (PROTOCOL_3_0, 2)
    assert negotiated[0].body[8:].split(b"\0")[:2] == [b"_pq_.one", b"_pq_.two"]


def test_protocol_4_is_a_bad_header(pool):
    client = fresh(pool).start(protocol=0x00040000)
    assert refused(client).startswith("bad packet header: '")


@since(1, 21)
def test_the_bad_header_is_told_in_hex(pool):
    client = fresh(pool).send(b"GET / HTTP/1.1\r\n\r\n")
    assert refused(client).startswith("bad packet header: '47455420")


def test_an_oversized_startup_is_refused(pool):
    client = fresh(pool).send(struct.pack("!II", 1 << 20, PROTOCOL_3_0))
    assert refused(client).startswith("bad packet header: '")


def test_a_startup_length_below_its_header_is_refused(pool):
    client = fresh(pool).send(struct.pack("!II", 4, PROTOCOL_3_0))
    assert refused(client).startswith("bad packet header: '")


@since(1, 20)
def test_a_startup_without_terminator_is_refused(pool):
    body = struct.pack("!I", PROTOCOL_3_0) + b"user\0app\0database\0db1\0x"
    client = fresh(pool).send(struct.pack("!I", len(body) + 4) + body)
    assert "invalid startup packet layout: expected terminator as last byte" in refused(client)


def test_a_startup_without_a_user_is_refused(pool):
    assert refused(fresh(pool).start(user=None)) == "no username supplied"


def test_without_a_database_the_user_names_it(pool):
    pooler = pool(start=False)
    pooler.databases["app"] = pooler.to("db1")
    pooler.write()
    pooler.start()
    client = pooler.raw(database=None)
    assert client.value("SELECT current_database()") == "db1"


def test_an_unknown_database_is_told_after_authentication(pool):
    assert refused(fresh(pool).start(database="nosuch")) == "no such database: nosuch"


def test_an_unsupported_startup_parameter_is_named(pool):
    assert refused(fresh(pool).start(extra_float_digits="2")) == "unsupported startup parameter: extra_float_digits"


def test_tracked_parameters_are_taken_in_any_case(pool):
    client = fresh(pool).login(timezone="America/New_York", datestyle="German")
    assert client.value("SHOW TimeZone") == "America/New_York"


@since(1, 20)
@pytest.mark.parametrize("options", ["-c timezone=UTC", "--timezone=UTC", "-c timezone=UTC -c datestyle=ISO",
                                     "-c application_name=with\\ blank"])
def test_options_with_tracked_parameters_are_taken(pool, options):
    fresh(pool).login(options=options)


@since(1, 20)
def test_the_value_of_an_option_is_unescaped(pool):
    assert fresh(pool).login(options="-c application_name=with\\ blank").value("SHOW application_name") == "with blank"


@since(1, 20)
def test_options_with_an_unsupported_parameter_name_it(pool):
    client = fresh(pool).start(options="-c work_mem=1MB")
    assert refused(client) == "unsupported startup parameter in options: work_mem"


@since(1, 20)
@pytest.mark.parametrize("options", ["-h", "-c", "nonsense", "-cwork"])
def test_options_of_another_syntax_are_refused(pool, options):
    assert refused(fresh(pool).start(options=options)).startswith("unsupported options startup parameter: only '-c config=val'")


@since(1, 20)
def test_ignored_options(pool):
    fresh(pool, ignore_startup_parameters="options").login(options="-c work_mem=1MB -c timezone=UTC")
    fresh(pool, ignore_startup_parameters="search_path").login(options="-c search_path=x")


def test_the_welcome(pool, pg):
    client = fresh(pool).login()
    assert [m.kind for m in client.welcome if m.kind != "S"] == ["R", "K", "Z"]
    assert client.welcome[0].body == b"\0\0\0\0" and client.welcome[-1].body == b"I"
    assert client.parameters["server_version"] == pg.value("SHOW server_version")
    assert {"client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings", "server_encoding", "integer_datetimes",
            "is_superuser", "session_authorization", "IntervalStyle"} <= set(client.parameters)


def test_the_cancel_key_has_no_sign(pool):
    assert fresh(pool).login().key[0] & 0x80 == 0 or version() < (1, 21)


def test_a_second_startup_is_refused(pool):
    client = fresh(pool, auth_type="plain").start()
    assert client.receive().kind == "R"
    client.send(startup({"user": "app", "database": "db1"}))
    client.closed()


def test_a_query_before_authentication_is_refused(pool):
    client = fresh(pool, auth_type="plain").start()
    assert client.receive().kind == "R"
    assert client.send(query("SELECT 1")).closed() is not None


def test_pipelined_queries_behind_the_startup_are_answered(pool):
    client = fresh(pool).send(startup({"user": "app", "database": "db1"}) + query("SELECT 'early'"))
    client.until("Z")
    assert [m.values for m in client.until("Z") if m.kind == "D"] == [["early"]]


def test_a_client_that_connects_and_leaves_is_not_logged(pool):
    pooler = pool()
    before = pooler.log()
    pooler.plain_socket().close()
    pooler.query("SELECT 1")
    assert "(nodb)/(nouser)" not in pooler.log()[len(before):]


# --- garbage after the login ---

@pytest.mark.parametrize("garbage", [message("y"), message("p", b"secret\0"), message("W"), message("\x01", b"1234")])
def test_unknown_messages_close_the_client_and_nobody_else(pool, garbage):
    pooler = pool()
    other, client = pooler.raw(), pooler.raw()
    assert client.send(garbage).fatal()["M"] == "unknown pkt"
    assert other.value("SELECT 1") == "1"


@pytest.mark.parametrize("length", [0, 1, 3, 0x80000000, 0xffffffff])
def test_bad_lengths_close_the_client_and_nobody_else(pool, length):
    pooler = pool()
    other, client = pooler.raw(), pooler.raw()
    client.send(b"Q" + struct.pack("!I", length) + b"SELECT 1\0")
    client.closed()
    assert other.value("SELECT 1") == "1"


def test_max_packet_size(pool):
    pooler = pool({"max_packet_size": 10000})
    client = pooler.raw()
    assert client.value("SELECT 1") == "1"
    client.send(query("SELECT '" + "x" * 20000 + "'")).closed()
    assert pooler.query("SELECT 1") == [(1,)]


def test_garbage_behind_a_query_in_one_packet(pool):
    pooler = pool({"default_pool_size": 1})
    pooler.raw().send(query("SELECT pg_sleep(0.1)"), message("y", b"rubbish")).closed()
    assert pooler.query("SELECT 1") == [(1,)]


def test_disable_pqexec(pool):
    client = pool({"disable_pqexec": 1}).raw()
    assert kinds(client.run("SELECT 1")) == "1 2 T D C Z"
    assert client.send(query("SELECT 1")).fatal()["M"] == "PQexec disallowed"


# --- queries ---

def test_an_empty_query(pool):
    assert kinds(fresh(pool).login().query("")) == "I Z"


def test_empty_extended_query(pool):
    assert kinds(fresh(pool).login().run("")) == "1 2 n I Z"


def test_values_of_parameters_pass_unchanged(pool):
    client = fresh(pool).login()
    answers = client.run("SELECT $1::text, $2::int, $3::text", ["ä'\\", "7", None])
    assert [m.values for m in answers if m.kind == "D"] == [["ä'\\", "7", None]]


def test_binary_formats_pass(pool):
    client = fresh(pool).login()
    client.send(parse("", "SELECT $1::int8 + 1", [20]), bind(values=[struct.pack("!q", 41)], formats=[1], results=[1]), execute(), SYNC)
    row = next(m for m in client.until("Z") if m.kind == "D")
    assert row.body[-8:] == struct.pack("!q", 42)


def test_describe_of_the_unnamed_statement(pool):
    client = fresh(pool).login()
    client.send(parse("", "SELECT $1::int AS n"), describe("S"), SYNC)
    assert kinds(client.until("Z")) == "1 t T Z"


def test_portals_with_row_limits_and_flush(pool):
    client = fresh(pool, default_pool_size=1).login()
    client.send(parse("", "SELECT generate_series(1, 5)"), bind("p"), execute("p", 2), FLUSH)
    client.expect("1 2 D D s")
    client.send(execute("p", 2), FLUSH).expect("D D s")
    client.send(execute("p", 2), FLUSH).expect("D C")
    client.send(close("P", "p"), SYNC).expect("3 Z")


def test_a_portal_lives_until_the_end_of_its_transaction(pool):
    client = fresh(pool).login()
    client.query("BEGIN")
    client.send(parse("", "SELECT generate_series(1, 3)"), bind("p"), SYNC).expect("1 2 Z")
    client.send(execute("p", 2), SYNC).expect("D D s Z")
    client.send(execute("p"), SYNC).expect("D C Z")
    client.query("COMMIT")
    assert errors(client.send(execute("p"), SYNC).until("Z")) == ['portal "p" does not exist']


def test_sync_alone(pool):
    assert kinds(fresh(pool).login().send(SYNC).until("Z")) == "Z"


def test_flush_after_an_error_is_silent_until_sync(pool):
    client = fresh(pool).login()
    client.send(parse("", "SELECT nonsense"), FLUSH).expect("E")
    client.send(bind(), execute(), SYNC).expect("Z")
    assert client.value("SELECT 1") == "1"


def test_function_call(pool, pg):
    oid = pg.value("SELECT 'int4abs(integer)'::regprocedure::oid")
    answers = fresh(pool).login().send(function_call(oid, ["-7"])).until("Z")
    assert kinds(answers) == "V Z" and answers[0].body[4:] == b"7", errors(answers)


def test_function_call_with_an_error(pool):
    client = fresh(pool).login()
    assert kinds(client.send(function_call(1, ["abc"])).until("Z")) == "E Z"
    assert client.value("SELECT 1") == "1"


def test_notices_pass(pool):
    answers = fresh(pool).login().query("DO $$BEGIN RAISE NOTICE 'look'; END$$")
    assert [m.fields["M"] for m in answers if m.kind == "N"] == ["look"]


def test_notifications_reach_the_linked_client(pool):
    pooler = pool({"pool_mode": "session"})
    listener = pooler.raw()
    listener.query("LISTEN news")
    pooler.query("NOTIFY news, 'of the day'")
    answer = listener.receive()
    assert answer.kind == "A" and answer.body[4:].split(b"\0")[:2] == [b"news", b"of the day"]


def test_parameter_changes_are_reported(pool):
    answers = fresh(pool).login().query("SET application_name = 'renamed'")
    assert [m.body for m in answers if m.kind == "S"] == [b"application_name\0renamed\0"]


# --- COPY ---

@pytest.fixture
def copying(pool):
    """A client on a pool of one, with a table `copied`."""
    pooler = pool({"default_pool_size": 1})
    client = pooler.raw()
    client.query("DROP TABLE IF EXISTS copied; CREATE TABLE copied (t text)")
    client.pooler = pooler
    return client


def test_copy_in(copying):
    copying.send(query("COPY copied FROM STDIN")).expect("G")
    copying.send(*(copy_data(f"row {i}\n".encode()) for i in range(1000)), COPY_DONE)
    answers = copying.until("Z")
    assert kinds(answers) == "C Z" and answers[0].string == "COPY 1000"
    assert copying.pooler.query("SELECT count(*) FROM copied") == [(1000,)]


def test_copy_out(copying):
    answers = copying.query("COPY (SELECT generate_series(1, 1000)) TO STDOUT")
    assert kinds(answers) == "H " + "d " * 1000 + "c C Z"


def test_copy_fail(copying):
    copying.send(query("COPY copied FROM STDIN")).expect("G")
    answers = copying.send(copy_data(b"one\n"), copy_fail("no more")).until("Z")
    assert errors(answers) == ["COPY from stdin failed: no more"]
    assert copying.pooler.query("SELECT count(*) FROM copied") == [(0,)]


def test_a_server_error_during_copy_in(copying):
    copying.query("CREATE TABLE IF NOT EXISTS numbers (i int)")
    copying.send(query("COPY numbers FROM STDIN")).expect("G")
    copying.send(copy_data(b"not a number\n"), *[copy_data(b"1\n")] * 100, COPY_DONE)
    answers = copying.until("Z")
    assert kinds(answers) == "E Z" and "invalid input syntax" in errors(answers)[0]
    assert copying.value("SELECT 1") == "1"
    assert copying.pooler.query("SELECT 1") == [(1,)]


@since(1, 25)
def test_a_server_error_seen_before_the_copy_data_are_all_sent(copying):
    """The client does not know yet, and goes on to send: that must reach nobody else."""
    copying.query("CREATE TABLE IF NOT EXISTS numbers (i int)")
    copying.send(query("COPY numbers FROM STDIN")).expect("G")
    copying.send(copy_data(b"not a number\n"), copy_data(b"x" * 70000 + b"\n"))
    assert kinds(copying.until("Z")) == "E Z"
    other = copying.pooler.raw()
    copying.send(*[copy_data(b"1\n")] * 10, COPY_DONE)
    assert other.value("SELECT 5") == "5"
    assert copying.value("SELECT 1") == "1"


def test_copy_in_over_the_extended_protocol(copying):
    copying.send(parse("", "COPY copied FROM STDIN"), bind(), execute(), FLUSH).expect("1 2 G")
    answers = copying.send(copy_data(b"a\n"), COPY_DONE, SYNC).until("Z")
    assert kinds(answers) == "C Z"
    assert copying.pooler.query("SELECT count(*) FROM copied") == [(1,)]


def test_copy_fail_over_the_extended_protocol(copying):
    copying.send(parse("", "COPY copied FROM STDIN"), bind(), execute(), FLUSH).expect("1 2 G")
    assert kinds(copying.send(copy_fail("no"), SYNC).until("Z")) == "E Z"
    assert copying.value("SELECT 1") == "1"


def test_copy_in_a_transaction_keeps_it_open(copying):
    copying.query("BEGIN")
    copying.send(query("COPY copied FROM STDIN")).expect("G")
    answers = copying.send(copy_data(b"a\n"), COPY_DONE).until("Z")
    assert answers[-1].body == b"T"
    assert copying.query("ROLLBACK")[-1].body == b"I"


def test_a_client_that_leaves_during_copy_in_commits_nothing(copying, pg):
    pooler = copying.pooler
    copying.send(query("COPY copied FROM STDIN")).expect("G")
    copying.send(copy_data(b"lost\n"))
    copying.close()
    assert pooler.query("SELECT count(*) FROM copied") == [(0,)]


# --- large messages ---

def test_a_large_query_passes_unchanged(pool):
    assert fresh(pool).login().value("SELECT md5('" + "q" * 5_000_000 + "')") == \
        __import__("hashlib").md5(b"q" * 5_000_000).hexdigest()


def test_a_large_parameter_passes_unchanged(pool):
    client = fresh(pool).login()
    answers = client.run("SELECT length($1::text)", ["p" * 20_000_000])
    assert [m.values for m in answers if m.kind == "D"] == [["20000000"]]


@since(1, 22)
def test_a_large_parameter_of_a_named_statement_passes_unchanged(pool):
    client = fresh(pool).login()
    client.send(parse("big", "SELECT length($1::text)"), SYNC).expect("1 Z")
    answers = client.send(bind("", "big", ["p" * 20_000_000]), execute(), SYNC).until("Z")
    assert [m.values for m in answers if m.kind == "D"] == [["20000000"]]


def test_a_large_row_passes_unchanged(pool):
    assert len(fresh(pool).login().value("SELECT repeat('r', 30000000)")) == 30_000_000


def test_large_messages_take_constant_memory(pool):
    pooler = pool()
    client = pooler.raw()
    client.value("SELECT repeat('r', 100000)")
    before = pooler.memory_kb()
    most = [0]
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            most[0] = max(most[0], pooler.memory_kb())
            stop.wait(0.01)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        client.value("SELECT repeat('r', 100000000)")
        client.run("SELECT length($1::text)", ["p" * 50_000_000])
    finally:
        stop.set()
        watcher.join()
    assert most[0] - before < 8000, f"{before} kB became {most[0]} kB"


def test_a_client_that_reads_slowly_gets_everything(pool):
    client = fresh(pool).login()
    client.send(query("SELECT repeat('s', 1000) FROM generate_series(1, 5000)"))
    total = 0
    while total < 5_000_000:
        data = client.socket.recv(8192)
        assert data
        total += len(data)


def test_many_rows_pass_in_order(pool):
    answers = fresh(pool).login().query("SELECT generate_series(1, 50000)")
    assert [m.values[0] for m in answers if m.kind == "D"] == [str(i) for i in range(1, 50001)]


def test_a_client_that_writes_much_without_reading_is_served(pool):
    """Both directions are full: only a pooler that reads while it cannot write goes on."""
    client = fresh(pool).login()
    count = 3000
    writer = Background(lambda: client.send(*(query(f"SELECT '{'x' * 1000}'") for _ in range(count))))
    for _ in range(count):
        client.until("Z")
    writer.result()


# --- cancel requests ---

def wait_running(pooler):
    """PostgreSQL forgets a cancel request that comes before the query does."""
    wait_for(lambda: pooler.server.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND state = 'active' "
                                         "AND datname = 'db1'"), 5, "the query runs")


def test_a_cancel_request_ends_the_query(pool):
    pooler = pool()
    client = pooler.raw()
    client.send(query("SELECT pg_sleep(30)"))
    wait_running(pooler)
    assert pooler.raw(login=False).send(cancel_request(client.key)).closed() == []
    answers = client.until("Z")
    assert [m.fields["C"] for m in answers if m.kind == "E"] == ["57014"]
    assert client.value("SELECT 1") == "1"


def test_a_cancel_request_inside_a_transaction_keeps_it(pool):
    pooler = pool()
    client = pooler.raw()
    client.query("BEGIN")
    client.send(query("SELECT pg_sleep(30)"))
    wait_running(pooler)
    pooler.raw(login=False).send(cancel_request(client.key)).closed()
    assert client.until("Z")[-1].body == b"E"
    client.query("ROLLBACK")


def test_a_cancel_request_works_when_the_pool_is_full(pool):
    pooler = pool({"default_pool_size": 1})
    client = pooler.raw()
    client.send(query("SELECT pg_sleep(30)"))
    wait_running(pooler)
    pooler.raw(login=False).send(cancel_request(client.key)).closed()
    assert kinds(client.until("Z")).endswith("E Z")


def test_a_cancel_request_of_an_idle_client_does_nothing(pool):
    pooler = pool({"default_pool_size": 1})
    idle, busy = pooler.raw(), pooler.raw()
    idle.value("SELECT 1")
    busy.send(query("SELECT pg_sleep(0.5), 'kept'"))
    pooler.wait_pool(sv_active=1)
    assert pooler.raw(login=False).send(cancel_request(idle.key)).closed() == []
    assert kinds(busy.until("Z")) == "T D C Z"


def test_a_cancel_request_of_a_waiting_client_does_not_hit_another(pool):
    pooler = pool({"default_pool_size": 1})
    busy, waiter = pooler.raw(), pooler.raw()
    busy.send(query("SELECT pg_sleep(0.6), 'kept'"))
    pooler.wait_pool(sv_active=1)
    waiter.send(query("SELECT 'served'"))
    pooler.wait_pool(cl_waiting=1)
    assert pooler.raw(login=False).send(cancel_request(waiter.key)).closed() == []
    assert kinds(busy.until("Z")) == "T D C Z"
    assert kinds(waiter.until("Z")) == "T D C Z"


@pytest.mark.parametrize("key", [b"\0" * 8, b"12345678"])
def test_a_cancel_request_with_a_wrong_key_is_closed_silently(pool, key):
    pooler = pool()
    client = pooler.raw()
    client.send(query("SELECT pg_sleep(0.3)"))
    assert pooler.raw(login=False).send(cancel_request(key)).closed() == []
    assert kinds(client.until("Z")) == "T D C Z"


@pytest.mark.parametrize("key", [b"", b"1234", b"x" * 32])
def test_a_cancel_request_with_a_key_of_another_length_is_closed(pool, key):
    pooler = pool()
    assert not [m for m in pooler.raw(login=False).send(cancel_request(key)).closed() if m.kind != "E"]
    assert pooler.query("SELECT 1") == [(1,)]


def test_a_late_cancel_request_never_hits_the_next_client(pool):
    """Many races between the end of a query and its cancel; the other client's queries all succeed."""
    pooler = pool({"default_pool_size": 1})
    victim, other = pooler.raw(), pooler.raw()
    for _ in range(30):
        victim.send(query("SELECT pg_sleep(0.002)"))
        canceler = pooler.raw(login=False).send(cancel_request(victim.key))
        other.send(query("SELECT 'mine'"))
        victim.until("Z")
        assert kinds(other.until("Z")) == "T D C Z"
        canceler.closed()


def test_show_pools_counts_cancel_requests_back_to_zero(pool):
    pooler = pool()
    client = pooler.raw()
    client.send(query("SELECT pg_sleep(30)"))
    wait_running(pooler)
    pooler.raw(login=False).send(cancel_request(client.key)).closed()
    client.until("Z")
    if version() >= (1, 19):
        pooler.wait_pool(cl_active_cancel_req=0, cl_waiting_cancel_req=0, sv_active_cancel=0, sv_being_canceled=0)


# --- replication connections ---

@since(1, 23)
def test_a_physical_replication_connection(pool):
    pooler = pool()
    client = pooler.raw(replication="yes")
    answers = client.query("IDENTIFY_SYSTEM")
    assert kinds(answers) == "T D C Z"
    row = next(r for r in pooler.admin("SHOW CLIENTS") if r["user"] == "app")
    assert row["replication"] == "physical"


@since(1, 23)
def test_a_logical_replication_connection_takes_queries(pool):
    client = pool().raw(replication="database")
    assert kinds(client.query("SELECT 1")) == "T D C Z"
    assert kinds(client.query("IDENTIFY_SYSTEM")) == "T D C Z"


@since(1, 23)
def test_the_server_of_a_replication_connection_is_not_reused(pool, pg):
    pooler = pool()
    client = pooler.raw(replication="database")
    backend = int(client.value("SELECT pg_backend_pid()"))
    client.close()
    wait_for(lambda: backend not in pg.sessions(), 10, "its server connection is closed")


@since(1, 23)
def test_pg_receivewal_runs_through_the_pooler(pool, pg):
    """It always names a database 'replication', which PostgreSQL does not look at."""
    pooler = pool(start=False)
    pooler.databases["replication"] = pooler.to("db1")
    pooler.write()
    pooler.start()
    out = subprocess.run(["pg_receivewal", "-D", str(pooler.directory), "-h", "127.0.0.1", "-p", str(pooler.port), "-U", "app",
                          "--create-slot", "-S", "by_pooler"], capture_output=True, text=True, timeout=30)
    try:
        assert out.returncode == 0, out.stderr
    finally:
        pg.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'by_pooler'")


def test_terminate_is_not_forwarded(pool, pg):
    pooler = pool({"default_pool_size": 1})
    client = pooler.raw()
    backend = client.value("SELECT pg_backend_pid()")
    client.send(TERMINATE).closed()
    assert pooler.raw().value("SELECT pg_backend_pid()") == backend


def test_a_half_sent_query_holds_no_server(pool):
    pooler = pool({"default_pool_size": 1})
    client = pooler.raw()
    whole = query("SELECT 'late'")
    client.send(whole[:3])
    assert pooler.query("SELECT 1") == [(1,)]
    client.send(whole[3:])
    assert [m.values for m in client.until("Z") if m.kind == "D"] == [["late"]]


def test_a_query_in_single_bytes_is_understood(pool):
    client = fresh(pool).login()
    for byte in parse("", "SELECT 'bytes'") + bind() + execute() + SYNC:
        client.send(bytes([byte]))
    assert [m.values for m in client.until("Z") if m.kind == "D"] == [["bytes"]]


def test_connections_do_not_leak(pool):
    pooler = pool()
    for _ in range(50):
        pooler.raw().close()
    wait_for(lambda: next(r["items"] for r in pooler.admin("SHOW LISTS") if r["list"] == "used_clients") == 1, 10, "only the console")
    assert rows_of(pooler.connect(), "SELECT 1") == [(1,)]


def test_nothing_arrives_unasked(pool):
    client = fresh(pool).login()
    client.value("SELECT 1")
    holds(lambda: client.silent(0.1), 0.5, "silence")


@ours_only
def test_the_rest_of_a_message_goes_where_its_begin_went(pool):
    """A transaction that ends while the client is inside a message keeps its connection until that is complete."""
    pooler = pool({"default_pool_size": 1})
    client, other = pooler.raw(), pooler.raw()
    late = copy_data(b"x" * 5000)
    client.send(query("SELECT 1"), late[:100])
    assert client.until("Z")[-1].body == b"I"
    assert pooler.pool()["sv_active"] == 1
    client.send(late[100:])
    assert other.value("SELECT 2") == "2"  # it has been given back
    client.send(query("SELECT 3"))
    assert [m.values for m in client.until("Z") if m.kind == "D"] == [["3"]]
