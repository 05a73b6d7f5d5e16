"""Sizes of pools, limits over several pools, and timeouts with the texts that clients see."""

import threading
import time

import pytest

from harness import wait_for
from pool_harness import Background, backend_of, holds, rows_of, since, value_of
from pool_wire import query


def hold(pooler, count=1, user="app", dbname="db1"):
    """So many clients inside a transaction."""
    clients = []
    for _ in range(count):
        client = pooler.raw(user, dbname)
        client.query("BEGIN")
        client.query("SELECT 1")
        clients.append(client)
    return clients


def test_default_pool_size_bounds_the_server_connections(pool, pg):
    pooler = pool({"default_pool_size": 3})
    waiting = [Background(pooler.query, "SELECT pg_sleep(0.1)") for _ in range(12)]
    most = 0
    while not all(w.done() for w in waiting):
        most = max(most, len(pg.sessions()))
    assert [w.result() for w in waiting] and 1 <= most <= 3


def test_pool_size_counts_per_user_and_database(pool):
    pooler = pool({"default_pool_size": 1})
    holders = hold(pooler) + hold(pooler, user="other") + hold(pooler, dbname="db2")
    assert len({h.value("SELECT pg_backend_pid()") for h in holders}) == 3


def test_pool_size_of_a_database_overrides_the_default(pool):
    pooler = pool({"default_pool_size": 1}, start=False)
    pooler.databases["db1"] = pooler.to("db1", "pool_size=2")
    pooler.write()
    pooler.start()
    hold(pooler, 2)
    assert pooler.pool()["sv_active"] == 2


@since(1, 24)
def test_pool_size_of_a_user_overrides_that_of_the_database(pool):
    pooler = pool({"default_pool_size": 1}, user_settings={"app": "pool_size=2"})
    hold(pooler, 2)
    assert pooler.pool()["sv_active"] == 2


@since(1, 24)
def test_pool_size_zero_is_unlimited(pool):
    pooler = pool({"default_pool_size": 0})
    hold(pooler, 25)
    assert pooler.pool()["sv_active"] == 25


def test_min_pool_size_is_opened_when_a_client_is_there(pool):
    pooler = pool({"min_pool_size": 3})
    client = pooler.connect()
    pooler.wait_pool(sv_idle=3)
    client.close()


@since(1, 21)
def test_min_pool_size_is_opened_without_clients_for_a_forced_user(pool):
    pooler = pool({"min_pool_size": 2}, start=False)
    pooler.databases = {"db1": pooler.to("db1", "user=app")}
    pooler.write()
    pooler.start()
    pooler.wait_pool(sv_idle=2)


def test_min_pool_size_is_kept_by_server_idle_timeout(pool):
    pooler = pool({"min_pool_size": 2, "server_idle_timeout": 0.5})
    pooler.connect()
    holders = hold(pooler, 4)
    for holder in holders:
        holder.query("COMMIT")
    pooler.wait_pool(sv_idle=2, sv_active=0)


def test_server_idle_timeout_closes_what_is_not_used(pool, pg):
    pooler = pool({"server_idle_timeout": 0.5})
    pooler.query("SELECT 1")
    wait_for(lambda: not pg.sessions(), 10, "the idle connection is closed")
    pooler.wait_log("server idle timeout")


def test_server_lifetime_closes_old_connections(pool, pg):
    pooler = pool({"server_lifetime": 0.5})
    client = pooler.connect()
    first = backend_of(client)
    wait_for(lambda: backend_of(client) != first, 10, "another server connection")
    pooler.wait_log("server lifetime over|server_lifetime")


def test_server_lifetime_zero_uses_a_connection_once(pool):
    pooler = pool({"server_lifetime": 0})
    client = pooler.connect()
    assert len({backend_of(client) for _ in range(3)}) == 3


def test_the_reserve_pool_opens_after_its_timeout(pool):
    pooler = pool({"default_pool_size": 1, "reserve_pool_size": 1, "reserve_pool_timeout": 0.5})
    hold(pooler)
    started = time.monotonic()
    assert pooler.query("SELECT 1") == [(1,)]
    assert time.monotonic() - started > 0.3
    pooler.wait_log("taking connection from reserve_pool")


def test_the_reserve_pool_is_bounded(pool):
    pooler = pool({"default_pool_size": 1, "reserve_pool_size": 1, "reserve_pool_timeout": 0.3})
    hold(pooler, 2)
    waiter = Background(pooler.query, "SELECT 1")
    pooler.wait_pool(cl_waiting=1)
    holds(lambda: not waiter.done(), 1, "no third connection")
    assert pooler.pool()["sv_active"] == 2


def test_max_db_connections_counts_over_users(pool):
    pooler = pool({"default_pool_size": 5, "max_db_connections": 2})
    hold(pooler, 1), hold(pooler, 1, "other")
    waiter = Background(pooler.query, "SELECT 1", "third")
    pooler.wait_pool(user="third", cl_waiting=1)
    holds(lambda: not waiter.done(), 0.7, "a third connection")
    assert pooler.query("SELECT 1", dbname="db2") == [(1,)]


def test_max_db_connections_evicts_an_idle_connection_of_another_pool(pool, pg):
    pooler = pool({"default_pool_size": 5, "max_db_connections": 1})
    assert pooler.query("SELECT 1") == [(1,)]
    assert pooler.query("SELECT current_user", user="other") == [("other",)]
    assert len(pg.sessions()) == 1
    pooler.wait_log("evicted")


def test_a_finished_transaction_makes_room_under_max_db_connections(pool):
    pooler = pool({"max_db_connections": 1})
    (holder,) = hold(pooler)
    waiter = Background(pooler.query, "SELECT 3", "other")
    pooler.wait_pool(user="other", cl_waiting=1)
    holder.query("COMMIT")
    assert waiter.result() == [(3,)]


def test_max_db_connections_of_an_entry_overrides_the_global_one(pool):
    pooler = pool({"max_db_connections": 1}, start=False)
    pooler.databases["db1"] = pooler.to("db1", "max_db_connections=2")
    pooler.write()
    pooler.start()
    hold(pooler, 2)
    assert pooler.pool()["sv_active"] == 2


def test_max_user_connections_counts_over_databases(pool):
    pooler = pool({"max_user_connections": 1})
    (holder,) = hold(pooler)
    waiter = Background(lambda: pooler.query("SELECT 4", dbname="db2"))
    pooler.wait_pool("db2", cl_waiting=1)
    holds(lambda: not waiter.done(), 0.7, "a second connection of the user")
    holder.query("COMMIT")
    assert waiter.result() == [(4,)]


def test_max_user_connections_of_a_user_overrides_the_global_one(pool):
    pooler = pool({"max_user_connections": 1}, user_settings={"app": "max_user_connections=2"})
    hold(pooler, 2)
    assert pooler.pool()["sv_active"] == 2


def test_max_client_conn_refuses_before_authentication(pool):
    pooler = pool({"max_client_conn": 2, "auth_type": "plain"})
    clients = [pooler.connect() for _ in range(2)]
    refused = pooler.raw(login=False).start()
    error = refused.fatal()
    assert (error["S"], error["C"], error["M"]) == ("FATAL", "08P01", "no more connections allowed (max_client_conn)")
    clients.pop().close()
    wait_for(lambda: pooler.refusal() is None, 5, "the place is free again")


@since(1, 23)
def test_max_client_conn_does_not_bind_the_console(pool):
    pooler = pool({"max_client_conn": 1})
    pooler.connect()
    assert pooler.admin("SHOW VERSION")


@since(1, 24)
def test_max_db_client_connections(pool):
    pooler = pool({"max_db_client_connections": 1})
    pooler.connect()
    error = pooler.raw(login=False).start().fatal()
    assert (error["C"], error["M"]) == ("08P01", "client connections exceeded (max_db_client_connections)")
    pooler.connect(dbname="db2")


@since(1, 24)
def test_max_user_client_connections(pool):
    pooler = pool({"max_user_client_connections": 1})
    pooler.connect()
    error = pooler.raw(login=False).start().fatal()
    assert (error["C"], error["M"]) == ("08P01", "client connections exceeded (max_user_client_connections)")
    pooler.connect(user="other")


@since(1, 24)
def test_max_user_client_connections_of_a_user(pool):
    pooler = pool(user_settings={"app": "max_user_client_connections=1"})
    pooler.connect()
    assert "client connections exceeded" in pooler.refusal()
    assert pooler.refusal("other") is None


@since(1, 24)
def test_max_db_client_connections_of_an_entry(pool):
    pooler = pool(start=False)
    pooler.databases["db1"] = pooler.to("db1", "max_db_client_connections=1")
    pooler.write()
    pooler.start()
    pooler.connect()
    assert "client connections exceeded (max_db_client_connections)" in pooler.refusal()


def fatal(client):
    error = client.fatal(20)
    return error["S"], error["C"], error["M"]


def test_query_wait_timeout(pool):
    pooler = pool({"default_pool_size": 1, "query_wait_timeout": 0.5})
    hold(pooler)
    waiter = pooler.raw().send(query("SELECT 1"))
    assert fatal(waiter) == ("FATAL", "08P01", "query_wait_timeout")


def test_query_wait_timeout_binds_logins_that_wait_for_a_first_server(pool):
    pooler = pool({"query_wait_timeout": 0.5}, databases={"db1": "host=127.0.0.1 port=1"})
    waiter = pooler.raw(login=False).start()
    assert fatal(waiter)[2] in ("query_wait_timeout", "client_login_timeout (server down)")


@since(1, 21)
def test_query_wait_notify(pool):
    pooler = pool({"default_pool_size": 1, "query_wait_notify": 1})
    (holder,) = hold(pooler)
    waiter = pooler.raw().send(query("SELECT 1"))
    notice = waiter.receive()
    assert notice.kind == "N"
    assert notice.fields["M"] == "No server connection available in postgres backend, client being queued"
    holder.query("COMMIT")
    assert [m.kind for m in waiter.until("Z")] == ["T", "D", "C", "Z"]


@since(1, 24)
def test_query_wait_notify_zero_is_silent(pool):
    pooler = pool({"default_pool_size": 1, "query_wait_notify": 0})
    (holder,) = hold(pooler)
    waiter = pooler.raw().send(query("SELECT 1"))
    assert waiter.silent(1.8)
    holder.query("COMMIT")
    waiter.until("Z")


def test_query_timeout_of_a_running_query(pool, pg):
    pooler = pool({"query_timeout": 0.5})
    client = pooler.raw().send(query("SELECT pg_sleep(20)"))
    assert fatal(client) == ("FATAL", "08P01", "query timeout")
    wait_for(lambda: pooler.pool()["sv_active"] == 0, 5, "the server connection is gone")


def test_query_timeout_of_a_waiting_query(pool):
    pooler = pool({"query_timeout": 1, "default_pool_size": 1}, user_settings={})
    holder = pooler.raw()
    holder.query("BEGIN")
    waiter = pooler.raw().send(query("SELECT 1"))
    assert fatal(waiter)[2] in ("query_timeout", "query_wait_timeout")


def test_idle_transaction_timeout(pool):
    pooler = pool({"idle_transaction_timeout": 0.5})
    (client,) = hold(pooler)
    assert fatal(client) == ("FATAL", "08P01", "idle transaction timeout")


def test_idle_transaction_timeout_spares_a_running_query(pool):
    pooler = pool({"idle_transaction_timeout": 0.5})
    client = pooler.raw()
    client.query("BEGIN")
    assert client.value("SELECT pg_sleep(1.5)::text") == ""


@since(1, 24)
def test_transaction_timeout(pool):
    pooler = pool({"transaction_timeout": 0.6})
    client = pooler.raw()
    client.query("BEGIN")
    client.send(query("SELECT pg_sleep(20)"))
    assert fatal(client) == ("FATAL", "08P01", "transaction timeout")


@since(1, 24)
@pytest.mark.parametrize("setting, sql, text", [("query_timeout", "SELECT pg_sleep(20)", "query timeout"),
                                                ("transaction_timeout", "SELECT pg_sleep(20)", "transaction timeout"),
                                                ("idle_transaction_timeout", "BEGIN", "idle transaction timeout")])
def test_timeouts_of_a_user(pool, setting, sql, text):
    pooler = pool(user_settings={"app": f"{setting}=1"})
    assert fatal(pooler.raw().send(query(sql)))[2] == text


def test_client_idle_timeout(pool):
    pooler = pool({"client_idle_timeout": 0.5})
    assert fatal(pooler.raw()) == ("FATAL", "08P01", "client_idle_timeout")


def test_client_idle_timeout_spares_a_client_in_a_transaction(pool):
    pooler = pool({"client_idle_timeout": 0.5})
    (client,) = hold(pooler)
    assert client.silent(1.3)
    assert client.value("SELECT 1") == "1"


def test_client_login_timeout(pool):
    pooler = pool({"client_login_timeout": 0.5, "auth_type": "plain"})
    assert fatal(pooler.raw(login=False).start()) == ("FATAL", "08P01", "client_login_timeout")


def test_client_login_timeout_of_a_client_that_sends_nothing(pool):
    pooler = pool({"client_login_timeout": 0.5, "tcp_defer_accept": 0})
    client = pooler.raw(login=False)
    messages = client.closed(5)
    assert [m.fields["M"] for m in messages] in (["client_login_timeout"], [])


def test_client_login_timeout_while_the_server_is_down(pool):
    pooler = pool({"client_login_timeout": 0.7}, databases={"db1": "host=127.0.0.1 port=1"})
    assert fatal(pooler.raw(login=False).start())[2] == "client_login_timeout (server down)"


def test_a_connection_unused_for_server_check_delay_is_checked(pool, pg):
    pooler = pool({"server_check_delay": 0.3, "server_check_query": "SELECT 'checked'", "default_pool_size": 1})
    client = pooler.connect()
    backend = backend_of(client)
    wait_for(lambda: pooler.pool()["sv_used"] == 1, 5, "it has to be checked first")
    assert backend_of(client) == backend


@since(1, 25, "1.18 keeps it in state tested for ever")
def test_a_connection_that_fails_its_check_is_replaced(pool):
    pooler = pool({"server_check_delay": 0.3, "server_check_query": "BEGIN", "default_pool_size": 1})
    client = pooler.connect()
    backend = backend_of(client)
    wait_for(lambda: pooler.pool()["sv_used"] == 1, 5, "it has to be checked first")
    assert backend_of(client) != backend


def test_a_lowered_pool_size_closes_what_is_too_much(pool, pg):
    pooler = pool({"default_pool_size": 4})
    for holder in hold(pooler, 4):
        holder.query("COMMIT")
    pooler.settings["default_pool_size"] = 2
    pooler.reload()
    wait_for(lambda: len(pg.sessions()) == 2, 10, "two connections left")


def test_a_raised_pool_size_serves_who_waits(pool):
    pooler = pool({"default_pool_size": 1})
    hold(pooler)
    waiter = Background(pooler.query, "SELECT 1")
    pooler.wait_pool(cl_waiting=1)
    pooler.settings["default_pool_size"] = 2
    pooler.reload()
    assert waiter.result() == [(1,)]


def test_limits_are_exact_under_many_threads(pool, pg):
    """Whatever the number of workers, the pool never has more than its size."""
    pooler = pool({"default_pool_size": 4, "max_db_connections": 6, "query_wait_timeout": 30})
    most, stop = [0], threading.Event()

    def watch():
        while not stop.is_set():
            most[0] = max(most[0], len(pg.sessions()))

    def work(user):
        client = pooler.connect(user)
        for _ in range(20):
            rows_of(client, "SELECT pg_sleep(0.001)")
        client.close()
    watcher = threading.Thread(target=watch)
    watcher.start()
    workers = [Background(work, user) for user in ("app", "other", "third") for _ in range(8)]
    try:
        for worker in workers:
            worker.result(60)
    finally:
        stop.set()
        watcher.join()
    assert most[0] <= 6


def test_connections_of_a_limited_role_are_refused_with_the_servers_text(pool, pg):
    pg.query("ALTER ROLE fourth CONNECTION LIMIT 0")
    try:
        assert "too many connections for role" in pool().refusal("fourth")
    finally:
        pg.query("ALTER ROLE fourth CONNECTION LIMIT -1")


def test_show_pools_tells_how_long_the_oldest_client_waits(pool):
    pooler = pool({"default_pool_size": 1})
    hold(pooler)
    pooler.raw().send(query("SELECT 1"))
    wait_for(lambda: pooler.pool()["maxwait"] >= 1, 5, "maxwait counts")


def test_clients_above_the_pool_size_all_get_their_turn(pool):
    pooler = pool({"default_pool_size": 2})
    clients = [pooler.connect() for _ in range(40)]
    workers = [Background(value_of, client, "SELECT 1") for client in clients]
    assert [w.result() for w in workers] == [1] * 40
