"""The pooler and the agents of a real cluster: what clients see of switchovers, crashes and reads on replicas."""

import contextlib
import json
import os
import signal
import threading
import time

import psycopg2
import pytest
from harness import SUPERUSER_PASSWORD, Cluster, free_ports, wait_for
from pool_harness import Pooler, ours_only, value_of

pytestmark = ours_only


class Load:
    """Clients that insert one row after the other, each in a transaction of its own, and never reconnect."""

    def __init__(self, pooler, count, table="load"):
        self.connections = [pooler.connect(user="postgres", dbname="postgres") for _ in range(count)]
        self.table = table
        self.acknowledged = [[] for _ in range(count)]
        self.errors, self.longest = [], [0.0] * count
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(count)]

    def run(self, i):
        number = i * 1_000_000
        with self.connections[i].cursor() as cursor:
            while not self.ended.is_set():
                number += 1
                begun = time.monotonic()
                try:
                    cursor.execute(f"INSERT INTO {self.table} VALUES (%s)", (number,))
                except psycopg2.Error as error:
                    self.errors.append((time.monotonic(), error.pgcode, str(error).strip()))
                    return
                self.acknowledged[i].append(number)
                self.longest[i] = max(self.longest[i], time.monotonic() - begun)
                time.sleep(0.002)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_for(lambda: all(self.acknowledged), 20, "every client writes")
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def goes_on(self, seconds=30):
        """Every client that has no error gets another row acknowledged."""
        before = [len(a) for a in self.acknowledged]
        failed = len(self.errors)
        wait_for(lambda: sum(len(a) > n for a, n in zip(self.acknowledged, before)) >= len(before) - max(failed, len(self.errors)),
                 seconds, "the clients go on")

    def rows(self):
        return {n for a in self.acknowledged for n in a}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(settings={"ttl": 20, "loop_wait": 2, "retry_timeout": 5}) as cluster:
        yield cluster.start()


@pytest.fixture
def follower(cluster):
    """A function that starts a pooler of the cluster."""
    with contextlib.ExitStack() as stack:
        def start(settings=None, **section):
            (reads,) = free_ports(1)
            section = {"scope": cluster.scope, "etcd_hosts": ", ".join(cluster.etcd.endpoints), "read_port": reads, **section}
            pooler = Pooler(None, {"query_wait_timeout": 60, **(settings or {})}, {"postgres": "role=primary"},
                            users={"postgres": SUPERUSER_PASSWORD, "admin": "x"}, cluster=section)
            pooler.reads = reads
            stack.callback(pooler.cleanup)
            return pooler.start()
        yield start


def port_of(connection):
    return value_of(connection, "SELECT inet_server_port()")


def reading(pooler, **more):
    return pooler.connect(user="postgres", dbname="postgres", port=pooler.reads, **more)


def writing(pooler, **more):
    return pooler.connect(user="postgres", dbname="postgres", **more)


def table(cluster, name):
    cluster.wait_healthy().query(f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (n int)")


def switchover(cluster):
    leader, other = cluster.pair()
    code, text = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": other.name}, 60)
    assert code == 200, text
    cluster.wait_healthy()
    return other


def lost(cluster, load):
    stored = {row[0] for row in cluster.wait_healthy().query(f"SELECT n FROM {load.table}")}
    return load.rows() - stored


def report(what, load):
    print(f"\n{what}: longest pause {max(load.longest):.3f} s, errors {[e[1:] for e in load.errors]}")


def test_switchover_under_load(cluster, follower):
    table(cluster, "load")
    pooler = follower()
    with Load(pooler, 10) as load:
        for _ in range(2):
            switchover(cluster)
            load.goes_on()
    report("switchover", load)
    assert not lost(cluster, load)
    # Without the drain the fast stop cuts off what is in flight: at most one transaction for each server connection.
    assert all(code in ("57P01", "08006") for _, code, _ in load.errors)
    assert len(load.errors) <= 2 * 10
    assert max(load.longest) < 10


def test_postmaster_killed(cluster, follower):
    """Only transactions in flight fail."""
    table(cluster, "load")
    pooler = follower({"default_pool_size": 4})
    with Load(pooler, 12) as load:
        leader = cluster.leader()
        os.kill(leader.postmaster_pid(), signal.SIGKILL)
        load.goes_on()
    report("postmaster killed", load)
    assert not lost(cluster, load)
    assert len(load.errors) <= 4
    assert all(code in ("57P01", "57P02", "08006", None) for _, code, _ in load.errors)


def test_reads_go_to_the_replica(cluster, follower):
    leader, other = cluster.pair()
    pooler = follower()
    with contextlib.closing(reading(pooler)) as connection:
        assert port_of(connection) == other.port
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            value_of(connection, "CREATE TABLE not_here (n int)")
    with contextlib.closing(writing(pooler)) as connection:
        assert port_of(connection) == leader.port
    rows = {r["member"]: r for r in pooler.admin("SHOW CLUSTER")}
    assert (rows[leader.name]["role"], rows[other.name]["role"]) == ("leader", "replica")
    assert rows[leader.name]["routed"] >= 1 and rows[other.name]["routed"] >= 1
    assert rows[other.name]["timeline"] == rows[leader.name]["timeline"]
    # After a switchover the one that led serves reads.
    switchover(cluster)
    with contextlib.closing(reading(pooler)) as connection:
        wait_for(lambda: port_of(connection) == leader.port, 20, "reads go to the new replica")


def test_a_replica_that_lags_does_not_serve(cluster, follower):
    leader, other = cluster.pair()
    table(cluster, "lagging")
    pooler = follower(max_replica_lag=100_000)
    with contextlib.closing(reading(pooler)) as connection:
        wait_for(lambda: port_of(connection) == other.port, 20, "the replica serves")
        other.query("SELECT pg_wal_replay_pause()")
        try:
            leader.query("INSERT INTO lagging SELECT generate_series(1, 50000)")
            wait_for(lambda: port_of(connection) == leader.port, 20, "reads go to the leader")
            assert {r["member"]: r for r in pooler.admin("SHOW CLUSTER")}[other.name]["lag"] > 100_000
        finally:
            other.query("SELECT pg_wal_replay_resume()")
        wait_for(lambda: port_of(connection) == other.port, 20, "the replica serves again")


def test_causal_reads_see_what_was_written(cluster, follower):
    leader, other = cluster.pair()
    table(cluster, "causal")
    pooler = follower()
    delay(other, "300ms")
    try:
        write, plain = writing(pooler, options="-c causal_reads=on"), reading(pooler)
        careful, bounded = reading(pooler, options="-c causal_reads=on"), follower(causal_reads_timeout=0.05)
        stale = 0
        for n in range(5):
            value_of(write, f"INSERT INTO causal VALUES ({n}) RETURNING n")
            stale += value_of(plain, "SELECT count(*) FROM causal") <= n
            assert value_of(careful, "SELECT count(*) FROM causal") == n + 1
            assert port_of(careful) == other.port
        assert stale > 0  # else the delay is none and nothing was shown
        # A read that would wait for longer than it may goes to the leader.
        write, careful = writing(bounded, options="-c causal_reads=on"), reading(bounded, options="-c causal_reads=on")
        value_of(write, "INSERT INTO causal VALUES (5) RETURNING n")
        with careful.cursor() as cursor:
            cursor.execute("SELECT count(*), inet_server_port() FROM causal")
            assert cursor.fetchone() == (6, leader.port)
        # By a position that the client names.
        value_of(write, "INSERT INTO causal VALUES (6) RETURNING n")
        lsn = value_of(write, "SELECT pg_current_wal_insert_lsn()")
        with plain.cursor() as cursor:
            cursor.execute(f"SET pgvigil.after_lsn = '{lsn}'")
            cursor.execute("SELECT count(*), inet_server_port() FROM causal")
            assert cursor.fetchone() == (7, other.port)
    finally:
        delay(other, "0")


def delay(node, value):
    """recovery_min_apply_delay of a replica, as a line of its data directory."""
    node.query(f"ALTER SYSTEM SET recovery_min_apply_delay = '{value}'")
    node.query("SELECT pg_reload_conf()")
    wait_for(lambda: node.query("SHOW recovery_min_apply_delay")[0][0].startswith(value), 10, "the delay is in force")


def test_without_etcd_the_rest_api_tells_who_leads(cluster, follower):
    """Failsafe keeps the leader; the pooler learns what it can."""
    leader, _ = cluster.pair()
    code, text = leader.rest_call("/config", "PATCH", {"failsafe_mode": True})
    assert code == 200, text
    wait_for(lambda: "failsafe_mode" in json.loads(leader.rest_call("/config")[1]), 10, "failsafe is on")
    wait_for(lambda: cluster.etcd.ctl("get", f"/service/{cluster.scope}/failsafe").stdout.strip(), 20, "the failsafe key")
    pooler = follower()
    with contextlib.closing(writing(pooler)) as connection:
        assert port_of(connection) == leader.port
        for member in cluster.etcd.members:
            member.signal(signal.SIGSTOP)
        try:
            wait_for(lambda: {r["seen_by"] for r in pooler.admin("SHOW CLUSTER")} == {"rest"}, 60, "it asks the agents")
            assert port_of(connection) == leader.port
        finally:
            for member in cluster.etcd.members:
                member.signal(signal.SIGCONT)
        wait_for(lambda: {r["seen_by"] for r in pooler.admin("SHOW CLUSTER")} == {"etcd"}, 60, "etcd is back")
        assert port_of(connection) == leader.port


def test_a_crash_of_the_node_is_survived(cluster, follower):
    """The agent and its server are gone at once: clients wait for the replica, which takes the lead over."""
    table(cluster, "load")
    leader, other = cluster.pair()
    pooler = follower({"default_pool_size": 4})
    with Load(pooler, 8) as load:
        leader.agent.kill()
        os.kill(leader.postmaster_pid(), signal.SIGKILL)
        wait_for(other.is_leader, 60, f"{other.name} leads")
        load.goes_on(60)
    report("node lost", load)
    assert len(load.errors) <= 4
    leader.start()
    cluster.wait_healthy(120)
