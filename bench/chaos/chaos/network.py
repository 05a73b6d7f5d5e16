"""The hosts' network: a namespace for each, joined by pgvigil-chaos-switch."""

import os
import subprocess
import threading

PREFIX = "10.77.0"


class Network:
    def __init__(self, hosts, bin_dir, seed=1):
        """`hosts` in the order of their addresses; the last one is the namespace that the driver runs in."""
        self.addresses = {host: f"{PREFIX}.{i}" for i, host in enumerate(hosts, 1)}
        self._lock = threading.Lock()
        self._ip("link", "set", "lo", "up")
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        for host in hosts[:-1]:
            self._ip("netns", "add", host)
            self._ip("-n", host, "link", "set", "lo", "up")
        places = [f"{h}=/run/netns/{h}" for h in hosts[:-1]] + [f"{hosts[-1]}=self"]
        self.switch = subprocess.Popen([bin_dir / "pgvigil-chaos-switch", str(seed), *places], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True, bufsize=1)
        if self.switch.stdout.readline() != "ready\n":
            raise RuntimeError("pgvigil-chaos-switch does not start; see its error above")
        for host, address in self.addresses.items():
            where = [] if host == hosts[-1] else ["-n", host]
            self._ip(*where, "addr", "add", f"{address}/24", "dev", "link0")
            self._ip(*where, "link", "set", "link0", "up", "mtu", "9000", "txqueuelen", "5000")

    @staticmethod
    def _ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"})

    @staticmethod
    def enter(host):
        """What stands before a command that is to run on that host."""
        return ["nsenter", f"--net=/run/netns/{host}", "--"]

    def _command(self, line):
        with self._lock:
            self.switch.stdin.write(line + "\n")
            answer = self.switch.stdout.readline().strip()
        if answer != "ok":
            raise RuntimeError(f"pgvigil-chaos-switch: {answer or 'has ended'}")

    def set_rule(self, name, source="*", target="*", port=0, loss=0.0, delay_ms=0, jitter_ms=0):
        self._command(f"set {name} {source} {target} {port} {round(loss * 1000)} {delay_ms} {jitter_ms}")

    def clear_rule(self, name):
        self._command(f"clear {name}")

    def close(self):
        self.switch.stdin.close()
        self.switch.wait(5)
