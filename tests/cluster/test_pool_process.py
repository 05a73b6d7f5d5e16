"""The process: command line, signals, files it keeps, lines it logs, sockets it listens on."""

import os
import re
import signal
import socket
import subprocess

import pytest

from harness import free_ports, server_user, wait_for
from pool_harness import Background, is_ours, ours_only, program, since, value_of, version
from pool_wire import query


def run_program(*arguments, seconds=20):
    return subprocess.run([*program(), *[str(a) for a in arguments]], capture_output=True, text=True, timeout=seconds)


def as_owner(*argv):
    return [*(["setpriv", "--reuid", server_user(), "--regid", server_user(), "--clear-groups"] if server_user() else []), *argv]


# --- command line ---

@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option):
    out = run_program(option)
    assert out.returncode == 0 and re.match(r"PgBouncer \d+\.\d+\.\d+\n", out.stdout)


def test_version_tells_its_libraries():
    lines = run_program("-V").stdout.splitlines()[1:]
    assert [line.split(":")[0].split(" ")[0] for line in lines][:3] == ["libevent", "adns", "tls"]


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(option):
    out = run_program(option)
    assert out.returncode == 0
    for word in ("-d", "-q", "-v", "-u", "-R", "-V", "-h"):
        assert word in out.stdout


def test_a_missing_file_argument():
    out = run_program()
    assert out.returncode == 1
    assert "no configuration file specified" in out.stderr + out.stdout or version() < (1, 21)


def test_an_unknown_option():
    out = run_program("--nonsense")
    assert out.returncode == 1 and out.stderr


def test_a_file_that_does_not_exist():
    out = run_program("/nonexistent/pgbouncer.ini")
    assert out.returncode == 1 and "cannot load config file" in out.stderr


@pytest.mark.parametrize("line", ["nonsense = 1", "default_pool_size = many", "pool_mode = sometimes", "auth_type = nothing",
                                  "[nonsense]", "just words"])
def test_a_broken_file_is_fatal_at_start(pool, line):
    pooler = pool(start=False)
    with open(pooler.ini, "a") as ini:
        ini.write(line + "\n")
    pooler.process.start()
    assert pooler.exits() == 1
    assert "cannot load config file" in pooler.stderr()


def test_root_is_refused(pool):
    if os.geteuid() != 0:
        pytest.skip("not root")
    pooler = pool(start=False)
    out = run_program(pooler.ini)
    assert out.returncode == 1 and "root" in out.stderr


def test_user_of_the_command_line(pool):
    if os.geteuid() != 0:
        pytest.skip("not root")
    pooler = pool(start=False)
    process = subprocess.Popen([*program(), "-q", "-u", server_user(), str(pooler.ini)], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: pooler.plain_socket().close() or True, 10, "it listens")
        status = open(f"/proc/{process.pid}/status").read()
        import pwd
        assert re.search(r"Uid:\s+(\d+)", status)[1] == str(pwd.getpwnam(server_user()).pw_uid)
    finally:
        process.kill()
        process.wait()


def test_quiet_logs_to_the_file_only(pool):
    pooler = pool(arguments=["-q"])
    pooler.query("SELECT 1")
    assert "login attempt" in pooler.log() and "login attempt" not in pooler.stderr()


def test_without_quiet_the_log_is_on_stderr_too(pool):
    pooler = pool()
    pooler.query("SELECT 1")
    wait_for(lambda: "login attempt" in pooler.stderr(), 5, "stderr has the log")


def test_verbose(pool):
    pooler = pool(arguments=["-v"])
    assert pooler.config("verbose") == "1"


def test_includes(pool):
    pooler = pool(start=False)
    included = pooler.file("more.ini", "default_pool_size = 7\n")
    text = pooler.ini.read_text()
    pooler.file("pgbouncer.ini", text + f"%include {included}\n")
    pooler.start()
    assert pooler.config("default_pool_size") == "7"


def test_comments_and_blanks_of_the_file(pool):
    pooler = pool(start=False)
    pooler.file("pgbouncer.ini", "; one\n# two\n\n" + pooler.ini.read_text() + "   default_pool_size   =   7   \n")
    pooler.start()
    assert pooler.config("default_pool_size") == "7"


def test_a_quoted_connection_string(pool):
    pooler = pool(start=False)
    pooler.databases["db1"] = f"host='127.0.0.1' port={pooler.server.port} dbname='db1' connect_query='SELECT ''it'''"
    pooler.write()
    pooler.start()
    assert pooler.query("SELECT current_database()") == [("db1",)]


# --- daemon, pidfile ---

def daemon_pid(pooler):
    return wait_for(lambda: int(pooler.pidfile.read_text()), 10, "the pidfile is there")


def test_daemon(pool):
    pooler = pool(start=False)
    out = subprocess.run(as_owner(*program(), "-d", str(pooler.ini)), capture_output=True, text=True, timeout=20)
    assert out.returncode == 0, out.stderr
    pid = daemon_pid(pooler)
    try:
        wait_for(lambda: pooler.query("SELECT 1") == [(1,)], 10, "it serves")
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert os.getpgid(pid) != os.getpgid(0)
    finally:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 10, "it has ended")


def test_daemon_needs_a_pidfile(pool):
    pooler = pool({"pidfile": None}, start=False)
    out = subprocess.run(as_owner(*program(), "-d", str(pooler.ini)), capture_output=True, text=True, timeout=20)
    assert out.returncode == 1 and "daemon needs pidfile configured" in out.stderr


def test_the_pidfile(pool):
    pooler = pool()
    pid = wait_for(lambda: pooler.pidfile.read_text(), 5, "it is there")
    assert pid == f"{pooler.process.process.pid}\n"
    pooler.process.signal(signal.SIGTERM)
    pooler.exits()
    assert not pooler.pidfile.exists()


def test_a_live_pidfile_refuses_a_second_start(pool):
    first = pool()
    second = pool({"pidfile": first.pidfile}, start=False)
    second.process.start()
    assert second.exits() == 1
    assert first.query("SELECT 1") == [(1,)]


def test_a_stale_pidfile_is_removed(pool):
    pooler = pool(start=False)
    ended = subprocess.Popen(["true"])
    ended.wait()
    pooler.file("pooler.pid", f"{ended.pid}\n")
    pooler.start()
    wait_for(lambda: pooler.pidfile.read_text() == f"{pooler.process.process.pid}\n", 5, "the new pid")


def test_the_unix_socket_and_pidfile_are_gone_after_the_end(pool):
    pooler = pool()
    path = pooler.directory / f".s.PGSQL.{pooler.port}"
    assert path.exists()
    pooler.process.signal(signal.SIGTERM)
    pooler.exits()
    assert not path.exists()


# --- sockets ---

def test_unix_socket_mode(pool):
    pooler = pool({"unix_socket_mode": "0700"})
    assert (pooler.directory / f".s.PGSQL.{pooler.port}").stat().st_mode & 0o777 == 0o700
    assert pooler.config("unix_socket_mode") in ("448", "0700")


def test_unix_socket_only(pool):
    pooler = pool({"listen_addr": None})
    assert pooler.query("SELECT 1", unix=True) == [(1,)]
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", pooler.port), 1)


def test_a_unix_socket_in_use_is_refused(pool):
    first = pool()
    second = pool({"unix_socket_dir": first.directory, "listen_addr": None}, port=first.port, start=False)
    second.process.start()
    assert second.exits() == 1
    assert first.query("SELECT 1", unix=True) == [(1,)]


def test_an_empty_unix_socket_dir_makes_none(pool):
    pooler = pool({"unix_socket_dir": ""})
    assert pooler.query("SELECT 1") == [(1,)]
    assert not list(pooler.directory.glob(".s.PGSQL.*"))


def test_an_abstract_unix_socket(pool):
    name = f"@pgvigil-test-{os.getpid()}-{free_ports(1)[0]}"
    pooler = pool({"unix_socket_dir": name})
    s = socket.socket(socket.AF_UNIX)
    s.connect(f"\0{name[1:]}/.s.PGSQL.{pooler.port}")
    s.close()


def test_several_addresses(pool):
    pooler = pool({"listen_addr": "127.0.0.1, 127.0.0.2"})
    for address in ("127.0.0.1", "127.0.0.2"):
        socket.create_connection((address, pooler.port), 2).close()


def test_so_reuseport_lets_two_processes_share_a_port(pool):
    first = pool({"so_reuseport": 1})
    second = pool({"so_reuseport": 1}, port=first.port)
    assert first.process.running() and second.process.running()


@since(1, 19)
def test_peers_pass_cancel_requests_on(pool):
    """Two processes on one port: a cancel request that arrives at the wrong one is forwarded."""
    from pool_wire import cancel_request
    one, two = (pool({"peer_id": i}, start=False) for i in (1, 2))
    for pooler in (one, two):
        pooler.peers = {i + 1: f"host={p.directory} port={p.port}" for i, p in enumerate((one, two))}
        pooler.write()
        pooler.start()
    client = one.raw()
    client.send(query("SELECT pg_sleep(30)"))
    wait_for(lambda: one.server.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND state = 'active' AND "
                                      "datname = 'db1'"), 5, "the query runs")
    two.raw(login=False).send(cancel_request(client.key)).closed()
    assert [m.fields["C"] for m in client.until("Z") if m.kind == "E"] == ["57014"]


@since(1, 19)
def test_the_console_shows_peers(pool):
    pooler = pool({"peer_id": 1}, peers={1: "host=127.0.0.1 port=7001", 2: "host=127.0.0.1 port=7002 pool_size=5"})
    rows = [(r["peer_id"], r["host"], r["port"]) for r in pooler.admin("SHOW PEERS")]
    assert rows == [(1, "127.0.0.1", 7001), (2, "127.0.0.1", 7002)]


# --- signals ---

def test_sighup_reloads(pool):
    pooler = pool()
    client = pooler.connect()
    pooler.settings["default_pool_size"] = 3
    pooler.write()
    pooler.process.signal(signal.SIGHUP)
    wait_for(lambda: pooler.config("default_pool_size") == "3", 5, "the new value")
    assert value_of(client, "SELECT 1") == 1
    pooler.wait_log("got SIGHUP, re-reading config")


def test_sigusr1_pauses_and_sigusr2_resumes(pool, pg):
    pooler = pool()
    pooler.query("SELECT 1")
    pooler.process.signal(signal.SIGUSR1)
    wait_for(lambda: not pg.sessions(), 5, "no server connection")
    waiting = Background(pooler.query, "SELECT 2")
    pooler.wait_pool(cl_waiting=1)
    pooler.process.signal(signal.SIGUSR2)
    assert waiting.result() == [(2,)]


def test_sigint_waits_for_transactions(pool):
    pooler = pool()
    client = pooler.raw()
    client.query("BEGIN")
    pooler.process.signal(signal.SIGINT)
    pooler.wait_log("SIGINT")
    assert client.value("SELECT 1") == "1"
    client.query("COMMIT")
    assert pooler.exits() == (0 if version() >= (1, 23) else pooler.process.process.returncode)


@since(1, 23)
def test_a_second_sigint_ends_at_once(pool):
    pooler = pool()
    client = pooler.raw()
    client.query("BEGIN")
    pooler.process.signal(signal.SIGINT)
    pooler.wait_log("SIGINT")
    pooler.process.signal(signal.SIGINT)
    pooler.exits()
    client.closed()


@since(1, 23)
def test_sigterm_waits_for_clients(pool):
    pooler = pool()
    client = pooler.raw()
    pooler.process.signal(signal.SIGTERM)
    pooler.wait_log("SIGTERM")
    with pytest.raises(OSError):
        for _ in range(100):
            pooler.plain_socket().close()
    assert client.value("SELECT 1") == "1"
    client.close()
    assert pooler.exits() == 0


@since(1, 23)
def test_a_second_sigterm_ends_at_once(pool):
    pooler = pool()
    client = pooler.raw()
    pooler.process.signal(signal.SIGTERM)
    pooler.wait_log("SIGTERM")
    pooler.process.signal(signal.SIGTERM)
    assert pooler.exits() == 0
    client.closed()


@since(1, 23)
def test_sigquit_ends_at_once(pool):
    pooler = pool()
    client = pooler.raw()
    client.query("BEGIN")
    pooler.process.signal(signal.SIGQUIT)
    assert pooler.exits() == 0
    client.closed()


# --- log ---

LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \S+ \[{pid}\] (FATAL|ERROR|WARNING|LOG|DEBUG|NOISE) "


def test_the_form_of_log_lines(pool):
    pooler = pool()
    pooler.query("SELECT 1")
    pattern = re.compile(LINE.replace("{pid}", str(pooler.process.process.pid)))
    lines = [line for line in pooler.log().splitlines() if not line.startswith("\t")]
    assert lines and all(pattern.match(line) for line in lines), [line for line in lines if not pattern.match(line)][:3]


@pytest.mark.parametrize("pattern", [
    r"LOG process up: PgBouncer \d+\.\d+\.\d+, libevent .*, adns: .*, tls: ",
    r"LOG kernel file descriptor limit: \d+ \(hard: \d+\); max_client_conn: 200, max expected fd use: \d+",
    r"LOG listening on 127\.0\.0\.1:\d+", r"LOG listening on unix:/.*/\.s\.PGSQL\.\d+",
    r"LOG C-0x[0-9a-f]+: db1/app@127\.0\.0\.1:\d+ login attempt: db=db1 user=app tls=no",
    r"LOG S-0x[0-9a-f]+: db1/app@127\.0\.0\.1:\d+ new connection to server \(from 127\.0\.0\.1:\d+\)",
    r"LOG C-0x[0-9a-f]+: db1/app@127\.0\.0\.1:\d+ closing because: client close request \(age=0s\)",
    r"WARNING C-0x[0-9a-f]+: db1/app@127\.0\.0\.1:\d+ pooler error: no such database|WARNING C-0x.*pooler error: "])
def test_lines_that_log_readers_match(pool, pattern):
    pooler = pool()
    pooler.query("SELECT 1")
    pooler.refusal(dbname="nosuch")
    pooler.wait_log(pattern, 5)


def test_statistics_are_logged_each_stats_period(pool):
    pooler = pool({"stats_period": 1})
    pooler.query("SELECT 1")
    pooler.wait_log(r"LOG stats: \d+ xacts/s, \d+ queries/s, .*in \d+ B/s, out \d+ B/s, xact \d+ us, query \d+ us, wait \d+ us", 5)


@pytest.mark.parametrize("setting, pattern", [("log_connections", "login attempt"), ("log_disconnections", "closing because: client"),
                                              ("log_pooler_errors", "pooler error")])
def test_kinds_of_lines_can_be_switched_off(pool, setting, pattern):
    pooler = pool({setting: 0})
    pooler.query("SELECT 1")
    pooler.refusal(dbname="nosuch")
    pooler.admin("SHOW VERSION")
    assert pattern not in pooler.log()


def test_the_logfile_is_opened_again_at_reload(pool):
    pooler = pool()
    old = pooler.logfile.rename(pooler.directory / "rotated.log")
    pooler.process.signal(signal.SIGHUP)
    wait_for(lambda: pooler.query("SELECT 1") and "login attempt" in pooler.log(), 5, "a new file")
    assert old.exists()


def test_commands_are_logged(pool):
    pooler = pool()
    pooler.admin("RECONNECT")
    pooler.admin("RELOAD")
    pooler.wait_log("RELOAD command issued")


# --- the program's names ---

@ours_only
def test_the_link_name_pgbouncer_runs_the_pooler(pool):
    pooler = pool(start=False)
    link = pooler.directory / "pgbouncer"
    link.symlink_to(program()[0])
    out = subprocess.run([str(link), "-V"], capture_output=True, text=True, timeout=20)
    assert out.stdout.startswith("PgBouncer ")
    pooler.process.argv = [str(link), str(pooler.ini)]
    pooler.start()
    assert pooler.query("SELECT 1") == [(1,)]


@ours_only
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("backend", ["epoll", "io_uring", "auto"])
def test_workers_and_backends(pool, workers, backend):
    pooler = pool({"workers": workers, "io_backend": backend, "default_pool_size": 3})
    clients = [pooler.connect() for _ in range(10)]
    running = [Background(value_of, c, "SELECT pg_sleep(0.02)::text || 'x'") for c in clients]
    assert [r.result() for r in running] == ["x"] * 10
    assert pooler.pool()["cl_active"] == 10


@ours_only
def test_takeover_keeps_clients(pool):
    """A new process with -R takes the sockets over; sessions go on in the old one or the new one."""
    old = pool()
    client = old.connect()
    value_of(client, "SELECT 1")
    new = pool(directory=old.directory, port=old.port, arguments=["-R"], start=False)
    new.process.start()
    old.expect_exit = True
    wait_for(lambda: "process up" in new.log().split("takeover")[-1] or old.process.process.poll() is not None, 15, "taken over")
    assert value_of(client, "SELECT 2") == 2
    client.close()
    wait_for(lambda: old.process.process.poll() is not None, 15, "the old one ends")
    assert new.query("SELECT 3") == [(3,)]


def test_a_real_ini_of_debian_loads(pool):
    """The file that Debian's package installs, with our port and directories at its end."""
    original = "/etc/pgbouncer/pgbouncer.ini"
    if not os.path.exists(original):
        pytest.skip("no such file")
    pooler = pool(start=False)
    text = open(original).read()
    own = "".join(f"{k} = {v}\n" for k, v in pooler.settings.items())
    pooler.file("pgbouncer.ini", text + f"\n[databases]\ndb1 = {pooler.to('db1')}\n[pgbouncer]\n{own}")
    pooler.start()
    assert pooler.query("SELECT 1") == [(1,)]
    assert is_ours() or version() >= (1, 18)
