"""Killed and frozen processes."""

import signal

from .base import Fault, register, send


@register
class KillPostmaster(Fault):
    name = "kill_postmaster"
    duration = (0.5, 1.0)

    def act(self):
        send(self.node.postmaster_pid(), signal.SIGKILL)


@register
class StopPostmaster(Fault):
    name = "stop_postmaster"
    bounded = False  # connections that exist go on; new ones wait for it, or for the agent to lose patience

    def act(self):
        self.stop(self.node.postmaster_pid())


class OneBackend(Fault):
    def victim(self):
        children = self.node.children()
        return self.random.choice(children)[0] if children else None


@register
class KillBackend(OneBackend):
    name = "kill_backend"
    duration = (0.5, 1.0)

    def act(self):
        send(self.victim(), signal.SIGKILL)


@register
class StopBackend(OneBackend):
    name = "stop_backend"
    bounded = False  # a frozen walwriter or a backend in a critical section keeps its locks

    def act(self):
        self.stop(self.victim())


@register
class KillAgent(Fault):
    name = "kill_agent"

    def act(self):
        self.kill_process(self.node.agent)


@register
class StopAgent(Fault):
    name = "stop_agent"

    def act(self):
        self.stop_process(self.node.agent)


@register
class KillGuard(Fault):
    name = "kill_guard"
    duration = (0.5, 1.0)
    service_lasts = True

    def act(self):
        send(self.node.guard_pid(), signal.SIGKILL)


@register
class StopGuard(Fault):
    name = "stop_guard"

    def act(self):
        self.stop(self.node.guard_pid())


@register
class KillNode(Fault):
    """Agent, guard and every process of the server at once, as when the machine loses its power."""
    name = "kill_node"
    duration = (1.0, 15.0)

    def act(self):
        pids = [self.node.guard_pid(), self.node.postmaster_pid(), *(pid for pid, _ in self.node.children())]
        self.kill_process(self.node.agent)
        for pid in pids:
            send(pid, signal.SIGKILL)


@register
class KillEverything(Fault):
    """Power loss of all hosts; they come back in any order."""
    name = "kill_everything"
    roles = ("all",)
    duration = (1.0, 5.0)
    bounded = False

    def act(self):
        for node in self.deployment.nodes.values():
            pids = [node.guard_pid(), node.postmaster_pid(), *(pid for pid, _ in node.children())]
            self.kill_process(node.agent)
            for pid in pids:
                send(pid, signal.SIGKILL)
        for member in self.deployment.etcd.members.values():
            self.kill_process(member)
        self.random.shuffle(self.undo)


@register
class KillEtcd(Fault):
    name = "kill_etcd"
    roles = ("h1", "h2", "h3")

    def act(self):
        self.kill_process(self.deployment.etcd.members[self.host])


@register
class StopEtcd(Fault):
    name = "stop_etcd"
    roles = ("h1", "h2", "h3")

    def act(self):
        self.stop_process(self.deployment.etcd.members[self.host])


@register
class EtcdQuorumLost(Fault):
    name = "etcd_quorum_lost"
    roles = ("all",)
    bounded = False  # without failsafe mode there is no leader until etcd is back

    def act(self):
        for host in self.random.sample(sorted(self.deployment.etcd.members), 2):
            self.stop_process(self.deployment.etcd.members[host])


@register
class KillPooler(Fault):
    name = "kill_pooler"
    roles = ("client",)
    duration = (0.5, 3.0)
    bounded = False

    def act(self):
        self.kill_process(self.deployment.pooler)


@register
class StopPooler(Fault):
    name = "stop_pooler"
    roles = ("client",)
    bounded = False

    def act(self):
        self.stop_process(self.deployment.pooler)
