"""A pgvigil cluster of real processes for tests: etcd members, agents, PostgreSQL, all in one temporary directory and on
free loopback ports. Ends only processes that it started, by pid."""

import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import psycopg2
import yaml

BIN = pathlib.Path(os.environ.get("PGVIGIL_BIN", "build/release/bin"))
SUPERUSER_PASSWORD = "super-secret"
REPLICATION_PASSWORD = "replication-secret"


def postgres_bin():
    """The newest server of the Debian packages."""
    versions = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    return versions[-1].parent


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(condition, seconds, what, every=0.05):
    """Polls a condition until it gives something true; fails with `what` at the deadline."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            result = condition()
            if result:
                return result
        except (OSError, psycopg2.Error, ValueError) as error:
            last = error
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}" + (f" (last error: {last})" if last else ""))


def server_user():
    """PostgreSQL refuses to run as root: then its processes belong to `postgres`."""
    return "postgres" if os.geteuid() == 0 else None


class Process:
    def __init__(self, argv, log, cwd, environment=None):
        self.argv, self.log, self.cwd = [str(a) for a in argv], log, cwd
        self.environment = environment
        self.process = None

    def start(self):
        user = server_user()
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PATRONI_", "PG"))}
        environment["HOME"] = str(self.cwd)
        environment.update(self.environment or {})
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.cwd,
                                            user=user, group=user and pwd.getpwnam(user).pw_gid, extra_groups=[] if user else None,
                                            env=environment, start_new_session=True)
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        if self.running():
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def terminate(self, seconds=60):
        self.signal(signal.SIGTERM)
        if self.process:
            self.process.wait(seconds)
        return self.process.returncode if self.process else None


class Etcd:
    def __init__(self, directory, count=1):
        ports = free_ports(2 * count)
        peers = ",".join(f"e{i}=http://127.0.0.1:{ports[2 * i + 1]}" for i in range(count))
        self.endpoints = [f"127.0.0.1:{ports[2 * i]}" for i in range(count)]
        self.members = []
        for i in range(count):
            client, peer = f"http://127.0.0.1:{ports[2 * i]}", f"http://127.0.0.1:{ports[2 * i + 1]}"
            self.members.append(Process(
                ["/usr/bin/etcd", "--name", f"e{i}", "--data-dir", directory / f"etcd{i}", "--listen-client-urls", client,
                 "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", peers, "--initial-cluster-state", "new", "--heartbeat-interval", "100",
                 "--election-timeout", "1000", "--unsafe-no-fsync"], directory / f"etcd{i}.log", directory))

    def start(self):
        for member in self.members:
            member.start()
        wait_for(self.healthy, 30, "etcd is healthy")
        return self

    def ctl(self, *arguments):
        return subprocess.run(["/usr/bin/etcdctl", "--endpoints", ",".join(self.endpoints), *arguments],
                              env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, timeout=20)

    def healthy(self):
        return self.ctl("endpoint", "health").returncode == 0

    def stop(self):
        for member in self.members:
            member.kill()


def merge(base, over):
    """Maps key by key, everything else replaces."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


class Node:
    """One agent with its PostgreSQL."""

    def __init__(self, cluster, name, kind="pgvigil", tags=None):
        self.cluster, self.name, self.kind = cluster, name, kind
        self.port, self.rest = free_ports(2)
        self.directory = cluster.directory / name
        self.directory.mkdir(mode=0o755)
        self.data = self.directory / "data"
        self.config = self.directory / "patroni.yml"
        self.tags = tags or {}
        self.write_config()
        cluster.give(self.directory)
        program = [BIN.absolute() / "pgvigil", "agent"] if kind == "pgvigil" else ["/usr/bin/patroni"]
        self.agent = Process([*program, self.config], self.directory / "agent.log", self.directory)

    def write_config(self):
        document = {
            "scope": self.cluster.scope, "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.rest}", "connect_address": f"127.0.0.1:{self.rest}"},
            "etcd3": {"hosts": self.cluster.etcd.endpoints, **self.cluster.etcd3},
            "bootstrap": {
                "dcs": {"ttl": 30, "loop_wait": 10, "retry_timeout": 10, "maximum_lag_on_failover": 1048576,
                        **self.cluster.settings,
                        "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": {
                            "wal_keep_size": "128MB", "shared_buffers": "16MB", **self.cluster.parameters}}},
                "initdb": [{"encoding": "UTF8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}", "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data), "bin_dir": str(postgres_bin()), "pgpass": str(self.directory / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": SUPERUSER_PASSWORD},
                    "replication": {"username": "replicator", "password": REPLICATION_PASSWORD}},
                "parameters": {"unix_socket_directories": str(self.directory), "fsync": "off"},
                "pg_hba": ["local all all trust", "host replication replicator 127.0.0.1/32 scram-sha-256",
                           "host all all 127.0.0.1/32 scram-sha-256"],
            },
            "tags": self.tags,
        }
        merge(document, self.cluster.local(self))
        self.config.write_text(yaml.safe_dump(document))
        os.chmod(self.config, 0o600)

    def start(self):
        self.agent.start()
        return self

    def rest_call(self, path="/patroni", method="GET", body=None, timeout=30):
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self):
        return json.loads(self.rest_call()[1])

    def code(self, path, method="GET"):
        return self.rest_call(path, method)[0]

    def is_leader(self):
        try:
            return self.code("/primary") == 200
        except OSError:
            return False

    def streams(self):
        try:
            status = self.status()
            if self.kind == "patroni":  # of 3.0: its REST API does not tell the replication state
                return status.get("role") == "replica" and status.get("state") == "running" and self.code("/replica") == 200
            return status.get("role") == "replica" and status.get("replication_state") == "streaming"
        except (OSError, ValueError):
            return False

    def postmaster_pid(self):
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n")[0])
        except (OSError, ValueError):
            return None

    def connect(self, **more):
        return psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", password=SUPERUSER_PASSWORD,
                                dbname="postgres", connect_timeout=2, **more)

    def query(self, sql):
        connection = self.connect()
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def log(self):
        return (self.directory / "agent.log").read_text(errors="replace")

    def cleanup(self):
        self.agent.kill()
        guard = [p for p in _processes() if p[1] and "pgvigil-guard" in p[1] and str(self.data) in p[1]]
        pid = self.postmaster_pid()
        for victim in [pid] + [p[0] for p in guard]:
            if victim and pathlib.Path(f"/proc/{victim}").exists():
                command = pathlib.Path(f"/proc/{victim}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if str(self.directory) in command:
                    os.kill(victim, signal.SIGKILL)


def _processes():
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue


def ends_of_logs(directory, lines=60):
    """The cluster is gone when somebody looks at a failed test."""
    for log in sorted(pathlib.Path(directory).rglob("*.log")):
        yield str(log), "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Cluster:
    def __init__(self, names=("a", "b"), settings=None, parameters=None, etcd_members=1, kinds=None, tags=None, scope="demo",
                 etcd3=None, local=None, etcd=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="pgvigil-test-"))
        os.chmod(self.directory, 0o755)
        self.settings, self.parameters, self.scope = settings or {}, parameters or {}, scope
        self.etcd3 = etcd3 or {}  # more of the section of that name: user and password
        self.local = local or (lambda node: {})  # what a node's file has over the usual
        self.borrowed_etcd = etcd is not None
        self.give(self.directory)
        self.etcd = etcd or Etcd(self.directory, etcd_members)
        self.nodes = {n: Node(self, n, (kinds or {}).get(n, "pgvigil"), (tags or {}).get(n)) for n in names}

    def give(self, path):
        user = server_user()
        if user:
            shutil.chown(path, user, user)
            for entry in pathlib.Path(path).rglob("*"):
                shutil.chown(entry, user, user)

    def __enter__(self):
        try:
            if not self.borrowed_etcd:
                self.etcd.start()
        except BaseException:
            self.cleanup()
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            for log, text in ends_of_logs(self.directory):
                print(f"--- {log}, last lines ---\n{text}")
        self.cleanup()

    def cleanup(self):
        for node in self.nodes.values():
            node.cleanup()
        if not self.borrowed_etcd:
            self.etcd.stop()
        if not os.environ.get("PGVIGIL_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def leader(self):
        leaders = [n for n in self.nodes.values() if n.is_leader()]
        return leaders[0] if len(leaders) == 1 else None

    def pair(self):
        """The leader of a healthy cluster, and another node."""
        leader = self.wait_healthy()
        return leader, next(n for n in self.nodes.values() if n is not leader)

    def start(self, seconds=60):
        """Starts all nodes, the first one first, and waits until all others stream."""
        first, *rest = self.nodes.values()
        first.start()
        wait_for(first.is_leader, seconds, f"{first.name} leads")
        for node in rest:
            node.start()
        self.wait_healthy(seconds)
        return self

    def wait_healthy(self, seconds=60):
        def healthy():
            leader = self.leader()
            if not leader or not all(n is leader or n.streams() for n in self.nodes.values()):
                return None
            senders = {s["application_name"] for s in leader.status().get("replication", []) if s["state"] == "streaming"}
            return leader if senders >= {n.name for n in self.nodes.values() if n is not leader} else None
        return wait_for(healthy, seconds, "one leader, and everybody else streams from it")
