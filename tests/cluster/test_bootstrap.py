"""How a cluster comes into being: users, scripts, methods of the operator's own, and what is left of a failure."""

import psycopg2
import pytest
from harness import REPLICATION_PASSWORD, SUPERUSER_PASSWORD, Cluster, postgres_bin, wait_for


def script(cluster, name, text):
    path = cluster.directory / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def connect_as(node, user, password, database="postgres"):
    return psycopg2.connect(host="127.0.0.1", port=node.port, user=user, password=password, dbname=database, connect_timeout=2)


def test_users_and_scripts_of_a_new_cluster():
    with Cluster(names=("a",)) as cluster:
        node = cluster.nodes["a"]
        seen = cluster.directory / "a" / "post_bootstrap.out"
        path = script(cluster, "post.sh", f'echo "$1" > {seen}; env >> {seen}; psql "$1" -c "CREATE DATABASE shop"\n')
        cluster.local = lambda node: {
            "bootstrap": {"post_bootstrap": str(path),
                          "users": {"app": {"password": "app-secret", "options": ["createdb", "LOGIN"]}}},
            "postgresql": {"authentication": {"rewind": {"username": "rewinder", "password": "rewind-secret"}},
                           "pg_hba": ["local all all trust", "host replication replicator 127.0.0.1/32 scram-sha-256",
                                      "host all all 127.0.0.1/32 scram-sha-256"],
                           "pg_ident": ["people operator postgres"]}}
        node.write_config()
        cluster.give(node.directory)
        node.start()
        wait_for(node.is_leader, 60, "it leads")
        connect_as(node, "postgres", SUPERUSER_PASSWORD, "shop").close()
        connect_as(node, "app", "app-secret").close()
        with pytest.raises(psycopg2.OperationalError):
            connect_as(node, "app", "guess")
        kinds = node.query("SELECT rolname, rolsuper, rolreplication, rolcreatedb, left(rolpassword, 13) FROM pg_authid "
                           "WHERE rolpassword IS NOT NULL ORDER BY 1")
        assert kinds == [("app", False, False, True, "SCRAM-SHA-256"), ("postgres", True, True, True, "SCRAM-SHA-256"),
                         ("replicator", False, True, False, "SCRAM-SHA-256"), ("rewinder", False, False, False, "SCRAM-SHA-256")]
        rights = node.query("SELECT has_function_privilege('rewinder', 'pg_catalog.pg_read_binary_file(text)', 'EXECUTE')")
        assert rights == [(True,)]
        assert "operator" in (node.data / "pg_ident.conf").read_text()
        told = seen.read_text()
        assert "port=" in told.splitlines()[0] and SUPERUSER_PASSWORD not in told
        assert "PGPASSFILE=" in told and "synchronous_commit=local" in told
        for secret in (SUPERUSER_PASSWORD, REPLICATION_PASSWORD, "app-secret", "rewind-secret"):
            assert secret not in node.log()
            for log in node.data.with_name("data.pgvigil").glob("*.log"):
                assert secret not in log.read_text()


def test_a_method_of_the_operators_own():
    with Cluster(names=("a",)) as cluster:
        node = cluster.nodes["a"]
        seen = node.directory / "method.out"
        path = script(cluster, "method.sh", f"""echo "$@" > {seen}
for argument in "$@"; do case $argument in --datadir=*) data=${{argument#--datadir=}};; esac; done
{postgres_bin()}/initdb -D "$data" -U postgres --auth=trust >/dev/null
""")
        cluster.local = lambda node: {"bootstrap": {"method": "copy", "copy": {"command": str(path), "colour": "blue"}}}
        node.write_config()
        cluster.give(node.directory)
        node.start()
        wait_for(node.is_leader, 60, "it leads")
        arguments = seen.read_text().split()
        assert "--scope=demo" in arguments and f"--datadir={node.data}" in arguments and "--colour=blue" in arguments
        connect_as(node, "postgres", SUPERUSER_PASSWORD).close()


def test_a_failed_bootstrap_cleans_up_and_frees_the_key():
    with Cluster(names=("a", "b")) as cluster:
        node, other = cluster.nodes["a"], cluster.nodes["b"]
        path = script(cluster, "fails.sh", "exit 7\n")
        cluster.local = lambda node: {"bootstrap": {"post_bootstrap": str(path)}} if node.name == "a" else {}
        node.write_config()
        cluster.give(node.directory)
        node.start()
        assert node.agent.process.wait(60) == 1
        assert "post_bootstrap" in node.log() or "fails.sh" in node.log()
        assert not node.data.exists() and list(node.directory.glob("data.failed*")), "set aside for the operator"
        assert not cluster.etcd.ctl("get", "--keys-only", "/service/demo/initialize").stdout.strip()
        assert not cluster.etcd.ctl("get", "--keys-only", "/service/demo/leader").stdout.strip()
        other.start()
        wait_for(other.is_leader, 60, "another member may found the cluster")
