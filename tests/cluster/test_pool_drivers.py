"""Drivers as applications use them, unchanged, in transaction mode: pgjdbc, psycopg 3, psycopg2, node-postgres, libpq's psql."""

import asyncio
import os
import pathlib
import shutil
import subprocess

import pytest

from pool_harness import PASSWORD, Background, remove, scratch_directory, since, value_of

DRIVERS = pathlib.Path(__file__).parent / "pool_drivers"
JDBC = pathlib.Path("/usr/share/java/postgresql.jar")
SECONDS = os.environ.get("PGVIGIL_DRIVER_SECONDS", "3")  # the ten minutes: 600


@pytest.fixture
def pooler(pool, pg):
    pg.query("CREATE TABLE IF NOT EXISTS driven (thread int, n int); GRANT ALL ON driven TO app", dbname="db1")
    return pool({"default_pool_size": 3, "ignore_startup_parameters": "extra_float_digits"})


# --- pgjdbc ---

def drive_java(pooler, more=""):
    if not JDBC.exists() or not shutil.which("java"):
        pytest.skip("libpostgresql-jdbc-java or a Java of version 11 is not installed")
    url = f"jdbc:postgresql://127.0.0.1:{pooler.port}/db1?user=app&password={PASSWORD}&sslmode=disable{more}"
    out = subprocess.run(["java", "-XX:TieredStopAtLevel=1", "-cp", str(JDBC), str(DRIVERS / "Drive.java"), url, SECONDS, "6"],
                         capture_output=True, text=True, timeout=float(SECONDS) + 60)
    assert out.returncode == 0, out.stderr[:3000]
    assert int(out.stdout.split()[0]) >= 6


def test_pgjdbc_without_server_side_statements(pooler):
    drive_java(pooler, "&prepareThreshold=0")


@since(1, 21)
def test_pgjdbc(pooler):
    drive_java(pooler)


@since(1, 21)
def test_pgjdbc_with_binary_from_the_first_execution(pooler):
    drive_java(pooler, "&prepareThreshold=-1")


# --- node-postgres ---

@pytest.fixture(scope="module")
def node_modules():
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    directory = scratch_directory("node")
    for name in ("package.json", "package-lock.json", "drive.js"):
        shutil.copy(DRIVERS / name, directory)
    out = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=directory, capture_output=True, text=True,
                         timeout=120)
    if out.returncode != 0:
        remove(directory)
        pytest.skip(f"npm ci failed, is there a network? {out.stderr[-300:]}")
    yield directory
    remove(directory)


def drive_node(pooler, directory, *more):
    out = subprocess.run(["node", "drive.js", str(pooler.port), *more], cwd=directory, capture_output=True, text=True, timeout=60)
    assert out.returncode == 0, out.stderr[:3000]
    assert out.stdout == "done\n"


def test_node_postgres(pooler, node_modules):
    drive_node(pooler, node_modules)


@since(1, 21)
def test_node_postgres_with_named_statements(pooler, node_modules):
    drive_node(pooler, node_modules, "named")


# --- psycopg 3 ---

def test_psycopg3_without_prepared_statements(pooler):
    pytest.importorskip("psycopg")
    with pooler.connect3(prepare_threshold=None) as connection:
        for i in range(20):
            assert connection.execute("SELECT %s::int", [i]).fetchone() == (i,)


@since(1, 21)
def test_psycopg3_in_transactions(pooler):
    pytest.importorskip("psycopg")

    def work():
        connection = pooler.connect3(prepare_threshold=1, autocommit=False)
        for i in range(30):
            with connection.transaction():
                assert connection.execute("SELECT %s::int + 1", [i]).fetchone() == (i + 1,)
                assert connection.execute("SELECT count(*) FROM driven WHERE n = %s", [i]).fetchone() == (0,)
        return True
    assert all(w.result(60) for w in [Background(work) for _ in range(6)])


@since(1, 21)
def test_psycopg3_pipeline(pooler):
    psycopg = pytest.importorskip("psycopg")
    if not psycopg.Pipeline.is_supported():
        pytest.skip("libpq is too old")
    connection = pooler.connect3()
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", [i]) for i in range(50)]
    assert [c.fetchone()[0] for c in cursors] == list(range(50))


def test_psycopg3_copy(pooler):
    pytest.importorskip("psycopg")
    connection = pooler.connect3(autocommit=False, prepare_threshold=None)
    with connection.cursor() as cursor:
        with cursor.copy("COPY driven FROM STDIN") as copy:
            for i in range(1000):
                copy.write_row((99, i))
        with cursor.copy("COPY (SELECT n FROM driven WHERE thread = 99) TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 1000
    connection.rollback()


def test_psycopg3_async(pooler):
    psycopg = pytest.importorskip("psycopg")

    async def one(i):
        connection = await psycopg.AsyncConnection.connect(host="127.0.0.1", port=pooler.port, user="app", dbname="db1", autocommit=True,
                                                           password=PASSWORD, prepare_threshold=None)
        async with connection:
            return (await (await connection.execute("SELECT %s::int", [i])).fetchone())[0]

    async def every():
        return await asyncio.gather(*(one(i) for i in range(20)))
    assert asyncio.run(every()) == list(range(20))


# --- libpq ---

def test_psycopg2_transactions(pooler):
    def work():
        connection = pooler.connect(autocommit=False)
        for i in range(20):
            assert value_of(connection, f"SELECT {i}") == i
            connection.commit() if i % 2 else connection.rollback()
        return True
    assert all(w.result(60) for w in [Background(work) for _ in range(8)])


def psql(pooler, *arguments):
    out = subprocess.run(["psql", "-X", "-At", "-h", "127.0.0.1", "-p", str(pooler.port), "-U", "app", "-d", "db1", *arguments],
                         capture_output=True, text=True, timeout=30, env={**os.environ, "PGPASSWORD": PASSWORD})
    assert out.returncode == 0, out.stderr
    return out.stdout


def test_psql_describes_tables(pooler):
    assert "driven" in psql(pooler, "-c", r"\d")
    assert "integer" in psql(pooler, "-c", r"\d driven")


def test_psql_copies(pooler, tmp_path):
    file = tmp_path / "rows"
    psql(pooler, "-c", rf"\copy (SELECT generate_series(1, 500)) TO {file}")
    assert len(file.read_text().splitlines()) == 500


def test_pg_dump(pooler):
    out = subprocess.run(["pg_dump", "-h", "127.0.0.1", "-p", str(pooler.port), "-U", "app", "-t", "driven", "db1"], capture_output=True,
                         text=True, timeout=60, env={**os.environ, "PGPASSWORD": PASSWORD})
    assert out.returncode == 0, out.stderr
    assert "CREATE TABLE public.driven" in out.stdout
