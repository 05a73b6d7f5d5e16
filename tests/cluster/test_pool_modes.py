"""When a client gets a server connection and when it gives it back, in each pool mode."""

import os
import time

import pytest

from harness import wait_for
from pool_harness import Background, backend_of, failure_of, rows_of, since, value_of
from pool_wire import COPY_DONE, FLUSH, SYNC, TERMINATE, bind, copy_data, describe, errors, execute, kinds, parse, query


# Each worker has idle servers of its own, and serves its own queue in strict order. Between workers a client goes first
# once it has waited 2 ms longer (docs/pool-process.md, "Several workers"), so exact order is one worker's.
ONE_WORKER = {"workers": 1} if not os.environ.get("PGVIGIL_POOLER") else {}


def one_connection(pool, mode="transaction", **settings):
    return pool({"pool_mode": mode, "default_pool_size": 1, **settings})


def test_session_mode_keeps_the_server_until_the_client_leaves(pool):
    pooler = one_connection(pool, "session")
    first = pooler.connect()
    backend = backend_of(first)
    second = Background(lambda: backend_of(pooler.connect()))
    pooler.wait_pool(cl_waiting=1, sv_active=1)
    first.close()
    assert second.result() == backend


def test_session_mode_takes_no_server_at_login(pool):
    pooler = one_connection(pool, "session")
    clients = [pooler.connect() for _ in range(3)]
    assert backend_of(clients[2])


def test_session_mode_keeps_session_state(pool):
    client = one_connection(pool, "session").connect()
    rows_of(client, "SET work_mem = '7MB'; CREATE TEMP TABLE mine (i int)")
    assert value_of(client, "SHOW work_mem") == "7MB"
    assert rows_of(client, "SELECT * FROM mine") == []


def test_session_mode_resets_between_clients(pool):
    pooler = one_connection(pool, "session")
    first = pooler.connect()
    backend = backend_of(first)
    rows_of(first, "SET work_mem = '7MB'; CREATE TEMP TABLE mine (i int)")
    first.close()
    second = pooler.connect()
    assert backend_of(second) == backend
    assert value_of(second, "SHOW work_mem") == "4MB"
    assert value_of(second, "SELECT to_regclass('mine')") is None


def test_transaction_mode_gives_back_after_each_statement_outside_a_transaction(pool):
    pooler = one_connection(pool)
    first, second = pooler.connect(), pooler.connect()
    for _ in range(3):
        assert backend_of(first) == backend_of(second)


def test_transaction_mode_keeps_the_server_until_commit(pool):
    pooler = one_connection(pool)
    holder = pooler.raw()
    holder.query("BEGIN")
    waiter = Background(pooler.query, "SELECT 7")
    pooler.wait_pool(cl_waiting=1, sv_active=1)
    holder.query("SELECT 1")
    assert not waiter.done()
    holder.query("COMMIT")
    assert waiter.result() == [(7,)]


def test_transaction_mode_keeps_the_server_of_a_failed_transaction(pool):
    pooler = one_connection(pool)
    holder = pooler.raw()
    holder.query("BEGIN")
    assert errors(holder.query("SELECT 1/0")) == ["division by zero"]
    waiter = Background(pooler.query, "SELECT 7")
    pooler.wait_pool(cl_waiting=1, sv_active=1)
    holder.query("ROLLBACK")
    assert waiter.result() == [(7,)]


def test_transaction_mode_does_not_reset_by_default(pool):
    pooler = one_connection(pool)
    rows_of(pooler.connect(), "SET work_mem = '7MB'")
    assert pooler.query("SHOW work_mem") == [("7MB",)]


def test_server_reset_query_always_resets_in_transaction_mode(pool):
    pooler = one_connection(pool, server_reset_query_always=1)
    rows_of(pooler.connect(), "SET work_mem = '7MB'")
    assert pooler.query("SHOW work_mem") == [("4MB",)]


def test_an_own_reset_query_is_used(pool):
    pooler = one_connection(pool, "session", server_reset_query="SET work_mem = '9MB'")
    rows_of(pooler.connect(), "SELECT 1")
    pooler.open.pop().close()
    assert pooler.query("SHOW work_mem") == [("9MB",)]


def test_an_empty_reset_query_resets_nothing(pool):
    pooler = one_connection(pool, "session", server_reset_query="")
    first = pooler.connect()
    rows_of(first, "SET work_mem = '7MB'")
    first.close()
    assert pooler.query("SHOW work_mem") == [("7MB",)]


def test_a_failing_reset_query_is_ignored(pool):
    pooler = one_connection(pool, "session", server_reset_query="SELECT 1/0")
    first = pooler.connect()
    assert value_of(first, "SELECT 1") == 1
    first.close()
    assert pooler.query("SELECT 2") == [(2,)]


@since(1, 25, "1.18 keeps it in state tested for ever")
def test_a_reset_query_that_leaves_a_transaction_open_costs_the_connection(pool):
    pooler = one_connection(pool, "session", server_reset_query="BEGIN")
    first = pooler.connect()
    backend = backend_of(first)
    first.close()
    assert backend_of(pooler.connect()) != backend


def test_statement_mode_gives_back_after_each_statement(pool):
    pooler = one_connection(pool, "statement")
    first, second = pooler.connect(), pooler.connect()
    assert backend_of(first) == backend_of(second)


def test_statement_mode_refuses_transaction_blocks(pool):
    pooler = one_connection(pool, "statement")
    client = pooler.raw().send(query("BEGIN"))
    assert client.fatal()["M"] == "transaction blocks not allowed in statement pooling mode"
    assert pooler.query("SELECT 1") == [(1,)]


def test_statement_mode_takes_many_statements_in_one_query(pool):
    client = one_connection(pool, "statement").raw()
    assert kinds(client.query("SELECT 1; SELECT 2")) == "T D C T D C Z"


@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
def test_multi_statement_queries_are_one_unit(pool, mode):
    client = one_connection(pool, mode).raw()
    answers = client.query("SELECT pg_backend_pid(); SELECT 1/0; SELECT 3")
    assert kinds(answers) == "T D C E Z"


def test_the_mode_of_a_database_overrides_the_global_one(pool):
    pooler = pool({"pool_mode": "session"}, databases={"db1": "pool_mode=transaction"})
    pooler.databases["db1"] = pooler.to("db1", "pool_mode=transaction pool_size=1")
    pooler.reload()
    first, second = pooler.connect(), pooler.connect()
    assert backend_of(first) == backend_of(second)
    assert pooler.pool()["pool_mode"] == "transaction"


def test_the_mode_of_a_user_overrides_that_of_the_database(pool):
    pooler = pool({"pool_mode": "session"}, user_settings={"app": "pool_mode=statement"})
    assert pooler.raw().send(query("BEGIN")).fatal()["M"].startswith("transaction blocks not allowed")


def test_a_pipeline_of_several_syncs_is_answered_in_order(pool):
    client = one_connection(pool).raw()
    for i in range(20):
        client.send(parse("", f"SELECT {i}"), bind(), execute(), SYNC)
    rows = []
    for _ in range(20):
        rows += [m.values[0] for m in client.until("Z") if m.kind == "D"]
    assert rows == [str(i) for i in range(20)]


def test_a_pipeline_keeps_its_server_until_the_last_answer(pool):
    pooler = pool({"default_pool_size": 2})
    client = pooler.raw()
    batch = [parse("", "SELECT pg_backend_pid(), pg_sleep(0.02)"), bind(), execute(), SYNC]
    client.send(*(batch * 10))
    backends = []
    for _ in range(10):
        backends += [m.values[0] for m in client.until("Z") if m.kind == "D"]
    assert len(backends) == 10
    assert len(set(backends)) == 1


def test_a_pipeline_of_simple_queries_is_answered_in_order(pool):
    client = one_connection(pool).raw()
    client.send(*(query(f"SELECT {i}") for i in range(50)))
    rows = []
    for _ in range(50):
        rows += [m.values[0] for m in client.until("Z") if m.kind == "D"]
    assert rows == [str(i) for i in range(50)]


def test_an_error_in_a_pipeline_skips_to_its_sync_only(pool):
    client = one_connection(pool).raw()
    one = [parse("", "SELECT 1"), bind(), execute()]
    client.send(*one, parse("", "SELECT 1/0"), bind(), execute(), *one, SYNC, *one, SYNC)
    first, second = client.until("Z"), client.until("Z")
    assert errors(first) == ["division by zero"] and kinds(first).startswith("1 2 D C 1")
    assert kinds(second) == "1 2 D C Z"


def test_a_transaction_over_several_syncs_is_one_transaction(pool):
    pooler = pool({"default_pool_size": 2})
    client, other = pooler.raw(), pooler.connect()
    client.query("CREATE TABLE IF NOT EXISTS pipelined (i int)")
    client.send(parse("", "BEGIN"), bind(), execute(), SYNC, parse("", "INSERT INTO pipelined VALUES (1)"), bind(), execute(), SYNC)
    client.until("Z"), client.until("Z")
    assert value_of(other, "SELECT count(*) FROM pipelined") == 0
    client.send(parse("", "ROLLBACK"), bind(), execute(), SYNC).until("Z")
    assert value_of(other, "SELECT count(*) FROM pipelined") == 0
    client.query("DROP TABLE pipelined")


def test_the_server_is_not_released_during_copy_in(pool):
    pooler = one_connection(pool)
    setup = pooler.connect()
    rows_of(setup, "DROP TABLE IF EXISTS copied; CREATE TABLE copied (i int)")
    client = pooler.raw()
    client.send(query("COPY copied FROM STDIN"))
    client.expect("G")
    client.send(copy_data(b"1\n"))
    waiter = Background(pooler.query, "SELECT count(*) FROM copied")
    pooler.wait_pool(cl_waiting=1, sv_active=1)
    client.send(copy_data(b"2\n"), COPY_DONE)
    client.expect("C Z")
    assert waiter.result() == [(2,)]
    rows_of(setup, "DROP TABLE copied")


def test_the_server_is_not_released_by_a_sync_sent_inside_copy_in(pool):
    """PostgreSQL answers no Sync that arrives while it reads COPY data."""
    pooler = one_connection(pool)
    rows_of(pooler.connect(), "DROP TABLE IF EXISTS copied; CREATE TABLE copied (i int)")
    client = pooler.raw()
    client.send(parse("", "COPY copied FROM STDIN"), bind(), execute(), SYNC)
    client.expect("1 2 G")
    client.send(copy_data(b"1\n"), COPY_DONE, SYNC)
    client.expect("C Z")
    assert client.value("SELECT count(*) FROM copied") == "1"
    assert pooler.query("SELECT count(*) FROM copied") == [(1,)]
    client.query("DROP TABLE copied")


def test_flush_alone_does_not_release(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    client.send(parse("", "SELECT 1"), bind(), execute(), FLUSH)
    client.expect("1 2 D C")
    waiter = Background(pooler.query, "SELECT 5")
    pooler.wait_pool(cl_waiting=1, sv_active=1)
    client.send(SYNC).expect("Z")
    assert waiter.result() == [(5,)]


def test_an_open_transaction_at_disconnect_closes_the_server(pool, pg):
    pooler = one_connection(pool)
    client = pooler.raw()
    client.query("BEGIN")
    backend = int(client.value("SELECT pg_backend_pid()"))
    client.send(TERMINATE).close()
    assert backend_of(pooler.connect()) != backend
    assert backend not in pg.sessions()


def test_a_disconnect_during_a_query_closes_the_server(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    backend = int(client.value("SELECT pg_backend_pid()"))
    client.send(query("SELECT pg_sleep(30)"))
    pooler.wait_pool(sv_active=1)
    client.close()
    other = pooler.connect()
    assert backend_of(other) != backend


def test_the_reason_for_closing_a_server_in_a_transaction_is_logged(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    client.query("BEGIN")
    client.close()
    pooler.wait_log("client disconnect while server was not ready")


def test_a_disconnect_between_transactions_keeps_the_server(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    backend = int(client.value("SELECT pg_backend_pid()"))
    client.close()
    assert backend_of(pooler.connect()) == backend


def test_a_disconnect_without_terminate_keeps_an_idle_server_in_session_mode(pool):
    pooler = one_connection(pool, "session")
    client = pooler.raw()
    backend = int(client.value("SELECT pg_backend_pid()"))
    client.close()
    assert backend_of(pooler.connect()) == backend


def test_idle_servers_are_reused_last_in_first_out(pool):
    pooler = pool({"default_pool_size": 3, **ONE_WORKER})
    holders = [pooler.raw() for _ in range(3)]
    backends = []
    for holder in holders:
        holder.query("BEGIN")
        backends.append(holder.value("SELECT pg_backend_pid()"))
    for holder in holders:
        holder.query("COMMIT")
    assert holders[0].value("SELECT pg_backend_pid()") == backends[2]
    assert holders[1].value("SELECT pg_backend_pid()") == backends[2]


def test_server_round_robin_uses_idle_servers_in_turn(pool):
    pooler = pool({"default_pool_size": 3, "server_round_robin": 1, **ONE_WORKER})
    holders = [pooler.raw() for _ in range(3)]
    for holder in holders:
        holder.query("BEGIN")
        holder.value("SELECT pg_backend_pid()")
    for holder in holders:
        holder.query("COMMIT")
    assert len({holders[0].value("SELECT pg_backend_pid()") for _ in range(3)}) == 3


def test_waiting_clients_are_served_oldest_first(pool):
    pooler = one_connection(pool, **ONE_WORKER)
    holder = pooler.raw()
    holder.query("BEGIN")
    holder.query("CREATE TABLE IF NOT EXISTS turns (n serial, who int)")
    clients = [pooler.raw() for _ in range(8)]
    for i, client in enumerate(clients):
        client.send(query(f"INSERT INTO turns (who) VALUES ({i})"))
        pooler.wait_pool(cl_waiting=i + 1)
    holder.query("COMMIT")
    for client in clients:
        client.until("Z")
    assert [r[0] for r in pooler.query("SELECT who FROM turns ORDER BY n")] == list(range(8))
    holder.query("DROP TABLE turns")


def test_no_waiting_client_is_overtaken_by_a_much_later_one_on_another_worker(pool):
    pooler = one_connection(pool)
    holder = pooler.raw()
    holder.query("BEGIN")
    holder.query("CREATE TABLE IF NOT EXISTS far_apart (n serial, who int)")
    clients = [pooler.raw() for _ in range(8)]
    for i, client in enumerate(clients):
        client.send(query(f"INSERT INTO far_apart (who) VALUES ({i})"))
        pooler.wait_pool(cl_waiting=i + 1)
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 0.03, 5, "the distance between two waits is what this is about")
    holder.query("COMMIT")
    for client in clients:
        client.until("Z")
    assert [r[0] for r in pooler.query("SELECT who FROM far_apart ORDER BY n")] == list(range(8))
    holder.query("DROP TABLE far_apart")


def test_an_abandoned_query_of_a_waiting_client_is_not_executed(pool):
    pooler = one_connection(pool)
    holder = pooler.raw()
    holder.query("CREATE TABLE abandoned (i int)")
    holder.query("BEGIN")
    client = pooler.raw()
    client.send(query("INSERT INTO abandoned VALUES (1)"))
    pooler.wait_pool(cl_waiting=1)
    client.send(TERMINATE).close()
    holder.query("COMMIT")
    assert pooler.query("SELECT count(*) FROM abandoned") == [(0,)]
    holder.query("DROP TABLE abandoned")


def test_statistics_count_transactions_and_queries(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    for sql in ("SELECT 1", "BEGIN", "SELECT 2", "SELECT 3", "COMMIT"):
        client.query(sql)
    row = next(r for r in pooler.admin("SHOW STATS") if r["database"] == "db1")
    assert (row["total_xact_count"], row["total_query_count"]) == (2, 5)


@since(1, 21)
def test_a_pipeline_counts_as_one_query(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    batch = [parse("", "SELECT 1"), bind(), describe("P"), execute(), SYNC]
    client.send(*(batch * 5))
    for _ in range(5):
        client.until("Z")
    row = next(r for r in pooler.admin("SHOW STATS") if r["database"] == "db1")
    assert row["total_xact_count"] <= 5


def test_replication_commands_need_a_replication_connection(pool):
    client = pool().connect()
    assert failure_of(lambda: rows_of(client, "IDENTIFY_SYSTEM")).pgcode == "42601"
