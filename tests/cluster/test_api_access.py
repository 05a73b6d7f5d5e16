"""Who may call the REST API, over what, and that nobody can hold the agent up through it."""

import base64
import json
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from harness import Cluster, wait_for

SETTINGS = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}
CREDENTIALS = "Basic " + base64.b64encode(b"operator:api-secret").decode()


def make_certificates(directory, serial=1):
    """An authority, a server's and a client's certificate by it, and a client's by a stranger."""
    script = """set -e; cd "$0"
authority() { [ -e $1.crt ] || openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout $1.key -out $1.crt; }
issue() {
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout $2.key -out $2.csr
  printf 'subjectAltName=IP:127.0.0.1' > $2.ext
  openssl x509 -req -days 2 -in $2.csr -CA $1.crt -CAkey $1.key -set_serial $3 -extfile $2.ext -out $2.crt
}
authority ca; authority stranger
issue ca server $1; issue ca client 77; issue stranger intruder 78"""
    subprocess.run(["/bin/sh", "-c", script, directory, str(serial)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def cluster():
    with Cluster(names=("a", "b"), settings=SETTINGS) as running:
        certificates = running.directory / "certificates"
        certificates.mkdir()
        make_certificates(certificates)
        running.certificates = certificates
        running.local = lambda node: {
            "restapi": {"authentication": {"username": "operator", "password": "api-secret"}, "verify_client": "optional",
                        "certfile": str(certificates / "server.crt"), "keyfile": str(certificates / "server.key"),
                        "cafile": str(certificates / "ca.crt")},
            "ctl": {"cacert": str(certificates / "ca.crt"), "certfile": str(certificates / "client.crt"),
                    "keyfile": str(certificates / "client.key")}}
        for node in running.nodes.values():
            node.write_config()
        running.give(running.directory)
        for node in running.nodes.values():
            node.start()
            wait_for(lambda node=node: call(running, node, "/health") == 200, 60, f"{node.name} runs")
        wait_for(lambda: call(running, running.nodes["b"], "/replica") == 200, 60, "b is a replica")
        yield running


def context(cluster, client="client"):
    made = ssl.create_default_context(cafile=cluster.certificates / "ca.crt")
    made.check_hostname = False
    if client:
        made.load_cert_chain(cluster.certificates / f"{client}.crt", cluster.certificates / f"{client}.key")
    return made


def call(cluster, node, path, method="GET", body=None, credentials=None, client="client"):
    request = urllib.request.Request(f"https://127.0.0.1:{node.rest}{path}", method=method,
                                     data=None if body is None else json.dumps(body).encode())
    if credentials:
        request.add_header("Authorization", credentials)
    try:
        with urllib.request.urlopen(request, timeout=10, context=context(cluster, client)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_reading_is_free_and_changing_needs_both(cluster):
    node = cluster.nodes["a"]
    assert call(cluster, node, "/patroni", client=None) == 200, "optional: no certificate is needed to read"
    change = dict(path="/config", method="PATCH", body={"postgresql": {"parameters": {"work_mem": "5MB"}}})
    assert call(cluster, node, **change, credentials=CREDENTIALS, client=None) == 403, "no certificate"
    assert call(cluster, node, **change) == 401, "no credentials"
    wrong = "Basic " + base64.b64encode(b"operator:guess").decode()
    assert call(cluster, node, **change, credentials=wrong) == 401
    assert call(cluster, node, **change, credentials=CREDENTIALS) == 200
    with pytest.raises((ssl.SSLError, urllib.error.URLError, ConnectionError)):
        call(cluster, node, "/patroni", client="intruder")
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(f"http://127.0.0.1:{node.rest}/patroni", timeout=5)
    for secret in ("api-secret", "guess"):
        assert secret not in node.log()


def test_members_and_tools_reach_each_other(cluster):
    """A switchover needs the members' own calls, with credentials and certificates, and the tool's."""
    from harness import BIN
    done = subprocess.run([BIN / "pgvigil", "-c", cluster.nodes["a"].config, "switchover", "--candidate", "b", "--force"],
                          capture_output=True, text=True, timeout=60)
    assert 'Successfully switched over to "b"' in done.stdout, done.stdout + done.stderr
    wait_for(lambda: call(cluster, cluster.nodes["b"], "/primary") == 200, 20, "b leads")
    wait_for(lambda: call(cluster, cluster.nodes["a"], "/replica") == 200, 60, "a follows")


def served_serial(cluster, node):
    with socket.create_connection(("127.0.0.1", node.rest), timeout=5) as plain:
        with context(cluster).wrap_socket(plain) as tls:
            return int(tls.getpeercert()["serialNumber"], 16)


def test_certificates_are_reloaded(cluster):
    node = cluster.nodes["a"]
    assert served_serial(cluster, node) == 1
    make_certificates(cluster.certificates, serial=2)
    cluster.give(cluster.certificates)
    assert call(cluster, node, "/reload", "POST", {}, CREDENTIALS) == 202
    wait_for(lambda: served_serial(cluster, node) == 2, 10, "the new certificate is served")
    # One that cannot be used leaves the old one in force.
    (cluster.certificates / "server.crt").write_text("nonsense")
    assert call(cluster, node, "/reload", "POST", {}, CREDENTIALS) in (202, 500)
    wait_for(lambda: "server.crt" in node.log(), 10, "the log names the file")
    assert served_serial(cluster, node) == 2


def test_hostile_clients_hold_nobody_up():
    with Cluster(names=("a",), settings=SETTINGS) as cluster:
        node = cluster.nodes["a"]
        node.start()
        wait_for(node.is_leader, 60, "it leads")

        def latency():
            begun = time.monotonic()
            assert node.code("/primary") == 200
            return time.monotonic() - begun

        def send(data, timeout=20):
            """What a client sees that sends this and then only reads."""
            with socket.create_connection(("127.0.0.1", node.rest), timeout=timeout) as connection:
                try:
                    connection.sendall(data)
                    answer = b""
                    while chunk := connection.recv(65536):
                        answer += chunk
                    return answer
                except (BrokenPipeError, ConnectionResetError):
                    return b""
        assert send(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n").split(b"\r\n")[0].split(b" ")[1:2] in ([], [b"400"], [b"414"], [b"431"])
        assert send(b"GET / HTTP/1.1\r\n" + b"a: " + b"b" * 200_000 + b"\r\n\r\n")[:12] in (b"", b"HTTP/1.0 400", b"HTTP/1.0 431")
        assert send(b"\x16\x03\x01 not http at all\r\n\r\n")[:12] in (b"", b"HTTP/1.0 400")
        huge = b"PATCH /config HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n" + b"{" * 2_000_000
        assert send(huge)[:12] in (b"", b"HTTP/1.0 413", b"HTTP/1.0 400")
        deep = b"[" * 500_000
        assert node.rest_call("/config", "PATCH", None)[0] == 400
        assert send(b"PATCH /config HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(deep) + deep)[9:12] in (b"", b"400", b"413")
        # Connections that say nothing, or one byte now and then, are many and end by themselves.
        idle = [socket.create_connection(("127.0.0.1", node.rest), timeout=20) for _ in range(200)]
        slow = [socket.create_connection(("127.0.0.1", node.rest), timeout=20) for _ in range(50)]
        for connection in slow:
            connection.sendall(b"GET /patroni HT")
        assert latency() < 2, "a health check comes through all the same"
        deadline = time.monotonic() + 60
        for connection in idle + slow:
            connection.settimeout(max(deadline - time.monotonic(), 0.1))
            try:
                while connection.recv(4096):
                    pass
            except ConnectionResetError:
                pass
            connection.close()
        assert node.is_leader() and "Traceback" not in node.log()
        descriptors = len(list((__import__("pathlib").Path(f"/proc/{node.agent.process.pid}/fd")).iterdir()))
        assert descriptors < 100, "nothing is left open"
