"""The pooler in a cluster whose etcd the test writes itself: two PostgreSQL servers that are both primaries, so that one
which leads no more goes on answering. What real agents do is in test_pool_cluster.py."""

import contextlib
import json
import signal
import threading
import time

import psycopg2
import pytest
from harness import Etcd, free_ports, wait_for
from pool_harness import Pooler, Server, ours_only, remove, rows_of, scratch_directory, value_of

pytestmark = ours_only
PREFIX = "/service/route/"


class Keys:
    """What agents would write."""

    def __init__(self, etcd, servers):
        self.etcd, self.servers = etcd, servers

    def put(self, key, value):
        done = self.etcd.ctl("put", PREFIX + key, value if isinstance(value, str) else json.dumps(value))
        assert done.returncode == 0, done.stderr

    def delete(self, key, *more):
        assert self.etcd.ctl("del", PREFIX + key, *more).returncode == 0

    def get(self, key):
        """{short name: value}"""
        lines = self.etcd.ctl("get", "--prefix", PREFIX + key).stdout.splitlines()
        return {name[len(PREFIX):]: value for name, value in zip(lines[::2], lines[1::2])}

    def term(self):
        out = json.loads(self.etcd.ctl("get", PREFIX + "leader", "-w", "json").stdout)
        return out["kvs"][0]["create_revision"] if out.get("kvs") else 0

    def member(self, name, role="primary", **more):
        server = self.servers[name]
        self.put(f"members/{name}", {"conn_url": f"postgres://127.0.0.1:{server.port}/postgres", "api_url": "http://127.0.0.1:1/patroni",
                                     "state": "running", "role": role, "version": "4.1.0", "xlog_location": 100, "timeline": 1, **more})

    def lead(self, name):
        """A new reign: the key is made anew."""
        self.delete("leader")
        self.put("leader", name)

    def drain(self, ident, leader, timeout=5):
        self.put("drain", {"id": ident, "reason": "switchover", "leader": leader, "term": str(self.term()), "timeout": timeout})

    def pooler(self):
        """What the one pooler says of itself."""
        found = list(self.get("poolers/").values())
        return json.loads(found[0]) if len(found) == 1 else None


@pytest.fixture(scope="module")
def servers():
    with contextlib.ExitStack() as stack:
        pair = {}
        for name in ("a", "b"):
            pair[name] = Server()
            stack.callback(pair[name].cleanup)
            pair[name].create()
        yield pair


@pytest.fixture(scope="module")
def etcd_server():
    directory = scratch_directory("etcd")
    etcd = Etcd(directory)
    try:
        yield etcd.start()
    finally:
        etcd.stop()
        remove(directory)


@pytest.fixture
def keys(etcd_server, servers):
    keys = Keys(etcd_server, servers)
    keys.delete("", "--prefix")
    keys.member("a")
    keys.member("b")
    keys.lead("a")
    return keys


@pytest.fixture
def follower(keys):
    """A function that starts a pooler of this cluster."""
    with contextlib.ExitStack() as stack:
        def start(settings=None, databases=None, **cluster):
            section = {"scope": "route", "etcd_hosts": ", ".join(keys.etcd.endpoints), **cluster}
            pooler = Pooler(None, settings, databases or {"db1": "role=primary", "any": "role=any dbname=db1"}, cluster=section)
            stack.callback(pooler.cleanup)
            return pooler.start()
        yield start


def port_of(connection):
    return value_of(connection, "SELECT inet_server_port()")


class Client(threading.Thread):
    """Asks again and again which server it is on."""

    def __init__(self, pooler, **more):
        super().__init__(daemon=True)
        self.connection = pooler.connect(**more)
        self.answers, self.errors, self.longest = [], [], 0.0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            begun = time.monotonic()
            try:
                port = port_of(self.connection)
            except psycopg2.Error as error:
                self.errors.append((error.pgcode, str(error)))
                return
            now = time.monotonic()
            self.answers.append((begun, now, port))
            self.longest = max(self.longest, now - begun)

    def stop(self):
        self.ended.set()
        self.join(30)
        assert not self.is_alive()


@contextlib.contextmanager
def clients(pooler, count, **more):
    all_of_them = [Client(pooler, **more) for _ in range(count)]
    for client in all_of_them:
        client.start()
    try:
        yield all_of_them
    finally:
        for client in all_of_them:
            client.stop()


def test_it_goes_where_the_leader_key_points(keys, servers, follower):
    pooler = follower()
    with contextlib.closing(pooler.connect()) as connection:
        assert port_of(connection) == servers["a"].port
        keys.lead("b")
        wait_for(lambda: port_of(connection) == servers["b"].port, 10, "the pooler has followed")
    rows = {r["member"]: r for r in pooler.admin("SHOW CLUSTER")}
    assert (rows["b"]["role"], rows["b"]["term"], rows["b"]["seen_by"]) == ("leader", keys.term(), "etcd")
    assert rows["b"]["routed"] >= 1 and rows["a"]["routed"] == 0
    assert rows["a"]["term"] is None and rows["b"]["timeline"] == 1


def test_a_leader_that_was_deposed_and_still_answers_gets_no_query(keys, servers, follower):
    pooler = follower({"default_pool_size": 5})
    in_flight = pooler.raw()  # libpq forgets an error that comes while it asks for nothing
    in_flight.query("BEGIN")
    assert in_flight.value("SELECT inet_server_port()") == str(servers["a"].port)
    with clients(pooler, 8) as crowd:
        wait_for(lambda: all(c.answers for c in crowd), 10, "everybody is served")
        keys.lead("b")
        wait_for(lambda: all(c.errors or c.answers[-1][2] == servers["b"].port for c in crowd), 10, "the new leader serves")
    # A server answers while the key moves; once the first answer of the new one has come, none of the old one begins.
    first = min(begun for c in crowd for begun, _, port in c.answers if port == servers["b"].port)
    late = [a for c in crowd for a in c.answers if a[2] == servers["a"].port and a[0] > first + 0.05]
    assert not late
    # Only transactions that were under way are ended; each of eight clients may have had one of five connections.
    errors = [e for c in crowd for e in c.errors]
    assert all(code in ("57P01", "08006", None) for code, _ in errors)
    assert len(errors) <= 5
    assert in_flight.fatal()["C"] == "57P01"
    assert not servers["a"].sessions("db1")


def test_while_nobody_leads_clients_wait_and_lose_nothing(keys, servers, follower):
    pooler = follower()
    idle = [pooler.connect() for _ in range(3)]
    for connection in idle:
        port_of(connection)
    keys.delete("leader")
    wait_for(lambda: "nobody leads" in pooler.log(), 10, "the pooler knows")
    with clients(pooler, 4) as crowd:  # logins too: the pool knows what to tell them
        wait_for(lambda: pooler.pool()["cl_waiting"] == 4, 10, "they wait")
        keys.put("leader", "b")
        wait_for(lambda: all(c.answers for c in crowd), 10, "they are served")
        assert not [e for c in crowd for e in c.errors]
    assert [port_of(connection) for connection in idle] == [servers["b"].port] * 3


def test_waiting_is_bounded_by_query_wait_timeout(keys, follower):
    keys.delete("leader")
    pooler = follower({"query_wait_timeout": 1})
    assert "query_wait_timeout" in pooler.refusal()


def test_a_leader_that_refuses_connections_is_waited_for(keys, servers, follower):
    pooler = follower({"server_login_retry": 15})
    with contextlib.closing(pooler.connect()) as connection:
        port_of(connection)
        (closed,) = free_ports(1)
        keys.put("members/c", {"conn_url": f"postgres://127.0.0.1:{closed}/postgres", "state": "running", "role": "primary"})
        keys.lead("c")
        answer = []
        asking = threading.Thread(target=lambda: answer.append(port_of(connection)))
        asking.start()
        wait_for(lambda: pooler.pool()["cl_waiting"] == 1, 10, "the client waits")
        asking.join(1)
        assert not answer
        began = time.monotonic()
        keys.put("members/c", {"conn_url": f"postgres://127.0.0.1:{servers['b'].port}/postgres", "state": "running", "role": "primary"})
        asking.join(10)
        assert answer == [servers["b"].port]
        assert time.monotonic() - began < 5  # server_login_retry does not hold it up


def test_errors_that_waiting_does_not_mend_are_told(keys, follower):
    pooler = follower(databases={"nowhere": "role=primary dbname=nowhere"})
    assert "does not exist" in pooler.refusal(dbname="nowhere")


# --- the drain conversation

def test_a_pooler_registers_and_leaves(keys, follower):
    pooler = follower(name="p1")
    said = wait_for(keys.pooler, 10, "its key")
    assert said["name"].startswith("p1-") and said["listen"] == f"127.0.0.1:{pooler.port}"
    wait_for(lambda: keys.pooler()["term"] == str(keys.term()), 10, "the term that it routes to")
    assert "drain" not in keys.pooler()
    pooler.process.signal(signal.SIGQUIT)
    assert pooler.exits() == 0
    assert keys.pooler() is None


def test_a_drain_lets_transactions_end_and_holds_others(keys, servers, follower):
    pooler = follower()
    with clients(pooler, 5) as crowd:
        in_flight = pooler.connect(autocommit=False)
        assert port_of(in_flight) == servers["a"].port
        wait_for(keys.pooler, 10, "its key")
        keys.drain("d1", "a")

        def says_one_is_active():
            said = (keys.pooler() or {}).get("drain") or {}
            return (said.get("id"), said.get("state"), said.get("active")) == ("d1", "draining", 1)

        wait_for(says_one_is_active, 10, "it says that it drains, and that one transaction is in flight")
        wait_for(lambda: pooler.pool()["cl_waiting"] == 5, 10, "the others wait")
        assert port_of(in_flight) == servers["a"].port  # it goes on
        in_flight.commit()
        wait_for(lambda: keys.pooler()["drain"]["state"] == "drained", 10, "it says that it has drained")
        assert keys.pooler()["drain"]["active"] == 0 and keys.pooler()["drain"]["waiting"] == 5
        assert not servers["a"].sessions("db1")
        assert pooler.admin("SHOW CLUSTER")[0]["state"] == "draining"
        keys.lead("b")  # the request goes with the reign; alone it would be called off
        keys.delete("drain")
        wait_for(lambda: all(c.errors or c.answers[-1][2] == servers["b"].port for c in crowd), 10, "the new leader serves")
        assert not [e for c in crowd for e in c.errors]
    assert port_of(in_flight) == servers["b"].port
    wait_for(lambda: "drain" not in keys.pooler(), 10, "the drain is over for it, too")


def test_a_drain_that_is_called_off_ends_the_wait(keys, servers, follower):
    pooler = follower()
    with clients(pooler, 5) as crowd:
        wait_for(keys.pooler, 10, "its key")
        keys.drain("d1", "a")
        wait_for(lambda: (keys.pooler().get("drain") or {}).get("state") == "drained", 10, "drained")
        keys.delete("drain")
        wait_for(lambda: pooler.pool()["cl_waiting"] == 0, 10, "nobody waits")
        before = [len(c.answers) for c in crowd]
        wait_for(lambda: all(len(c.answers) > n for c, n in zip(crowd, before)), 10, "everybody is served again")
        assert not [e for c in crowd for e in c.errors]


def test_a_drain_of_another_reign_means_nothing(keys, follower):
    pooler = follower()
    wait_for(keys.pooler, 10, "its key")
    keys.put("drain", {"id": "old", "reason": "switchover", "leader": "a", "term": "1", "timeout": 5})
    with contextlib.closing(pooler.connect()) as connection:
        for _ in range(20):
            port_of(connection)
    assert "drain" not in keys.pooler()


def test_idle_sessions_lose_their_connection_when_drained(keys, servers, follower):
    pooler = follower({"pool_mode": "session"})
    idle, busy = pooler.raw(), pooler.connect(autocommit=False)
    idle.value("SELECT 1"), port_of(busy)
    keys.drain("d1", "a")
    said = wait_for(lambda: (keys.pooler() or {}).get("drain"), 10, "it says that it drains")
    assert (said["state"], said["active"]) == ("draining", 1)
    assert idle.value("SELECT inet_server_port()") == str(servers["a"].port)  # its session goes on until then
    busy.commit()
    wait_for(lambda: keys.pooler()["drain"]["state"] == "drained", 10, "drained")
    assert idle.fatal()["C"] == "57P01"


def test_without_etcd_the_last_known_leader_is_served(servers):
    """With an etcd of its own, since it is stopped for good."""
    directory = scratch_directory("etcd")
    etcd = Etcd(directory).start()
    try:
        keys = Keys(etcd, servers)
        keys.member("a")
        keys.lead("a")
        pooler = Pooler(None, None, {"db1": "role=primary"}, cluster={"scope": "route", "etcd_hosts": ", ".join(etcd.endpoints)})
        try:
            pooler.start()
            with clients(pooler, 3) as crowd:
                wait_for(lambda: all(c.answers for c in crowd), 10, "they are served")
                etcd.stop()
                wait_for(lambda: "the last known state of the cluster stands" in pooler.log(), 20, "the pooler knows")
                before = [len(c.answers) for c in crowd]
                wait_for(lambda: all(len(c.answers) > n for c, n in zip(crowd, before)), 10, "they are served still")
                assert not [e for c in crowd for e in c.errors]
            assert pooler.admin("SHOW CLUSTER")[0]["seen_by"] == "nobody"
        finally:
            pooler.cleanup()
    finally:
        etcd.stop()
        remove(directory)


def test_reads_without_a_replica_are_refused_or_go_to_the_leader(keys, servers, follower):
    (port,) = free_ports(1)
    pooler = follower(read_port=port, replica_fallback="refuse")
    assert "no replica may serve reads" in pooler.refusal(port=port)
    assert pooler.query("SELECT 1") == [(1,)]
    (port,) = free_ports(1)
    other = follower(read_port=port)
    with contextlib.closing(other.connect(port=port)) as connection:
        assert port_of(connection) == servers["a"].port
    assert ("db1:replica", "app") in [(r["database"], r["user"]) for r in other.admin("SHOW POOLS")]


def test_a_primary_is_not_taken_for_the_replica_that_etcd_calls_it(keys, servers, follower):
    """As a leader that was cut off: it says replica nowhere but in old keys."""
    keys.member("b", role="replica")
    (port,) = free_ports(1)
    pooler = follower({"query_wait_timeout": 2}, read_port=port)
    assert "query_wait_timeout" in pooler.refusal(port=port)
    assert not servers["b"].sessions("db1")
    assert "not a replica any more" in pooler.log()


def test_what_is_not_in_the_cluster_is_not_on_the_read_port(keys, servers, follower):
    (port,) = free_ports(1)
    pooler = follower(databases={"db1": "role=primary", "db2": f"host=127.0.0.1 port={servers['b'].port}"}, read_port=port)
    assert "no role in the cluster" in pooler.refusal(dbname="db2", port=port)
    assert pooler.query("SELECT 1", dbname="db2") == [(1,)]


def test_a_member_on_this_machine_is_reached_by_its_socket(keys, servers, follower):
    pooler = follower(local_socket=servers["a"].directory)
    assert pooler.query("SELECT inet_server_port() IS NULL") == [(True,)]
    rows = {r["member"]: r for r in pooler.admin("SHOW CLUSTER")}
    assert rows["a"]["socket"] == str(servers["a"].directory) and rows["b"]["socket"] == ""
    keys.lead("b")
    wait_for(lambda: pooler.query("SELECT inet_server_port()") == [(servers["b"].port,)], 10, "the other one over TCP")
