"""etcd's own life, settings that change under way, and operators' commands at bad moments. A command may be refused; what
counts is what becomes of the cluster."""

import threading
import time
import urllib.error

from .base import Fault, register


class Command(Fault):
    """Runs in a thread: a command may wait for what other faults hold up."""
    roles = ("leader",)
    duration = (1.0, 4.0)

    def act(self):
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.command()
        except (OSError, ValueError, KeyError, StopIteration, AssertionError, urllib.error.URLError):
            pass  # refused, or nobody there to ask

    def heal(self):
        self.thread.join(30)
        super().heal()

    def call(self, path, method="POST", body=None, node=None):
        return (node or self.node).rest_call(path, method, body or {}, timeout=25)


@register
class EtcdCompaction(Command):
    name = "etcd_compaction"
    service_lasts = True

    def command(self):
        etcd = self.deployment.etcd
        revision = int(etcd.ctl("get", "x", "-w", "json").stdout.split('"revision":')[1].split(",")[0].rstrip("}"))
        etcd.ctl("compact", str(revision))
        etcd.ctl("defrag")


@register
class EtcdLeaderMoves(Command):
    name = "etcd_leader_moves"
    service_lasts = True

    def command(self):
        etcd = self.deployment.etcd
        leader = etcd.leader_host()
        other = self.random.choice([h for h in etcd.members if h != leader])
        listed = etcd.ctl("member", "list").stdout.splitlines()
        number = next(line.split(",")[0] for line in listed if f", {other}," in line)
        etcd.ctl("--endpoints", f"{self.deployment.network.addresses[leader]}:2379", "move-leader", number)


@register
class EtcdMemberReplaced(Command):
    name = "etcd_member_replaced"
    roles = ("h1", "h2", "h3")
    duration = (3.0, 6.0)

    def command(self):
        self.deployment.etcd.replace(self.host)


@register
class SettingChanged(Command):
    """A setting that needs a restart; the replica is restarted and then the leader, as an operator does."""
    name = "setting_changed"

    def command(self):
        leader, replica = self.deployment.roles()
        self.call("/config", "PATCH", {"postgresql": {"parameters": {"max_connections": self.random.choice((60, 100, 140))}}}, leader)
        for node in (replica, leader):
            self.call("/restart", "POST", {"restart_pending": True}, node)


@register
class Switchover(Command):
    name = "switchover"
    roles = ("leader", "replica")  # the other one takes part as well

    def command(self):
        leader, replica = self.deployment.roles()
        self.call("/switchover", "POST", {"leader": leader.name, "candidate": replica.name}, self.node)


@register
class SwitchoverTwice(Command):
    """Back again while the old leader is still on its way to become a replica."""
    name = "switchover_twice"

    def command(self):
        for _ in range(2):
            leader, replica = self.deployment.roles()
            self.call("/switchover", "POST", {"leader": leader.name, "candidate": replica.name}, leader)


@register
class Reinitialize(Command):
    name = "reinitialize"
    roles = ("replica",)
    service_lasts = True

    def command(self):
        self.call("/reinitialize", "POST", {"force": True})


@register
class Restart(Command):
    name = "restart"
    roles = ("leader", "replica")

    def command(self):
        self.call("/restart")


@register
class RestartWhilePaused(Command):
    name = "restart_while_paused"
    duration = (3.0, 8.0)
    bounded = False  # nobody takes over while the cluster is paused

    def act(self):
        self.undo.append(self.resume)
        super().act()

    def command(self):
        self.call("/config", "PATCH", {"pause": True})
        self.call("/restart")

    def resume(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for node in self.deployment.nodes.values():
                try:
                    if self.call("/config", "PATCH", {"pause": None}, node)[0] == 200:
                        return
                except (OSError, urllib.error.URLError):
                    continue


@register
class InvalidSettings(Command):
    """Edits that a node must not follow, by the API (which refuses them) and past it."""
    name = "invalid_settings"
    service_lasts = True

    def act(self):
        self.before = self.deployment.etcd.ctl("get", "/service/chaos/config", "--print-value-only").stdout.strip()
        self.undo.append(self.restore)
        super().act()

    def command(self):
        for body in ({"ttl": "soon"}, {"loop_wait": -1}, {"postgresql": {"parameters": {"max_connections": "many"}}}):
            self.call("/config", "PATCH", body)
        bad = self.random.choice(('{"ttl": "soon", "loop_wait": [], "postgresql": 7}', "no json at all", '{"ttl": 0}', "[]"))
        if self.before:
            self.deployment.etcd.ctl("put", "/service/chaos/config", bad)

    def restore(self):
        if not self.before:
            return
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.deployment.etcd.ctl("put", "/service/chaos/config", self.before).returncode == 0:
                return
