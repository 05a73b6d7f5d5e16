"""Who may log in, by which method, with what text when not; and how the pooler logs in to the server."""

import hashlib
import os
import re
import time

import pytest

from harness import server_user
from pool_harness import PASSWORD, failure_of, rows_of, since, value_of, version
from pool_wire import message, text

SERVER = {"tls": False}


def md5_of(user, password=PASSWORD):
    return "md5" + hashlib.md5((password + user).encode()).hexdigest()


def refusal_of(pooler, user="app", database="db1", password=PASSWORD):
    """(severity, SQLSTATE, text) of a refused login by hand; plain or md5 passwords."""
    client = pooler.raw(login=False).start(user, database)
    while True:
        answer = client.receive()
        if answer.kind == "E":
            return tuple(answer.fields[k] for k in "SCM")
        if answer.kind != "R":
            return None
        code = answer.body[:4]
        if code == b"\0\0\0\0":
            return None
        if code == b"\0\0\0\3":
            client.send(message("p", text(password)))
        elif code == b"\0\0\0\5":
            inner = hashlib.md5((password + user).encode()).hexdigest().encode()
            client.send(message("p", text(b"md5" + hashlib.md5(inner + answer.body[4:8]).hexdigest().encode())))
        else:
            raise AssertionError(f"asked for {answer}")


def first_request(pooler, user="app", database="db1"):
    """The code of the first authentication request."""
    answer = pooler.raw(login=False).start(user, database).receive()
    return answer.body[3] if answer.kind == "R" else answer.fields["M"]


# --- methods towards the client ---

def test_trust_asks_nothing(pool):
    assert first_request(pool({"auth_type": "trust"})) == 0


def test_trust_of_an_unknown_user(pool):
    pooler = pool({"auth_type": "trust"})
    severity, code, why = refusal_of(pooler, "nobody")
    assert (severity, code) == ("FATAL", "08P01")
    assert why == '"trust" authentication failed' or version() < (1, 21)


def test_any_needs_a_forced_user(pool):
    pooler = pool({"auth_type": "any"}, start=False)
    pooler.databases["db2"] = pooler.to("db2", "user=app")
    pooler.write()
    pooler.start()
    assert pooler.query("SELECT current_user", user="whoever", dbname="db2") == [("app",)]
    severity, code, why = refusal_of(pooler, "whoever", "db1")
    assert (severity, code, why) == ("FATAL", "08P01", "bouncer config error")


@pytest.mark.parametrize("stored", ["plain", "md5", "scram"])
def test_plain_verifies_every_kind_of_stored_secret(pool, pg, stored):
    secret = {"plain": PASSWORD, "md5": md5_of("app"), "scram": pg.secret_of("app")}[stored]
    pooler = pool({"auth_type": "plain"}, users={"app": secret, "admin": "x"})
    assert first_request(pooler) == 3
    assert refusal_of(pooler) is None
    assert refusal_of(pooler, password="wrong") == ("FATAL", "08P01", "password authentication failed")


@pytest.mark.parametrize("stored", ["plain", "md5"])
def test_md5_verifies_plain_and_md5_secrets(pool, stored):
    secret = {"plain": PASSWORD, "md5": md5_of("app")}[stored]
    pooler = pool({"auth_type": "md5"}, users={"app": secret})
    assert first_request(pooler) == 5
    assert refusal_of(pooler) is None
    assert refusal_of(pooler, password="wrong") == ("FATAL", "08P01", "password authentication failed")


def test_md5_uses_scram_for_a_scram_secret(pool, pg):
    pooler = pool({"auth_type": "md5"}, users={"app": pg.secret_of("app")})
    assert first_request(pooler) == 10
    assert pooler.query("SELECT 1") == [(1,)]


@pytest.mark.parametrize("stored", ["plain", "scram"])
def test_scram_verifies_plain_and_scram_secrets(pool, pg, stored):
    secret = {"plain": PASSWORD, "scram": pg.secret_of("app")}[stored]
    pooler = pool({"auth_type": "scram-sha-256"}, users={"app": secret})
    assert first_request(pooler) == 10
    assert pooler.query("SELECT 1") == [(1,)]
    assert "SASL authentication failed" in pooler.refusal(password="wrong")


def test_scram_refuses_a_user_with_an_md5_secret(pool):
    pooler = pool({"auth_type": "scram-sha-256"}, users={"app": md5_of("app")})
    assert pooler.refusal()


def test_scram_offers_one_mechanism(pool):
    client = pool({"auth_type": "scram-sha-256"}).raw(login=False).start()
    assert client.receive().body[4:] == b"SCRAM-SHA-256\0\0"


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "GSSAPI"])
def test_another_sasl_mechanism_is_refused(pool, mechanism):
    client = pool({"auth_type": "scram-sha-256"}).raw(login=False).start()
    client.receive()
    body = text(mechanism) + b"\0\0\0\5n,,n="
    assert "invalid SASL authentication mechanism" in client.send(message("p", body)).fatal()["M"]


@pytest.mark.parametrize("first", ["", "n,,", "p=tls-server-end-point,,n=,r=abcdefgh", "n,a=other,n=,r=abcdefgh", "n,,m=x,n=,r=abcd",
                                   "n,,n=,r=", "x" * 5000])
def test_broken_scram_messages_are_refused(pool, first):
    pooler = pool({"auth_type": "scram-sha-256"})
    client = pooler.raw(login=False).start()
    client.receive()
    data = first.encode()
    messages = client.send(message("p", text("SCRAM-SHA-256") + len(data).to_bytes(4, "big") + data)).socket
    messages.settimeout(5)
    assert pooler.query("SELECT 1") == [(1,)]
    reply = messages.recv(4096)
    assert reply[:1] in (b"E", b"") or first == "n,,n=,r=" and reply[:1] == b"R"


def test_an_empty_password_is_refused(pool):
    pooler = pool({"auth_type": "plain"}, users={"app": ""})
    assert refusal_of(pooler, password="")[2] in ("empty password returned by client", "password authentication failed")


def test_an_empty_stored_password_never_matches(pool):
    pooler = pool({"auth_type": "md5"}, users={"app": ""})
    assert refusal_of(pooler, password="") and refusal_of(pooler, password="x")


@pytest.mark.parametrize("method", ["plain", "md5", "scram-sha-256"])
def test_an_unknown_user_looks_like_a_wrong_password(pool, method):
    pooler = pool({"auth_type": method})
    wrong, unknown = pooler.refusal(password="wrong"), pooler.refusal("nobody", password="wrong")
    clean = [re.sub(r"port \d+", "", t) for t in (wrong, unknown)]
    assert clean[0] == clean[1]
    assert first_request(pooler, "nobody") == first_request(pooler)


@since(1, 21)
def test_an_unknown_user_takes_as_long_as_a_known_one(pool, pg):
    """Medians over turns; a factor of two is far below what 4096 rounds of hashing would give away."""
    pooler = pool({"auth_type": "scram-sha-256"}, users={"app": pg.secret_of("app")})
    pooler.refusal(password="wrong"), pooler.refusal("nobody", password="wrong")
    times = {"app": [], "nobody": []}
    for _ in range(25):
        for user in times:
            started = time.monotonic()
            pooler.refusal(user, password="wrong")
            times[user].append(time.monotonic() - started)
    known, unknown = (sorted(t)[len(t) // 2] for t in times.values())
    assert 0.5 < unknown / known < 2


@since(1, 21)
def test_an_unknown_user_gets_the_same_salt_twice(pool, pg):
    """A salt that changes would tell that there is no such user."""
    pooler = pool({"auth_type": "scram-sha-256"}, users={"app": pg.secret_of("app")})

    def salt(user):
        client = pooler.raw(login=False).start(user)
        client.receive()
        first = b"n,,n=,r=abcdefghijkl"
        answer = client.send(message("p", text("SCRAM-SHA-256") + len(first).to_bytes(4, "big") + first)).receive()
        return re.search(rb"s=([^,]+),i=(\d+)", answer.body).groups()
    assert salt("nobody") == salt("nobody")
    assert salt("nobody")[1] == salt("app")[1]


def test_an_unknown_database_is_told_only_after_the_password(pool):
    pooler = pool({"auth_type": "plain"})
    assert refusal_of(pooler, database="nosuch", password="wrong")[2] == "password authentication failed" or version() < (1, 21)
    assert "no such database: nosuch" in refusal_of(pooler, database="nosuch")[2] or version() < (1, 21)


def test_passwords_do_not_reach_the_log(pool):
    pooler = pool({"auth_type": "plain", "verbose": 2})
    refusal_of(pooler), refusal_of(pooler, password="wrong-secret")
    pooler.query("SELECT 1")
    assert PASSWORD not in pooler.log() and "wrong-secret" not in pooler.log()


def test_a_login_is_logged(pool):
    pooler = pool()
    pooler.query("SELECT 1")
    pooler.wait_log(r"C-0x[0-9a-f]+: db1/app@127\.0\.0\.1:\d+ login attempt: db=db1 user=app tls=no")


def test_a_failed_login_is_logged(pool):
    pooler = pool({"auth_type": "plain"})
    refusal_of(pooler, password="wrong")
    pooler.wait_log(r"closing because: password authentication failed")


# --- auth_file ---

def test_quotes_in_the_auth_file(pool):
    pooler = pool({"auth_type": "plain"}, users={"app": 'with "quotes" and blank'})
    assert refusal_of(pooler, password='with "quotes" and blank') is None


def test_comments_and_further_fields_in_the_auth_file(pool):
    pooler = pool({"auth_type": "plain"}, start=False)
    pooler.file("userlist.txt", f'; a comment\n"app" "{PASSWORD}" ignored\n\n"other" "x"\n')
    pooler.start()
    assert refusal_of(pooler) is None and refusal_of(pooler, "other", password="x") is None


def test_behind_a_broken_line_of_the_auth_file_nobody_is_known(pool):
    pooler = pool({"auth_type": "plain"}, start=False)
    pooler.file("userlist.txt", f'"app" "{PASSWORD}"\nnonsense\n"other" "x"\n')
    pooler.start()
    assert refusal_of(pooler) is None and refusal_of(pooler, "other", password="x") is not None
    pooler.wait_log("broken auth file")


def test_the_auth_file_is_read_again_at_reload_only(pool):
    pooler = pool({"auth_type": "plain"})
    pooler.users["app"] = "another"
    pooler.write()
    assert refusal_of(pooler) is None
    pooler.users["app"] = "yet-another-one"
    pooler.write()
    pooler.admin("RELOAD")
    assert refusal_of(pooler) is not None and refusal_of(pooler, password="yet-another-one") is None


@since(1, 19)
def test_long_passwords(pool):
    secret = "t" * 1900
    pooler = pool({"auth_type": "plain"}, users={"app": secret})
    assert refusal_of(pooler, password=secret) is None


# --- towards the server ---

@pytest.mark.parametrize("user", ["md5user", "scramuser", "clearuser"])
def test_the_stored_plain_password_opens_the_server(pool, user):
    assert pool().query("SELECT current_user", user) == [(user,)]


def test_a_stored_md5_secret_opens_an_md5_server(pool):
    pooler = pool({"auth_type": "md5"}, users={"md5user": md5_of("md5user")})
    assert pooler.query("SELECT current_user", "md5user") == [("md5user",)]


def test_scram_is_passed_through(pool, pg):
    """The pooler knows the verifier only; the client's proof lets it log in."""
    pooler = pool({"auth_type": "scram-sha-256"}, users={"scramuser": pg.secret_of("scramuser")})
    assert pooler.query("SELECT current_user", "scramuser") == [("scramuser",)]


def test_a_scram_secret_without_a_proof_cannot_log_in_to_a_scram_server(pool, pg):
    pooler = pool({"auth_type": "trust"}, users={"scramuser": pg.secret_of("scramuser")})
    assert "server login failed: wrong password type" in (pooler.refusal("scramuser") or "")


def test_an_md5_secret_cannot_log_in_to_a_scram_server(pool):
    pooler = pool({"auth_type": "md5"}, users={"scramuser": md5_of("scramuser")})
    assert "server login failed: wrong password type" in (pooler.refusal("scramuser") or "")


def test_the_password_of_a_forced_user(pool):
    pooler = pool(start=False)
    pooler.databases["db1"] = pooler.to("db1", f"user=scramuser password={PASSWORD}")
    pooler.write()
    pooler.start()
    assert pooler.query("SELECT current_user") == [("scramuser",)]


def test_a_forced_user_takes_its_password_from_the_auth_file(pool):
    pooler = pool(start=False)
    pooler.databases["db1"] = pooler.to("db1", "user=scramuser")
    pooler.write()
    pooler.start()
    assert pooler.query("SELECT current_user") == [("scramuser",)]


def test_a_wrong_password_towards_the_server_reaches_the_client_with_the_servers_code(pool):
    pooler = pool(users={"scramuser": "wrong", "admin": ""})
    error = pooler.raw(login=False).start("scramuser").fatal()
    assert error["M"] == 'password authentication failed for user "scramuser"'
    assert error["C"] == "28P01" or version() < (1, 21)


def test_an_unknown_database_of_the_server_reaches_the_client_with_the_servers_code(pool):
    pooler = pool(start=False)
    pooler.databases["db1"] = pooler.to("nosuch")
    pooler.write()
    pooler.start()
    error = pooler.raw(login=False).start().fatal()
    assert error["M"] == 'database "nosuch" does not exist'
    assert error["C"] == "3D000" or version() < (1, 21)


# --- auth_query ---

@pytest.fixture
def asking(pool, pg):
    def start(**settings):
        return pool({"auth_type": "md5", "auth_user": "postgres", **settings}, users={"postgres": "", "admin": PASSWORD})
    return start


def test_auth_query_finds_a_scram_secret(asking):
    pooler = asking()
    assert pooler.query("SELECT current_user") == [("app",)]
    assert pooler.refusal(password="wrong")


def test_auth_query_finds_an_md5_secret(asking):
    assert asking().query("SELECT current_user", "md5user") == [("md5user",)]


def test_auth_query_without_a_row(asking):
    severity, code, why = refusal_of(asking(), "nobody")
    assert (severity, code) == ("FATAL", "08P01") and why in ("no such user", "no such user: nobody")


def test_auth_query_of_ones_own(asking, pg):
    pooler = asking(auth_type="plain", auth_query=f"SELECT 'other', '{PASSWORD}' WHERE $1 = 'alias'")
    assert pooler.query("SELECT current_user", "alias") == [("other",)]


def test_an_auth_query_that_fails_is_a_config_error(asking):
    assert refusal_of(asking(auth_query="SELECT nonsense($1)"))[2] == "bouncer config error"


@since(1, 21)
def test_an_auth_query_with_a_wrong_number_of_columns_is_a_config_error(asking):
    assert refusal_of(asking(auth_query="SELECT $1::text"))[2] == "bouncer config error"


def test_a_null_password_of_auth_query_never_matches(asking):
    pooler = asking(auth_query="SELECT $1::text, NULL::text")
    assert pooler.refusal() and pooler.refusal(password="")


def test_auth_query_is_asked_at_every_login(asking, pg):
    pooler = asking()
    pg.query("ALTER ROLE third PASSWORD 'first'")
    assert pooler.refusal("third", password="first") is None
    pg.query("ALTER ROLE third PASSWORD 'second'")
    assert pooler.refusal("third", password="second") is None
    assert pooler.refusal("third", password="first")
    pg.query(f"ALTER ROLE third PASSWORD '{PASSWORD}'")


def test_auth_query_leaves_users_of_the_file_alone(pool):
    pooler = pool({"auth_type": "plain", "auth_user": "postgres"}, users={"postgres": "", "app": "from-the-file"})
    assert refusal_of(pooler, password="from-the-file") is None
    assert refusal_of(pooler, password=PASSWORD) is not None


def test_auth_user_of_a_database(pool):
    pooler = pool({"auth_type": "md5"}, users={"postgres": ""}, start=False)
    pooler.databases["db1"] = pooler.to("db1", "auth_user=postgres")
    pooler.write()
    pooler.start()
    assert pooler.query("SELECT current_user") == [("app",)]
    assert pooler.refusal(dbname="db2")


@since(1, 20)
def test_auth_dbname(asking, pool):
    pooler = asking(auth_dbname="db2")
    assert pooler.query("SELECT current_user") == [("app",)]
    assert ("db2", "postgres") in [(r["database"], r["user"]) for r in pooler.admin("SHOW POOLS")]


@since(1, 20)
def test_an_unknown_auth_dbname_is_a_config_error(asking):
    assert refusal_of(asking(auth_dbname="nosuch"))[2] == "bouncer config error"


def test_auth_query_runs_in_one_pool_of_auth_user(asking):
    pooler = asking()
    for _ in range(5):
        pooler.query("SELECT 1")
    row = pooler.pool(user="postgres")
    assert row["sv_idle"] + row["sv_used"] == 1


def test_scram_pass_through_of_an_auth_query_secret(asking):
    assert asking().query("SELECT current_user", "scramuser") == [("scramuser",)]


def test_many_logins_at_once_by_auth_query(asking):
    from pool_harness import Background
    pooler = asking()
    logins = [Background(pooler.query, "SELECT 1") for _ in range(20)]
    assert [login.result(30) for login in logins] == [[(1,)]] * 20


# --- hba ---

@pytest.fixture
def by_hba(pool):
    def start(*lines, ident=None, **settings):
        return pool({"auth_type": "hba", **settings}, hba=lines, ident=ident)
    return start


@pytest.mark.parametrize("line, request_", [("host all all 127.0.0.1/32 trust", 0), ("host all all 127.0.0.1/32 password", 3),
                                            ("host all all 127.0.0.1/32 md5", 5), ("host all all 127.0.0.0/8 scram-sha-256", 10),
                                            pytest.param("host all all all trust", 0, marks=since(1, 21)), ("host db1 app 127.0.0.1 255.255.255.255 trust", 0),
                                            ('host "db1" "app" 127.0.0.1/32 trust', 0), ("host db2,db1 other,app 0.0.0.0/0 trust", 0),
                                            ("hostnossl all all 0.0.0.0/0 trust", 0)])
def test_hba_methods(by_hba, line, request_):
    assert first_request(by_hba(line)) == request_


@pytest.mark.parametrize("line", ["host db2 all 0.0.0.0/0 trust", "host all other 0.0.0.0/0 trust", "host all all 10.0.0.0/8 trust",
                                  "local all all trust", "hostssl all all 0.0.0.0/0 trust", "host sameuser all 0.0.0.0/0 trust",
                                  "host replication all 0.0.0.0/0 trust", 'host "all" all 0.0.0.0/0 trust'])
def test_hba_lines_that_do_not_match(by_hba, line):
    assert first_request(by_hba(line)) in ("no authentication method is found", "login rejected") or version() < (1, 21)


def test_the_first_match_of_hba_wins(by_hba):
    assert first_request(by_hba("host all app 0.0.0.0/0 reject", "host all all 0.0.0.0/0 trust")) == "login rejected"
    assert first_request(by_hba("host all all 0.0.0.0/0 trust", "host all app 0.0.0.0/0 reject")) == 0


def test_hba_sameuser(by_hba, pool):
    pooler = by_hba("host sameuser all 0.0.0.0/0 trust")
    pooler.databases["app"] = pooler.to("db1")
    pooler.write()
    pooler.process.signal(1)
    pooler.wait_log("got SIGHUP")
    assert pooler.query("SELECT 1", dbname="app") == [(1,)]


def test_hba_names_from_a_file(pool):
    pooler = pool({"auth_type": "hba"}, hba=["host @databases @users 0.0.0.0/0 trust"], start=False)
    pooler.file("databases", "db1\n")
    pooler.file("users", "app\nother\n")
    pooler.start()
    assert first_request(pooler) == 0 and first_request(pooler, "third") != 0


def test_an_hba_line_that_does_not_parse_is_skipped(by_hba):
    pooler = by_hba("host all all 0.0.0.0/0 nonsense", "host all all 0.0.0.0/0 trust")
    assert first_request(pooler) == 0


def test_hba_is_read_again_at_reload(by_hba):
    pooler = by_hba("host all all 0.0.0.0/0 trust")
    pooler.hba = ["host all admin 0.0.0.0/0 trust", "host all all 0.0.0.0/0 reject"]
    pooler.reload()
    assert first_request(pooler) == "login rejected"


def psql_as_owner(pooler, user, database="db1"):
    import subprocess
    as_owner = ["runuser", "-u", server_user(), "--"] if server_user() else []
    return subprocess.run([*as_owner, "psql", "-X", "-w", "-At", "-h", str(pooler.directory), "-p", str(pooler.port), "-U", user, "-d",
                           database, "-c", "SELECT current_user"], capture_output=True, text=True, timeout=20)


def owner():
    import pwd
    return server_user() or pwd.getpwuid(os.geteuid()).pw_name


def test_peer_takes_the_name_of_the_operating_systems_user(pool):
    pooler = pool({"auth_type": "hba"}, hba=["local all all peer", "host all all 0.0.0.0/0 trust"], users={owner(): "", "app": ""})
    assert "unix socket login rejected" in psql_as_owner(pooler, "app").stderr
    if owner() == "postgres":
        assert psql_as_owner(pooler, "postgres").stdout == "postgres\n"


@since(1, 22)
def test_peer_with_an_ident_map(pool):
    pooler = pool({"auth_type": "hba"}, hba=["local all all peer map=mine", "host all all 0.0.0.0/0 trust"],
                  ident=[f"mine {owner()} app", "# a comment", "other nobody other"])
    assert psql_as_owner(pooler, "app").stdout == "app\n"
    assert "unix socket login rejected" in psql_as_owner(pooler, "other").stderr


@since(1, 22)
def test_an_ident_map_to_all(pool):
    pooler = pool({"auth_type": "hba"}, hba=["local all all peer map=mine"], ident=[f'mine "{owner()}" all'])
    assert psql_as_owner(pooler, "third").stdout == "third\n"


# --- misuse ---

def test_a_password_that_nobody_asked_for_is_refused(pool):
    client = pool({"auth_type": "plain"}).raw(login=False)
    client.send(message("p", text("secret")))
    client.closed()


def test_a_password_twice(pool):
    pooler = pool({"auth_type": "plain"})
    client = pooler.raw(login=False).start()
    client.receive()
    client.send(message("p", text(PASSWORD)), message("p", text(PASSWORD)))
    client.closed()
    assert pooler.query("SELECT 1") == [(1,)]


def test_long_user_names_are_refused(pool):
    assert failure_of(lambda: pool().connect("u" * 300)) is not None


def test_a_user_of_the_users_section_only_is_unknown(pool):
    pooler = pool({"auth_type": "trust"}, user_settings={"nobody": "pool_mode=session"})
    assert refusal_of(pooler, "nobody") is not None


def test_sessions_survive_a_changed_password(pool):
    pooler = pool({"auth_type": "plain"})
    client = pooler.connect()
    pooler.users["app"] = "changed"
    pooler.reload()
    assert value_of(client, "SELECT 1") == 1 and rows_of(client, "SELECT 2") == [(2,)]
