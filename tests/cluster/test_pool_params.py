"""Session parameters: which follow a client over server connections, which are ignored, what the startup packet may say."""

import pytest

from pool_harness import backend_of, rows_of, since, value_of, version
from pool_wire import query

TRACKED = [("DateStyle", "German, DMY"), ("client_encoding", "LATIN1"), ("TimeZone", "America/New_York"),
           ("standard_conforming_strings", "off"), ("application_name", "mine")]


def two_on_one(pool, **settings):
    """Two clients that share a server connection."""
    pooler = pool({"default_pool_size": 1, **settings})
    return pooler, pooler.raw(), pooler.raw(application_name="two")


@pytest.mark.parametrize("name, value", TRACKED)
def test_a_tracked_parameter_follows_its_client(pool, name, value):
    _, one, two = two_on_one(pool)
    before = two.value(f"SHOW {name}")
    one.query(f"SET {name} = '{value}'")
    assert two.value(f"SHOW {name}") == before != value
    assert one.value(f"SHOW {name}") == value


@pytest.mark.parametrize("name, value", TRACKED)
def test_a_tracked_parameter_of_the_startup_packet_is_set(pool, name, value):
    pooler = pool({"default_pool_size": 1})
    pooler.query("SELECT 1")
    client = pooler.raw(**{name: value})
    assert client.value(f"SHOW {name}") == value


@since(1, 20)
def test_interval_style_is_tracked(pool):
    _, one, two = two_on_one(pool)
    one.query("SET IntervalStyle = 'iso_8601'")
    assert two.value("SHOW IntervalStyle") == "postgres"
    assert one.value("SHOW IntervalStyle") == "iso_8601"


@since(1, 20)
def test_track_extra_parameters_replaces_the_default(pool):
    _, one, two = two_on_one(pool, track_extra_parameters="default_transaction_read_only")
    one.query("SET default_transaction_read_only = on")
    assert two.value("SHOW default_transaction_read_only") == "off"
    assert one.value("SHOW default_transaction_read_only") == "on"


def test_other_parameters_stay_with_the_server(pool):
    _, one, two = two_on_one(pool)
    one.query("SET work_mem = '7MB'")
    assert two.value("SHOW work_mem") == "7MB"


def test_the_client_sees_no_report_of_a_restored_parameter(pool):
    _, one, two = two_on_one(pool)
    one.query("SET application_name = 'mine'")
    two.value("SELECT 1")
    assert "S" not in [m.kind for m in one.query("SELECT 1")]


def test_no_set_is_sent_when_nothing_differs(pool, pg):
    pooler, one, two = two_on_one(pool)
    one.value("SELECT 1"), two.value("SELECT 1"), one.value("SELECT 1")
    assert pg.value("SELECT count(*) FROM pg_stat_activity WHERE datname = 'db1' AND query LIKE 'SET%'") == 0


def test_a_parameter_of_another_spelling_is_not_set_again_and_again(pool, pg):
    """'utf8' is what the client says, 'UTF8' what the server answers."""
    pooler = pool({"default_pool_size": 1})
    pooler.query("SELECT 1")
    client = pooler.raw(client_encoding="utf8", datestyle="iso")
    client.value("SELECT 1"), client.value("SELECT 1")
    before = next(r for r in pooler.admin("SHOW STATS") if r["database"] == "db1")["total_sent"]
    client.value("SELECT 1")
    after = next(r for r in pooler.admin("SHOW STATS") if r["database"] == "db1")["total_sent"]
    client.value("SELECT 1")
    again = next(r for r in pooler.admin("SHOW STATS") if r["database"] == "db1")["total_sent"]
    assert after - before == again - after


@pytest.mark.parametrize("value", ["it's", "back\\slash", 'double"quote', "semi; SELECT 1", " ", "%s %n"])
def test_values_are_quoted(pool, value):
    pooler = pool({"default_pool_size": 1})
    one, two = pooler.raw(application_name=value), pooler.raw(application_name="other")
    for _ in range(2):
        assert one.value("SHOW application_name") == value
        assert two.value("SHOW application_name") == "other"


@since(1, 21)
def test_an_empty_application_name_is_a_value(pool):
    pooler = pool({"default_pool_size": 1})
    one, two = pooler.raw(application_name=""), pooler.raw(application_name="other")
    for _ in range(2):
        assert one.value("SHOW application_name") == ""
        assert two.value("SHOW application_name") == "other"


def test_a_set_inside_a_rolled_back_transaction_is_undone(pool):
    _, one, two = two_on_one(pool)
    one.query("SET application_name = 'before'")
    for sql in ("BEGIN", "SET application_name = 'undone'", "ROLLBACK"):
        one.query(sql)
    two.value("SELECT 1")
    assert one.value("SHOW application_name") == "before"


@since(1, 22)
def test_a_wrong_value_of_the_startup_packet_closes_the_client(pool):
    pooler = pool({"default_pool_size": 1})
    pooler.query("SELECT 1")
    client = pooler.raw(timezone="Nowhere/Land")
    assert client.send(query("SELECT 1")).fatal()["M"] == "invalid server parameter"
    assert pooler.query("SELECT 1") == [(1,)]


def test_ignore_startup_parameters(pool):
    pooler = pool({"ignore_startup_parameters": "extra_float_digits, search_path"})
    client = pooler.raw(extra_float_digits="2", search_path="x")
    assert client.value("SHOW search_path") == '"$user", public'
    assert "unsupported startup parameter: work_mem" in str(pooler.raw(login=False).start(work_mem="1MB").fatal())


def test_application_name_add_host(pool):
    pooler = pool({"application_name_add_host": 1})
    client = pooler.raw(application_name="mine")
    port = client.socket.getsockname()[1]
    assert client.value("SHOW application_name") == f"mine - 127.0.0.1:{port}"
    assert pooler.raw().value("SHOW application_name").startswith("app - 127.0.0.1:")


def test_application_name_add_host_of_a_unix_client(pool):
    pooler = pool({"application_name_add_host": 1})
    assert value_of(pooler.connect(unix=True, application_name="mine"), "SHOW application_name").startswith("mine - unix(")


def test_application_name_without_add_host(pool):
    assert pool().raw(application_name="mine").value("SHOW application_name") == "mine"


def with_entry(pool, more, **settings):
    pooler = pool(settings, start=False)
    pooler.databases["db1"] = pooler.to("db1", more)
    pooler.write()
    return pooler.start()


def test_connect_query_runs_once_for_a_server_connection(pool):
    pooler = with_entry(pool, "connect_query='SET work_mem = ''6MB'''", default_pool_size=1)
    assert pooler.query("SHOW work_mem") == [("6MB",)]


def test_a_failing_connect_query_is_logged_and_ignored(pool):
    pooler = with_entry(pool, "connect_query='SELECT nonsense'")
    assert pooler.query("SELECT 1") == [(1,)]
    pooler.wait_log("nonsense")


@pytest.mark.parametrize("key, name, value", [("timezone", "TimeZone", "Asia/Tokyo"), ("datestyle", "DateStyle", "German, DMY"),
                                              ("client_encoding", "client_encoding", "LATIN1")])
def test_parameters_of_a_database_entry_reach_the_server(pool, key, name, value):
    pooler = with_entry(pool, f"{key}='{value}'")
    client = pooler.raw()
    assert client.parameters[name] == value
    assert client.value(f"SHOW {name}") == value


@since(1, 24)
def test_application_name_of_a_database_entry_reaches_the_server(pool):
    assert with_entry(pool, "application_name=entry").raw().value("SHOW application_name") == "entry"


def test_the_welcome_tells_the_clients_own_values(pool):
    client = pool().raw(timezone="Europe/Rome", application_name="mine")
    assert (client.parameters["TimeZone"], client.parameters["application_name"]) == ("Europe/Rome", "mine")


def test_search_path_is_kept_when_it_is_tracked_by_the_server(pool):
    """PostgreSQL reports search_path since 18 only: before, it stays with the server connection."""
    if version() < (1, 20):
        pytest.skip("since 1.20")
    _, one, two = two_on_one(pool, track_extra_parameters="IntervalStyle, search_path")
    one.query("SET search_path = one")
    assert two.value("SHOW search_path") in ("one", '"$user", public')


def test_prepared_transactions_and_locks_are_not_touched(pool):
    pooler = pool({"default_pool_size": 1})
    client = pooler.connect()
    backend = backend_of(client)
    rows_of(client, "SELECT pg_advisory_lock(7)")
    assert value_of(pooler.connect(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7") == 1
    assert backend_of(client) == backend
