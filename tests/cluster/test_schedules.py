"""What was scheduled happens at its time, and not in maintenance mode."""

import datetime

from harness import Cluster, wait_for

SETTINGS = {"ttl": 20, "loop_wait": 10, "retry_timeout": 3}


def in_seconds(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()


def test_scheduled_switchover_and_restart_come_due():
    with Cluster(settings=SETTINGS) as cluster:
        cluster.start()
        leader, other = cluster.pair()
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=4)
        code, text = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": other.name, "scheduled_at": at.isoformat()})
        assert (code, text) == (202, "Switchover scheduled")
        assert leader.is_leader()
        wait_for(other.is_leader, 15, "it has taken place")
        # loop_wait is 10 s: the time itself wakes the leader.
        late = (datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()
        assert 0 <= late < 4, late
        cluster.wait_healthy()
        started = leader.status()["postmaster_start_time"]
        assert leader.rest_call("/restart", "POST", {"schedule": in_seconds(3)})[0] == 202
        assert "scheduled_restart" in leader.status()
        wait_for(lambda: leader.status().get("postmaster_start_time") not in (None, started), 15, "it has restarted")
        assert "scheduled_restart" not in leader.status()
        # One that asks for an older server does nothing.
        cluster.wait_healthy()
        started = leader.status()["postmaster_start_time"]
        assert leader.rest_call("/restart", "POST", {"schedule": in_seconds(2), "postgres_version": "9.6.0"})[0] == 202
        wait_for(lambda: "scheduled_restart" not in leader.status(), 15, "its time has passed")
        assert leader.status()["postmaster_start_time"] == started
        assert leader.rest_call("/restart", "POST", {"schedule": in_seconds(-5)})[0] == 422
        assert leader.rest_call("/restart", "POST", {"schedule": "2030-01-01T00:00:00"})[0] == 400, "a time without a zone"


def test_nothing_scheduled_happens_while_paused():
    with Cluster(settings=SETTINGS) as cluster:
        cluster.start()
        leader, other = cluster.pair()
        started = other.status()["postmaster_start_time"]
        assert other.rest_call("/restart", "POST", {"schedule": in_seconds(6)})[0] == 202
        assert leader.rest_call("/config", "PATCH", {"pause": True})[0] == 200
        wait_for(lambda: other.status().get("pause"), 10, "paused")
        over = datetime.datetime.now() + datetime.timedelta(seconds=8)
        wait_for(lambda: datetime.datetime.now() > over, 20, "the time has passed")
        assert other.status()["postmaster_start_time"] == started
        code, _ = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": other.name, "scheduled_at": in_seconds(60)})
        assert code == 400
