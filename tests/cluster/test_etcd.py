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


def test_a_wrong_password_ends_the_agent_and_says_so():
    with Cluster(names=("a",), etcd3={"username": "agent", "password": "secret"}) as cluster:
        for arguments in (("user", "add", "root:root-secret"), ("user", "grant-role", "root", "root"),
                          ("user", "add", "agent:secret"), ("user", "grant-role", "agent", "root"), ("auth", "enable")):
            done = cluster.etcd.ctl(*arguments)
            assert done.returncode == 0, done.stderr
        node = cluster.nodes["a"]
        good = node.config.read_text()
        node.config.write_text(good.replace("password: secret", "password: guess"))
        node.start()
        assert node.agent.process.wait(20) == 1
        log = node.log()
        assert "check etcd3.username and etcd3.password" in log and "guess" not in log, log
        node.config.write_text(good)
        node.start()
        wait_for(node.is_leader, 60, "it leads with the right password")
