"""Named prepared statements over server connections that change: tracked, renamed, shared, bounded, right after errors."""

import subprocess

import pytest

from harness import postgres_bin
from pool_harness import PASSWORD, ours_only, rows_of, since, value_of
from pool_wire import FLUSH, SYNC, bind, close, describe, errors, execute, kinds, parse

tracking = since(1, 21)


def prepare(client, name, sql, types=()):
    client.send(parse(name, sql, types), SYNC).expect("1 Z")


def run(client, name, *values):
    """The first column of what the statement gives; its error as text."""
    answers = client.send(bind("", name, values), execute(), SYNC).until("Z")
    return errors(answers) or [m.values[0] for m in answers if m.kind == "D"]


def statements(pooler, client):
    """What the server connection that the client gets has prepared."""
    return [m.values[0] for m in client.query("SELECT name FROM pg_prepared_statements ORDER BY 1") if m.kind == "D"]


def one_connection(pool, **settings):
    return pool({"default_pool_size": 1, **settings})


def two_servers(pool, **settings):
    """A pool of two, and a client that holds one of its connections: (pooler, release)."""
    pooler = pool({"default_pool_size": 2, **settings})
    holder = pooler.raw()
    holder.query("BEGIN")
    return pooler, holder


@tracking
def test_a_statement_is_found_on_another_server_connection(pool):
    pooler, holder = two_servers(pool)
    client, other = pooler.raw(), pooler.raw()
    prepare(client, "s", "SELECT pg_backend_pid()")
    (first,) = run(client, "s")
    other.query("BEGIN")  # takes the connection where it was prepared
    holder.query("COMMIT")
    (second,) = run(client, "s")
    assert first != second
    other.query("COMMIT")


@tracking
def test_a_statement_is_found_after_its_server_was_replaced(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    prepare(client, "s", "SELECT pg_backend_pid()")
    (first,) = run(client, "s")
    pooler.admin("RECONNECT")
    assert run(client, "s") not in ([], [first])


@tracking
def test_clients_do_not_see_each_others_names(pool):
    pooler = one_connection(pool)
    one, two = pooler.raw(), pooler.raw()
    prepare(one, "s", "SELECT 'one'")
    prepare(two, "s", "SELECT 'two'")
    assert (run(one, "s"), run(two, "s"), run(one, "s")) == (["one"], ["two"], ["one"])


@tracking
def test_the_same_text_is_prepared_once_on_a_server(pool):
    pooler = one_connection(pool)
    clients = [pooler.raw() for _ in range(4)]
    for i, client in enumerate(clients):
        prepare(client, f"mine{i}", "SELECT 'shared'")
        assert run(client, f"mine{i}") == ["shared"]
    names = statements(pooler, clients[0])
    assert len(names) == 1 and names[0].startswith("PGBOUNCER_")


@tracking
def test_the_same_text_with_other_types_is_another_statement(pool):
    pooler = one_connection(pool)
    one, two = pooler.raw(), pooler.raw()
    prepare(one, "s", "SELECT pg_typeof($1)::text", [23])
    prepare(two, "s", "SELECT pg_typeof($1)::text", [25])
    assert (run(one, "s", "1"), run(two, "s", "1")) == (["integer"], ["text"])


@tracking
def test_the_answer_to_a_repeated_parse_comes_in_its_place(pool):
    pooler = one_connection(pool)
    one, two = pooler.raw(), pooler.raw()
    prepare(one, "a", "SELECT 1")
    two.send(parse("x", "SELECT 2"), bind("", "x"), execute(), parse("y", "SELECT 1"), bind("", "y"), execute(), SYNC)
    answers = two.until("Z")
    assert kinds(answers) == "1 2 D C 1 2 D C Z"
    assert [m.values for m in answers if m.kind == "D"] == [["2"], ["1"]]


@tracking
def test_a_repeated_parse_alone_with_flush_is_answered(pool):
    pooler = one_connection(pool)
    prepare(pooler.raw(), "a", "SELECT 1")
    two = pooler.raw()
    two.send(parse("y", "SELECT 1"), FLUSH).expect("1")
    two.send(bind("", "y"), execute(), SYNC).expect("2 D C Z")


@tracking
def test_a_name_in_use_is_refused(pool):
    client = one_connection(pool).raw()
    prepare(client, "s", "SELECT 1")
    assert client.send(parse("s", "SELECT 2"), SYNC).fatal()["M"] == "prepared statement name is already in use"


@tracking
def test_an_unknown_name_is_refused(pool):
    client = one_connection(pool).raw()
    assert client.send(bind("", "nosuch"), execute(), SYNC).fatal()["M"] == "prepared statement did not exist"


@tracking
def test_describe_of_a_statement(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    prepare(client, "s", "SELECT $1::int AS number")
    pooler.admin("RECONNECT")
    answers = client.send(describe("S", "s"), SYNC).expect("t T Z")
    assert answers[1].columns[0][0] == "number"


@tracking
def test_describe_of_an_unknown_statement_is_refused(pool):
    client = one_connection(pool).raw()
    assert client.send(describe("S", "nosuch"), SYNC).fatal()["M"] == "prepared statement did not exist"


@tracking
def test_close_frees_the_name(pool):
    client = one_connection(pool).raw()
    prepare(client, "s", "SELECT 1")
    client.send(close("S", "s"), SYNC).expect("3 Z")
    prepare(client, "s", "SELECT 2")
    assert run(client, "s") == ["2"]


@tracking
def test_close_of_an_unknown_name_is_answered(pool):
    client = one_connection(pool).raw()
    client.send(close("S", "nosuch"), SYNC).expect("3 Z")


@tracking
def test_close_in_a_batch_is_answered_in_order(pool):
    client = one_connection(pool).raw()
    prepare(client, "s", "SELECT 1")
    client.send(bind("", "s"), execute(), close("S", "s"), parse("", "SELECT 2"), bind(), execute(), SYNC)
    assert kinds(client.until("Z")) == "2 D C 3 1 2 D C Z"


@tracking
def test_close_by_one_client_leaves_the_statement_of_another(pool):
    pooler = one_connection(pool)
    one, two = pooler.raw(), pooler.raw()
    prepare(one, "s", "SELECT 'same'")
    prepare(two, "s", "SELECT 'same'")
    one.send(close("S", "s"), SYNC).expect("3 Z")
    assert run(two, "s") == ["same"]


@tracking
def test_max_prepared_statements_bounds_a_server(pool):
    pooler = one_connection(pool, max_prepared_statements=3)
    client = pooler.raw()
    for i in range(10):
        prepare(client, f"s{i}", f"SELECT {i}")
    assert len(statements(pooler, client)) <= 3
    assert [run(client, f"s{i}") for i in range(10)] == [[str(i)] for i in range(10)]
    assert len(statements(pooler, client)) <= 3


@tracking
def test_the_least_recently_used_statement_is_evicted(pool):
    pooler = one_connection(pool, max_prepared_statements=2)
    client = pooler.raw()
    for name in ("a", "b"):
        prepare(client, name, f"SELECT '{name}'")
    run(client, "a")
    prepare(client, "c", "SELECT 'c'")
    texts = [m.values[0] for m in client.query("SELECT statement FROM pg_prepared_statements") if m.kind == "D"]
    assert sorted(texts) == ["SELECT 'a'", "SELECT 'c'"]


@tracking
def test_eviction_inside_a_batch_hides_its_answer(pool):
    client = one_connection(pool, max_prepared_statements=1).raw()
    prepare(client, "a", "SELECT 'a'")
    client.send(parse("b", "SELECT 'b'"), bind("", "b"), execute(), bind("", "a"), execute(), bind("", "b"), execute(), SYNC)
    answers = client.until("Z")
    assert kinds(answers) == "1 2 D C 2 D C 2 D C Z"
    assert [m.values[0] for m in answers if m.kind == "D"] == ["b", "a", "b"]


@tracking
def test_a_parse_with_an_error_prepares_nothing(pool):
    pooler = one_connection(pool)
    client, other = pooler.raw(), pooler.raw()
    assert errors(client.send(parse("bad", "SELECT nonsense"), SYNC).until("Z")) == ['column "nonsense" does not exist']
    assert errors(other.send(parse("bad", "SELECT nonsense"), SYNC).until("Z")) == ['column "nonsense" does not exist']
    assert statements(pooler, client) == []


@tracking
def test_a_statement_that_became_valid_is_prepared_anew(pool):
    pooler = one_connection(pool)
    one, two = pooler.raw(), pooler.raw()
    one.query("DROP TABLE IF EXISTS later")
    assert errors(one.send(parse("s", "SELECT i FROM later"), SYNC).until("Z"))
    one.query("CREATE TABLE later (i int); INSERT INTO later VALUES (5)")
    prepare(two, "s", "SELECT i FROM later")
    assert run(two, "s") == ["5"]
    one.query("DROP TABLE later")


@tracking
def test_a_parse_behind_an_error_was_not_done(pool):
    """After the error the server skips everything up to Sync: the second statement is on no server."""
    pooler = one_connection(pool)
    client, other = pooler.raw(), pooler.raw()
    client.send(parse("bad", "SELECT nonsense"), parse("good", "SELECT 'good'"), SYNC)
    assert kinds(client.until("Z")) == "E Z"
    prepare(other, "good", "SELECT 'good'")
    assert run(other, "good") == ["good"]


@tracking
def test_a_repeated_parse_behind_an_error_is_not_answered(pool):
    pooler = one_connection(pool)
    prepare(pooler.raw(), "s", "SELECT 'known'")
    client = pooler.raw()
    client.send(parse("", "SELECT nonsense"), parse("s", "SELECT 'known'"), close("S", "other"), SYNC)
    assert kinds(client.until("Z")) == "E Z"


@tracking
def test_an_eviction_behind_an_error_is_undone(pool):
    pooler = one_connection(pool, max_prepared_statements=1)
    client = pooler.raw()
    prepare(client, "a", "SELECT 'a'")
    client.send(parse("", "SELECT nonsense"), parse("b", "SELECT 'b'"), SYNC).until("Z")
    assert run(client, "a") == ["a"]
    assert len(statements(pooler, client)) == 1


@tracking
def test_a_bind_with_an_error_keeps_the_statement(pool):
    client = one_connection(pool).raw()
    prepare(client, "s", "SELECT $1::int")
    assert "invalid input syntax" in run(client, "s", "x")[0]
    assert run(client, "s", "7") == ["7"]


@tracking
def test_statements_survive_a_rolled_back_transaction(pool):
    client = one_connection(pool).raw()
    client.query("BEGIN")
    prepare(client, "s", "SELECT 'kept'")
    client.query("ROLLBACK")
    assert run(client, "s") == ["kept"]


@tracking
def test_a_bind_in_a_failed_transaction_is_an_error_only(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    prepare(client, "s", "SELECT 1")
    pooler.admin("RECONNECT")
    client.query("BEGIN")
    client.query("SELECT 1/0")
    assert "current transaction is aborted" in run(client, "s")[0]
    client.query("ROLLBACK")
    assert run(client, "s") == ["1"]


@tracking
@pytest.mark.parametrize("sql", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_a_client_can_drop_all_its_statements(pool, sql):
    pooler = one_connection(pool)
    client, other = pooler.raw(), pooler.raw()
    prepare(client, "s", "SELECT 'mine'")
    prepare(other, "s", "SELECT 'other'")
    assert kinds(client.query(sql)) == "C Z"
    prepare(client, "s", "SELECT 'again'")
    assert (run(client, "s"), run(other, "s")) == (["again"], ["other"])


@tracking
@pytest.mark.parametrize("sql", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_dropping_all_over_the_extended_protocol(pool, sql):
    client = one_connection(pool).raw()
    prepare(client, "s", "SELECT 'mine'")
    client.run(sql)
    prepare(client, "s", "SELECT 'again'")
    assert run(client, "s") == ["again"]


@tracking
def test_the_reset_query_empties_the_servers_map(pool):
    pooler = one_connection(pool, server_reset_query_always=1)
    client = pooler.raw()
    prepare(client, "s", "SELECT 'kept'")
    assert [run(client, "s") for _ in range(3)] == [["kept"]] * 3


@tracking
def test_changed_table_types_give_postgres_own_error_and_reconnect_heals(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    client.query("DROP TABLE IF EXISTS changing; CREATE TABLE changing (c int); INSERT INTO changing VALUES (1)")
    prepare(client, "s", "SELECT * FROM changing")
    assert run(client, "s") == ["1"]
    client.query("ALTER TABLE changing ALTER c TYPE text")
    assert run(client, "s") == ["cached plan must not change result type"]
    pooler.admin("RECONNECT")
    assert run(client, "s") == ["1"]
    client.query("DROP TABLE changing")


@tracking
def test_values_of_a_renamed_bind_pass_unchanged(pool):
    client = one_connection(pool).raw()
    prepare(client, "a-name-longer-than-what-it-is-called-on-the-server-" * 4, "SELECT $1::text || $2::text || $3::text")
    assert run(client, "a-name-longer-than-what-it-is-called-on-the-server-" * 4, "a", "b" * 100000, "c") == ["a" + "b" * 100000 + "c"]


@tracking
def test_named_portals_of_named_statements(pool):
    client = one_connection(pool).raw()
    prepare(client, "s", "SELECT generate_series(1, 4)")
    client.send(bind("p", "s"), execute("p", 3), FLUSH).expect("2 D D D s")
    client.send(execute("p", 3), SYNC).expect("D C Z")


@tracking
def test_a_very_long_statement(pool):
    client = one_connection(pool).raw()
    prepare(client, "long", "SELECT length('" + "x" * 300000 + "')")
    assert run(client, "long") == ["300000"]


@tracking
@pytest.mark.parametrize("body", [b"", b"s\0", b"s\0SELECT 1", b"s\0SELECT 1\0", b"s\0SELECT 1\0\0\5"])
def test_broken_parse_messages_close_the_client(pool, body):
    from pool_wire import message
    pooler = one_connection(pool)
    client = pooler.raw().send(message("P", body), SYNC)
    client.closed()
    assert pooler.query("SELECT 1") == [(1,)]


@tracking
def test_max_prepared_statements_zero_passes_everything_through(pool):
    pooler = one_connection(pool, max_prepared_statements=0)
    client = pooler.raw()
    prepare(client, "s", "SELECT 1")
    assert statements(pooler, client) == ["s"]


@tracking
def test_session_mode_passes_names_through(pool):
    pooler = pool({"pool_mode": "session"})
    client = pooler.raw()
    prepare(client, "s", "SELECT 1")
    assert statements(pooler, client) == ["s"]


@tracking
def test_a_pipeline_of_many_prepared_executions(pool):
    client = one_connection(pool).raw()
    prepare(client, "s", "SELECT $1::int")
    for i in range(200):
        client.send(bind("", "s", [str(i)]), execute(), SYNC)
    rows = []
    for _ in range(200):
        rows += [m.values[0] for m in client.until("Z") if m.kind == "D"]
    assert rows == [str(i) for i in range(200)]


@tracking
def test_parse_without_sync_holds_the_server(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    client.send(parse("s", "SELECT 1"), FLUSH).expect("1")
    assert pooler.pool()["sv_active"] == 1
    client.send(SYNC).expect("Z")


@tracking
def test_sql_prepare_is_passed_through(pool):
    client = one_connection(pool).raw()
    client.query("PREPARE mine AS SELECT 'sql'")
    assert client.value("EXECUTE mine") == "sql"
    client.query("DEALLOCATE mine")


@tracking
def test_statistics_count_parses_and_binds(pool):
    pooler = one_connection(pool)
    client, other = pooler.raw(), pooler.raw()
    prepare(client, "s", "SELECT 1")
    prepare(other, "s", "SELECT 1")
    run(client, "s"), run(client, "s")
    row = next(r for r in pooler.admin("SHOW STATS") if r["database"] == "db1")
    if "total_client_parse_count" in row:
        assert (row["total_client_parse_count"], row["total_server_parse_count"], row["total_bind_count"]) == (2, 1, 2)


@tracking
def test_many_clients_with_many_statements(pool):
    from pool_harness import Background
    pooler = pool({"default_pool_size": 4, "max_prepared_statements": 5})

    def work(number):
        client = pooler.raw()
        for i in range(12):
            prepare(client, f"s{i}", f"SELECT '{i + number % 3}'")
        for _ in range(5):
            for i in range(12):
                assert run(client, f"s{i}") == [str(i + number % 3)]
        return True
    assert all(worker.result(60) for worker in [Background(work, n) for n in range(12)])


# --- the unnamed statement, which ours serves from what is already prepared ---

def test_unnamed_statements_see_ddl(pool):
    client = one_connection(pool).raw()
    client.query("DROP TABLE IF EXISTS seen; CREATE TABLE seen (c int); INSERT INTO seen VALUES (1)")
    for _ in range(3):
        assert [m.values for m in client.run("SELECT * FROM seen") if m.kind == "D"] == [["1"]]
    client.query("ALTER TABLE seen ALTER c TYPE text; ALTER TABLE seen ADD d int DEFAULT 2")
    for _ in range(2):
        assert [m.values for m in client.run("SELECT * FROM seen") if m.kind == "D"] == [["1", "2"]]
    client.query("DROP TABLE seen")
    assert errors(client.run("SELECT * FROM seen")) == ['relation "seen" does not exist']


def test_unnamed_statements_see_ddl_of_others(pool):
    pooler = pool({"default_pool_size": 2})
    client, other = pooler.raw(), pooler.server.connect("app", "db1")
    rows_of(other, "DROP TABLE IF EXISTS theirs; CREATE TABLE theirs (c int); INSERT INTO theirs VALUES (1)")
    for _ in range(3):
        client.run("SELECT * FROM theirs")
    rows_of(other, "ALTER TABLE theirs ALTER c TYPE numeric(5,2)")
    answers = client.run("SELECT * FROM theirs")
    assert errors(answers) == []
    assert [m.values for m in answers if m.kind == "D"] == [["1.00"]]
    rows_of(other, "DROP TABLE theirs")
    other.close()


def test_unnamed_statements_in_a_transaction_see_ddl_before_them(pool):
    client = one_connection(pool).raw()
    client.query("DROP TABLE IF EXISTS inside; CREATE TABLE inside (c int)")
    for _ in range(3):
        client.run("SELECT * FROM inside")
    client.query("BEGIN")
    client.query("ALTER TABLE inside ADD d int")
    answers = client.run("SELECT * FROM inside")
    assert errors(answers) == [] and [len(m.columns) for m in answers if m.kind == "T"] == [2]
    assert client.query("COMMIT")[-1].body == b"I"
    client.query("DROP TABLE inside")


def test_unnamed_statements_see_search_path(pool):
    client = one_connection(pool).raw()
    client.query("BEGIN")
    for path in ("pg_catalog", "information_schema"):
        client.query(f"SET LOCAL search_path = {path}")
        for _ in range(2):
            assert [m.values for m in client.run("SELECT current_schema()") if m.kind == "D"] == [[path]]
    client.query("ROLLBACK")


def test_unnamed_statements_see_role_changes(pool, pg):
    pg.query("CREATE TABLE IF NOT EXISTS guarded AS SELECT 1 AS c; ALTER TABLE guarded OWNER TO other; GRANT other TO app", dbname="db1")
    try:
        client = one_connection(pool).raw()
        for _ in range(3):
            assert errors(client.run("SELECT * FROM guarded")) == []
        client.query("BEGIN")
        client.query("SET LOCAL ROLE other")
        assert [m.values for m in client.run("SELECT current_user::text") if m.kind == "D"] == [["other"]]
        client.query("COMMIT")
        assert [m.values for m in client.run("SELECT current_user::text") if m.kind == "D"] == [["app"]]
    finally:
        pg.query("DROP TABLE guarded; REVOKE other FROM app", dbname="db1")


def test_unnamed_statements_with_other_parameter_types(pool):
    client = one_connection(pool).raw()
    for oid, name in ((23, "integer"), (25, "text"), (23, "integer")):
        client.send(parse("", "SELECT pg_typeof($1)::text", [oid]), bind("", "", ["1"]), execute(), SYNC)
        assert [m.values[0] for m in client.until("Z") if m.kind == "D"] == [name]


def test_an_unnamed_statement_is_bound_twice(pool):
    client = one_connection(pool).raw()
    client.send(parse("", "SELECT $1::text"), bind("", "", ["a"]), execute(), bind("", "", ["b"]), execute(), SYNC)
    assert [m.values[0] for m in client.until("Z") if m.kind == "D"] == ["a", "b"]


def test_the_unnamed_statement_lasts_inside_a_transaction(pool):
    client = one_connection(pool).raw()
    client.query("BEGIN")
    client.send(parse("", "SELECT 'lasting'"), SYNC).expect("1 Z")
    client.send(bind(), execute(), SYNC)
    assert [m.values[0] for m in client.until("Z") if m.kind == "D"] == ["lasting"]
    client.query("COMMIT")


def test_a_simple_query_drops_the_unnamed_statement(pool):
    client = one_connection(pool).raw()
    client.query("BEGIN")
    client.send(parse("", "SELECT 1"), SYNC).expect("1 Z")
    client.query("SELECT 2")
    assert errors(client.send(bind(), execute(), SYNC).until("Z")) == ["unnamed prepared statement does not exist"]
    client.query("ROLLBACK")


def test_unnamed_statements_with_errors_stay_errors(pool):
    client = one_connection(pool).raw()
    for _ in range(3):
        assert errors(client.run("SELECT nonsense")) == ['column "nonsense" does not exist']
        assert errors(client.run("SELECT 1/0")) == ["division by zero"]
    assert kinds(client.run("SELECT 1")) == "1 2 T D C Z"


@pytest.mark.parametrize("protocol", ["simple", "extended", pytest.param("prepared", marks=tracking)])
def test_pgbench(pool, pg, protocol):
    """A thread for each client: pgbench blocks its thread while it prepares, and the others of it would keep their servers."""
    subprocess.run([postgres_bin() / "pgbench", "-i", "-q", "-s", "1", "-h", str(pg.directory), "-p", str(pg.port), "-U", "app", "db1"],
                   check=True, capture_output=True)
    pooler = pool({"default_pool_size": 4})
    out = subprocess.run([postgres_bin() / "pgbench", "-n", "-M", protocol, "-c", "12", "-j", "12", "-t", "60", "-h", "127.0.0.1", "-p",
                          str(pooler.port), "-U", "app", "db1"], capture_output=True, text=True, timeout=100,
                         env={"PGPASSWORD": PASSWORD, "PGSSLMODE": "disable", "PATH": "/usr/bin"})
    assert out.returncode == 0, out.stderr
    assert "number of transactions actually processed: 720/720" in out.stdout


@tracking
def test_psycopg3_prepares_by_itself(pool):
    pytest.importorskip("psycopg")
    pooler = pool({"default_pool_size": 2})
    clients = [pooler.connect3(prepare_threshold=2) for _ in range(4)]
    for client in clients:
        client.prepared_max = 1000  # it would say DEALLOCATE for what is too much, which libpq 15 has no message for
    for turn in range(8):
        for client in clients:
            assert client.execute("SELECT %s::int + 1", [turn]).fetchone() == (turn + 1,)


@ours_only
def test_show_servers_counts_prepared_statements(pool):
    pooler = one_connection(pool)
    client = pooler.raw()
    prepare(client, "s", "SELECT 1")
    prepare(client, "t", "SELECT 2")
    assert [r["prepared_statements"] for r in pooler.admin("SHOW SERVERS")] == [2]
    assert max(r["prepared_statements"] for r in pooler.admin("SHOW CLIENTS")) == 2
    assert value_of(pooler.connect(), "SELECT 1") == 1


@tracking
@pytest.mark.parametrize("clients", [1, 2])
def test_statements_prepared_inside_a_transaction(pool, clients):
    """What pgbench -M prepared does: BEGIN is a prepared statement, too; the others are prepared when they are first needed."""
    pooler = one_connection(pool)
    for _ in range(clients):
        client = pooler.raw()
        for name, sql, answer in (("P0_0", "BEGIN;", "2 n C Z"), ("P0_1", "SELECT $1::int", "2 T D C Z"), ("P0_2", "END;", "2 n C Z")):
            client.send(parse(name, sql), SYNC).expect("1 Z")
            client.send(bind("", name, ["1"] if "$1" in sql else []), describe("P"), execute(), SYNC).expect(answer)
        for name, answer in (("P0_0", "2 n C Z"), ("P0_1", "2 T D C Z"), ("P0_2", "2 n C Z")):
            client.send(bind("", name, ["1"] if name == "P0_1" else []), describe("P"), execute(), SYNC).expect(answer)


@tracking
def test_a_statement_is_prepared_on_another_server_inside_a_transaction(pool):
    pooler, holder = two_servers(pool)
    client, other = pooler.raw(), pooler.raw()
    prepare(client, "begin", "BEGIN")
    prepare(client, "s", "SELECT $1::int")
    other.query("BEGIN")  # takes the connection where they were prepared
    holder.query("COMMIT")
    client.send(bind("", "begin"), describe("P"), execute(), SYNC).expect("2 n C Z")
    for _ in range(2):
        client.send(bind("", "s", ["1"]), describe("P"), execute(), SYNC).expect("2 T D C Z")
    assert client.query("COMMIT")[-1].body == b"I"
    other.query("COMMIT")


@tracking
def test_many_clients_prepare_in_transactions_on_few_servers(pool):
    """pgbench -M prepared in small: at the end nobody waits and no transaction is open."""
    from pool_harness import Background
    pooler = pool({"default_pool_size": 2, "query_wait_timeout": 15})

    def work():
        client = pooler.raw()
        for name, sql in (("b", "BEGIN"), ("s", "SELECT $1::int"), ("t", "SELECT $1::int + 1"), ("e", "END")):
            prepare(client, name, sql)
        for _ in range(20):
            for name in "bste":
                answers = client.send(bind("", name, ["1"] if name in "st" else []), describe("P"), execute(), SYNC).until("Z")
                assert not errors(answers) and answers[-1].body == (b"I" if name == "e" else b"T")
        return True
    assert all(w.result(60) for w in [Background(work) for _ in range(8)])


# --- ParseComplete that the pooler makes up ---

@ours_only
def test_a_made_up_reply_comes_at_a_flush(pool):
    client = one_connection(pool).raw()
    for _ in range(3):
        assert errors(client.run("SELECT 7")) == []
    client.send(parse("", "SELECT 7"), FLUSH).expect("1")
    client.send(bind(), FLUSH).expect("2")
    client.send(execute(), SYNC).expect("D C Z")


@ours_only
def test_made_up_replies_keep_their_place_among_the_others(pool):
    client = one_connection(pool).raw()
    for sql in ("SELECT 1", "SELECT 2"):
        for _ in range(3):
            client.run(sql)
    first, second = [[parse("", sql), bind(), execute()] for sql in ("SELECT 1", "SELECT 2")]
    answers = client.send(*first, *second, SYNC, *first, SYNC).expect("1 2 D C 1 2 D C Z 1 2 D C Z")
    assert [m.values for m in answers if m.kind == "D"] == [["1"], ["2"], ["1"]]
    # Behind an error nothing is answered until Sync, made up or not.
    client.send(parse("", "SELECT 1"), bind(), execute("nowhere"), parse("", "SELECT 2"), bind(), SYNC).expect("1 2 E Z")
    assert [m.values for m in client.run("SELECT 2") if m.kind == "D"] == [["2"]]
