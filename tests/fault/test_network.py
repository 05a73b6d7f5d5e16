"""Partitions, loss and delay; under synchronous replication, so that not one acknowledged row may be lost."""

from attack import Attack
from harness import wait_for

SETTINGS = {"ttl": 5, "loop_wait": 1, "retry_timeout": 2, "synchronous_mode": True}


def test_leader_cut_off(deployment):
    with Attack(deployment) as attack:
        attack.fault("cut_host", "leader")
        attack.other_leads(deployment.ttl + 5)
        assert attack.serves().node == attack.other.name


def test_leader_heard_by_nobody(deployment):
    with Attack(deployment) as attack:
        attack.fault("cut_outgoing", "leader")
        attack.other_leads(deployment.ttl + 5)
        assert attack.serves().node == attack.other.name


def test_leader_cut_off_from_etcd_alone(deployment):
    with Attack(deployment) as attack:
        attack.fault("cut_etcd", "leader")
        attack.other_leads(deployment.ttl + 5)
        assert attack.serves().node == attack.other.name


def test_replication_cut(deployment):
    """Commits wait until the leader has taken the standby out of the synchronous ones."""
    with Attack(deployment) as attack:
        attack.fault("cut_replication", "leader")
        wait_for(lambda: attack.leader.query("SHOW synchronous_standby_names") == [("",)], 25, "the standby is given up")
        assert attack.serves(after=1).node == attack.leader.name


def test_rest_cut(deployment):
    """Members do not hear each other's answers; that alone is no reason for anything."""
    with Attack(deployment) as attack:
        attack.fault("cut_rest", "leader")
        attack.serves(after=deployment.ttl)
        assert attack.leader.status()["timeline"] == attack.timeline


def test_links_lose_and_delay(deployment):
    with Attack(deployment) as attack:
        attack.fault("loss", "replica")
        attack.fault("delay", "leader")
        attack.serves(after=deployment.ttl)
