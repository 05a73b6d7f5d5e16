"""The leader asks the poolers to drain before it stops on purpose, waits for them within its bound, and takes the request
back; rolling restarts and drills on top of it."""

import json
import re
import socket
import subprocess
import threading

import pytest
from fake_pooler import FakePooler
from harness import BIN, SUPERUSER_PASSWORD, Cluster, wait_for
from writer import Writer

TIMEOUT = 2


@pytest.fixture(scope="module")
def cluster():
    settings = {"ttl": 20, "loop_wait": 2, "retry_timeout": 3, "switchover_drain_timeout": TIMEOUT}
    with Cluster(settings=settings) as running:
        running.start()
        running.leader().query("CREATE TABLE writes (number bigint)")
        yield running


def switch(cluster):
    leader, replica = cluster.pair()
    code, text = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": replica.name}, timeout=60)
    assert code == 200, text
    return leader, replica


def reason_in_history(old, new):
    """Of the switchover from one to the other, once the new leader has written it down."""
    timeline = wait_for(lambda: new.is_leader() and new.status()["timeline"], 20, f"{new.name} leads")
    entry = wait_for(lambda: next((e for e in json.loads(new.rest_call("/history")[1]) if e[0] == timeline - 1 and len(e) > 4), None),
                     10, "the history")
    assert entry[4] == new.name and entry[4] != old.name
    return entry[2]


def request_is_gone(cluster):
    wait_for(lambda: not cluster.etcd.ctl("get", "--print-value-only", f"/service/{cluster.scope}/drain").stdout.strip(), 10,
             "the request is taken back")


def ctl(cluster, *arguments, stdin=""):
    config = next(iter(cluster.nodes.values())).config
    environment = {"PATH": "/usr/bin:/bin", "PGPASSWORD": SUPERUSER_PASSWORD, "HOME": "/nonexistent"}
    return subprocess.run([BIN / "pgvigil", "-c", config, *arguments], capture_output=True, text=True, timeout=300, input=stdin,
                          env=environment)


class Forwarder:
    """Stands in for a pooler: each connection goes to whoever leads when it is made."""

    def __init__(self, cluster):
        self.cluster = cluster

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            leader = self.cluster.leader()
            try:
                server = socket.create_connection(("127.0.0.1", leader.port), 2)
            except (AttributeError, OSError):
                client.close()
                continue
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=(source, target), daemon=True).start()

    @staticmethod
    def copy(source, target):
        try:
            source.settimeout(None)
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_a_switchover_waits_until_all_poolers_have_drained(cluster):
    term = re.search(r'"CreateRevision" : (\d+)', cluster.etcd.ctl(
        "get", f"/service/{cluster.scope}/leader", "-w", "fields").stdout)[1]
    with FakePooler(cluster, "p1") as first, FakePooler(cluster, "p2", after=0.5) as second:
        old, new = switch(cluster)
        for pooler in (first, second):
            (request, _, _), = pooler.requests
            assert request["reason"] == "switchover" and request["leader"] == old.name and request["term"] == term
            assert request["timeout"] == TIMEOUT
        waited = float(re.search(r"switchover: 2 poolers have drained in ([0-9.]+) s", old.log())[1])
        assert 0.5 < waited < TIMEOUT
        request_is_gone(cluster)
    assert "; 2 of 2 poolers had drained after" in reason_in_history(old, new)
    cluster.wait_healthy()


def test_a_pooler_that_does_not_drain_is_waited_for_within_the_bound(cluster):
    with FakePooler(cluster, "p1", answers=False, active=7), FakePooler(cluster, "p2"):
        old, new = switch(cluster)
    waited = re.search(r"switchover: 1 of 2 poolers did not drain in ([0-9.]+) s, 7 transactions are in flight there", old.log())
    assert waited and TIMEOUT - 0.1 < float(waited[1]) < TIMEOUT + 1, old.log()[-2000:]
    reason = reason_in_history(old, new)
    assert "; 1 of 2 poolers had drained after" in reason and ", 7 transactions were in flight" in reason
    request_is_gone(cluster)
    cluster.wait_healthy()


def test_without_poolers_or_with_the_timeout_0_nothing_is_asked(cluster):
    said = {name: len(node.log()) for name, node in cluster.nodes.items()}
    switch(cluster)
    leader = cluster.wait_healthy()
    assert leader.rest_call("/config", "PATCH", {"switchover_drain_timeout": 0})[0] == 200
    try:
        with FakePooler(cluster, "p1", answers=False) as pooler:
            wait_for(lambda: all(json.loads(n.rest_call("/config")[1]).get("switchover_drain_timeout") == 0
                                 for n in cluster.nodes.values()), 10, "all know")
            switch(cluster)
            assert not pooler.requests
    finally:
        cluster.wait_healthy().rest_call("/config", "PATCH", {"switchover_drain_timeout": TIMEOUT})
    assert not any("drain" in node.log()[said[name]:].replace("switchover_drain_timeout", "") for name, node in cluster.nodes.items())
    cluster.wait_healthy()


def test_a_restart_of_the_leader_drains_and_lets_go_when_it_is_over(cluster):
    leader, _ = cluster.pair()
    before = leader.postmaster_pid()
    with FakePooler(cluster, "p1") as pooler:
        code, text = leader.rest_call("/restart", "POST", {}, timeout=60)
        assert code == 200, text
        wait_for(lambda: pooler.requests and pooler.requests[-1][2], 10, "the pooler sees the end")
        assert [r[0]["reason"] for r in pooler.requests] == ["restart"]
    assert cluster.wait_healthy() is leader and leader.postmaster_pid() != before


def test_a_leader_that_dies_while_it_waits_leaves_no_request(cluster):
    """Its agent is killed in the middle of the drain. The one that takes its place asks for nothing any more."""
    leader, replica = cluster.pair()
    with FakePooler(cluster, "p1", answers=False) as pooler:
        leader.rest_call("/config", "PATCH", {"switchover_drain_timeout": 60})
        wait_for(lambda: json.loads(leader.rest_call("/config")[1])["switchover_drain_timeout"] == 60, 10, "it knows")
        cluster.etcd.ctl("put", f"/service/{cluster.scope}/failover", json.dumps({"leader": leader.name, "member": replica.name}))
        wait_for(lambda: pooler.requests, 20, "the leader asks")
        leader.agent.kill()
        cluster.etcd.ctl("put", f"/service/{cluster.scope}/failover", "{}")
        leader.start()
        wait_for(lambda: pooler.requests[-1][2], 20, "the request is taken back by the new agent")
    now = cluster.wait_healthy()
    now.rest_call("/config", "PATCH", {"switchover_drain_timeout": TIMEOUT})
    wait_for(lambda: all(json.loads(n.rest_call("/config")[1])["switchover_drain_timeout"] == TIMEOUT
                         for n in cluster.nodes.values()), 10, "all know")


def test_an_agent_that_is_stopped_drains_first(cluster):
    leader, replica = cluster.pair()
    with FakePooler(cluster, "p1") as pooler:
        assert leader.agent.terminate() == 0
        assert [r[0]["reason"] for r in pooler.requests] == ["shutdown"]
        wait_for(replica.is_leader, 20, "the replica leads")
        request_is_gone(cluster)
    leader.start()
    cluster.wait_healthy()


def test_a_rolling_restart_carries_out_what_waits_for_one(cluster):
    cluster.wait_healthy()
    with FakePooler(cluster, "p1"), Writer(list(cluster.nodes.values())) as writer:
        wait_for(writer.last, 10, "the first write")
        for value in (120, 90):  # the second is smaller, which a standby takes over only after its primary
            leader = cluster.wait_healthy()
            pids = {name: node.postmaster_pid() for name, node in cluster.nodes.items()}
            leader.rest_call("/config", "PATCH", {"postgresql": {"parameters": {"max_connections": value, "shared_buffers": f"{value}MB"}}})
            wait_for(lambda: all(n.status().get("pending_restart") for n in cluster.nodes.values()), 20, "all wait for a restart")
            done = ctl(cluster, "restart", cluster.scope, "--rolling", "--pending", "--force")
            assert done.returncode == 0, done.stdout + done.stderr
            assert f"Success: rolling restart of {cluster.scope}" in done.stdout and "streams again" in done.stdout, done.stdout
            cluster.wait_healthy()
            for node in cluster.nodes.values():
                assert node.query("SHOW max_connections") == [(str(value),)] and node.postmaster_pid() != pids[node.name]
                assert not node.status().get("pending_restart")
        assert ctl(cluster, "restart", cluster.scope, "--rolling", "--pending", "--force").stdout.endswith("No members wait for a restart\n")
    now = cluster.wait_healthy()
    assert not writer.lost(now)
    now.query("TRUNCATE writes")


def test_a_rolling_restart_stops_at_the_first_failure(cluster):
    leader, replica = cluster.pair()
    pid = leader.postmaster_pid()
    replica.agent.terminate()
    try:
        wait_for(lambda: not replica.postmaster_pid(), 10, "it is down")
        done = ctl(cluster, "restart", cluster.scope, "--rolling", "--force")
    finally:
        replica.start()
    assert done.returncode == 1 and "the rolling restart has stopped" in done.stderr, done.stdout + done.stderr
    assert f"not restarted: {replica.name}, {leader.name}" in done.stderr or f"{replica.name} is not a member" in done.stderr
    assert "pgvigil restart demo --rolling" in done.stderr and leader.postmaster_pid() == pid
    cluster.wait_healthy()
    assert ctl(cluster, "restart", cluster.scope, "a", "--rolling", "--force").returncode == 1


def test_a_drill_measures_and_leaves_nothing_behind(cluster):
    leader, _ = cluster.pair()
    refused = ctl(cluster, "drill", "-U", "postgres", stdin="other\n")
    assert refused.returncode == 1 and "Aborted: nothing was done" in refused.stderr and "switchover from" in refused.stdout
    assert ctl(cluster, "drill", "--json", "-U", "postgres").returncode == 1
    done = ctl(cluster, "drill", "-U", "postgres", "--force", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] and [s["step"] for s in result["steps"]] == ["replication", "switchover", "failover"]
    for step in result["steps"][1:]:
        assert step["ok"] and step["direct"]["lost"] == 0 and step["direct"]["acknowledged"] > 20
        assert 0 < step["direct"]["longest_gap_ms"] < 20000
    assert cluster.wait_healthy() is leader
    assert leader.query("SELECT to_regclass('pgvigil_drill_probe')") == [(None,)]
    with Forwarder(cluster) as forwarder:
        spoken = ctl(cluster, "drill", "-U", "postgres", "--pooler", f"127.0.0.1:{forwarder.port}", stdin="demo\n")
    assert spoken.returncode == 0, spoken.stdout + spoken.stderr
    assert "pooling: ok, 20 clients" in spoken.stdout and "pooler  longest gap" in spoken.stdout, spoken.stdout
    assert cluster.wait_healthy().query("SELECT to_regclass('pgvigil_drill_probe')") == [(None,)]
