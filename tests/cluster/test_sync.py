"""Synchronous replication with real servers: who is in the `sync` key, no acknowledged row lost whoever dies, switchovers
only to synchronous members, and what Debian's patronictl makes of it."""

import json
import os
import signal
import subprocess
import time

import pytest
from harness import Cluster, wait_for
from writer import Writer

SETTINGS = {"ttl": 10, "loop_wait": 2, "retry_timeout": 3, "synchronous_mode": True}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(names=("a", "b", "c"), settings=SETTINGS) as running:
        running.start(90)
        running.leader().query("CREATE TABLE writes (number bigint)")
        yield running


def sync_key(cluster):
    value = cluster.etcd.ctl("get", f"/service/{cluster.scope}/sync", "--print-value-only").stdout.strip()
    return json.loads(value) if value else None


def standbys(cluster):
    key = sync_key(cluster)
    return set((key["sync_standby"] or "").split(",")) - {""} if key else set()


def configure(cluster, **settings):
    assert cluster.leader().rest_call("/config", "PATCH", settings)[0] == 200


def wait_sync(cluster, count):
    leader = cluster.wait_healthy()
    wait_for(lambda: sync_key(cluster)["leader"] == leader.name and len(standbys(cluster)) == count, 20,
             f"{count} synchronous standbys in the key")
    return leader


def lose_the_leader(cluster, leader):
    """Kills agent and server of the leader under load; returns the client and the next leader."""
    with Writer(list(cluster.nodes.values())) as writer:
        wait_for(lambda: len(writer.acknowledged) > 50, 20, "writes are acknowledged")
        postmaster = leader.postmaster_pid()
        leader.agent.kill()
        os.kill(postmaster, signal.SIGKILL)
        others = [n for n in cluster.nodes.values() if n is not leader]
        wait_for(lambda: any(n.is_leader() for n in others), SETTINGS["ttl"] + 10, "another member leads")
        before = len(writer.acknowledged)
        wait_for(lambda: len(writer.acknowledged) > before + 10, 20, "writes go on")
    return writer, next(n for n in others if n.is_leader())


def test_one_standby_is_synchronous_and_shown(cluster):
    leader = wait_sync(cluster, 1)
    name = next(iter(standbys(cluster)))
    node = cluster.nodes[name]
    assert leader.query("SHOW synchronous_standby_names") == [(name,)]
    assert node.code("/sync") == 200 and node.code("/async") == 503 and node.code("/quorum") == 503
    assert node.status()["sync_standby"] is True
    other = next(n for n in cluster.nodes.values() if n not in (leader, node))
    assert other.code("/sync") == 503 and other.code("/async") == 200
    roles = {m["name"]: m["role"] for m in json.loads(leader.rest_call("/cluster")[1])["members"]}
    assert roles == {leader.name: "leader", name: "sync_standby", other.name: "replica"}


def test_patronictl_shows_it(cluster):
    wait_sync(cluster, 1)
    config = next(iter(cluster.nodes.values())).config
    done = subprocess.run(["/usr/bin/patronictl", "-c", config, "list", "-f", "json"], capture_output=True, text=True, timeout=60)
    roles = {m["Member"]: m["Role"] for m in json.loads(done.stdout)}
    assert sorted(roles.values()) == ["Leader", "Replica", "Sync Standby"], roles
    assert {n for n, r in roles.items() if r == "Sync Standby"} == standbys(cluster)


def test_switchover_only_to_a_synchronous_member(cluster):
    leader = wait_sync(cluster, 1)
    name = next(iter(standbys(cluster)))
    other = next(n for n in cluster.nodes if n not in (leader.name, name))
    code, text = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": other})
    assert (code, text) == (412, "candidate name does not match with sync_standby")
    code, text = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": name}, timeout=60)
    assert code == 200, text
    wait_for(cluster.nodes[name].is_leader, 10, "it leads")
    wait_sync(cluster, 1)


def test_leader_lost_under_load_loses_nothing(cluster):
    leader = wait_sync(cluster, 1)
    synchronous = standbys(cluster)
    writer, successor = lose_the_leader(cluster, leader)
    assert successor.name in synchronous
    assert not writer.lost(successor)
    leader.start()
    wait_sync(cluster, 1)
    successor.query("TRUNCATE writes")


def test_a_standby_that_goes_away_is_replaced(cluster):
    leader = wait_sync(cluster, 1)
    name = next(iter(standbys(cluster)))
    with Writer(list(cluster.nodes.values())) as writer:
        wait_for(lambda: len(writer.acknowledged) > 20, 20, "writes are acknowledged")
        cluster.nodes[name].agent.terminate()
        wait_for(lambda: standbys(cluster) and name not in standbys(cluster), 15, "another standby is synchronous")
        before = len(writer.acknowledged)
        wait_for(lambda: len(writer.acknowledged) > before + 10, 10, "writes go on")
    assert cluster.leader() is leader
    cluster.nodes[name].start()
    wait_sync(cluster, 1)


def test_quorum_leader_lost_under_load_loses_nothing(cluster):
    configure(cluster, synchronous_mode="quorum")
    leader = wait_sync(cluster, 2)
    wait_for(lambda: sync_key(cluster)["quorum"] == 1, 10, "a quorum of one")
    names = ",".join(sorted(standbys(cluster)))
    assert leader.query("SHOW synchronous_standby_names") == [(f"ANY 1 ({names})",)]
    for name in standbys(cluster):
        assert cluster.nodes[name].code("/quorum") == 200
    writer, successor = lose_the_leader(cluster, leader)
    assert not writer.lost(successor)
    leader.start()
    wait_sync(cluster, 2)
    successor.query("TRUNCATE writes")


def test_strict_waits_rather_than_go_on_alone(cluster):
    configure(cluster, synchronous_mode=True, synchronous_mode_strict=True)
    leader = wait_sync(cluster, 1)
    others = [n for n in cluster.nodes.values() if n is not leader]
    for node in others:
        node.agent.terminate()
    wait_for(lambda: leader.query("SHOW synchronous_standby_names") == [("*",)], 15, "commits wait for anybody")
    with Writer([leader]) as writer:
        time.sleep(2)
        assert not writer.acknowledged
        for node in others:
            node.start()
        wait_for(lambda: writer.acknowledged, 30, "commits go on with a standby")
    wait_sync(cluster, 1)


def test_switched_off_nothing_is_left(cluster):
    configure(cluster, synchronous_mode=False, synchronous_mode_strict=False)
    leader = cluster.wait_healthy()
    wait_for(lambda: sync_key(cluster) is None, 10, "the key is gone")
    wait_for(lambda: leader.query("SHOW synchronous_standby_names") == [("",)], 10, "commits wait for nobody")
