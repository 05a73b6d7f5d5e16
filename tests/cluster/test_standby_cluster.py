"""A cluster that is the standby of another one: made so from the start, promoted, and demoted again."""

import subprocess

from harness import BIN, Cluster, wait_for

SETTINGS = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}


def ctl(cluster, *arguments):
    config = next(iter(cluster.nodes.values())).config
    return subprocess.run([BIN / "pgvigil", "-c", config, *arguments], capture_output=True, text=True, timeout=180)


def test_standby_cluster():
    with Cluster(names=("p",), settings=SETTINGS, scope="main") as main:
        main.start()
        p = main.leader()
        p.query("CREATE TABLE t AS SELECT 1 AS n")
        remote = {"host": "127.0.0.1", "port": p.port}
        with Cluster(names=("x", "y"), settings={**SETTINGS, "standby_cluster": remote}, scope="copy", etcd=main.etcd) as copy:
            x, y = copy.nodes.values()
            x.start()
            wait_for(lambda: x.status().get("role") == "standby_leader" and x.code("/standby-leader") == 200, 60, "it leads the copy")
            y.start()
            wait_for(lambda: y.streams(), 60, "the other one streams from it")
            assert x.code("/primary") == 503 and x.code("/leader") == 200
            # Streaming is read from the leader and from the server; the health check knows what the agent's last look found.
            wait_for(lambda: y.code("/replica") == 200, 10, "its agent has seen that it runs")
            p.query("INSERT INTO t VALUES (2)")
            for node in (x, y):
                wait_for(lambda node=node: node.query("SELECT count(*) FROM t") == [(2,)], 20, "rows arrive")
            system_id = p.status()["database_system_identifier"]
            assert x.status()["database_system_identifier"] == system_id
            # Inside of the copy the lead moves like anywhere.
            done = ctl(copy, "switchover", "--candidate", "y", "--force")
            assert "Successfully" in done.stdout, done.stdout + done.stderr
            wait_for(lambda: y.status().get("role") == "standby_leader" and x.streams(), 60, "y leads the copy")
            p.query("INSERT INTO t VALUES (3)")
            wait_for(lambda: x.query("SELECT count(*) FROM t") == [(3,)], 20, "rows arrive through y")

            # A planned move to the other site: the main cluster steps back first, and all it wrote arrives in the copy.
            done = ctl(main, "demote-cluster", "--host", "127.0.0.1", "--port", str(y.port), "--force")
            assert done.returncode == 0, done.stdout + done.stderr
            assert p.status()["role"] == "standby_leader" and p.code("/primary") == 503
            done = ctl(copy, "promote-cluster", "--force")
            assert done.returncode == 0, done.stdout + done.stderr
            assert y.code("/primary") == 200
            assert ctl(copy, "promote-cluster", "--force").returncode == 1, "it is none any more"
            y.query("INSERT INTO t VALUES (4)")
            for node in (x, p):
                wait_for(lambda node=node: node.query("SELECT count(*) FROM t") == [(4,)], 60, f"{node.name} follows")
