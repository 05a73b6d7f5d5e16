"""`pgvigil up` as a user types it, and what the reference deployment promises."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import urllib.request

import psycopg2
import pytest
from harness import BIN, server_user, wait_for


@pytest.fixture(scope="module")
def deployment():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="pgvigil-up-"))
    if server_user():
        shutil.chown(directory, server_user(), server_user())
    offset = free_offset(1000)
    done = up(directory, "--port-offset", str(offset), "--detach")
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield directory, offset, done.stdout
    finally:
        down = subprocess.run([BIN / "pgvigil", "down", "--dir", directory, "--purge"], capture_output=True, text=True, timeout=120)
        assert down.returncode == 0, down.stderr
        assert not directory.exists()


def free_offset(first):
    """Below the range from which the kernel takes ports for outgoing connections (32768 and up)."""
    ports = (2379, 2380, 23791, 23801, 23792, 23802, 5432, 5433, 6432, 6433, 8008, 8009)
    return next(o for o in range(first, first + 3900, 137) if all(_free(p + o) for p in ports))


def _free(port):
    import socket
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def up(directory, *arguments):
    return subprocess.run([BIN / "pgvigil", "up", "--dir", directory, *arguments], capture_output=True, text=True, timeout=240)


def patroni(offset, node):
    with urllib.request.urlopen(f"http://localhost:{8007 + node + offset}/patroni", timeout=5) as answer:
        return json.loads(answer.read())


def connect(deployment, node):
    directory, offset, _ = deployment
    password = (directory / "secrets" / "superuser").read_text().strip()
    connection = psycopg2.connect(host="localhost", port=5431 + node + offset, user="postgres", password=password,
                                  dbname="postgres", sslmode="verify-full", sslrootcert=directory / "certs" / "ca.crt")
    connection.autocommit = True
    return connection


def query(deployment, node, sql):
    connection = connect(deployment, node)
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


def test_the_first_node_leads_and_the_second_follows(deployment):
    _, offset, said = deployment
    first, second = patroni(offset, 1), patroni(offset, 2)
    assert (first["role"], first["state"], first["timeline"]) == ("primary", "running", 1)
    assert (second["role"], second["replication_state"]) == ("replica", "streaming")
    assert "The cluster is healthy" in said
    if os.geteuid() == 0:
        assert "as the user postgres" in said


def through_pooler(deployment, sql, dbname="postgres", **more):
    directory, offset, _ = deployment
    password = (directory / "secrets" / "superuser").read_text().strip()
    settings = {"user": "postgres", "password": password, "sslmode": "verify-full", "sslrootcert": directory / "certs" / "ca.crt", **more}
    connection = psycopg2.connect(host="localhost", port=6432 + offset, dbname=dbname, **settings)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


def test_the_pooler_serves_over_tls_on_both_sides(deployment):
    assert through_pooler(deployment, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [(True,)]
    with pytest.raises(psycopg2.OperationalError, match="SSL required"):
        through_pooler(deployment, "SELECT 1", sslmode="disable")
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        through_pooler(deployment, "SELECT 1", password="wrong")


def test_the_console_of_the_pooler(deployment):
    pools = through_pooler(deployment, "SHOW POOLS", dbname="pgbouncer")
    assert ("postgres", "postgres", "transaction") in [(row[0], row[1], row[-2]) for row in pools]
    config = {row[0]: row[1] for row in through_pooler(deployment, "SHOW CONFIG", dbname="pgbouncer")}
    assert [config[k] for k in ("max_client_conn", "default_pool_size", "max_db_connections")] == ["1000", "25", "100"]


def test_other_users_are_looked_up_in_the_database(deployment):
    query(deployment, 1, "CREATE ROLE nessie LOGIN PASSWORD 'catalog'")
    query(deployment, 1, "CREATE DATABASE nessie OWNER nessie")
    assert through_pooler(deployment, "SELECT current_user", dbname="nessie", user="nessie", password="catalog") == [("nessie",)]
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        through_pooler(deployment, "SELECT 1", dbname="nessie", user="nessie", password="wrong")


def test_rows_cross_over_tls_only(deployment):
    query(deployment, 1, "CREATE TABLE test_repl (id serial, data text)")
    query(deployment, 1, "INSERT INTO test_repl (data) VALUES ('x')")
    wait_for(lambda: query(deployment, 2, "SELECT data FROM test_repl") == [("x",)], 10, "the row is on the second node")
    assert query(deployment, 1, "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)") == [(True,)]


def test_cluster_json_lists_every_process(deployment):
    directory, offset, _ = deployment
    described = json.loads((directory / "cluster.json").read_text())
    assert [p["name"] for p in described["processes"]] == ["etcd-1", "etcd-2", "etcd-3", "postgresql-patroni-1", "postgresql-patroni-2",
                                                         "pgbouncer"]
    for process in described["processes"]:
        pid = int(pathlib.Path(process["pid_file"]).read_text())
        assert str(directory) in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    assert described["processes"][0]["ports"] == {"client": 2379 + offset, "peer": 2380 + offset}


def test_secrets_are_private(deployment):
    directory, _, _ = deployment
    password = (directory / "secrets" / "superuser").read_text().strip()
    globs = ("secrets/*", "certs/*.key", "*/patroni.yml", "pgbouncer/*.ini", "pgbouncer/userlist.txt")
    for path in [directory / "pgpass", *(path for pattern in globs for path in directory.glob(pattern))]:
        assert path.stat().st_mode & 0o077 == 0, path
    for log in [*directory.glob("*/*.log")]:
        assert password not in log.read_text(errors="replace"), log
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert password.encode() not in entry.read_bytes()
        except OSError:
            continue


def test_up_again_changes_nothing(deployment):
    directory, _, _ = deployment
    done = up(directory, "--detach")
    assert done.returncode == 0 and "everything runs already" in done.stdout


def test_switchover_as_written(deployment):
    directory, offset, _ = deployment
    done = subprocess.run([BIN / "patronictl", "-c", directory / "ctl.yml", "switchover", "--leader", "postgresql-patroni-1",
                           "--candidate", "postgresql-patroni-2", "--force"], capture_output=True, text=True, timeout=60)
    assert 'Successfully switched over to "postgresql-patroni-2"' in done.stdout, done.stdout + done.stderr
    wait_for(lambda: patroni(offset, 2)["role"] == "primary", 5, "the second node is a primary")
    wait_for(lambda: patroni(offset, 1).get("replication_state") == "streaming", 30, "the first node streams")
    port = "SELECT setting FROM pg_settings WHERE name = 'port' AND NOT pg_is_in_recovery()"
    wait_for(lambda: through_pooler(deployment, port) == [(str(5433 + offset),)], 10, "the pooler writes to the second node")


def test_debians_patronictl_over_tls(deployment):
    directory, _, _ = deployment
    done = subprocess.run(["/usr/bin/patronictl", "-c", directory / "ctl.yml", "list", "-f", "json"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    assert {m["Member"]: m["State"] for m in json.loads(done.stdout)} == {
        "postgresql-patroni-1": "running", "postgresql-patroni-2": "running"}


def test_clients_without_tls_are_refused(deployment):
    _, offset, _ = deployment
    with pytest.raises(psycopg2.OperationalError, match="no pg_hba.conf entry.*no encryption"):
        psycopg2.connect(host="localhost", port=5432 + offset, user="postgres", dbname="postgres", sslmode="disable")


def test_taken_port_is_named_with_its_holder(deployment):
    directory, offset, _ = deployment
    with tempfile.TemporaryDirectory() as other:
        os.chmod(other, 0o777)
        done = up(pathlib.Path(other) / "x", "--port-offset", str(offset), "--detach")
    assert done.returncode == 1
    assert f"port {2379 + offset} (client of etcd-1) is taken by pid " in done.stderr and "(etcd)" in done.stderr


def test_foreground_stops_everything_on_interrupt():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="pgvigil-up-"))
    if server_user():
        shutil.chown(directory, server_user(), server_user())
    offset = free_offset(5000)
    process = subprocess.Popen([BIN / "pgvigil", "up", "--dir", directory, "--port-offset", str(offset)],
                               stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: "Ctrl-C" in process.stdout.readline() or None, 120, "the cluster is up")
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0
        assert not list(directory.glob("*/pid"))
        assert _free(5432 + offset) and _free(2379 + offset)
    finally:
        process.kill()
        subprocess.run([BIN / "pgvigil", "down", "--dir", directory, "--purge"], capture_output=True, timeout=120)
