"""The cluster's life with real servers: creation, failover, switchover, return of the old leader."""

import os
import signal
import time

import psycopg2
import pytest
from harness import Cluster, wait_for
from writer import Writer

FAST = {"ttl": 5, "loop_wait": 1, "retry_timeout": 2}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(settings=FAST) as running:
        running.start()
        running.leader().query("CREATE TABLE writes (number bigint)")
        running.leader().query("CREATE TABLE t (i int)")
        yield running


def test_rows_reach_the_replica(cluster):
    leader, replica = cluster.pair()
    leader.query("INSERT INTO t VALUES (1)")
    wait_for(lambda: replica.query("SELECT count(*) FROM t WHERE i = 1") == [(1,)], 10, "the row is on the replica")


def test_bootstrap_leaves_nothing_pending(cluster):
    leader, _ = cluster.pair()
    assert "pending_restart" not in leader.status()
    assert leader.query("SHOW shared_buffers") == [("16MB",)]


def test_passwords_are_scram_and_in_no_log(cluster):
    leader, replica = cluster.pair()
    verifiers = leader.query("SELECT rolpassword FROM pg_authid WHERE rolname IN ('postgres', 'replicator')")
    assert len(verifiers) == 2 and all(v[0].startswith("SCRAM-SHA-256$") for v in verifiers)
    for node in (leader, replica):
        assert "secret" not in node.log()


def test_postmaster_killed_is_back_in_place(cluster):
    leader, _ = cluster.pair()
    timeline = leader.status()["timeline"]
    with Writer(list(cluster.nodes.values())) as writer:
        wait_for(writer.last, 10, "the first write")
        killed = time.monotonic()
        os.kill(leader.postmaster_pid(), signal.SIGKILL)
        wait_for(lambda: writer.last() > killed + 0.01 and writer.errors, 20, "writes go on")
        time.sleep(0.2)  # a few more rows
    assert writer.outage_after(killed) < 5
    assert not writer.lost(leader)
    assert leader.status()["timeline"] == timeline, "a start in place keeps the timeline"


def test_switchover_loses_nothing(cluster):
    leader, replica = cluster.pair()
    leader.query("TRUNCATE writes")
    with Writer(list(cluster.nodes.values())) as writer:
        wait_for(writer.last, 10, "the first write")
        moment = time.monotonic()
        code, text = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": replica.name})
        assert (code, text) == (200, f'Successfully switched over to "{replica.name}"')
        wait_for(lambda: writer.last() > moment + 0.5, 20, "writes go on")
    cluster.wait_healthy()
    assert not writer.lost(replica)
    assert replica.is_leader()


def test_node_lost_is_replaced_and_returns(cluster):
    leader, replica = cluster.pair()
    postmaster = leader.postmaster_pid()
    began = time.monotonic()
    leader.agent.kill()
    os.kill(postmaster, signal.SIGKILL)
    wait_for(replica.is_leader, FAST["ttl"] + 5, "the replica leads")
    wait_for(lambda: replica.query("INSERT INTO t VALUES (2)") is None, 10, "it accepts writes")
    assert time.monotonic() - began < FAST["ttl"] + 4
    leader.start()
    wait_for(leader.streams, 60, "the old leader streams again")


def test_guard_ends_a_leader_whose_agent_is_gone(cluster):
    leader, replica = cluster.pair()
    leader.agent.kill()
    connection = leader.connect()
    connection.autocommit = True
    cursor = connection.cursor()
    began = time.monotonic()
    with pytest.raises(psycopg2.Error):
        while time.monotonic() < began + FAST["ttl"] + 2:
            cursor.execute("INSERT INTO t VALUES (3)")
            assert not replica.is_leader(), "two nodes accept writes"
    assert time.monotonic() - began < FAST["ttl"]
    wait_for(replica.is_leader, 10, "the replica leads")
    leader.start()
    wait_for(leader.streams, 60, "the old leader streams again")


def test_agent_restarted_in_time_is_noticed_by_nobody(cluster):
    leader, _ = cluster.pair()
    postmaster, timeline = leader.postmaster_pid(), leader.status()["timeline"]
    leader.agent.kill()
    leader.start()
    wait_for(lambda: "bound to this agent's lease again" in leader.log().split("stopped")[-1], 10, "the key is bound again")
    time.sleep(FAST["ttl"])  # the old lease is over by then
    assert leader.is_leader() and leader.postmaster_pid() == postmaster
    assert leader.status()["timeline"] == timeline


def test_ttl_raised_and_lowered_is_noticed_by_nobody(cluster):
    leader, _ = cluster.pair()
    postmaster = leader.postmaster_pid()
    again = "bound to this agent's lease again"
    for ttl in (30, FAST["ttl"]):
        bound = leader.log().count(again)
        assert leader.rest_call("/config", "PATCH", {"ttl": ttl})[0] == 200
        wait_for(lambda: leader.log().count(again) > bound, 5, "the key has moved to a new lease")
        leader.query("INSERT INTO t VALUES (5)")
    assert leader.postmaster_pid() == postmaster and leader.is_leader()


def test_sigterm_hands_the_lead_over(cluster):
    leader, replica = cluster.pair()
    leader.query("INSERT INTO t VALUES (4)")
    assert leader.agent.terminate() == 0
    assert leader.postmaster_pid() is None
    wait_for(replica.is_leader, 3, "the replica leads at once, without waiting for the lease")
    assert replica.query("SELECT count(*) FROM t WHERE i = 4") == [(1,)]
    leader.start()
    wait_for(leader.streams, 60, "it streams again")


def test_history_names_every_leader(cluster):
    leader, _ = cluster.pair()
    timeline = leader.status()["timeline"]
    assert timeline >= 4
    import json
    history = json.loads(leader.rest_call("/history")[1])
    assert [entry[0] for entry in history] == list(range(1, timeline))
    assert history[-1][4] == leader.name


def test_restart_and_reinitialize(cluster):
    leader, replica = cluster.pair()
    started = leader.status()["postmaster_start_time"]
    assert leader.rest_call("/restart", "POST", {}) == (200, "restarted successfully")
    assert leader.status()["postmaster_start_time"] != started
    cluster.wait_healthy()
    assert leader.rest_call("/reinitialize", "POST", {}) == (503, "I am the leader, can not reinitialize")
    assert replica.rest_call("/reinitialize", "POST", {}) == (200, "reinitialize started")
    wait_for(lambda: not replica.streams(), 10, "the replica is taken down")
    wait_for(replica.streams, 60, "the new copy streams")


def test_pause_keeps_hands_off(cluster):
    leader, _ = cluster.pair()
    assert leader.rest_call("/config", "PATCH", {"pause": True})[0] == 200
    wait_for(lambda: leader.status().get("pause"), 10, "the pause is acknowledged")
    os.kill(leader.postmaster_pid(), signal.SIGINT)
    wait_for(lambda: leader.postmaster_pid() is None, 10, "PostgreSQL is stopped by hand")
    time.sleep(3)
    assert leader.postmaster_pid() is None, "nothing is started in maintenance mode"
    assert leader.rest_call("/config", "PATCH", {"pause": None})[0] == 200
    cluster.wait_healthy()


def test_parameter_change_reaches_every_node(cluster):
    leader, replica = cluster.pair()
    assert leader.rest_call("/config", "PATCH", {"postgresql": {"parameters": {"work_mem": "7MB"}}})[0] == 200
    for node in (leader, replica):
        wait_for(lambda n=node: n.query("SHOW work_mem") == [("7MB",)], 10, f"work_mem on {node.name}")
    leader.rest_call("/config", "PATCH", {"postgresql": {"parameters": {"max_connections": 110}}})
    reason = wait_for(lambda: leader.status().get("pending_restart_reason"), 10, "a restart is pending")
    assert reason == {"max_connections": {"old_value": "100", "new_value": "110"}}
