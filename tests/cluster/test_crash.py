"""The leader's postmaster is killed with much WAL to replay: a replica that holds all of it takes over at once; otherwise
the server is recovered in place. Nothing is lost either way, without synchronous replication."""

import json
import os
import signal
import time

import pytest
from harness import Cluster, wait_for
from writer import Writer


@pytest.fixture(scope="module")
def cluster():
    with Cluster(settings={"ttl": 20, "loop_wait": 2, "retry_timeout": 3},
                 parameters={"max_wal_size": "2GB", "checkpoint_timeout": "1h"}) as running:
        running.start()
        running.leader().query("CREATE TABLE writes (number bigint)")
        running.leader().query("CREATE TABLE bulk (filler text)")
        yield running


def fill(leader, megabytes):
    leader.query(f"INSERT INTO bulk SELECT repeat('x', 1000) FROM generate_series(1, {megabytes * 1000})")


def kill_under_load(cluster, leader):
    """Kills the postmaster while a client writes; returns the client, and when."""
    with Writer(list(cluster.nodes.values())) as writer:
        wait_for(writer.last, 10, "the first write")
        time.sleep(0.3)
        errors = len(writer.errors)
        killed = time.monotonic()
        os.kill(leader.postmaster_pid(), signal.SIGKILL)
        wait_for(lambda: len(writer.errors) > errors, 10, "the client notices")
        before = len(writer.acknowledged)
        wait_for(lambda: len(writer.acknowledged) > before, 30, "writes go on")
        time.sleep(0.2)
    return writer, killed


def crash(node):
    return node.status()["pgvigil"].get("last_crash")


def test_a_replica_that_holds_all_takes_over_at_once(cluster):
    leader, replica = cluster.pair()
    timeline = leader.status()["timeline"]
    fill(leader, 100)
    end = leader.query("SELECT pg_current_wal_flush_lsn()")[0][0]
    wait_for(lambda: replica.query(f"SELECT pg_last_wal_receive_lsn() >= '{end}'") == [(True,)], 20, "it is replicated")
    os.kill(leader.postmaster_pid(), signal.SIGKILL)
    wait_for(replica.is_leader, 5, "the replica leads, long before the lease ends")
    wait_for(lambda: replica.query("INSERT INTO writes VALUES (0)") is None, 10, "it accepts writes")
    assert replica.query("SELECT count(*) FROM bulk") == [(100000,)]
    cluster.wait_healthy()
    assert replica.status()["timeline"] == timeline + 1
    note = crash(replica)
    assert note["outcome"] == "handed over" and note["bytes_to_replay"] > 100_000_000, note
    last = json.loads(replica.rest_call("/history")[1])[-1]
    assert "0 bytes lost" in last[2] and last[4] == replica.name, last
    assert "crash_handover" in leader.log()
    replica.query("TRUNCATE writes, bulk")


def test_under_load_nothing_is_lost_whoever_leads(cluster):
    leader, replica = cluster.pair()
    fill(leader, 60)
    writer, killed = kill_under_load(cluster, leader)
    now = cluster.wait_healthy()
    assert not writer.lost(now)
    assert writer.outage_after(killed) < 8
    print(f"{crash(now)['outcome']}, {writer.outage_after(killed):.2f} s without writes: {crash(now)['reason']}")
    now.query("TRUNCATE writes, bulk")


def test_little_wal_is_recovered_in_place(cluster):
    leader, _ = cluster.pair()
    leader.query("CHECKPOINT")
    timeline = leader.status()["timeline"]
    writer, _ = kill_under_load(cluster, leader)
    assert cluster.wait_healthy() is leader and not writer.lost(leader)
    assert leader.status()["timeline"] == timeline
    note = wait_for(lambda: (crash(leader) or {}).get("outcome") == "started in place" and crash(leader), 5, "it is noted")
    assert note["bytes_to_replay"] < 32 * 1024 * 1024
    leader.query("TRUNCATE writes")


def test_switched_off_it_is_always_recovered_in_place(cluster):
    leader, replica = cluster.pair()
    assert leader.rest_call("/config", "PATCH", {"lossless_failover": False})[0] == 200
    timeline = leader.status()["timeline"]
    fill(leader, 60)
    writer, killed = kill_under_load(cluster, leader)
    assert cluster.wait_healthy() is leader and not writer.lost(leader)
    assert leader.status()["timeline"] == timeline
    print(f"in place: {writer.outage_after(killed):.2f} s without writes")
