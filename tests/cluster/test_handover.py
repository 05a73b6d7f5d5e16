"""A planned switchover never loses a row: a candidate that cannot take everything over is refused, or the handover is
called off and the old leader resumes."""

import os
import signal
import threading
import time

import pytest
from harness import Cluster, wait_for
from writer import Writer

RUNS = int(os.environ.get("PGVIGIL_HANDOVER_RUNS", "3"))


@pytest.fixture(scope="module")
def cluster():
    with Cluster(settings={"ttl": 20, "loop_wait": 2, "retry_timeout": 3, "handover_timeout": 3}) as running:
        running.start()
        running.leader().query("CREATE TABLE writes (number bigint)")
        yield running


def walreceiver(node):
    postmaster = node.postmaster_pid()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as stat:
                parent = int(stat.read().rsplit(")", 1)[1].split()[1])
            with open(f"/proc/{entry}/cmdline") as command:
                text = command.read()
        except OSError:
            continue
        if parent == postmaster and "walreceiver" in text:
            return int(entry)
    return None


@pytest.mark.parametrize("run", range(RUNS))
def test_candidate_that_does_not_stream_is_refused(cluster, run):
    leader, replica = cluster.pair()
    with Writer(list(cluster.nodes.values())) as writer:
        wait_for(writer.last, 10, "the first write")
        replica.query("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'")
        replica.query("SELECT pg_reload_conf()")
        wait_for(lambda: not leader.query("SELECT 1 FROM pg_stat_replication"), 10, "replication is cut")
        code, text = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": replica.name})
        assert code == 412 and "no good candidates" in text
        replica.query("ALTER SYSTEM RESET primary_conninfo")
        replica.query("SELECT pg_reload_conf()")
        before = len(writer.acknowledged)
        wait_for(lambda: len(writer.acknowledged) > before, 5, "writes go on")
    assert leader.is_leader() and not writer.lost(leader)
    leader.query("TRUNCATE writes")


@pytest.mark.parametrize("run", range(RUNS))
def test_candidate_that_stops_half_way_is_given_up(cluster, run):
    leader, replica = cluster.pair()
    timeline = leader.status()["timeline"]
    with Writer(list(cluster.nodes.values())) as writer:
        wait_for(writer.last, 10, "the first write")
        receiver = wait_for(lambda: walreceiver(replica), 10, "the candidate's WAL receiver")
        os.kill(receiver, signal.SIGSTOP)
        try:
            moment = time.monotonic()
            leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": replica.name}, timeout=60)
            wait_for(lambda: "called off" in leader.log(), 30, "the handover is called off")
            wait_for(lambda: writer.last() > moment + 1, 30, "the old leader resumes")
        finally:
            os.kill(receiver, signal.SIGCONT)
    cluster.wait_healthy()
    assert leader.is_leader() and leader.status()["timeline"] == timeline
    assert not writer.lost(leader)
    leader.query("TRUNCATE writes")


@pytest.mark.parametrize("run", range(RUNS))
def test_candidate_that_dies_half_way_is_given_up(cluster, run):
    """Its PostgreSQL is killed once the leader has begun to stop; its agent is frozen, so that nobody starts it again in time.
    A candidate that had everything by then is as good as elected: it takes the lead when its agent goes on."""
    leader, replica = cluster.pair()
    said = len(leader.log())
    with Writer(list(cluster.nodes.values())) as writer:
        wait_for(writer.last, 10, "the first write")
        order = threading.Thread(target=leader.rest_call, args=(
            "/switchover", "POST", {"leader": leader.name, "candidate": replica.name}, 60))
        try:
            moment = time.monotonic()
            order.start()
            wait_for(lambda: "stopping PostgreSQL" in leader.log()[said:], 30, "the leader begins to stop", every=0.001)
            replica.agent.signal(signal.SIGSTOP)
            os.kill(replica.postmaster_pid(), signal.SIGKILL)
            ended = wait_for(lambda: next((text for text in ("called off", "gave the leader key to", "holds the shutdown checkpoint")
                                           if text in leader.log()[said:]), None), 30, "the handover ends")
        finally:
            replica.agent.signal(signal.SIGCONT)
        wait_for(lambda: writer.last() > moment + 1, 60, "writes go on")
        order.join(60)
    now = cluster.wait_healthy()
    assert now is leader or ended != "called off"
    assert not writer.lost(now)
    now.query("TRUNCATE writes")
