"""The console: columns and types of every SHOW, the commands, their refusals."""

import re

import psycopg2
import pytest

from harness import wait_for
from pool_harness import Background, backend_of, holds, is_ours, ours_only, rows_of, since, value_of, version
from pool_wire import SYNC, bind, cancel_request, describe, errors, execute, kinds, parse, query

TEXT, INT4, INT8, NUMERIC, BYTEA = 25, 23, 20, 1700, 17
OIDS = {"t": TEXT, "i": INT4, "q": INT8, "n": NUMERIC, "b": BYTEA}

COUNTERS = ("server_assignment_count, xact_count, query_count, {received}, {sent}, xact_time, query_time, wait_time, "
            "{ps}client_parse_count, {ps}server_parse_count, {ps}bind_count")
CONNECTION = ("type t, user t, database t, replication t, state t, addr t, port i, local_addr t, local_port i, connect_time t, "
              "request_time t, wait i, wait_us i, close_needed i, ptr t, link t, remote_pid i, tls t, application_name t, "
              "prepared_statements i, id i")
# 'name type' in exact order, as of PgBouncer 1.25.2. What later versions append may follow.
COLUMNS = {
    "STATS": "database t, " + ", ".join(
        f"{c} n" for c in (
            "total_server_assignment_count total_xact_count total_query_count total_received total_sent total_xact_time "
            "total_query_time total_wait_time total_client_parse_count total_server_parse_count total_bind_count "
            "avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time avg_query_time "
            "avg_wait_time avg_client_parse_count avg_server_parse_count avg_bind_count").split()),
    "STATS_TOTALS": "database t, " + ", ".join(
        f"{c} n" for c in ("server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time "
                           "client_parse_count server_parse_count bind_count").split()),
    "STATS_AVERAGES": "database t, " + ", ".join(
        f"{c} n" for c in ("server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time "
                           "avg_client_parse_count avg_server_parse_count avg_bind_count").split()),
    "TOTALS": "name t, value n",
    "POOLS": "database t, user t, cl_active i, cl_waiting i, cl_active_cancel_req i, cl_waiting_cancel_req i, sv_active i, "
             "sv_active_cancel i, sv_being_canceled i, sv_idle i, sv_used i, sv_tested i, sv_login i, maxwait i, maxwait_us i, "
             "pool_mode t, load_balance_hosts t",
    "PEER_POOLS": "peer_id i, cl_active_cancel_req i, cl_waiting_cancel_req i, sv_active_cancel i, sv_login i",
    "PEERS": "peer_id i, host t, port i, pool_size i",
    "CLIENTS": CONNECTION,
    "SERVERS": CONNECTION,
    "SOCKETS": CONNECTION + ", recv_pos i, pkt_pos i, pkt_remain i, send_pos i, send_remain i, pkt_avail i, send_avail i",
    "ACTIVE_SOCKETS": CONNECTION + ", recv_pos i, pkt_pos i, pkt_remain i, send_pos i, send_remain i, pkt_avail i, send_avail i",
    "DATABASES": "name t, host t, port i, database t, force_user t, pool_size i, min_pool_size i, reserve_pool_size i, "
                 "server_lifetime i, pool_mode t, load_balance_hosts t, max_connections i, current_connections i, "
                 "max_client_connections i, current_client_connections i, paused i, disabled i",
    "USERS": "name t, pool_size t, reserve_pool_size t, pool_mode t, max_user_connections i, current_connections i, "
             "max_user_client_connections i, current_client_connections i",
    "LISTS": "list t, items i",
    "CONFIG": "key t, value t, default t, changeable t",
    "MEM": "name t, size i, used i, free i, memtotal i",
    "DNS_HOSTS": "hostname t, ttl q, addrs t",
    "DNS_ZONES": "zonename t, serial q, count i",
    "STATE": "key t, value t",
    "VERSION": "version t",
    "FDS": "fd i, task t, user t, database t, addr t, port i, cancel q, link i, client_encoding t, std_strings t, datestyle t, "
           "timezone t, password t, scram_client_key b, scram_server_key b",
}
LISTS = ["databases", "users", "peers", "pools", "peer_pools", "free_clients", "used_clients", "login_clients", "free_servers",
         "used_servers", "dns_names", "dns_zones", "dns_queries", "dns_pending"]
TOTALS = ["server_assignment_count", "xact_count", "query_count", "client_bytes", "server_bytes", "xact_time", "query_time",
          "wait_time", "ps_client_parse_count", "ps_server_parse_count", "ps_bind_count"]
LATER = {"total_client_login_count", "avg_client_login_count", "client_login_count"}


def wanted_columns(show):
    return [tuple(c.rsplit(" ", 1)) for c in COLUMNS[show].split(", ")]


def described(pooler, sql):
    """[(name, type)] of an answer over the simple protocol."""
    answers = pooler.raw("admin", "pgbouncer").query(sql)
    assert kinds(answers).startswith("T"), answers
    letters = {oid: letter for letter, oid in OIDS.items()}
    return [(c[0], letters.get(c[3], c[3])) for c in answers[0].columns if c[0] not in LATER]


@pytest.mark.parametrize("show", COLUMNS)
def test_columns_of_show(pool, show):
    if show == "FDS" and is_ours():
        pytest.skip("ours hands its sockets over in another way and shows them to nobody")
    pooler = pool()
    client = pooler.connect()
    value_of(client, "SELECT 1")
    try:
        found = described(pooler, f"SHOW {show}")
    except AssertionError:
        if version() >= (1, 24) or show not in ("PEERS", "PEER_POOLS", "STATE"):
            raise
        return pytest.skip(f"PgBouncer {version()} has no SHOW {show}")
    if version() >= (1, 24):
        assert found == wanted_columns(show)
    else:
        # Older versions have fewer columns; those of today keep their order and type. Some were renamed or retyped since.
        names = [name for name, _ in wanted_columns(show)]
        common = [name for name, _ in found if name in names]
        assert common == [name for name in names if name in common] and common


def test_row_descriptions_are_text_without_a_table(pool):
    columns = pool().raw("admin", "pgbouncer").query("SHOW POOLS")[0].columns
    assert {(c[1], c[2], c[5], c[6]) for c in columns} == {(0, 0, -1, 0)}


def test_every_show_is_tagged_show(pool):
    pooler = pool()
    client = pooler.raw("admin", "pgbouncer")
    for show in ("POOLS", "STATS", "CLIENTS", "CONFIG", "VERSION", "LISTS"):
        assert [m.string for m in client.query(f"SHOW {show}") if m.kind == "C"] == ["SHOW"]


def test_show_lists_rows(pool):
    rows = [r["list"] for r in pool().admin("SHOW LISTS")]
    assert rows == [r for r in LISTS if version() >= (1, 24) or r in rows]


def test_show_totals_rows(pool):
    names = [r["name"] for r in pool().admin("SHOW TOTALS")]
    if version() >= (1, 24):
        assert [n for n in names if "login_count" not in n] == [f"{kind}_{n}" for kind in ("total", "avg") for n in TOTALS]
    assert "total_xact_count" in names and "avg_xact_count" in names


def test_show_state_rows(pool):
    pooler = pool()
    if version() < (1, 21):
        pytest.skip("since 1.19")
    assert [(r["key"], r["value"]) for r in pooler.admin("SHOW STATE")] == [("active", "yes"), ("paused", "no"), ("suspended", "no")]
    pooler.admin("PAUSE")
    assert [(r["key"], r["value"]) for r in pooler.admin("SHOW STATE")] == [("active", "no"), ("paused", "yes"), ("suspended", "no")]
    pooler.admin("RESUME")


def test_show_version(pool):
    (row,) = pool().admin("SHOW VERSION")
    assert re.fullmatch(r"PgBouncer \d+\.\d+\.\d+.*", row["version"])


@since(1, 24)
def test_show_mem_names(pool):
    names = [r["name"] for r in pool().admin("SHOW MEM")]
    assert names == ["user_cache", "credentials_cache", "db_cache", "peer_cache", "peer_pool_cache", "pool_cache",
                     "outstanding_request_cache", "server_cache", "client_cache", "iobuf_cache", "var_list_cache",
                     "server_prepared_statement_cache"]


def test_show_help_is_a_notice(pool):
    answers = pool().raw("admin", "pgbouncer").query("SHOW HELP")
    notice = next(m for m in answers if m.kind == "N")
    assert notice.fields["M"] == "Console usage" and "SHOW" in notice.fields["D"] and "RELOAD" in notice.fields["D"]
    assert kinds(answers) == "C Z" and answers[-2].string == "SHOW"


def test_show_pools_is_sorted_and_has_the_console(pool):
    pooler = pool()
    for database in ("db2", "db1"):
        for user in ("other", "app"):
            pooler.query("SELECT 1", user, database)
    rows = [(r["database"], r["user"]) for r in pooler.admin("SHOW POOLS")]
    assert rows == sorted(rows) and len(rows) == 5 and ("pgbouncer", "pgbouncer") in rows


def test_show_clients_of_an_idle_and_a_linked_client(pool):
    pooler = pool()
    idle, linked = pooler.raw(application_name="idle one"), pooler.raw(application_name="linked one")
    idle.value("SELECT 1")
    linked.query("BEGIN")
    rows = {r["application_name"]: r for r in pooler.admin("SHOW CLIENTS")}
    one = rows["linked one"]
    assert (one["type"], one["user"], one["database"], one["state"]) == ("C", "app", "db1", "active")
    assert (one["addr"], one["local_addr"], one["local_port"]) == ("127.0.0.1", "127.0.0.1", pooler.port)
    assert one["port"] == linked.socket.getsockname()[1]
    assert one["link"] and not rows["idle one"]["link"]
    if version() >= (1, 24):
        assert rows["idle one"]["state"] == "idle" and (one["replication"], one["tls"]) == ("none", "")
        assert len({r["id"] for r in rows.values()}) == len(rows)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+", one["connect_time"])


def test_show_clients_links_to_show_servers(pool):
    pooler = pool()
    client = pooler.raw()
    client.query("BEGIN")
    backend = int(client.value("SELECT pg_backend_pid()"))
    (server,) = pooler.admin("SHOW SERVERS")
    row = next(r for r in pooler.admin("SHOW CLIENTS") if r["user"] == "app")
    assert (row["link"], server["link"]) == (server["ptr"], row["ptr"])
    assert (server["type"], server["state"], server["remote_pid"]) == ("S", "active", backend)


def test_show_clients_shows_who_waits(pool):
    pooler = pool({"default_pool_size": 1})
    holder, waiter = pooler.raw(), pooler.raw(application_name="waiter")
    holder.query("BEGIN")
    waiter.send(query("SELECT 1"))
    pooler.wait_pool(cl_waiting=1)
    row = next(r for r in pooler.admin("SHOW CLIENTS") if r["application_name"] == "waiter")
    assert row["state"] == "waiting" and not row["link"]


def test_unix_clients_are_shown_as_unix(pool):
    pooler = pool()
    client = pooler.connect(unix=True, application_name="by file")
    value_of(client, "SELECT 1")
    row = next(r for r in pooler.admin("SHOW CLIENTS") if r["application_name"] == "by file")
    assert (row["addr"], row["port"]) == ("unix", pooler.port)


def test_show_databases(pool):
    pooler = pool({"default_pool_size": 7, "max_db_connections": 9}, start=False)
    pooler.databases["db2"] = pooler.to("db1", "user=other pool_size=3 pool_mode=session")
    pooler.write()
    pooler.start()
    rows = {r["name"]: r for r in pooler.admin("SHOW DATABASES")}
    one, two = rows["db1"], rows["db2"]
    assert (one["host"], one["port"], one["database"], one["force_user"]) == ("127.0.0.1", pooler.server.port, "db1", None)
    assert (one["pool_size"], one["pool_mode"], one["max_connections"], one["paused"], one["disabled"]) == (7, None, 9, 0, 0)
    assert (two["database"], two["force_user"], two["pool_size"], two["pool_mode"]) == ("db1", "other", 3, "session")
    assert (rows["pgbouncer"]["pool_size"], rows["pgbouncer"]["port"]) == (2, pooler.port)


def test_show_users_has_everybody_of_the_file(pool):
    pooler = pool(user_settings={"app": "pool_mode=session max_user_connections=4"})
    rows = {r["name"]: r for r in pooler.admin("SHOW USERS")}
    assert set(pooler.users) <= set(rows) and rows["app"]["pool_mode"] == "session"
    if version() >= (1, 24):
        assert rows["app"]["max_user_connections"] == 4 and rows["app"]["pool_size"] == ""


def test_show_config_tells_value_default_and_whether_it_can_change(pool):
    rows = {r["key"]: r for r in pool({"default_pool_size": 7}).admin("SHOW CONFIG")}
    assert list(rows) == sorted(rows) or "pool_idle_timeout" in rows
    size = rows["default_pool_size"]
    assert (size["value"], size["default"], size["changeable"]) == ("7", "20", "yes")
    assert (rows["listen_port"]["default"], rows["listen_port"]["changeable"]) == ("6432", "no")
    assert rows["server_lifetime"]["value"] == "3600" and rows["auth_type"]["value"] == "trust"


@since(1, 24)
def test_show_config_has_every_setting(pool):
    keys = {r["key"] for r in pool().admin("SHOW CONFIG")}
    wanted = """admin_users application_name_add_host auth_dbname auth_file auth_hba_file auth_ident_file auth_query auth_type
        auth_user autodb_idle_timeout cancel_wait_timeout client_idle_timeout client_login_timeout client_tls_ca_file
        client_tls_cert_file client_tls_ciphers client_tls_dheparams client_tls_ecdhcurve client_tls_key_file client_tls_protocols
        client_tls_sslmode client_tls13_ciphers conffile default_pool_size disable_pqexec dns_max_ttl dns_nxdomain_ttl
        dns_zone_check_period idle_transaction_timeout ignore_startup_parameters job_name listen_addr listen_backlog listen_port
        log_connections log_disconnections log_pooler_errors log_stats logfile max_client_conn max_db_client_connections
        max_db_connections max_packet_size max_prepared_statements max_user_client_connections max_user_connections min_pool_size
        peer_id pidfile pkt_buf pool_mode query_timeout query_wait_notify query_wait_timeout reserve_pool_size
        reserve_pool_timeout resolv_conf sbuf_loopcnt scram_iterations server_check_delay server_check_query
        server_connect_timeout server_fast_close server_idle_timeout server_lifetime server_login_retry server_reset_query
        server_reset_query_always server_round_robin server_tls_ca_file server_tls_cert_file server_tls_ciphers
        server_tls_key_file server_tls_protocols server_tls_sslmode server_tls13_ciphers so_reuseport stats_period stats_users
        suspend_timeout syslog syslog_facility syslog_ident tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl
        tcp_socket_buffer tcp_user_timeout track_extra_parameters transaction_timeout unix_socket_dir unix_socket_group
        unix_socket_mode user verbose"""
    assert set(wanted.split()) <= keys


def test_select_is_an_alias_of_show(pool):
    assert pool().admin("SELECT version") == pool().admin("SHOW VERSION")


def test_commands_are_taken_in_any_case_and_with_a_semicolon(pool):
    pooler = pool()
    assert pooler.admin("show Version;") == pooler.admin('SHOW "version"')


@pytest.mark.parametrize("sql", ["NONSENSE", "SHOW NONSENSE", "SELECT 1 + 1", "SHOW POOLS; SHOW STATS"])
def test_unknown_commands_are_refused_and_the_session_goes_on(pool, sql):
    client = pool().raw("admin", "pgbouncer")
    answers = client.query(sql)
    (error,) = [m.fields for m in answers if m.kind == "E"]
    assert (error["S"], error["C"]) == ("ERROR", "08P01")
    assert error["M"] in (f"invalid command '{sql}', use SHOW HELP;", "bad arguments") or "unsupported" in error["M"]
    assert answers[-1].body == b"I"
    assert kinds(client.query("SHOW VERSION")) == "T D C Z"


def test_the_text_of_the_refusal_of_an_unknown_command(pool):
    assert errors(pool().raw("admin", "pgbouncer").query("NONSENSE")) == ["invalid command 'NONSENSE', use SHOW HELP;"]


def test_drivers_questions_are_answered(pool):
    client = pool().raw("stats", "pgbouncer")
    for name, value in (("client_encoding", "UTF-8"), ("default_transaction_isolation", "read committed"),
                        ("standard_conforming_strings", "on"), ("datestyle", "ISO"), ("timezone", "GMT")):
        assert client.value(f"SHOW {name}") == value
    answers = client.query("SET datestyle TO 'ISO'")
    assert [m.fields["M"] for m in answers if m.kind == "N"] == ["SET ignored"] and kinds(answers) == "C Z"


def test_the_welcome_of_the_console(pool):
    client = pool().raw("admin", "pgbouncer")
    assert client.parameters["server_version"].endswith("/bouncer")
    for name, value in (("client_encoding", "UTF8"), ("server_encoding", "UTF8"), ("DateStyle", "ISO"), ("TimeZone", "GMT"),
                        ("standard_conforming_strings", "on"), ("is_superuser", "on")):
        assert client.parameters[name] == value


def test_the_console_of_other_users_is_refused(pool):
    error = pool().raw(login=False).start("app", "pgbouncer").fatal()
    assert (error["S"], error["C"], error["M"]) == ("FATAL", "08P01", "not allowed")


@pytest.mark.parametrize("command", ["RELOAD", "PAUSE", "RESUME", "SUSPEND", "KILL db1", "DISABLE db1", "ENABLE db1", "RECONNECT",
                                     "WAIT_CLOSE", "SHUTDOWN", "SET default_pool_size = 3", "SHOW FDS"])
def test_stats_users_may_look_but_not_command(pool, command):
    pooler = pool()
    client = pooler.raw("stats", "pgbouncer")
    assert kinds(client.query("SHOW POOLS")).startswith("T")
    assert errors(client.query(command)) == ["admin access needed"]


def test_the_owner_of_the_process_is_admin_on_the_unix_socket(pool):
    """User pgbouncer, the same uid, no password."""
    import subprocess
    from harness import server_user
    pooler = pool({"auth_type": "md5"})
    as_owner = ["runuser", "-u", server_user(), "--"] if server_user() else []
    out = subprocess.run([*as_owner, "psql", "-X", "-w", "-At", "-h", str(pooler.directory), "-p", str(pooler.port), "-U", "pgbouncer",
                          "-d", "pgbouncer", "-c", "SHOW VERSION"], capture_output=True, text=True, timeout=20)
    assert out.stdout.startswith("PgBouncer"), out.stderr


def test_psql_shows_pools(pool):
    import subprocess
    pooler = pool()
    pooler.query("SELECT 1")
    out = subprocess.run(["psql", "-X", "-At", "-h", "127.0.0.1", "-p", str(pooler.port), "-U", "admin", "-d", "pgbouncer", "-c",
                          "SHOW POOLS"], capture_output=True, text=True, timeout=20)
    assert out.stdout.startswith("db1|app|"), out.stderr


def test_pause_waits_for_transactions_and_resume_lets_go(pool, pg):
    pooler = pool()
    holder = pooler.raw()
    holder.query("BEGIN")
    paused = Background(pooler.admin, "PAUSE")
    holds(lambda: not paused.done(), 0.5, "PAUSE waits for the transaction")
    holder.query("COMMIT")
    assert paused.result() == "PAUSE"
    assert not pg.sessions()
    waiter = Background(pooler.query, "SELECT 1")
    pooler.wait_pool(cl_waiting=1)
    assert pooler.admin("RESUME") == "RESUME"
    assert waiter.result() == [(1,)]


def test_pause_of_one_database_leaves_the_others(pool):
    pooler = pool()
    client = pooler.raw()
    client.value("SELECT 1")
    assert pooler.admin("PAUSE db1") == "PAUSE"
    assert next(r for r in pooler.admin("SHOW DATABASES") if r["name"] == "db1")["paused"] == 1
    assert pooler.query("SELECT 1", dbname="db2") == [(1,)]
    client.send(query("SELECT 2"))
    pooler.wait_pool(cl_waiting=1)
    assert pooler.admin("RESUME db1") == "RESUME"
    assert kinds(client.until("Z")) == "T D C Z"


def admin_errors(pooler, *commands):
    client = pooler.raw("admin", "pgbouncer")
    return [errors(client.query(c)) for c in commands]


def test_pause_twice_and_resume_without_pause(pool):
    pooler = pool()
    assert admin_errors(pooler, "RESUME", "PAUSE", "PAUSE", "RESUME", "RESUME db1") == [
        ["pooler is not paused/suspended"], [], ["already suspended/paused"], [], ["database db1 is not paused"]]


@pytest.mark.parametrize("command, text", [
    ("PAUSE nosuch", "no such database: nosuch"), ("KILL nosuch", "no such database: nosuch"),
    ("DISABLE nosuch", "no such database: nosuch"), ("ENABLE nosuch", "no such database: nosuch"),
    ("RECONNECT nosuch", "no such database: nosuch"), ("WAIT_CLOSE nosuch", "no such database: nosuch"),
    ("RESUME nosuch", "no such database: nosuch"), ("PAUSE pgbouncer", "cannot pause admin db: pgbouncer"),
    ("KILL pgbouncer", "cannot kill admin db: pgbouncer"), ("RECONNECT pgbouncer", "cannot reconnect admin db: pgbouncer"),
    ("DISABLE pgbouncer", "cannot disable admin db: pgbouncer"), ("ENABLE pgbouncer", "cannot enable admin db: pgbouncer"),
    ("WAIT_CLOSE pgbouncer", "cannot wait in admin db: pgbouncer"), ("DISABLE", "a database is required"),
    ("ENABLE", "a database is required")])
def test_refusals_of_commands(pool, command, text):
    (found,) = admin_errors(pool(), command)
    assert found in ([text], [text.replace("enable admin", "disable admin")])  # PgBouncer's word for ENABLE, too


def test_disable_refuses_new_logins_only(pool):
    pooler = pool()
    client = pooler.connect()
    assert pooler.admin("DISABLE db1") == "DISABLE"
    text = pooler.refusal()
    assert 'database "db1" is disabled' in text or "database does not allow connections: db1" in text and version() < (1, 20)
    assert value_of(client, "SELECT 1") == 1
    assert next(r for r in pooler.admin("SHOW DATABASES") if r["name"] == "db1")["disabled"] == 1
    assert pooler.reload() == "RELOAD" and pooler.refusal()
    assert pooler.admin("ENABLE db1") == "ENABLE" and pooler.refusal() is None


def test_kill_closes_clients_and_leaves_the_database_paused(pool, pg):
    pooler = pool()
    client, other = pooler.raw(), pooler.connect(dbname="db2")
    client.query("BEGIN")
    assert pooler.admin("KILL db1") == "KILL"
    assert client.fatal()["M"] == "database removed"
    assert value_of(other, "SELECT 1") == 1
    assert next(r for r in pooler.admin("SHOW DATABASES") if r["name"] == "db1")["paused"] == 1
    waiter = Background(pooler.query, "SELECT 1")
    holds(lambda: not waiter.done(), 0.4, "a login waits for RESUME")
    assert pooler.admin("RESUME db1") == "RESUME"
    assert waiter.result() == [(1,)]


@since(1, 24)
def test_kill_client(pool):
    pooler = pool()
    client = pooler.raw(application_name="victim")
    client.value("SELECT 1")
    row = next(r for r in pooler.admin("SHOW CLIENTS") if r["application_name"] == "victim")
    assert pooler.admin(f"KILL_CLIENT {row['id']}") == "KILL_CLIENT"
    assert client.fatal()["M"] == "admin forced disconnect"
    assert admin_errors(pooler, f"KILL_CLIENT {row['id']}") == [["client not found"]]


def test_reconnect_replaces_idle_servers(pool, pg):
    pooler = pool()
    client = pooler.connect()
    first = backend_of(client)
    assert pooler.admin("RECONNECT") == "RECONNECT"
    assert backend_of(client) != first
    wait_for(lambda: first not in pg.sessions(), 5, "the old connection is closed")


def test_reconnect_waits_for_the_end_of_a_transaction(pool, pg):
    pooler = pool()
    client = pooler.raw()
    client.query("BEGIN")
    first = client.value("SELECT pg_backend_pid()")
    assert pooler.admin("RECONNECT db1") == "RECONNECT"
    assert next(r for r in pooler.admin("SHOW SERVERS") if r["state"] == "active")["close_needed"] == 1
    assert client.value("SELECT pg_backend_pid()") == first
    client.query("COMMIT")
    assert client.value("SELECT pg_backend_pid()") != first


def test_wait_close_waits_until_reconnect_is_done(pool):
    pooler = pool()
    client = pooler.raw()
    client.query("BEGIN")
    pooler.admin("RECONNECT")
    waiting = Background(pooler.admin, "WAIT_CLOSE")
    holds(lambda: not waiting.done(), 0.5, "WAIT_CLOSE waits")
    client.query("COMMIT")
    assert waiting.result() == "WAIT_CLOSE"


def test_wait_close_of_a_database_without_old_servers_answers_at_once(pool):
    pooler = pool()
    pooler.query("SELECT 1")
    assert pooler.admin("WAIT_CLOSE db1") == "WAIT_CLOSE"


def test_suspend_stops_everything_until_resume(pool):
    pooler = pool()
    client = pooler.raw()
    client.value("SELECT 1")
    console = pooler.raw("admin", "pgbouncer")
    assert kinds(console.query("SUSPEND")) == "C Z"
    client.send(query("SELECT 1"))
    assert client.silent(0.4)
    assert kinds(console.query("RESUME")) == "C Z"
    assert kinds(client.until("Z")) == "T D C Z"


def test_suspend_ends_with_the_console_session(pool):
    pooler = pool()
    client = pooler.raw()
    client.value("SELECT 1")
    console = pooler.raw("admin", "pgbouncer")
    console.query("SUSPEND")
    client.send(query("SELECT 1"))
    console.close()
    assert kinds(client.until("Z")) == "T D C Z"


def test_a_cancel_of_a_waiting_pause_resumes(pool):
    pooler = pool()
    holder, console = pooler.raw(), pooler.raw("admin", "pgbouncer")
    holder.query("BEGIN")
    console.send(query("PAUSE"))
    assert console.silent(0.3)
    pooler.raw(login=False).send(cancel_request(console.key)).closed()
    assert pooler.query("SELECT 1") == [(1,)]
    holder.query("COMMIT")


def test_set_changes_a_setting_until_reload(pool):
    pooler = pool({"query_wait_timeout": 20})
    assert pooler.admin("SET query_wait_timeout = 33") in ("SET", "SET query_wait_timeout=33")
    assert pooler.config("query_wait_timeout") == "33"
    pooler.reload()
    assert pooler.config("query_wait_timeout") == "20"


def test_the_tag_of_set_tells_the_setting(pool):
    answers = pool().raw("admin", "pgbouncer").query("SET query_wait_timeout = '33'")
    assert [m.string for m in answers if m.kind == "C"] == ["SET query_wait_timeout=33"]


@pytest.mark.parametrize("command", ["SET nosuch = 1", "SET default_pool_size = many"])
def test_set_of_nonsense_fails(pool, command):
    assert admin_errors(pool(), command) == [["SET failed"]]


def test_reload_keeps_every_client(pool):
    pooler = pool()
    idle, busy = pooler.raw(), pooler.raw()
    busy.query("BEGIN")
    backend = busy.value("SELECT pg_backend_pid()")
    pooler.settings["default_pool_size"] = 5
    assert pooler.reload() == "RELOAD"
    assert pooler.config("default_pool_size") == "5"
    assert busy.value("SELECT pg_backend_pid()") == backend
    assert idle.value("SELECT 1") == "1"


def test_reload_of_a_removed_line_restores_the_default(pool):
    pooler = pool({"default_pool_size": 5})
    pooler.settings["default_pool_size"] = None
    pooler.reload()
    assert pooler.config("default_pool_size") == "20"


def test_reload_adds_databases_and_users(pool):
    pooler = pool({"auth_type": "plain"})
    pooler.databases["new"] = pooler.to("db1")
    pooler.users["other"] = "changed"
    pooler.reload()
    assert pooler.query("SELECT current_database()", "other", "new", password="changed") == [("db1",)]
    assert pooler.refusal("other", password="pool-secret")


def test_reload_without_a_database_closes_its_clients(pool):
    pooler = pool()
    client, other = pooler.raw(), pooler.connect(dbname="db2")
    client.value("SELECT 1")
    del pooler.databases["db1"]
    pooler.reload()
    assert client.fatal()["M"] == "database removed"
    assert value_of(other, "SELECT 1") == 1


def test_reload_of_a_changed_entry_moves_to_the_new_server_connection(pool):
    pooler = pool()
    client = pooler.connect()
    assert value_of(client, "SELECT current_database()") == "db1"
    pooler.databases["db1"] = pooler.to("db2")
    pooler.reload()
    assert value_of(client, "SELECT current_database()") == "db2"


def test_reload_of_a_changed_pool_mode_reaches_present_clients(pool):
    pooler = pool({"pool_mode": "session", "default_pool_size": 1})
    first = pooler.connect()
    value_of(first, "SELECT 1")
    pooler.settings["pool_mode"] = "transaction"
    pooler.reload()
    value_of(first, "SELECT 1")
    assert pooler.query("SELECT 2") == [(2,)]


@since(1, 21)
def test_a_broken_file_fails_reload_and_changes_nothing_for_clients(pool):
    pooler = pool()
    client = pooler.connect()
    pooler.settings["default_pool_size"] = "many"
    pooler.write()
    console = pooler.raw("admin", "pgbouncer")
    (error,) = [m.fields for m in console.query("RELOAD") if m.kind == "E"]
    assert (error["C"], error["M"]) == ("F0000", "RELOAD failed, see logs for additional details")
    assert value_of(client, "SELECT 1") == 1 and pooler.query("SELECT 2") == [(2,)]


def test_a_fallback_entry_serves_any_database(pool):
    pooler = pool(start=False)
    pooler.databases = {"*": f"host=127.0.0.1 port={pooler.server.port}"}
    pooler.write()
    pooler.start()
    assert pooler.query("SELECT current_database()", dbname="db2") == [("db2",)]
    pooler.wait_log("registered new auto-database: ")
    assert "db2" in [r["name"] for r in pooler.admin("SHOW DATABASES")]


def test_shutdown_ends_at_once_without_an_answer(pool):
    pooler = pool()
    client = pooler.raw()
    client.query("BEGIN")
    console = pooler.raw("admin", "pgbouncer").send(query("SHUTDOWN"))
    assert kinds(console.closed()) == ""
    assert pooler.exits() in (0, 1)
    client.closed()


@since(1, 23)
def test_shutdown_wait_for_clients(pool):
    pooler = pool()
    client = pooler.raw()
    client.value("SELECT 1")
    assert pooler.admin("SHUTDOWN WAIT_FOR_CLIENTS") == "SHUTDOWN"
    with pytest.raises(OSError):
        pooler.plain_socket()
    assert client.value("SELECT 2") == "2"
    assert pooler.process.running()
    client.close()
    assert pooler.exits() == 0


@since(1, 23)
def test_shutdown_wait_for_servers(pool):
    pooler = pool()
    busy, idle = pooler.raw(), pooler.raw()
    idle.value("SELECT 1")
    busy.query("BEGIN")
    assert pooler.admin("SHUTDOWN WAIT_FOR_SERVERS") == "SHUTDOWN"
    assert "shutting down" in pooler.refusal(unix=True)
    idle.send(query("SELECT 1"))
    assert idle.fatal()["M"] == "server shutting down"
    assert busy.value("SELECT 2") == "2"
    busy.query("COMMIT")
    assert pooler.exits() == 0


@pytest.mark.skipif(is_ours(), reason="ours answers: see below")
def test_the_extended_protocol_is_refused(pool):
    client = pool().raw("admin", "pgbouncer").send(parse("", "SHOW POOLS"), bind(), describe("P"), execute(), SYNC)
    assert "extended query protocol not supported by admin console" in [m.fields["M"] for m in client.closed() if m.kind == "E"]


@ours_only
def test_the_extended_protocol_is_answered(pool):
    client = pool().raw("admin", "pgbouncer")
    simple = client.query("SHOW CONFIG")
    answers = client.run("SHOW CONFIG")
    assert kinds(answers).startswith("1 2 T D")
    assert answers[-1].body == b"I"
    assert [m.columns for m in answers if m.kind == "T"] == [m.columns for m in simple if m.kind == "T"]
    assert [m.values for m in answers if m.kind == "D"] == [m.values for m in simple if m.kind == "D"]
    assert [m.string for m in answers if m.kind == "C"] == ["SHOW"]


@ours_only
def test_named_statements_and_described_statements_on_the_console(pool):
    client = pool().raw("admin", "pgbouncer")
    client.send(parse("s", "SHOW POOLS"), describe("S", "s"), SYNC).expect("1 t T Z")
    for _ in range(2):
        assert kinds(client.send(bind("", "s"), execute(), SYNC).until("Z")) == "2 D C Z"


@ours_only
def test_errors_of_the_console_over_the_extended_protocol(pool):
    client = pool().raw("admin", "pgbouncer")
    answers = client.run("NONSENSE")
    assert errors(answers) == ["invalid command 'NONSENSE', use SHOW HELP;"]
    assert kinds(client.run("SHOW VERSION")) == "1 2 T D C Z"


@ours_only
def test_psycopg3_reads_the_console(pool):
    psycopg = pytest.importorskip("psycopg")
    pooler = pool()
    with psycopg.connect(host="127.0.0.1", port=pooler.port, user="admin", dbname="pgbouncer", autocommit=True) as connection:
        assert connection.execute("SHOW VERSION").fetchone()[0].startswith("PgBouncer")


def test_a_query_longer_than_a_command_is_refused(pool):
    client = pool().raw("admin", "pgbouncer").send(query("SHOW " + "x" * 2000))
    assert client.receive().kind == "E"


def test_psycopg2_without_autocommit_is_told_that_begin_is_unknown(pool):
    connection = pool().connect("admin", "pgbouncer", autocommit=False)
    with pytest.raises(psycopg2.Error, match="invalid command 'BEGIN'"):
        rows_of(connection, "SHOW POOLS")
