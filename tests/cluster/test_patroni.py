"""Side by side with Debian's Patroni: its patronictl operates a pgvigil cluster, and its agent joins one."""

import json
import subprocess

import pytest
from harness import Cluster, wait_for


@pytest.fixture(scope="module")
def cluster():
    with Cluster(names=("a", "b", "p"), kinds={"p": "patroni"}, settings={"ttl": 20, "loop_wait": 2, "retry_timeout": 3}) as running:
        running.start(90)
        running.leader().query("CREATE TABLE t (i int)")
        yield running


def patronictl(cluster, *arguments):
    config = next(iter(cluster.nodes.values())).config
    return subprocess.run(["/usr/bin/patronictl", "-c", config, *arguments], capture_output=True, text=True, timeout=60)


def members(cluster):
    done = patronictl(cluster, "list", "-f", "json")
    assert done.returncode == 0, done.stderr
    return {m["Member"]: m for m in json.loads(done.stdout)}


def test_patronictl_lists(cluster):
    rows = members(cluster)
    assert set(rows) == {"a", "b", "p"}
    assert rows["a"]["Role"] == "Leader" and rows["b"]["Role"] == "Replica"
    assert all(row["TL"] == 1 for row in rows.values())


def test_patronictl_switches(cluster):
    done = patronictl(cluster, "switchover", "--master", "a", "--candidate", "b", "--force")
    assert done.returncode == 0 and "Successfully switched over" in done.stdout, done.stdout + done.stderr
    wait_for(cluster.nodes["b"].is_leader, 10, "b leads")
    cluster.wait_healthy()


def test_patroni_node_takes_the_lead_and_gives_it_back(cluster):
    leader = cluster.wait_healthy()
    leader.query("INSERT INTO t VALUES (1)")
    assert leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": "p"}, timeout=60)[0] == 200
    patroni = cluster.nodes["p"]
    wait_for(patroni.is_leader, 20, "Patroni leads")
    wait_for(lambda: patroni.query("INSERT INTO t VALUES (2)") is None, 20, "it accepts writes")
    cluster.wait_healthy(90)
    assert patroni.rest_call("/switchover", "POST", {"leader": "p", "candidate": "a"}, timeout=60)[0] == 200
    wait_for(cluster.nodes["a"].is_leader, 20, "a leads")
    cluster.wait_healthy(90)
    assert cluster.nodes["a"].query("SELECT count(*) FROM t") == [(2,)]
