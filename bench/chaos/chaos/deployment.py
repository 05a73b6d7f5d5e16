"""The reference deployment in namespaces: three hosts with etcd, two of them with agent, guard and PostgreSQL, and a client host
with the pooler. Each data directory is a small file system of its own."""

import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import urllib.error

import harness
from harness import REPLICATION_PASSWORD, SUPERUSER_PASSWORD, Process, merge, postgres_bin, server_user, wait_for

from .network import Network
from .shim import Shim

HOSTS = ("h1", "h2", "h3")
CLIENT = "client"
SCOPE = "chaos"
DISK_MB = 500
SETTINGS = {"ttl": 5, "loop_wait": 1, "retry_timeout": 2}


class Member(Process):
    """A process of one host, as an ordinary user."""

    def __init__(self, host, argv, log, cwd, environment=None):
        user = server_user()
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        super().__init__([*(Network.enter(host) if host else []), *as_user, *argv], log, cwd, environment)
        self.host = host

    def start(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PATRONI_", "PG"))}
        environment.update({"HOME": str(self.cwd), **(self.environment or {})})
        with open(self.log, "ab") as log:  # as root: it takes rights to enter a namespace; setpriv drops them
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.cwd,
                                            env=environment, start_new_session=True)
        return self


class Node(harness.Node):
    def __init__(self, deployment, host, kind):
        self.cluster, self.name, self.kind, self.host, self.tags = deployment, host, kind, host, {}
        self.address, self.port, self.rest = deployment.network.addresses[host], 5432, 8008
        self.directory = deployment.directory / host
        self.directory.mkdir(mode=0o755)
        self.disk = self.directory / "disk"
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0755", "tmpfs", self.disk], check=True)
        self.data = self.disk / "data"
        self.config = self.directory / "patroni.yml"
        self.shim = Shim(self.directory / "shim", harness.BIN.absolute() / "libpgvigil-chaos-shim.so")
        self.write_config()
        deployment.give(self.directory)
        program = [harness.BIN.absolute() / "pgvigil", "agent"] if kind == "pgvigil" else ["/usr/bin/patroni"]
        # env after setpriv and nsenter: those are not to have the library
        preload = ["env", *(f"{k}={v}" for k, v in self.shim.environment().items())]
        self.agent = Member(host, [*preload, *program, self.config], self.directory / "agent.log", self.directory)

    def write_config(self):
        etcd = [f"{self.cluster.network.addresses[h]}:2379" for h in sorted(HOSTS, key=lambda h: h != self.host)]
        subnet = f"{self.address.rsplit('.', 1)[0]}.0/24"
        document = {
            "scope": SCOPE, "name": self.name,
            "restapi": {"listen": f"{self.address}:{self.rest}", "connect_address": f"{self.address}:{self.rest}"},
            "etcd3": {"hosts": etcd},
            "bootstrap": {
                "dcs": {**SETTINGS, "maximum_lag_on_failover": 10485760, **self.cluster.settings,
                        "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": {
                            "wal_keep_size": "64MB", "max_wal_size": "96MB", "min_wal_size": "32MB", "shared_buffers": "32MB",
                            "wal_log_hints": "on", "max_slot_wal_keep_size": "96MB", "checkpoint_timeout": "60s",
                            # a peer that has vanished without a word is noticed in 5 s, not in 60
                            "wal_sender_timeout": "5s", "wal_receiver_timeout": "5s", "tcp_user_timeout": "5s"}}},
                "initdb": [{"encoding": "UTF8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"{self.address}:{self.port}", "connect_address": f"{self.address}:{self.port}",
                "data_dir": str(self.data), "bin_dir": str(postgres_bin()), "pgpass": str(self.directory / "pgpass"),
                "remove_data_directory_on_rewind_failure": True, "remove_data_directory_on_diverged_timelines": True,
                "authentication": {
                    "superuser": {"username": "postgres", "password": SUPERUSER_PASSWORD},
                    "replication": {"username": "replicator", "password": REPLICATION_PASSWORD}},
                "parameters": {"unix_socket_directories": str(self.directory), "logging_collector": "off", "log_min_messages": "log",
                               "log_line_prefix": "%m [%p] %b "},
                "pg_hba": ["local all all trust", f"host replication replicator {subnet} scram-sha-256",
                           f"host all all {subnet} scram-sha-256"],
            },
        }
        merge(document, self.cluster.local)
        self.config.write_text(harness.yaml.safe_dump(document))
        os.chmod(self.config, 0o600)

    def rest_call(self, path="/patroni", method="GET", body=None, timeout=3):
        request = harness.urllib.request.Request(f"http://{self.address}:{self.rest}{path}", method=method,
                                                 data=None if body is None else json.dumps(body).encode())
        try:
            with harness.urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def dsn(self, local=False, **more):
        where = f"host={self.directory}" if local else f"host={self.address} tcp_user_timeout=3000"
        return f"{where} port={self.port} user=postgres password={SUPERUSER_PASSWORD} dbname=postgres " + " ".join(
            f"{k}={v}" for k, v in more.items())

    def connect(self, **more):
        """As on the host itself: by its Unix socket, which no partition cuts."""
        return harness.psycopg2.connect(self.dsn(local=True, **more))

    def children(self):
        """(pid, title) of the postmaster's children."""
        postmaster, found = self.postmaster_pid(), []
        for pid, command in harness._processes():
            try:
                if int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]) == postmaster:
                    found.append((pid, command))
            except (OSError, ValueError):
                continue
        return found

    def guard_pid(self):
        return next((pid for pid, command in harness._processes() if "pgvigil-guard" in command and str(self.data) in command), None)


class Etcd:
    def __init__(self, deployment):
        self.deployment = deployment
        self.members = {}
        self.endpoints = [f"{deployment.network.addresses[h]}:2379" for h in HOSTS]
        self.generation = {h: 0 for h in HOSTS}
        for host in HOSTS:
            self.members[host] = self.member(host, "new")

    def url(self, host, port):
        return f"http://{self.deployment.network.addresses[host]}:{port}"

    def data_dir(self, host):
        return self.deployment.directory / f"etcd-{host}-{self.generation[host]}"

    def member(self, host, state):
        client, peer = self.url(host, 2379), self.url(host, 2380)
        return Member(host, ["/usr/bin/etcd", "--name", host, "--data-dir", self.data_dir(host), "--listen-client-urls", client,
                             "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                             "--initial-cluster", ",".join(f"{h}={self.url(h, 2380)}" for h in HOSTS), "--initial-cluster-state", state,
                             "--heartbeat-interval", "100", "--election-timeout", "1000", "--log-level", "warn"],
                      self.deployment.directory / f"etcd-{host}.log", self.deployment.directory)

    def ctl(self, *arguments, timeout=20):
        return subprocess.run(["/usr/bin/etcdctl", "--endpoints", ",".join(self.endpoints), "--command-timeout", "4s", *arguments],
                              env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, timeout=timeout, check=False)

    def healthy(self):
        return self.ctl("endpoint", "health").returncode == 0

    def leader_host(self):
        done = self.ctl("endpoint", "status", "-w", "json")
        for entry in json.loads(done.stdout or "[]"):
            if entry["Status"]["leader"] == entry["Status"]["header"]["member_id"]:
                return next(h for h in HOSTS if self.deployment.network.addresses[h] in entry["Endpoint"])
        return None

    def replace(self, host):
        """Removes the member of that host and adds a new one with an empty directory."""
        listed = json.loads(self.ctl("member", "list", "-w", "json").stdout)["members"]
        number = next(m["ID"] for m in listed if m.get("name") == host)
        others = ",".join(e for h, e in zip(HOSTS, self.endpoints) if h != host)
        self.members[host].kill()

        def through_others(*arguments):
            done = self.ctl("--endpoints", others, *arguments)
            return done.returncode == 0
        wait_for(lambda: through_others("member", "remove", f"{number:x}"), 20, "etcd removes the member")
        self.generation[host] += 1
        wait_for(lambda: through_others("member", "add", host, f"--peer-urls={self.url(host, 2380)}"), 20, "etcd adds the member")
        self.members[host] = self.member(host, "existing").start()


class Router(threading.Thread):
    """Points the pooler at the node that leads, as a load balancer on the client's host does: by GET /primary."""

    def __init__(self, deployment):
        super().__init__(daemon=True)
        self.deployment, self.target = deployment, None
        self._stopped = threading.Event()

    def run(self):
        nodes = list(self.deployment.nodes.values())
        with concurrent.futures.ThreadPoolExecutor(len(nodes)) as askers:
            while not self._stopped.wait(0.2):
                leaders = [n for n, leads in zip(nodes, askers.map(self.leads, nodes)) if leads]
                if len(leaders) == 1 and leaders[0] is not self.target:
                    self.target = leaders[0]
                    self.deployment.route_pooler(self.target)

    @staticmethod
    def leads(node):
        try:
            return node.rest_call("/primary", timeout=1)[0] == 200
        except (OSError, ValueError, harness.urllib.error.URLError):
            return False

    def stop(self):
        self._stopped.set()
        self.join()


class Deployment:
    def __init__(self, settings=None, seed=1, kind="pgvigil", local=None, pooler=True):
        self.settings, self.local, self.kind = settings or {}, local or {}, kind
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="pgvigil-chaos-"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=0755", "tmpfs", self.directory], check=True)
        self.give(self.directory)
        self.network = Network([*HOSTS, CLIENT], harness.BIN.absolute(), seed)
        self.etcd = Etcd(self)
        self.nodes = {h: Node(self, h, kind) for h in HOSTS[:2]}
        self.pooler = self.router = None
        if pooler:
            self.write_pooler()
            self.pooler = Member(None, [harness.BIN.absolute() / "pgvigil", "pool", self.directory / "pgbouncer.ini"],
                                 self.directory / "pooler.log", self.directory)
            self.router = Router(self)

    give = harness.Cluster.give

    @property
    def ttl(self):
        return self.settings.get("ttl", SETTINGS["ttl"])

    def write_pooler(self):
        (self.directory / "pgbouncer.ini").write_text(
            f"[databases]\n%include {self.directory}/leader.ini\n[pgbouncer]\nlisten_addr = {self.network.addresses[CLIENT]}\n"
            f"listen_port = 6432\nunix_socket_dir =\npool_mode = transaction\nauth_type = scram-sha-256\nserver_login_retry = 1\n"
            f"server_connect_timeout = 2\nquery_wait_timeout = 5\ntcp_user_timeout = 3000\nauth_file = {self.directory}/userlist.txt\n"
            f"admin_users = postgres\nworkers = 1\n")
        (self.directory / "userlist.txt").write_text(f'"postgres" "{SUPERUSER_PASSWORD}"\n')
        self.route_pooler(self.nodes["h1"])
        self.give(self.directory)

    def route_pooler(self, node):
        new = self.directory / "leader.ini.new"
        new.write_text(f"* = host={node.address} port={node.port}\n")
        new.rename(self.directory / "leader.ini")
        if self.pooler is not None:
            self.pooler.signal(signal.SIGHUP)

    def pooler_dsn(self):
        return (f"host={self.network.addresses[CLIENT]} port=6432 user=postgres password={SUPERUSER_PASSWORD} dbname=postgres "
                "tcp_user_timeout=3000")

    def start(self, seconds=60):
        for member in self.etcd.members.values():
            member.start()
        wait_for(self.etcd.healthy, 30, "etcd is healthy")
        first, *others = self.nodes.values()
        first.agent.start()
        wait_for(first.is_leader, seconds, f"{first.name} leads")
        for node in others:
            node.agent.start()
        self.wait_healthy(seconds)
        if self.pooler:
            self.pooler.start()
            wait_for(lambda: harness.psycopg2.connect(self.pooler_dsn()).close() is None, 20, "the pooler serves")
            self.router.start()
        return self

    leader = harness.Cluster.leader

    def wait_healthy(self, seconds=60):
        """One leader, everybody else streams, and may take over where only synchronous members may."""
        leader = harness.Cluster.wait_healthy(self, seconds)
        if self.settings.get("synchronous_mode"):
            others = {n for n in self.nodes if n != leader.name}
            wait_for(lambda: self.synchronous_with() == (leader.name, others), seconds, f"{others} are synchronous with {leader.name}")
        return leader

    def synchronous_with(self):
        """(leader, standbys) of the sync key."""
        key = json.loads(self.etcd.ctl("get", f"/service/{SCOPE}/sync", "--print-value-only").stdout)
        return key["leader"], set(filter(None, (key["sync_standby"] or "").split(",")))

    def pair(self):
        leader = self.wait_healthy()
        return leader, next(n for n in self.nodes.values() if n is not leader)

    def roles(self):
        """(leader, replica) as far as can be told now: faults need targets in a broken cluster as well."""
        nodes = list(self.nodes.values())
        value = self.etcd.ctl("get", f"/service/{SCOPE}/leader", "--print-value-only").stdout.strip()
        leader = self.nodes.get(value) or nodes[0]
        return leader, next(n for n in nodes if n is not leader)

    def failover_history(self):
        """[[timeline, LSN at which it was left, reason, ...], ...] as the cluster tells it."""
        value = self.etcd.ctl("get", f"/service/{SCOPE}/history", "--print-value-only").stdout.strip()
        return json.loads(value) if value else []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends what was started, so that several deployments can follow one another in one namespace."""
        if self.router and self.router.is_alive():
            self.router.stop()
        for process in [self.pooler] if self.pooler else []:
            process.kill()
        for node in self.nodes.values():
            node.agent.kill()
            for pid in [node.postmaster_pid(), node.guard_pid(), *(p for p, _ in node.children())]:
                if pid and str(node.directory) in _command_or_cwd(pid):
                    os.kill(pid, signal.SIGKILL)
        for member in self.etcd.members.values():
            member.kill()
        self.network.close()
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", host], check=False, capture_output=True)
        subprocess.run(["umount", "-l", "/run"], check=False)
        subprocess.run(["umount", "-l", self.directory], check=False)
        try:
            self.directory.rmdir()
        except OSError:
            pass


def _command_or_cwd(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace") + os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""
