"""The operator's commands on a living cluster."""

import datetime
import json
import os
import subprocess

import pytest
import yaml
from harness import BIN, SUPERUSER_PASSWORD, Cluster, wait_for


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
    changed = wait_for(lambda: json.loads(ctl(cluster, "history", "--config", "-f", "json").stdout or "[]"), 10, "it is written down")[-1]
    assert changed["Change"] == "loop_wait: 2 -> 3\npostgresql.parameters.work_mem: (none) -> 6MB"
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
    bad.write_text(config.read_text().replace("fsync: 'off'", "fsync: 'of'\n    work_mem: 4XB\n    shared_bufers: 1MB"))
    done = subprocess.run([BIN / "pgvigil", "check-config", bad], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and 'work_mem: "4XB": "XB" is no unit' in done.stdout, done.stdout
    assert 'did you mean "shared_buffers"?' in done.stdout and "fsync" not in done.stdout


def test_healthcheck(cluster):
    leader, other = cluster.pair()

    def check(node, *arguments):
        return subprocess.run([BIN / "pgvigil", "healthcheck", node.config, *arguments], capture_output=True, text=True, timeout=20)
    assert check(leader).returncode == 0 and check(other).returncode == 0
    assert check(leader, "primary").returncode == 0 and check(other, "replica").returncode == 0
    refused = check(other, "primary")
    assert refused.returncode == 1 and "status 503" in refused.stderr
    assert subprocess.run([BIN / "pgvigil", "healthcheck"], capture_output=True, timeout=20).returncode == 2


def test_query(cluster):
    leader, other = cluster.pair()

    def query(*arguments, stdin=""):
        return ctl(cluster, "query", "-U", "postgres", "--password", *arguments, stdin=SUPERUSER_PASSWORD + "\n" + stdin)
    sql = "SELECT pg_is_in_recovery() AS standby, 1 AS one"
    assert query("-c", sql).stdout.endswith("standby\tone\nf\t1\n")
    assert query("-c", sql, "-r", "replica", "--delimiter", ";").stdout.endswith("standby;one\nt;1\n")
    assert json.loads(query("-m", other.name, "-c", sql, "--format", "json").stdout.split(": ", 1)[1]) == [{"standby": "t", "one": "1"}]
    failed = query("-c", "SELECT 1/0")
    assert failed.returncode == 0 and failed.stdout.rstrip().endswith("ERROR, SQLSTATE: 22012")
    refused = ctl(cluster, "query", "-U", "postgres", "--password", "-c", "SELECT 1", stdin="wrong\n")
    assert refused.returncode == 0 and "No connection to member" in refused.stdout and "wrong" not in refused.stdout
    assert query().returncode == 1 and query("-c", "SELECT 1", "-f", "x").returncode == 1
    assert query("-c", "SELECT 1", "-r", "replica", "-m", "a").returncode == 1


def test_schedules_are_made_shown_and_flushed(cluster):
    leader, other = cluster.pair()
    later = (datetime.datetime.now() + datetime.timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M")  # without a zone: this machine's
    done = ctl(cluster, "restart", "demo", other.name, "--scheduled", later, "--pg-version", "99.1", "--force")
    assert f"Success: restart scheduled on member {other.name}" in done.stdout, done.stdout + done.stderr
    wait_for(lambda: f"{later}:00" in ctl(cluster, "list").stdout and "if version < 99.1" in ctl(cluster, "list").stdout, 10, "it is shown")
    again = ctl(cluster, "restart", "demo", other.name, "--scheduled", later, stdin="y\n\n")
    assert f"Failed: another restart is already scheduled on member {other.name}" in again.stdout
    assert f"Success: flush scheduled restart for member {other.name}" in ctl(cluster, "flush", "demo", other.name, "restart", "--force").stdout
    assert f"No scheduled restart for member {other.name}" in ctl(cluster, "flush", "demo", other.name, "restart", "--force").stdout
    done = ctl(cluster, "switchover", "--candidate", other.name, "--scheduled", later, "--force")
    assert done.returncode == 0 and "scheduled" in done.stdout, done.stdout
    wait_for(lambda: " Switchover scheduled at: " in ctl(cluster, "list").stdout, 10, "it is shown")
    assert "Success: " in ctl(cluster, "flush", "demo", "switchover").stdout
    assert "No pending scheduled switchover" in ctl(cluster, "flush", "demo", "switchover").stdout
    assert leader.is_leader()


def test_completion_is_understood_by_the_shells(tmp_path):
    for shell in ("bash", "zsh", "fish"):
        done = subprocess.run([BIN / "pgvigil", "completion", shell], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0 and "switchover" in done.stdout and "healthcheck" in done.stdout
        script = tmp_path / shell
        script.write_text(done.stdout)
        checked = subprocess.run([shell, "-n", script], capture_output=True, text=True, timeout=20)
        assert checked.returncode == 0, checked.stderr

    def bash(*words):
        line = f"source {tmp_path}/bash; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _pgvigil; echo ${{COMPREPLY[@]}}"
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20).stdout.split()
    assert bash("pgvigil", "swi") == ["switchover"]
    assert bash("pgvigil", "-c", "file", "list", "--format", "''") == ["pretty", "tsv", "json", "yaml", "yml"]
    assert bash("patronictl", "switchover", "--cand") == ["--candidate"]
    assert "postgresql" not in bash("pgvigil", "restart", "--role", "re") and bash("pgvigil", "restart", "--role", "re") == ["replica"]


def test_configurations_are_made_and_validated(cluster, tmp_path):
    leader = cluster.wait_healthy()
    sample = tmp_path / "sample.yml"
    assert subprocess.run([BIN / "patroni", "--generate-sample-config", sample], timeout=20).returncode == 0
    assert sample.stat().st_mode & 0o777 == 0o600 and "bootstrap:" in sample.read_text()
    dsn = f"host=127.0.0.1 port={leader.port} user=postgres dbname=postgres"

    def generate(*arguments, password=SUPERUSER_PASSWORD):
        return subprocess.run([BIN / "pgvigil", "agent", "--generate-config", "--dsn", dsn, *arguments], capture_output=True,
                              text=True, timeout=20, env={**os.environ, "PGPASSWORD": password})
    made = generate()
    assert made.returncode == 0, made.stderr
    document = yaml.safe_load(made.stdout)
    assert document["postgresql"]["data_dir"] == str(leader.data) and document["scope"] == "demo"
    assert document["bootstrap"]["dcs"]["postgresql"]["parameters"]["max_connections"] == "100"
    assert any("replicator" in line for line in document["postgresql"]["pg_hba"])
    assert SUPERUSER_PASSWORD not in made.stdout
    assert generate(password="wrong").returncode == 1

    def validate(*arguments):
        return subprocess.run([BIN / "patroni", "--validate-config", *arguments, leader.config], capture_output=True, text=True, timeout=20)
    taken = validate()
    assert taken.returncode == 1 and f"restapi.listen: port {leader.rest} is taken by" in taken.stdout
    assert validate("-i").returncode == 0
    printed = validate("-i", "-p").stdout
    assert "password: '***'" in printed and SUPERUSER_PASSWORD not in printed
