"""etcd members are killed and restarted one by one under load: no demotion, no error at the client."""

import signal
import time

from harness import Cluster, wait_for
from writer import Writer


def test_etcd_members_one_by_one():
    with Cluster(settings={"ttl": 20, "loop_wait": 2, "retry_timeout": 4}, etcd_members=3) as cluster:
        cluster.start()
        leader = cluster.leader()
        leader.query("CREATE TABLE writes (number bigint)")
        timeline = leader.status()["timeline"]
        with Writer(list(cluster.nodes.values())) as writer:
            wait_for(writer.last, 10, "the first write")
            for member in cluster.etcd.members:
                member.kill()
                down_until = time.monotonic() + 6  # several renewals of the lease
                wait_for(lambda: time.monotonic() > down_until and leader.is_leader(), 30, "it leads without this member")
                member.start()
                wait_for(cluster.etcd.healthy, 30, "the member is back")
        assert not writer.errors, writer.errors
        assert leader.is_leader() and leader.status()["timeline"] == timeline
        assert not writer.lost(leader)


def test_without_etcd_the_leader_stops_in_time_and_comes_back():
    with Cluster(settings={"ttl": 5, "loop_wait": 1, "retry_timeout": 2}) as cluster:
        cluster.start()
        leader = cluster.leader()
        cluster.etcd.members[0].signal(signal.SIGSTOP)
        frozen = time.monotonic()
        wait_for(lambda: leader.code("/primary") == 503, 10, "it does not claim the lead any more")
        wait_for(lambda: leader.status().get("role") != "primary" or leader.code("/primary") == 503, 10, "it is read-only")
        assert time.monotonic() - frozen < 6
        cluster.etcd.members[0].signal(signal.SIGCONT)
        cluster.wait_healthy(60)
