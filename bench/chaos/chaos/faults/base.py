"""A fault: begins, lasts for a while, is healed. It never fails a run by itself: what it wants to hit may be gone already."""

import os
import pathlib
import signal

REGISTRY = {}


def register(fault):
    REGISTRY[fault.name] = fault
    return fault


def send(pid, number):
    """True when the signal was sent."""
    if not pid:
        return False
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def stopped(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    except OSError:
        return False


class Fault:
    name = None
    roles = ("leader", "replica")  # whom it may hit: node of that role, or hosts by name
    duration = (1.0, 12.0)
    service_lasts = False  # True: there is no reason for an outage beyond a retry
    bounded = True  # service is back during the fault, when it is alone

    def __init__(self, deployment, role, random):
        self.deployment, self.role, self.random = deployment, role, random
        self.node = self.host = None
        self.undo = []

    def begin(self):
        if self.role in ("leader", "replica"):
            leader, replica = self.deployment.roles()
            self.node = leader if self.role == "leader" else replica
            self.host = self.node.host
        else:
            self.host = self.role
        self.act()

    def act(self):
        raise NotImplementedError

    def heal(self):
        for undo in reversed(self.undo):
            undo()
        self.undo = []

    def target(self):
        return f"{self.host} ({self.role})" if self.host and self.host != self.role else self.role

    def bound(self):
        """A lease that runs out, an election, clients that have to notice: docs/reliability.md."""
        if not self.bounded:
            return None
        return 10.0 if self.service_lasts else self.deployment.ttl + 12.0

    def stop(self, pid):
        if send(pid, signal.SIGSTOP):
            self.undo.append(lambda: send(pid, signal.SIGCONT) if stopped(pid) else None)

    def stop_process(self, process):
        if process.running():
            self.stop(process.process.pid)

    def kill_process(self, process):
        """It is started again at the end, as a service manager does."""
        process.kill()
        self.undo.append(lambda: None if process.running() else process.start())
