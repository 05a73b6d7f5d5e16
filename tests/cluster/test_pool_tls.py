"""TLS on both sides: modes, certificates, what is refused, reload without losing a client."""

import socket
import ssl

import psycopg2
import pytest

from harness import wait_for
from pool_fake_server import FakeServer
from pool_harness import backend_of, ours_only, rows_of, since, value_of, version
from pool_wire import SSL_REQUEST, Raw

SERVER = {"tls": True}


@pytest.fixture(scope="module")
def certificates(pg):
    """Of the pooler; its authority is the server's, so that one client certificate serves everywhere."""
    made = pg.certificates
    made.issue("pooler", "localhost", san="DNS:localhost,IP:127.0.0.1")
    made.issue("second", "localhost", san="DNS:localhost,IP:127.0.0.1")
    made.issue("app", "app")
    made.issue("elsewhere", "elsewhere")
    made.authority("stranger")
    made.issue("forged", "app", ca="stranger")
    return made


@pytest.fixture
def tls(pool, certificates):
    def start(mode="require", cert="pooler", **settings):
        d = certificates.directory
        return pool({"client_tls_sslmode": mode, "client_tls_key_file": d / f"{cert}.key", "client_tls_cert_file": d / f"{cert}.crt",
                     **settings})
    return start


def client_files(certificates, name):
    d = certificates.directory
    import os
    import pathlib
    import tempfile
    key = pathlib.Path(tempfile.mkdtemp(prefix="pgvigil-key-")) / "key"  # libpq wants it to be ours alone
    key.write_bytes((d / f"{name}.key").read_bytes())
    os.chmod(key, 0o600)
    return {"sslcert": str(d / f"{name}.crt"), "sslkey": str(key), "sslrootcert": str(d / "ca.crt")}


# --- towards the client ---

def test_a_client_over_tls(tls):
    pooler = tls()
    assert pooler.query("SELECT 1", sslmode="require") == [(1,)]


def test_the_certificate_is_verified_by_the_client(tls, certificates):
    pooler = tls()
    assert pooler.query("SELECT 1", sslmode="verify-full", sslrootcert=str(certificates.directory / "ca.crt")) == [(1,)]


@pytest.mark.parametrize("mode, plain, encrypted", [("disable", True, False), ("allow", True, True), ("prefer", True, True),
                                                    ("require", False, True)])
def test_modes_towards_the_client(tls, mode, plain, encrypted):
    pooler = tls(mode)
    assert (pooler.refusal(sslmode="disable") is None) == plain
    assert (pooler.refusal(sslmode="require") is None) == encrypted


def test_the_refusal_of_a_client_without_tls(tls):
    error = tls().raw(login=False).start().fatal()
    assert (error["S"], error["C"], error["M"]) == ("FATAL", "08P01", "SSL required")


def test_unix_sockets_need_no_tls(tls):
    assert tls().query("SELECT 1", unix=True) == [(1,)]


def test_unix_sockets_offer_no_tls(tls):
    client = tls().raw(login=False, unix=True).send(SSL_REQUEST)
    assert client.read(1) == b"N"


def test_the_console_shows_the_cipher(tls):
    pooler = tls()
    client = pooler.connect(sslmode="require")
    value_of(client, "SELECT 1")
    row = next(r for r in pooler.admin("SHOW CLIENTS", sslmode="require") if r["user"] == "app")
    assert row["tls"].startswith("TLSv1.3/TLS_") or version() < (1, 21)


def test_the_cipher_is_logged(tls):
    pooler = tls()
    pooler.query("SELECT 1", sslmode="require")
    pooler.wait_log("login attempt: db=db1 user=app tls=TLSv1.3/")


def handshake(pooler, context):
    s = pooler.plain_socket()
    s.sendall(SSL_REQUEST)
    assert s.recv(1) == b"S"
    return context.wrap_socket(s, server_hostname="localhost")


def insecure_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize("setting, offered", [("tlsv1.2", "TLSv1.2"), ("tlsv1.3", "TLSv1.3"), ("secure", "TLSv1.3"),
                                              ("all,!tlsv1.3", "TLSv1.2")])
def test_client_tls_protocols(tls, setting, offered):
    if setting.startswith("all") and version() < (1, 21):
        pytest.skip("since 1.21")
    assert handshake(tls(client_tls_protocols=setting), insecure_context()).version() == offered


def test_a_protocol_that_is_not_allowed_is_refused(tls):
    context = insecure_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(tls(client_tls_protocols="tlsv1.3"), context)


def test_client_tls_ciphers(tls):
    context = insecure_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    pooler = tls(client_tls_ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")
    assert handshake(pooler, context).cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_a_query_over_tls_by_hand(tls):
    client = Raw(handshake(tls(), insecure_context()))
    client.login()
    assert client.value("SELECT 'by hand'") == "by hand"
    client.close()


def test_large_results_over_tls(tls):
    client = tls().connect(sslmode="require")
    assert len(value_of(client, "SELECT repeat('x', 10000000)")) == 10_000_000
    assert rows_of(client, "SELECT length(%s)", ["y" * 5_000_000]) == [(5_000_000,)]


@since(1, 21)
def test_data_behind_ssl_request_is_not_taken_into_tls(tls):
    pooler = tls()
    s = pooler.plain_socket()
    s.sendall(SSL_REQUEST + b"\0\0\0\x08injected")
    s.settimeout(5)
    data = b""
    try:
        while True:
            more = s.recv(4096)
            if not more:
                break
            data += more
    except (ConnectionResetError, socket.timeout):
        pass
    assert not data.startswith(b"S\x16")
    pooler.wait_log("received unencrypted data after SSL request")


def test_ssl_request_inside_tls_is_refused(tls):
    client = Raw(handshake(tls(), insecure_context()))
    client.send(SSL_REQUEST)
    client.closed()


def test_an_aborted_handshake_harms_nobody(tls):
    pooler = tls()
    for garbage in (b"", b"\x16\x03\x01", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x40\x00" + b"\0" * 100):
        s = pooler.plain_socket()
        s.sendall(SSL_REQUEST)
        assert s.recv(1) == b"S"
        s.sendall(garbage)
        s.close()
    assert pooler.query("SELECT 1", sslmode="require") == [(1,)]


@since(1, 25)
def test_direct_tls(tls):
    context = insecure_context()
    context.set_alpn_protocols(["postgresql"])
    client = Raw(context.wrap_socket(tls().plain_socket(), server_hostname="localhost"))
    assert client.socket.selected_alpn_protocol() == "postgresql"
    client.login()
    assert client.value("SELECT 1") == "1"


@since(1, 25)
def test_direct_tls_with_another_protocol_is_refused(tls):
    context = insecure_context()
    context.set_alpn_protocols(["http/1.1"])
    with pytest.raises((ssl.SSLError, OSError)):
        Raw(context.wrap_socket(tls().plain_socket(), server_hostname="localhost")).login()


# --- client certificates ---

def with_certificates(tls, certificates, mode="verify-full", **settings):
    return tls(mode, client_tls_ca_file=certificates.directory / "ca.crt", **settings)


def test_verify_full_wants_a_certificate(tls, certificates):
    pooler = with_certificates(tls, certificates)
    assert pooler.refusal(sslmode="require")
    assert pooler.refusal(sslmode="require", **client_files(certificates, "app")) is None


def test_a_certificate_of_another_authority_is_refused(tls, certificates):
    pooler = with_certificates(tls, certificates)
    files = {**client_files(certificates, "forged")}
    assert pooler.refusal(sslmode="require", **{k: v for k, v in files.items() if k != "sslrootcert"})


def test_auth_type_cert(tls, certificates):
    pooler = with_certificates(tls, certificates, auth_type="cert")
    files = client_files(certificates, "app")
    assert pooler.refusal(sslmode="require", password=None, **files) is None
    other = pooler.refusal("other", sslmode="require", **files)
    assert "certificate authentication failed" in other or version() < (1, 21) and "TLS certificate name mismatch" in other


@since(1, 22)
def test_cert_with_an_ident_map(pool, certificates):
    d = certificates.directory
    pooler = pool({"auth_type": "hba", "client_tls_sslmode": "verify-full", "client_tls_key_file": d / "pooler.key",
                   "client_tls_cert_file": d / "pooler.crt", "client_tls_ca_file": d / "ca.crt"},
                  hba=["hostssl all all 0.0.0.0/0 cert map=certs"], ident=["certs elsewhere app"])
    assert pooler.refusal(sslmode="require", **client_files(certificates, "elsewhere")) is None
    assert "certificate authentication failed" in pooler.refusal("other", sslmode="require", **client_files(certificates, "elsewhere"))


def test_hostssl_matches_tls_only(tls, pool, certificates):
    d = certificates.directory
    pooler = pool({"auth_type": "hba", "client_tls_sslmode": "prefer", "client_tls_key_file": d / "pooler.key",
                   "client_tls_cert_file": d / "pooler.crt"}, hba=["hostssl all all 0.0.0.0/0 trust"])
    assert pooler.refusal(sslmode="require") is None
    assert pooler.refusal(sslmode="disable")


# --- reload ---

def served_certificate(pooler):
    connection = handshake(pooler, insecure_context())
    der = connection.getpeercert(binary_form=True)
    connection.close()
    return der


def test_reload_of_certificates_keeps_clients(tls, pool, certificates):
    d = certificates.directory
    pooler = tls()
    client = pooler.connect(sslmode="require")
    backend = backend_of(client)
    before = served_certificate(pooler)
    pooler.settings.update({"client_tls_key_file": d / "second.key", "client_tls_cert_file": d / "second.crt"})
    pooler.write()
    pooler.admin("RELOAD", sslmode="require")
    wait_for(lambda: served_certificate(pooler) != before, 5, "the new certificate is served")
    assert backend_of(client) == backend


def test_changed_files_of_the_same_name_are_read_at_reload(tls, certificates):
    d = certificates.directory
    pooler = tls()
    for suffix in ("key", "crt"):
        copy = pooler.file(f"own.{suffix}", (d / f"pooler.{suffix}").read_text())
        pooler.settings[f"client_tls_{'key' if suffix == 'key' else 'cert'}_file"] = copy
    pooler.write()
    pooler.admin("RELOAD", sslmode="require")
    before = served_certificate(pooler)
    for suffix in ("key", "crt"):
        pooler.file(f"own.{suffix}", (d / f"second.{suffix}").read_text())
    pooler.admin("RELOAD", sslmode="require")
    wait_for(lambda: served_certificate(pooler) != before, 5, "the new certificate is served")


@since(1, 21)
def test_a_reload_with_broken_files_keeps_the_old_ones(tls):
    pooler = tls()
    before = served_certificate(pooler)
    pooler.settings["client_tls_cert_file"] = "/nonexistent"
    pooler.write()
    try:
        pooler.admin("RELOAD", sslmode="require")
    except psycopg2.Error:
        pass
    assert served_certificate(pooler) == before
    assert pooler.query("SELECT 1", sslmode="require") == [(1,)]


def test_a_start_without_the_needed_files_fails(pool):
    pooler = pool({"client_tls_sslmode": "require"}, start=False)
    pooler.process.start()
    assert pooler.exits() == 1


# --- towards the server ---

def encrypted(pooler, user="app"):
    return pooler.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", user)[0][0]


@pytest.mark.parametrize("mode, wanted", [("disable", False), ("allow", True), ("prefer", True), ("require", True)])
def test_modes_towards_the_server(pool, mode, wanted):
    assert encrypted(pool({"server_tls_sslmode": mode})) == wanted


def test_a_server_user_that_needs_tls(pool):
    assert encrypted(pool({"server_tls_sslmode": "prefer"}), "tlsuser")
    assert pool({"server_tls_sslmode": "disable"}).refusal("tlsuser")


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_the_servers_certificate_is_verified(pool, certificates, mode, pg):
    pooler = pool({"server_tls_sslmode": mode, "server_tls_ca_file": certificates.directory / "ca.crt"},
                  databases={"db1": f"host=localhost port={pg.port} dbname=db1"})
    assert encrypted(pooler)


def test_verify_full_checks_the_name(pool, certificates, pg):
    pooler = pool({"server_tls_sslmode": "verify-full", "server_tls_ca_file": certificates.directory / "ca.crt",
                   "client_login_timeout": 1.5}, databases={"db1": f"host=127.0.0.1 port={pg.port} dbname=db1"})
    assert pooler.refusal()


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_a_server_of_another_authority_is_refused(pool, certificates, mode, pg):
    pooler = pool({"server_tls_sslmode": mode, "server_tls_ca_file": certificates.directory / "stranger.crt",
                   "client_login_timeout": 1.5}, databases={"db1": f"host=localhost port={pg.port} dbname=db1"})
    assert pooler.refusal()


def test_require_refuses_a_server_without_tls(pool):
    with FakeServer() as fake:
        pooler = pool({"server_tls_sslmode": "require", "client_login_timeout": 1.5},
                      databases={"db1": f"host=127.0.0.1 port={fake.port}"})
        assert pooler.refusal()
        pooler.wait_log("server refused SSL")


def test_prefer_takes_a_server_without_tls(pool):
    with FakeServer() as fake:
        pooler = pool({"server_tls_sslmode": "prefer"}, databases={"db1": f"host=127.0.0.1 port={fake.port}"})
        assert pooler.raw().value("SELECT 1") == "fake"


def test_a_client_certificate_towards_the_server(pool, certificates):
    d = certificates.directory
    pooler = pool({"server_tls_sslmode": "require", "server_tls_key_file": d / "certuser.key", "server_tls_cert_file": d / "certuser.crt"})
    assert pooler.query("SELECT current_user", "certuser") == [("certuser",)]


def test_a_changed_server_mode_replaces_connections(pool):
    pooler = pool({"server_tls_sslmode": "disable"})
    client = pooler.connect()
    assert value_of(client, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is False
    pooler.settings["server_tls_sslmode"] = "require"
    pooler.reload()
    wait_for(lambda: value_of(client, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), 5, "TLS is used")


@since(1, 21)
def test_a_reload_without_a_change_keeps_server_connections(pool):
    pooler = pool({"server_tls_sslmode": "require"})
    client = pooler.connect()
    backend = backend_of(client)
    pooler.reload()
    assert backend_of(client) == backend


@ours_only
def test_scram_with_channel_binding_is_not_demanded_falsely(tls):
    """libpq's channel_binding=prefer must work whether or not the pooler offers SCRAM-SHA-256-PLUS."""
    pooler = tls(auth_type="scram-sha-256")
    assert pooler.query("SELECT 1", sslmode="require", channel_binding="prefer") == [(1,)]


def test_cancel_requests_need_no_tls(tls):
    from pool_wire import cancel_request
    pooler = tls()
    assert pooler.raw(login=False).send(cancel_request(b"12345678")).closed() == []
