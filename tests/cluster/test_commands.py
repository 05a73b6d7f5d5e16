"""The operator's commands on a living cluster."""

import json
import subprocess

import pytest
from harness import BIN, Cluster, wait_for


@pytest.fixture(scope="module")
def cluster():
    with Cluster(settings={"ttl": 20, "loop_wait": 2, "retry_timeout": 3}, tags={"b": {"clonefrom": True}}) as running:
        running.start()
        yield running


def ctl(cluster, *arguments, program="pgvigil", stdin=""):
    config = cluster.nodes["a"].config
    return subprocess.run([BIN / program, "-c", config, *arguments], capture_output=True, text=True, timeout=60, input=stdin)


def test_list(cluster):
    wait_for(lambda: cluster.wait_healthy(), 20, "healthy")
    done = ctl(cluster, "list")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("+ Cluster: demo (") and lines[0].endswith("-+")
    assert lines[1].split()[1] == "Member" and "Lag" in lines[1]
    assert len({len(line) for line in lines}) == 1, "a table is a rectangle"
    rows = {m["Member"]: m for m in json.loads(ctl(cluster, "list", "-f", "json").stdout)}
    assert rows["a"]["Role"] == "Leader" and rows["a"]["TL"] == 1 and rows["a"]["Cluster"] == "demo"
    wait_for(lambda: json.loads(ctl(cluster, "list", "-f", "json").stdout)[1]["State"] == "streaming", 5, "b streams")
    assert rows["b"]["Tags"] == {"clonefrom": True}
    assert ctl(cluster, "list", "-f", "tsv").stdout.startswith("Cluster\tMember\tHost\tRole\tState\tTL\t")
    assert "+ b" in ctl(cluster, "topology").stdout


def test_switchover_and_history(cluster):
    done = ctl(cluster, "switchover", "--leader", "a", "--candidate", "b", "--force", program="patronictl")
    assert done.returncode == 0 and 'Successfully switched over to "b"' in done.stdout, done.stdout + done.stderr
    cluster.wait_healthy()
    entry = wait_for(lambda: json.loads(ctl(cluster, "history", "-f", "json").stdout or "[]"), 5, "history")[-1]
    assert entry["TL"] == 1 and entry["New Leader"] == "b"
    done = ctl(cluster, "switchover", "--leader", "a", "--candidate", "b", "--force")
    assert done.returncode == 1 and "is not the leader" in done.stderr
    assert ctl(cluster, "failover", "--candidate", "a", "--force").returncode == 0
    cluster.wait_healthy()
    assert ctl(cluster, "dsn").stdout == f"host=127.0.0.1 port={cluster.nodes['a'].port}\n"


def test_configuration(cluster):
    done = ctl(cluster, "edit-config", "-s", "loop_wait=3", "-p", "work_mem=6MB", "--force")
    assert done.returncode == 0 and "+loop_wait: 3" in done.stdout and "Configuration changed" in done.stdout
    shown = ctl(cluster, "show-config").stdout
    assert "loop_wait: 3" in shown and "    work_mem: 6MB" in shown
    assert ctl(cluster, "edit-config", "-s", "loop_wait=3", "--force").stdout == "Not changed\n"
    done = ctl(cluster, "edit-config", "-s", "ttl=soon", "--force")
    assert done.returncode == 1 and "ttl" in done.stdout


def test_pause_restart_reload(cluster):
    assert ctl(cluster, "pause", "--wait").stdout.endswith("Success: cluster management is paused\n")
    assert " Maintenance mode: on" in ctl(cluster, "list").stdout
    assert ctl(cluster, "pause").returncode == 1
    assert ctl(cluster, "resume", "--wait").stdout.endswith("Success: cluster management is resumed\n")
    assert "Success: restart on member b" in ctl(cluster, "restart", "demo", "b", "--force").stdout
    assert "Reload request received for member a" in ctl(cluster, "reload", "demo", "a", "--force").stdout
    assert "Success: reinitialize for member b" in ctl(cluster, "reinit", "demo", "b", "--force", "--wait").stdout
    cluster.wait_healthy()


def test_wrong_usage(cluster):
    assert ctl(cluster, "no-such-verb").returncode == 2
    assert ctl(cluster, "restart").returncode == 2
    done = subprocess.run([BIN / "pgvigil", "-c", "/no/such/file.yml", "list"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and done.stderr.startswith("Error: ") and "/no/such/file.yml" in done.stderr
    assert ctl(cluster, "remove", "demo", stdin="wrong\n").returncode == 1


def test_check_config(cluster):
    config = cluster.nodes["a"].config
    done = subprocess.run([BIN / "pgvigil", "check-config", config], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stdout
    bad = config.with_name("bad.yml")
    bad.write_text(config.read_text().replace("restapi:", "restapii:").replace("etcd3:", "etcd:"))
    done = subprocess.run([BIN / "pgvigil", "check-config", bad], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "restapi" in done.stdout and "etcd3" in done.stdout


def test_healthcheck(cluster):
    leader, other = cluster.pair()

    def check(node, *arguments):
        return subprocess.run([BIN / "pgvigil", "healthcheck", node.config, *arguments], capture_output=True, text=True, timeout=20)
    assert check(leader).returncode == 0 and check(other).returncode == 0
    assert check(leader, "primary").returncode == 0 and check(other, "replica").returncode == 0
    refused = check(other, "primary")
    assert refused.returncode == 1 and "status 503" in refused.stderr
    assert subprocess.run([BIN / "pgvigil", "healthcheck"], capture_output=True, timeout=20).returncode == 2
