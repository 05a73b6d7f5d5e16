"""The pooler under a service manager and at the edge of its limits: what it says to NOTIFY_SOCKET, sockets that it is passed, and no
descriptor left."""

import re
import signal
import socket
import sys
import time

from harness import wait_for
from pool_harness import chown, ours_only, value_of

pytestmark = ours_only

# Becomes the pooler with a listening socket as descriptor 3, as systemd does it.
ACTIVATE = """
import os, socket, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    def __init__(self, directory):
        self.path = str(directory / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        chown(self.path)
        self.said = []

    def hears(self, text, seconds=15):
        def heard():
            try:
                while True:
                    self.said.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return any(text in message for message in self.said)
        return wait_for(heard, seconds, f"the service manager hears {text}")


def managed(pool, manager=None, **more):
    pooler = pool(start=False, **more)
    manager = manager or Manager(pooler.directory)
    pooler.process.environment = {"NOTIFY_SOCKET": manager.path}
    return pooler, manager


def test_the_service_manager_is_told(pool):
    pooler, manager = managed(pool, settings={"stats_period": 1})
    pooler.start()
    manager.hears("READY=1")
    manager.hears("STATUS=stats: ")
    manager.said.clear()
    pooler.process.signal(signal.SIGHUP)
    manager.hears("RELOADING=1\nMONOTONIC_USEC=")
    manager.hears("READY=1")
    pooler.expect_exit = True
    pooler.process.signal(signal.SIGTERM)
    manager.hears("STOPPING=1")
    assert pooler.exits() == 0


def test_the_new_process_becomes_the_main_one(pool):
    old, manager = managed(pool)
    old.start()
    manager.hears("READY=1")
    new, _ = managed(pool, manager, directory=old.directory, port=old.port, arguments=["-R"])
    old.expect_exit = True
    new.process.start()
    manager.hears(f"MAINPID={new.process.process.pid}\nREADY=1")
    wait_for(lambda: old.process.process.poll() is not None, 15, "the old process has ended")
    assert not any("STOPPING" in message for message in manager.said)


def test_passed_sockets_are_used(pool):
    pooler = pool(start=False, settings={"listen_addr": "", "unix_socket_dir": ""})
    pooler.process.argv = [sys.executable, "-c", ACTIVATE, str(pooler.port), *pooler.process.argv]
    pooler.process.start()
    pooler.settings["listen_addr"] = "127.0.0.1"  # for the harness: where to connect
    wait_for(lambda: pooler.query("SELECT 1") == [(1,)], 15, "the passed socket serves")
    pooler.wait_log(re.escape(f"listening on 127.0.0.1:{pooler.port}"))


def test_without_descriptors_it_rests_and_goes_on(pool):
    pooler = pool(start=False)
    pooler.process.argv = ["prlimit", "--nofile=64:64", *pooler.process.argv]
    pooler.start()
    client = pooler.connect()
    assert value_of(client, "SELECT 1") == 1
    held = []
    for _ in range(80):
        try:
            held.append(pooler.plain_socket())
        except OSError:
            break
    pooler.wait_log(r"accept\(\) failed: Too many open files; no connections are accepted for 5 s")
    # Who is in goes on, and nothing spins.
    assert value_of(client, "SELECT 2") == 2
    before, began = cpu_seconds(pooler), time.monotonic()
    time.sleep(1)  # the measured interval
    assert cpu_seconds(pooler) - before < 0.5 * (time.monotonic() - began)
    for each in held:
        each.close()
    wait_for(lambda: pooler.query("SELECT 3") == [(3,)], 20, "it accepts again")


def cpu_seconds(pooler):
    with open(f"/proc/{pooler.process.process.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100
