"""The shortest way through the pooler: log in, ask, see it on the console."""

from pool_harness import backend_of, rows_of, value_of


def test_a_query_passes(pool):
    assert pool().query("SELECT 41 + 1") == [(42,)]


def test_two_clients_share_one_server_connection(pool):
    pooler = pool({"default_pool_size": 1})
    first, second = pooler.connect(), pooler.connect()
    assert backend_of(first) == backend_of(second)


def test_a_transaction_keeps_its_server_connection(pool):
    pooler = pool()
    client = pooler.connect(autocommit=False)
    first = backend_of(client)
    assert backend_of(pooler.connect()) != first
    assert backend_of(client) == first
    client.rollback()


def test_errors_pass_and_the_session_goes_on(pool):
    client = pool().raw()
    answer = client.query("SELECT 1/0")
    assert [m.fields["C"] for m in answer if m.kind == "E"] == ["22012"]
    assert client.value("SELECT 1") == "1"


def test_rows_of_every_size_pass(pool):
    client = pool().connect()
    assert [len(r[0]) for r in rows_of(client, "SELECT repeat('x', n) FROM unnest(array[0,1,4095,4096,4097,70000]) n")] == [
        0, 1, 4095, 4096, 4097, 70000]


def test_the_console_shows_the_pool(pool):
    pooler = pool()
    client = pooler.connect()
    value_of(client, "SELECT 1")
    row = pooler.pool()
    assert (row["cl_active"], row["sv_idle"], row["pool_mode"]) == (1, 1, "transaction")
