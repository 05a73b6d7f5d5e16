"""All of etcd is away for longer than ttl: with failsafe mode the leader goes on while every member answers it, without it
the leader is read-only by its deadline."""

import os
import signal
import time

import psycopg2
import pytest
from harness import Cluster, wait_for
from writer import Writer

TTL = 6


@pytest.fixture(scope="module")
def cluster():
    with Cluster(names=("a", "b"), settings={"ttl": TTL, "loop_wait": 1, "retry_timeout": 2, "failsafe_mode": True},
                 etcd_members=3) as running:
        running.start(90)
        running.leader().query("CREATE TABLE writes (number bigint)")
        yield running


def freeze_etcd(cluster, stop):
    for member in cluster.etcd.members:
        member.signal(signal.SIGSTOP if stop else signal.SIGCONT)


def topology(cluster):
    return cluster.leader().rest_call("/failsafe")


def test_the_leader_goes_on_without_etcd(cluster):
    leader, replica = cluster.pair()
    wait_for(lambda: topology(cluster)[0] == 200 and "b" in topology(cluster)[1], 15, "both are in the failsafe key")
    postmaster = leader.postmaster_pid()
    with Writer(list(cluster.nodes.values())) as writer:
        wait_for(writer.last, 10, "the first write")
        errors = len(writer.errors)
        freeze_etcd(cluster, True)
        try:
            until = time.monotonic() + 3 * TTL
            while time.monotonic() < until:
                assert leader.is_leader() and not replica.is_leader()
                time.sleep(0.2)
            assert leader.status().get("failsafe_mode_is_active") is True
        finally:
            freeze_etcd(cluster, False)
        wait_for(cluster.etcd.healthy, 30, "etcd is back")
        time.sleep(TTL)
        assert not writer.errors[errors:], "no client has noticed"
        assert len(writer.acknowledged) > 100 and time.monotonic() - writer.last() < 2
    cluster.wait_healthy()
    assert leader.is_leader() and leader.postmaster_pid() == postmaster
    wait_for(lambda: not leader.status().get("failsafe_mode_is_active"), 10, "etcd carries the leader again")


def test_a_member_that_does_not_answer_ends_it(cluster):
    leader, replica = cluster.pair()
    replica.agent.signal(signal.SIGSTOP)
    freeze_etcd(cluster, True)
    try:
        began = time.monotonic()
        wait_for(lambda: not writable(leader), TTL + 1, "the leader accepts no writes")
        assert time.monotonic() - began < TTL
    finally:
        freeze_etcd(cluster, False)
        replica.agent.signal(signal.SIGCONT)
    cluster.wait_healthy(90)


def test_switched_off_the_leader_is_read_only_by_its_deadline(cluster):
    leader, _ = cluster.pair()
    assert leader.rest_call("/config", "PATCH", {"failsafe_mode": False})[0] == 200
    time.sleep(2)
    freeze_etcd(cluster, True)
    try:
        began = time.monotonic()
        wait_for(lambda: not writable(leader), TTL + 1, "the leader accepts no writes")
        assert time.monotonic() - began < TTL
    finally:
        freeze_etcd(cluster, False)
    cluster.wait_healthy(90)


def writable(node):
    try:
        node.query("INSERT INTO writes VALUES (0)")
        return True
    except psycopg2.Error:
        return False
