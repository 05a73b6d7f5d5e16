"""No timeline number is given out twice: PostgreSQL tells histories apart by these numbers alone."""

import json

import pytest
from harness import Cluster, wait_for

FAST = {"ttl": 4, "loop_wait": 1, "retry_timeout": 1}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(settings=FAST) as running:
        running.start()
        running.leader().query("CREATE TABLE t (who text)")
        yield running


def leads_on(node, timeline):
    return node.is_leader() and node.status().get("timeline") == timeline


def test_a_vanished_leaders_timeline_is_left_out(cluster):
    first, second = cluster.pair()
    first.query("INSERT INTO t VALUES ('both')")
    wait_for(lambda: second.query("SELECT count(*) FROM t") == [(1,)], 10, "the row is on the replica")

    first.cleanup()
    wait_for(lambda: leads_on(second, 2), 30, "the replica takes over")
    assert second.query("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'a'") == [(1,)], "kept for its return"
    second.query("INSERT INTO t VALUES ('nobody else has this')")
    second.query("CHECKPOINT")
    second.cleanup()

    # The first one has never heard of timeline 2, and begins its own reign where that began: by order, since its last
    # WAL was written after the cluster had left it.
    first.start()
    wait_for(lambda: "the cluster has left behind" in first.log(), 30, "the first one waits for an order")
    status, text = first.rest_call("/failover", "POST", {"candidate": first.name})
    assert status == 200, text
    wait_for(lambda: leads_on(first, 3), 30, "the first one leads again")
    assert (first.data / "pg_wal" / "00000002.history").exists()
    first.query("INSERT INTO t VALUES ('after')")

    def history():
        return [line[0] for line in json.loads(first.rest_call("/history")[1])]

    wait_for(lambda: len(history()) > 1, 10, "the leader has written how the earlier timelines were left")
    assert history() == [1, 2], "members take the last line + 1 for the cluster's timeline"

    second.start()
    cluster.wait_healthy(60)
    assert "pg_rewind has brought this server back" in second.log()
    wait_for(lambda: second.query("SELECT who FROM t ORDER BY who") == [("after",), ("both",)], 10, "equal contents")


def test_the_next_switchover_goes_on_from_there(cluster):
    leader, replica = cluster.pair()
    before = leader.status()["timeline"]
    assert leader.code("/switchover", "POST") != 200  # without a body
    status, text = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": replica.name})
    assert status == 200, text
    wait_for(lambda: leads_on(replica, before + 1), 20, "the candidate leads")
    cluster.wait_healthy(60)
