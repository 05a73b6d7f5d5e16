"""Processes that are killed or frozen."""

from attack import Attack
from harness import wait_for

SETTINGS = {"ttl": 5, "loop_wait": 1, "retry_timeout": 2}


def test_postmaster_killed(deployment):
    with Attack(deployment) as attack:
        attack.fault("kill_postmaster", "leader")
        wait_for(lambda: attack.history.writes[-1].outcome != "ok" or attack.outage() > 0.2, 5, "it is felt")
        attack.serves()
        assert attack.leader.status()["timeline"] == attack.timeline, "a start in place keeps the timeline"
    assert not attack.lost


def test_agent_of_the_leader_frozen(deployment):
    """PostgreSQL is left running and would accept writes for as long as it likes: the guard ends it."""
    with Attack(deployment) as attack:
        attack.fault("stop_agent", "leader")
        attack.other_leads(deployment.ttl + 5)
        assert attack.serves().node == attack.other.name
        last = max(w.ended for w in attack.history.acknowledged() if w.node == attack.leader.name)
        first = min(w.ended for w in attack.history.acknowledged() if w.node == attack.other.name)
        assert last < first, "both accepted writes"


def test_agent_of_the_leader_killed_with_a_backend_frozen(deployment):
    """A stopped backend holds a commit that it could still acknowledge when it goes on."""
    with Attack(deployment) as attack:
        attack.fault("stop_backend", "leader")
        attack.fault("kill_agent", "leader")
        attack.other_leads(deployment.ttl + 5)
        assert attack.serves().node == attack.other.name


def test_guard_killed_and_frozen(deployment):
    with Attack(deployment) as attack:
        first = attack.leader.guard_pid()
        attack.fault("kill_guard", "leader")
        wait_for(lambda: attack.leader.guard_pid() not in (None, first), 10, "there is another guard")
        attack.serves()
        # Longer than the lease: it is the agent now that has to see to it that not both write.
        attack.fault("stop_guard", "leader")
        attack.serves(after=2 * deployment.ttl)


def test_node_lost(deployment):
    with Attack(deployment) as attack:
        attack.fault("kill_node", "leader")
        attack.other_leads(deployment.ttl + 5)
        assert attack.serves().node == attack.other.name


def test_everything_lost(deployment):
    with Attack(deployment) as attack:
        attack.fault("kill_everything", "all")
    assert not attack.lost, "the last leader's data wins"


def test_etcd_quorum_lost_for_longer_than_the_lease(deployment):
    with Attack(deployment) as attack:
        attack.fault("etcd_quorum_lost", "all")
        wait_for(lambda: attack.leader.postmaster_pid() is None or not attack.leader.is_leader(), deployment.ttl + 5,
                 "the leader gives up")
    assert not attack.lost
