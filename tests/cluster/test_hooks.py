"""Scripts of the operator: callbacks, pre_promote, before_stop; and what the agent tells its surroundings."""

import signal
import socket

from harness import Cluster, merge, wait_for

SETTINGS = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}


def with_hooks(cluster, hooks):
    path = cluster.directory / "hook.sh"
    path.write_text('#!/bin/sh\nout=$1; shift; echo "$@" >> $out\n')
    path.chmod(0o755)
    cluster.local = lambda node: hooks(f"{path} {node.directory}/calls")
    for node in cluster.nodes.values():
        node.write_config()
        cluster.give(node.directory)


def calls(node):
    path = node.directory / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_callbacks_tell_what_happens():
    with Cluster(settings=SETTINGS) as cluster:
        with_hooks(cluster, lambda command: {"postgresql": {"callbacks": {
            event: command for event in ("on_start", "on_stop", "on_restart", "on_reload", "on_role_change")}}})
        cluster.start()
        leader, other = cluster.pair()
        wait_for(lambda: "on_start primary demo" in calls(leader), 10, "on_start of the leader")
        wait_for(lambda: "on_start replica demo" in calls(other), 10, "on_start of the replica")
        assert leader.rest_call("/restart", "POST", {})[0] == 200
        wait_for(lambda: "on_restart primary demo" in calls(leader), 10, "on_restart")
        assert other.rest_call("/reload", "POST", {})[0] == 202
        wait_for(lambda: "on_reload replica demo" in calls(other), 10, "on_reload")
        cluster.wait_healthy()
        assert leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": other.name})[0] == 200
        wait_for(lambda: "on_role_change primary demo" in calls(other), 10, "on_role_change of the new leader")
        wait_for(lambda: any(line.startswith("on_role_change replica") for line in calls(leader)), 20, "of the old one")
        cluster.wait_healthy()
        other.agent.terminate()
        wait_for(lambda: any(line.startswith("on_stop") for line in calls(other)), 10, "on_stop")


def test_pre_promote_may_refuse_and_before_stop_is_run():
    with Cluster(names=("a", "b", "c"), settings={**SETTINGS, "ttl": 5}) as cluster:
        with_hooks(cluster, lambda command: {"postgresql": {"before_stop": f"{command} before_stop"}})
        b = cluster.nodes["b"]
        before = cluster.local
        cluster.local = lambda node: merge_of(before(node), {"postgresql": {"pre_promote": "/bin/false"}}) if node is b else before(node)
        b.write_config()
        cluster.give(b.directory)
        cluster.start()
        leader = cluster.leader()
        code, text = leader.rest_call("/switchover", "POST", {"leader": leader.name, "candidate": "b"}, timeout=60)
        wait_for(lambda: cluster.leader() is not None and cluster.leader() is not b, 60, "somebody else leads")
        assert "pre_promote" in b.log() or "not promoted" in b.log(), (code, text)
        assert not b.is_leader()
        assert "before_stop" in calls(leader)


def merge_of(base, over):
    merge(base, over)
    return base


def test_watchdog_service_manager_and_names():
    with Cluster(names=("a", "b"), settings=SETTINGS) as cluster:
        a, b = cluster.nodes.values()
        device = a.directory / "watchdog"
        device.touch()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(a.directory / "notify"))
        (a.directory / "notify").chmod(0o777)
        listener.settimeout(30)
        a.agent.environment = {"NOTIFY_SOCKET": str(a.directory / "notify")}
        # Required on both; only one has a device.
        cluster.local = lambda node: {"watchdog": {"mode": "required", "driver": "testing", "device": str(node.directory / "watchdog"),
                                                   "safety_margin": 5}}
        for node in (a, b):
            node.write_config()
        cluster.give(cluster.directory)
        cluster.start()
        assert a.is_leader() and listener.recv(100) == b"READY=1"
        wait_for(lambda: len(device.read_text()) >= 3, 20, "it is fed")
        assert set(device.read_text()) == {"1"}
        assert b.status().get("watchdog_failed") is True
        code, text = a.rest_call("/switchover", "POST", {"leader": "a", "candidate": "b"})
        assert code == 412, (code, text)
        # A second agent by the name of one that lives ends at once and leaves everything alone.
        twin = type(a)(cluster, "a2")
        twin.config.write_text(twin.config.read_text().replace("name: a2", "name: a"))
        cluster.nodes["a2"] = twin  # for the clean-up
        twin.start()
        assert twin.agent.process.wait(30) == 1 and "another agent has this member's name" in twin.log()
        del cluster.nodes["a2"]
        assert a.is_leader()
        a.agent.signal(signal.SIGHUP)
        assert listener.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=") and listener.recv(100) == b"READY=1"
        assert a.agent.terminate() == 0
        assert listener.recv(100) == b"STOPPING=1"
        assert device.read_text().endswith("V"), "the machine is not reset after an ordered stop"
        listener.close()
