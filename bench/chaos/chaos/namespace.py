"""A run lives in namespaces of its own (network, mounts, processes): runs do not meet, and everything that one made is gone
with its last process, however it ended."""

import os
import shutil
import signal
import subprocess
import sys

INSIDE = "PGVIGIL_CHAOS_INSIDE"
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def inside():
    return os.environ.get(INSIDE) == str(os.getpid()) or os.environ.get(INSIDE) == str(os.getppid())


def why_not():
    """Why a run is not possible here; None when it is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("unshare", "nsenter", "setpriv", "ip"):
        if not shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            return f"{tool} is missing (Debian: util-linux, iproute2)"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    tried = subprocess.run([*UNSHARE, "ip", "tuntap", "add", "dev", "link0", "mode", "tun"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"namespaces with a TUN device are not permitted: {tried.stderr.strip()}"


def enter(argv):
    """Runs this Python program with `argv` again, inside. Does not return."""
    init = "import sys; sys.path.insert(0, sys.argv.pop(1)); from chaos.namespace import init; init(sys.argv[1:])"
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.stdout.flush()
    os.execvp("unshare", [*UNSHARE, sys.executable, "-c", init, package, sys.executable, *argv])


def init(argv):
    """Process 1: starts the program and reaps what loses its parent, since an agent takes a zombie for a running server."""
    child = os.fork()
    if child == 0:
        os.environ[INSIDE] = str(os.getppid())
        os.execvp(argv[0], argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(child, number))
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)
