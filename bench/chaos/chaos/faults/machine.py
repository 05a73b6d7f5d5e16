"""Disks and clocks."""

import os
import subprocess

from .base import Fault, register

BLOCK = 65536


@register
class DiskFull(Fault):
    name = "disk_full"
    duration = (3.0, 12.0)

    def act(self):
        filler = self.node.disk / "filler"
        self.undo.append(lambda: filler.unlink(missing_ok=True))
        with open(filler, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * BLOCK):
                    pass
            except OSError:
                return


@register
class SyncFails(Fault):
    """Every fsync of the host's PostgreSQL and agent fails with EIO."""
    name = "sync_fails"

    def act(self):
        self.node.shim.sync_fails(True)
        self.undo.append(lambda: self.node.shim.sync_fails(False))


@register
class SyncIsSlow(Fault):
    name = "sync_is_slow"
    bounded = False

    def act(self):
        self.node.shim.sync_takes(self.random.choice((50, 300, 3000)))
        self.undo.append(lambda: self.node.shim.sync_takes(0))


@register
class ClockStep(Fault):
    """The wall clock of agent and PostgreSQL is an hour wrong, then right again."""
    name = "clock_step"
    service_lasts = True

    def act(self):
        self.node.shim.clock(self.random.choice((-3600, 3600)))
        self.undo.append(lambda: self.node.shim.clock(0))


@register
class Starvation(Fault):
    """Processes that spin, as many as the machine has cores eight times."""
    name = "starvation"
    roles = ("all",)
    duration = (3.0, 8.0)

    def act(self):
        for _ in range(8 * (os.cpu_count() or 1)):
            spinning = subprocess.Popen(["sh", "-c", "while :; do :; done"])
            self.undo.append(lambda process=spinning: (process.kill(), process.wait()))
