"""Disks, clocks, etcd's own life, and operators' commands at bad moments."""

from attack import Attack
from harness import wait_for

SETTINGS = {"ttl": 5, "loop_wait": 1, "retry_timeout": 2, "synchronous_mode": "quorum"}


def test_disk_full_on_the_leader(deployment):
    with Attack(deployment) as attack:
        attack.fault("disk_full", "leader")
        attack.other_leads(20)
        assert attack.serves().node == attack.other.name


def test_syncs_fail_on_the_leader(deployment):
    with Attack(deployment) as attack:
        attack.fault("sync_fails", "leader")
        attack.other_leads(20)
        assert attack.serves().node == attack.other.name


def test_clock_an_hour_wrong(deployment):
    with Attack(deployment) as attack:
        before = attack.leader.query("SELECT now()")[0][0]
        attack.fault("clock_step", "leader")
        assert abs((attack.leader.query("SELECT now()")[0][0] - before).total_seconds()) > 3000
        attack.fault("clock_step", "replica")
        attack.serves("pooler", after=deployment.ttl)
        assert attack.leader.status()["timeline"] == attack.timeline, "nobody took over"


def test_etcd_member_replaced(deployment):
    with Attack(deployment) as attack:
        attack.fault("etcd_member_replaced", "h1")()
        wait_for(deployment.etcd.healthy, 20, "etcd is whole")
        attack.fault("etcd_leader_moves", "leader")()
        attack.fault("etcd_compaction", "leader")()
        attack.serves()


def test_switched_back_while_the_old_leader_is_on_its_way(deployment):
    with Attack(deployment) as attack:
        attack.fault("switchover_twice", "leader")
    assert not attack.lost


def test_only_replica_reinitialized_while_the_leader_crashes(deployment):
    with Attack(deployment) as attack:
        attack.fault("reinitialize", "replica")
        wait_for(lambda: not attack.other.streams(), 10, "it is taken down")
        attack.fault("kill_postmaster", "leader")
    assert not attack.lost


def test_restarted_while_paused_and_settings_that_make_no_sense(deployment):
    with Attack(deployment) as attack:
        attack.fault("restart_while_paused", "leader")
        attack.heal()
        attack.fault("invalid_settings", "leader")
        attack.serves(after=deployment.ttl)
        assert attack.leader.is_leader()


def test_limit_raised_on_the_leader_alone(deployment):
    """Replay stops where the leader's higher limit stands in the WAL, until the replica is restarted with it."""
    with Attack(deployment) as attack:
        before = int(attack.leader.query("SHOW max_connections")[0][0])
        assert attack.leader.rest_call("/config", "PATCH", {"postgresql": {"parameters": {"max_connections": before + 20}}})[0] == 200
        wait_for(lambda: "pending_restart" in attack.leader.status(), 10, "the leader wants a restart")
        assert attack.leader.rest_call("/restart", "POST", {}, timeout=30)[0] == 200
        wait_for(lambda: attack.other.query("SHOW max_connections") == [(str(before + 20),)], 30, "the replica has it as well")
        attack.serves()


def test_setting_that_needs_a_restart(deployment):
    with Attack(deployment) as attack:
        attack.fault("setting_changed", "leader")
        attack.heal()
        assert attack.leader.query("SHOW max_connections")
