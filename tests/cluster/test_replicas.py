"""Where replicas come from and whom they follow."""

import json
import signal
import subprocess

import yaml
from harness import BIN, Cluster, wait_for

SETTINGS = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}


def upstream_port(node):
    rows = node.query("SELECT conninfo FROM pg_stat_wal_receiver WHERE status = 'streaming'")
    if not rows:
        return None
    return next(int(part.split("=")[1]) for part in rows[0][0].split() if part.startswith("port="))


def test_cascading_clonefrom_and_nostream():
    tags = {"b": {"clonefrom": True}, "c": {"replicatefrom": "b"}, "d": {"nostream": True}}
    with Cluster(names=("a", "b", "c", "d"), settings=SETTINGS, tags=tags) as cluster:
        a, b, c, d = cluster.nodes.values()
        a.start()
        wait_for(a.is_leader, 60, "a leads")
        b.start()
        wait_for(b.streams, 60, "b streams")
        c.start()
        d.start()
        wait_for(c.streams, 60, "c streams")
        wait_for(lambda: d.status().get("state") == "running", 60, "d runs")
        assert "copying the data directory from b" in c.log() or "from b" in c.log(), c.log()
        assert upstream_port(c) == b.port and upstream_port(b) == a.port
        assert upstream_port(d) is None, "it has no walreceiver"
        # Whoever serves a replica keeps its slot active; a member without streaming has none anywhere.
        wait_for(lambda: b.query("SELECT active FROM pg_replication_slots WHERE slot_name = 'c'") == [(True,)], 10, "slot c on b")
        wait_for(lambda: a.query("SELECT slot_name FROM pg_replication_slots WHERE active") == [("b",)], 10, "slot b on a")
        listed = {m["name"]: m for m in json.loads(a.rest_call("/cluster")[1])["members"]}
        assert listed["c"]["tags"] == {"replicatefrom": "b"} and listed["d"]["tags"] == {"nostream": True}
        # Without its upstream it follows the leader.
        b.agent.terminate()
        wait_for(lambda: upstream_port(c) == a.port, 60, "c follows a")
        a.query("CREATE TABLE t (n int)")
        wait_for(lambda: c.query("SELECT count(*) FROM t") == [(0,)], 10, "c replays")
        b.start()
        wait_for(lambda: upstream_port(c) == b.port, 60, "c follows b again")


def test_permanent_slots_are_everywhere_and_move_on():
    settings = {**SETTINGS, "slots": {"archive": {"type": "physical"}}, "ignore_slots": [{"name": "mine"}]}
    with Cluster(settings=settings) as cluster:
        cluster.start()
        leader, other = cluster.pair()

        def slot(node, name="archive"):
            rows = node.query(f"SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '{name}'")
            return rows[0][0] if rows else None
        wait_for(lambda: slot(leader) is not None or leader.query(
            "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'archive'"), 10, "on the leader")
        wait_for(lambda: other.query("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'archive'"), 10, "on the replica")
        leader.query("SELECT pg_create_physical_replication_slot('mine', true)")
        leader.query("SELECT pg_create_physical_replication_slot('strange', true)")
        wait_for(lambda: not leader.query("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'strange'"), 20, "dropped")
        assert slot(leader, "mine"), "ignored"
        # The leader's slot moves on; the replica's is moved after it.
        leader.query("SELECT pg_replication_slot_advance('archive', pg_current_wal_lsn())" if slot(leader) else
                     "SELECT 1")
        leader.query("CREATE TABLE t AS SELECT 1")
        if slot(leader):
            wait_for(lambda: slot(other) == slot(leader), 20, "the replica's slot follows")


def test_replicas_by_a_method_of_the_operators_own():
    with Cluster(settings=SETTINGS) as cluster:
        b = cluster.nodes["b"]
        seen = b.directory / "method.out"
        method = cluster.directory / "method.sh"
        method.write_text(f"""#!/bin/sh
echo "$@" >> {seen}
case $1 in --fail=*) exit 1;; esac
for argument in "$@"; do case $argument in
  --datadir=*) data=${{argument#--datadir=}};; --connstring=*) from=${{argument#--connstring=}};; esac; done
pg_basebackup -D "$data" -X stream --dbname="$from"
""")
        method.chmod(0o755)
        cluster.local = lambda node: {"postgresql": {
            "create_replica_methods": ["broken", "copy"],
            "broken": {"command": f"{method} --fail=1"}, "copy": {"command": str(method), "keep": "7d"}}} if node.name == "b" else {}
        b.write_config()
        cluster.give(b.directory)
        cluster.start()
        first, second = [line.split() for line in seen.read_text().splitlines()]
        assert "--fail=1" in first and "--role=replica" in second and "--scope=demo" in second
        assert f"--datadir={b.data}" in second and "--keep=7d" in second
        assert any(word.startswith("--connstring=") for word in second)


def test_progress_of_a_copy_is_shown():
    with Cluster(settings=SETTINGS) as cluster:
        a, b = cluster.nodes.values()
        a.start()
        wait_for(a.is_leader, 60, "a leads")
        # Enough to be seen on its way, at a rate that the test sets.
        a.query("CREATE TABLE t AS SELECT n, repeat('x', 1000) FROM generate_series(1, 100000) n")
        cluster.local = lambda node: {"postgresql": {"basebackup": [{"max-rate": "20M"}, {"checkpoint": "fast"}]}}
        b.write_config()
        cluster.give(b.directory)
        b.start()

        def progress():
            for member in json.loads(a.rest_call("/cluster")[1])["members"]:
                if member["name"] == "b" and member["state"] == "creating replica" and "%" in member.get("progress", ""):
                    return member["progress"]
            return None
        text = wait_for(progress, 60, "progress in /cluster")
        assert "left" in text or "100 %" in text, text
        wait_for(b.streams, 60, "b streams")
        assert "%" in b.log()


REPLICATION_LINE = "host replication replicator 127.0.0.1/32 scram-sha-256"


def permit_replication(node, permit):
    document = yaml.safe_load(node.config.read_text())
    lines = [line for line in document["postgresql"]["pg_hba"] if line != REPLICATION_LINE]
    document["postgresql"]["pg_hba"] = ([REPLICATION_LINE] if permit else []) + lines
    node.config.write_text(yaml.safe_dump(document))
    node.agent.signal(signal.SIGHUP)


def listed(node, *arguments):
    return subprocess.run([BIN / "pgvigil", "-c", node.config, "list", *arguments], capture_output=True, text=True, timeout=30).stdout


def test_a_missing_pg_hba_line_is_named_in_the_list_and_its_reload_needs_no_restart():
    hint = "add this line to postgresql.pg_hba of the server: " + REPLICATION_LINE
    with Cluster(settings=SETTINGS) as cluster:
        a, b = cluster.nodes.values()
        permit_replication(a, False)
        a.start()
        wait_for(a.is_leader, 60, "a leads")
        started = a.status()["postmaster_start_time"]
        b.start()
        wait_for(lambda: hint in listed(a), 60, "the failed copy says what is missing")
        assert hint in next(m for m in json.loads(listed(a, "-f", "json")) if m["Member"] == "b")["Problem"]
        assert hint in b.log() and hint in b.status()["pgvigil"]["problem"]
        permit_replication(a, True)
        wait_for(b.streams, 60, "it streams with the line")
        wait_for(lambda: hint not in listed(a), 20, "the problem is gone")
        permit_replication(a, False)
        wait_for(lambda: REPLICATION_LINE not in (a.data / "pg_hba.conf").read_text(), 20, "the line is gone")
        a.query("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        wait_for(lambda: hint in listed(a), 90, "a running replica says it too")
        permit_replication(a, True)
        wait_for(lambda: b.streams() and hint not in listed(a), 60, "it streams again")
        assert a.status()["postmaster_start_time"] == started
