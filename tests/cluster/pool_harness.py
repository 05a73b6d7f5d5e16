"""A pooler between clients and a scratch PostgreSQL, all in one temporary directory and on free loopback ports. The program
under test is `$PGVIGIL_BIN/pgvigil pool`; PGVIGIL_POOLER names another one, so that the same tests judge PgBouncer:
PGVIGIL_POOLER=pgbouncer. Ends only processes that it started, by pid."""

import atexit
import contextlib
import functools
import os
import pathlib
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import psycopg2
import psycopg2.extensions
import pytest

from harness import BIN, Process, ends_of_logs, free_ports, postgres_bin, server_user, wait_for
from pool_wire import Raw

PASSWORD = "pool-secret"
# What each of them is asked for by the server: see Server.HBA.
ROLES = ("app", "other", "third", "fourth", "md5user", "scramuser", "clearuser", "tlsuser", "certuser")
DATABASES = ("db1", "db2")


def program():
    named = os.environ.get("PGVIGIL_POOLER")
    argv = shlex.split(named) if named else [str(BIN.absolute() / "pgvigil"), "pool"]
    if "/" not in argv[0]:
        argv[0] = shutil.which(argv[0], path=os.environ.get("PATH", "") + ":/usr/sbin") or argv[0]
    return argv


def is_ours():
    return "pgvigil" in pathlib.Path(program()[0]).name


@functools.lru_cache(None)
def version():
    """PgBouncer's version that the program claims to be."""
    try:
        out = subprocess.run([*program(), "-V"], capture_output=True, text=True, timeout=20).stdout
    except OSError:
        out = ""
    found = re.search(r"PgBouncer (\d+)\.(\d+)", out)
    return (int(found[1]), int(found[2])) if found else (1, 25)


def since(major, minor, why=""):
    """For tests of what PgBouncer has only since this version."""
    return pytest.mark.skipif(version() < (major, minor), reason=f"since {major}.{minor} {why}")


ours_only = pytest.mark.skipif(not is_ours(), reason="PgBouncer does not do this")


def chown(path):
    if server_user():
        shutil.chown(path, server_user(), server_user())


def scratch_directory(name):
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"pgvigil-{name}-"))
    os.chmod(directory, 0o755)
    chown(directory)
    return directory


def remove(directory):
    if not os.environ.get("PGVIGIL_KEEP"):
        shutil.rmtree(directory, ignore_errors=True)


class Certificates:
    """An authority, and keys it has signed. A second authority of the same name is what nobody trusts."""

    def __init__(self, directory):
        self.directory = directory
        self.ca = self.authority("ca")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *[str(a) for a in arguments]], check=True, capture_output=True, cwd=self.directory)

    def authority(self, name):
        key, cert = self.directory / f"{name}.key", self.directory / f"{name}.crt"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
                     "-days", "30", "-subj", f"/CN=pooler tests {name}")
        chown(key), chown(cert)
        return cert

    def issue(self, name, common_name, ca="ca", san=None):
        key, cert, request = (self.directory / f"{name}.{e}" for e in ("key", "crt", "csr"))
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request,
                     "-subj", f"/CN={common_name}")
        extension = self.directory / f"{name}.ext"
        extension.write_text(f"subjectAltName={san}\n" if san else "basicConstraints=CA:FALSE\n")
        self.openssl("x509", "-req", "-in", request, "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial", "-out", cert,
                     "-days", "30", "-extfile", extension)
        os.chmod(key, 0o600)
        chown(key), chown(cert)
        return key, cert


class Server:
    """A PostgreSQL for one module of tests."""

    HBA = ["local all all trust",
           "host all md5user 127.0.0.1/32 md5", "host all scramuser 127.0.0.1/32 scram-sha-256",
           "host all clearuser 127.0.0.1/32 password", "hostssl all certuser 127.0.0.1/32 cert",
           "hostnossl all certuser 127.0.0.1/32 reject", "hostnossl all tlsuser 127.0.0.1/32 reject",
           "host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]

    def __init__(self, tls=False, parameters=None, max_connections=100):
        self.directory = scratch_directory("server")
        self.data = self.directory / "data"
        (self.port,) = free_ports(1)
        self.tls = tls
        self.certificates = Certificates(self.directory) if tls else None
        self.parameters = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.directory),
                           "fsync": "off", "max_connections": max_connections, "shared_buffers": "16MB", "max_wal_senders": 4,
                           "autovacuum": "off", "wal_level": "logical", "superuser_reserved_connections": 0}
        if tls:
            self.certificates.issue("server", "localhost", san="DNS:localhost")
            self.certificates.issue("certuser", "certuser")
            self.parameters.update({"ssl": "on", "ssl_cert_file": str(self.directory / "server.crt"),
                                    "ssl_key_file": str(self.directory / "server.key"),
                                    "ssl_ca_file": str(self.directory / "ca.crt")})
        self.parameters.update(parameters or {})
        self.process = Process([postgres_bin() / "postgres", "-D", self.data], self.directory / "postgres.log", self.directory)

    def create(self):
        """From a template that the first one of a run makes: most modules need a server of their own, and initdb is slow."""
        if not Server.template:
            Server.template = scratch_directory("template")
            atexit.register(remove, Server.template)
            self._initialize()
            self.process.signal(signal.SIGINT)
            assert self.process.process.wait(60) == 0
            subprocess.run(["cp", "-a", self.data, Server.template / "data"], check=True)
        else:
            subprocess.run(["cp", "-a", Server.template / "data", self.data], check=True)
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.writelines(f"{key} = '{value}'\n" for key, value in self.parameters.items())
        return self.start()

    template = None

    def _initialize(self):
        initdb = Process([postgres_bin() / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C",
                          "--no-sync", "--no-instructions", "--wal-segsize=1"], self.directory / "initdb.log", self.directory).start()
        assert initdb.process.wait(120) == 0, (self.directory / "initdb.log").read_text()
        (self.data / "pg_hba.conf").write_text("\n".join(self.HBA) + "\n")
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(f"port = {self.port}\nlisten_addresses = ''\nunix_socket_directories = '{self.directory}'\nfsync = off\n")
        self.start()
        for role in ROLES:
            encryption = "md5" if role == "md5user" else "scram-sha-256"
            self.query(f"SET password_encryption = '{encryption}'; CREATE ROLE {role} LOGIN REPLICATION PASSWORD '{PASSWORD}'")
        for database in DATABASES:
            self.query(f"CREATE DATABASE {database}")
            self.query("GRANT ALL ON SCHEMA public TO public", dbname=database)

    def start(self):
        self.process.start()
        wait_for(lambda: self.query("SELECT 1"), 60, "the server answers")
        return self

    def stop(self):
        """At once, as a crash would: no connection is told anything but 57P02."""
        self.process.signal(signal.SIGQUIT)
        if self.process.process:
            self.process.process.wait(60)

    def cleanup(self):
        self.stop()
        remove(self.directory)

    def connect(self, user="postgres", dbname="postgres", **more):
        connection = psycopg2.connect(host=str(self.directory), port=self.port, user=user, dbname=dbname, connect_timeout=20, **more)
        connection.autocommit = True
        return connection

    def query(self, sql, user="postgres", dbname="postgres"):
        with contextlib.closing(self.connect(user, dbname)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None

    def value(self, sql, **more):
        return self.query(sql, **more)[0][0]

    def sessions(self, database="db1", user=None):
        """The pids of the connections that poolers hold."""
        who = f" AND usename = '{user}'" if user else ""
        return [row[0] for row in self.query(f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}'{who} ORDER BY pid")]

    def end_sessions(self):
        """True when there were none."""
        return not self.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'db_'")

    def secret_of(self, role):
        return self.value(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'")


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


class Pooler:
    """One process of the pooler, with the files it reads. `settings` go over the defaults of `write`; None leaves one out."""

    def __init__(self, server, settings=None, databases=None, users=None, user_settings=None, peers=None, hba=None, ident=None,
                 arguments=(), directory=None, port=None, argv=None, cluster=None):
        self.server = server
        self.directory = pathlib.Path(directory) if directory else scratch_directory("pool")
        self.borrowed = directory is not None
        self.port = port or free_ports(1)[0]
        self.ini, self.users_file = self.directory / "pgbouncer.ini", self.directory / "userlist.txt"
        self.logfile, self.pidfile = self.directory / "pooler.log", self.directory / "pooler.pid"
        self.settings = {
            "listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": self.directory, "logfile": self.logfile,
            "pidfile": self.pidfile, "auth_type": "trust", "auth_file": self.users_file, "pool_mode": "transaction",
            "admin_users": "admin", "stats_users": "stats", "max_client_conn": 200, "server_login_retry": 1, "query_wait_timeout": 20,
            "server_tls_sslmode": "disable"}
        if is_ours() and not argv:
            self.settings["workers"] = os.environ.get("PGVIGIL_POOLER_WORKERS", "2")
        self.settings.update(settings or {})
        self.databases = databases if databases is not None else {d: self.to(d) for d in DATABASES}
        self.users = users if users is not None else {u: PASSWORD for u in (*ROLES, "admin", "stats")}
        self.user_settings, self.peers, self.hba, self.ident = user_settings or {}, peers or {}, hba, ident
        self.cluster = cluster or {}  # [cluster]
        self.arguments = list(arguments)
        self.expect_exit = False  # a test that ends the pooler says so; otherwise its end is a crash
        self.open = []
        self.write()
        self.process = Process([*(argv or program()), *self.arguments, self.ini], self.directory / "stderr.log", self.directory)

    def to(self, dbname, more=""):
        """The connection string of a database of the server."""
        return f"host=127.0.0.1 port={self.server.port if self.server else 1} dbname={dbname} {more}".rstrip()

    def write(self):
        if self.hba is not None:
            self.settings["auth_hba_file"] = self.file("pg_hba.conf", "\n".join(self.hba) + "\n")
        if self.ident is not None:
            self.settings["auth_ident_file"] = self.file("pg_ident.conf", "\n".join(self.ident) + "\n")
        lines = ["[databases]", *(f"{name} = {value}" for name, value in self.databases.items())]
        lines += ["[users]", *(f"{name} = {value}" for name, value in self.user_settings.items())]
        if self.peers:
            lines += ["[peers]", *(f"{name} = {value}" for name, value in self.peers.items())]
        if self.cluster:
            lines += ["[cluster]", *(f"{name} = {value}" for name, value in self.cluster.items())]
        lines += ["[pgbouncer]", *(f"{key} = {value}" for key, value in self.settings.items() if value is not None)]
        self.file("pgbouncer.ini", "\n".join(lines) + "\n")
        self.file("userlist.txt", "".join(f"{quoted(user)} {quoted(secret)}\n" for user, secret in self.users.items()))

    def file(self, name, text):
        path = self.directory / name
        path.write_text(text)
        chown(path)
        return path

    def start(self):
        self.process.start()
        wait_for(self.listens, 20, "the pooler listens")
        return self

    def listens(self):
        if not self.process.running():
            raise AssertionError(f"the pooler ended at once: {self.stderr()}{self.log()}")
        self.knock()
        if self.settings.get("listen_addr") and self.settings.get("unix_socket_dir") == self.directory:
            self.knock(unix=True)
        return True

    def knock(self, unix=False):
        """Comes and goes without a word, and waits until the pooler has closed too: the visit counts nowhere any more."""
        with contextlib.closing(self.plain_socket(unix)) as s:
            s.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert s.recv(1) == b""

    def plain_socket(self, unix=False):
        if unix or not self.settings.get("listen_addr"):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(10)
            s.connect(f"{self.directory}/.s.PGSQL.{self.port}")
            return s
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def exits(self, seconds=10):
        """Waits for the end that a test has asked for; gives the exit code."""
        self.expect_exit = True
        return self.process.process.wait(seconds)

    def stop(self):
        for connection in self.open:
            with contextlib.suppress(Exception):
                connection.close()
        if self.process.process is None:
            return
        ended = self.process.process.poll()
        if ended is not None:
            assert self.expect_exit, f"the pooler ended by itself with {ended}: {self.stderr()}"
            return
        # SIGTERM has waited for clients since 1.23; SIGQUIT means "now" since then.
        self.process.signal(signal.SIGQUIT if version() >= (1, 23) else signal.SIGTERM)
        try:
            code = self.process.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("the pooler did not end within 20 s of SIGQUIT") from None
        assert code == 0 or self.expect_exit or version() < (1, 23), f"the pooler's exit code is {code}: {self.stderr()}"

    def cleanup(self):
        try:
            self.stop()
        finally:
            self.process.kill()
            if not self.borrowed:
                remove(self.directory)

    def log(self):
        return self.logfile.read_text(errors="replace") if self.logfile.exists() else ""

    def stderr(self):
        path = self.directory / "stderr.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_log(self, pattern, seconds=10):
        return wait_for(lambda: re.search(pattern, self.log()), seconds, f"the log has {pattern}")

    def connect(self, user="app", dbname="db1", autocommit=True, unix=False, **more):
        host = str(self.directory) if unix else "127.0.0.1"
        more = {"connect_timeout": 20, "sslmode": "disable", "password": PASSWORD, "port": self.port, **more}
        connection = psycopg2.connect(host=host, user=user, dbname=dbname, **more)
        connection.autocommit = autocommit
        self.open.append(connection)
        return connection

    def connect3(self, user="app", dbname="db1", **more):
        import psycopg
        more = {"connect_timeout": 20, "sslmode": "disable", "autocommit": True, "password": PASSWORD, **more}
        connection = psycopg.connect(host="127.0.0.1", port=self.port, user=user, dbname=dbname, **more)
        self.open.append(connection)
        return connection

    def raw(self, user="app", database="db1", unix=False, login=True, **parameters):
        """A client by hand, logged in unless the test wants to do that itself."""
        client = Raw(self.plain_socket(unix))
        self.open.append(client)
        if login:
            client.login(user, database, **parameters)
        return client

    def refusal(self, user="app", dbname="db1", **more):
        """The text of the error that ends a login; None when it succeeds."""
        try:
            self.connect(user, dbname, **more).close()
        except psycopg2.OperationalError as error:
            return str(error)
        return None

    def query(self, sql, user="app", dbname="db1", **more):
        with contextlib.closing(self.connect(user, dbname, **more)) as connection:
            return rows_of(connection, sql)

    def admin(self, sql, user="admin", **more):
        """Rows of the console as dictionaries; the command tag where there are none."""
        with contextlib.closing(self.connect(user, "pgbouncer", **more)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            if cursor.description is None:
                return cursor.statusmessage
            names = [c.name for c in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    def pool(self, database="db1", user="app"):
        """The row of SHOW POOLS; an empty one as long as there is no such pool."""
        rows = [r for r in self.admin("SHOW POOLS") if (r["database"], r["user"]) == (database, user)]
        return rows[0] if rows else dict.fromkeys(("cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "sv_login"), 0)

    def wait_pool(self, database="db1", user="app", seconds=10, **wanted):
        """Waits until the counters of a pool are as wanted."""
        def reached():
            row = self.pool(database, user)
            return row if all(row[k] == v for k, v in wanted.items()) else None
        return wait_for(reached, seconds, f"{database}/{user} has {wanted}")

    def config(self, key):
        return next(r["value"] for r in self.admin("SHOW CONFIG") if r["key"] == key)

    def reload(self):
        self.write()
        return self.admin("RELOAD")

    def memory_kb(self):
        status = pathlib.Path(f"/proc/{self.process.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


def rows_of(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else cursor.statusmessage


def value_of(connection, sql):
    return rows_of(connection, sql)[0][0]


def backend_of(connection):
    """Which server connection served it."""
    return value_of(connection, "SELECT pg_backend_pid()")


def failure_of(action):
    """The error of a database call, None without one."""
    try:
        action()
    except psycopg2.Error as error:
        return error
    return None


class Background:
    """A call in a thread, whose outcome is asked for later: for clients that wait in the queue."""

    def __init__(self, call, *arguments):
        self.outcome, self.error = None, None
        self.thread = threading.Thread(target=self._run, args=(call, arguments), daemon=True)
        self.thread.start()

    def _run(self, call, arguments):
        try:
            self.outcome = call(*arguments)
        except Exception as error:  # noqa: BLE001: the test looks at it
            self.error = error

    def done(self):
        return not self.thread.is_alive()

    def result(self, seconds=20):
        self.thread.join(seconds)
        assert not self.thread.is_alive(), f"still waits after {seconds} s"
        if self.error:
            raise self.error
        return self.outcome

    def failure(self, seconds=20):
        self.thread.join(seconds)
        assert not self.thread.is_alive(), f"still waits after {seconds} s"
        assert self.error is not None, f"no error, but {self.outcome}"
        return self.error


def holds(condition, seconds, what, every=0.05):
    """The opposite of wait_for: true for the whole time. For what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), what
        time.sleep(every)


@pytest.fixture(scope="module")
def pg(request):
    """The module's PostgreSQL; a variable SERVER of the module says how it differs from the usual."""
    server = Server(**getattr(request.module, "SERVER", {}))
    try:
        yield server.create()
    finally:
        server.cleanup()


class Poolers:
    """Starts poolers for one test and ends them after it."""

    def __init__(self, server):
        self.server, self.started = server, []

    def __call__(self, settings=None, start=True, server=None, **more):
        pooler = Pooler(server or self.server, settings, **more)
        self.started.append(pooler)
        return pooler.start() if start else pooler

    def logs(self):
        for pooler in self.started:
            yield from ends_of_logs(pooler.directory)

    def cleanup(self):
        errors = []
        for pooler in self.started:
            try:
                pooler.cleanup()
            except AssertionError as error:
                errors.append(str(error))
        assert not errors, errors


def wait_on_socket(connection):
    """What psycopg2 calls instead of blocking: a pooler that never answers fails the test instead of hanging it."""
    deadline = time.monotonic() + 40
    while True:
        state = connection.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        read = [connection.fileno()] if state == psycopg2.extensions.POLL_READ else []
        write = [connection.fileno()] if state == psycopg2.extensions.POLL_WRITE else []
        ready = select.select(read, write, [], max(0, deadline - time.monotonic()))
        if not any(ready):
            raise psycopg2.OperationalError("no answer within 40 s")


@pytest.fixture
def pool(pg):
    """Starts poolers; afterwards the next test meets a server without connections of this one."""
    poolers = Poolers(pg)
    psycopg2.extensions.set_wait_callback(wait_on_socket)
    try:
        yield poolers
        poolers.cleanup()
    finally:
        for pooler in poolers.started:
            pooler.process.kill()
        if pg.process.running():
            wait_for(pg.end_sessions, 20, "the server is idle again")
        psycopg2.extensions.set_wait_callback(None)
