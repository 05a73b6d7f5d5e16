"""Clients: on every node by its Unix socket, over the network, and through the pooler. Every wait has a deadline of its own, since
servers are frozen and networks cut; what was not answered in time is an unknown outcome."""

import random
import select
import threading
import time

import psycopg2
import psycopg2.extensions

from .history import FAILED, OK, UNKNOWN, Read, Transaction, Write

PATIENCE = 4.0  # for one answer
DIAL = 2.0
REST = 0.05  # after an error
# The server has said that nothing was committed.
CERTAIN = {"25006", "40001", "40P01", "57P03", "53300", "23505", "42P01", "55P03"}
SCHEMA = ("CREATE TABLE IF NOT EXISTS writes (client text, number bigint, PRIMARY KEY (client, number))",
          "CREATE TABLE IF NOT EXISTS lists (key int PRIMARY KEY, items bigint[] NOT NULL)")
WHERE = ("current_setting('data_directory'), substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), "
         "pg_current_wal_insert_lsn() - '0/0'")

_wait = threading.local()


class NoAnswer(psycopg2.OperationalError):
    pass


def _poll(connection):
    deadline = getattr(_wait, "deadline", None) or time.monotonic() + 20
    while True:
        state = connection.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        left = deadline - time.monotonic()
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT)
        if left <= 0 or not poller.poll(left * 1000):
            raise NoAnswer("no answer in time")


def install():
    """libpq's own calls wait without a bound; from now on those of this process do not."""
    psycopg2.extensions.set_wait_callback(_poll)


def node_of(data_directory):
    return data_directory.rsplit("/", 3)[1]  # RUN/h1/disk/data


class Session:
    """One connection at a time, to the first address that leads where it left off."""

    def __init__(self, dsns):
        self.dsns, self.connection = list(dsns), None

    def open(self):
        if self.connection is not None:
            return True
        _wait.deadline = time.monotonic() + DIAL
        try:
            self.connection = psycopg2.connect(self.dsns[0])
            self.connection.autocommit = True
            return True
        except psycopg2.Error:
            self.drop()
            return False

    def drop(self):
        if self.connection is not None:
            try:
                self.connection.close()
            except psycopg2.Error:
                pass
        self.connection = None
        self.dsns.append(self.dsns.pop(0))

    def run(self, sql, arguments=None):
        _wait.deadline = time.monotonic() + PATIENCE
        with self.connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchall() if cursor.description else []


class Client(threading.Thread):
    def __init__(self, history, name, dsns, pause):
        super().__init__(daemon=True, name=name)
        self.history, self.session, self.pause = history, Session(dsns), pause
        self._stopped = threading.Event()

    def run(self):
        while not self._stopped.wait(self.pause):
            if not self.session.open():
                self._stopped.wait(REST)
            elif not self.step():
                self.session.drop()
                self._stopped.wait(REST)
        self.session.drop()

    def step(self):
        raise NotImplementedError

    def stop(self):
        self._stopped.set()


class Writer(Client):
    number = 0

    def step(self):
        self.number += 1
        write = Write(self.name, self.number, self.history.now(), None, OK)
        try:
            rows = self.session.run(f"INSERT INTO writes VALUES (%s, %s) RETURNING {WHERE}", (self.name, self.number))
            write.ended = self.history.now()
            write.node, write.timeline, write.lsn = node_of(rows[0][0]), int(rows[0][1], 16), int(rows[0][2])
        except psycopg2.Error as error:
            write.ended = self.history.now()
            write.outcome = FAILED if error.pgcode in CERTAIN else UNKNOWN
            write.error = f"{error.pgcode or ''} {str(error).strip().splitlines()[0] if str(error).strip() else ''}".strip()
            if error.pgcode == "25006":
                if len(self.session.dsns) == 1:  # on a replica: this is what it says most of the time
                    return True
                return False
        self.history.add(self.history.writes, write)
        return write.outcome == OK


class Appender(Client):
    """Transactions on lists: each appends at least one value of its own, so that its fate can be told at the end."""
    KEYS, GENERATION = 5, 150

    def __init__(self, history, name, dsns, pause, identity, seed):
        super().__init__(history, name, dsns, pause)
        self.identity, self.random, self.count = identity, random.Random(seed), 0

    def step(self):
        first = self.count // self.GENERATION * self.KEYS  # lists that have grown long are left
        wanted = [(self.random.random() < 0.5, first + self.random.randrange(self.KEYS)) for _ in range(self.random.randint(1, 3))]
        wanted.append((True, first + self.random.randrange(self.KEYS)))
        done = Transaction(self.name, self.history.now(), None, OK, [])
        try:
            self.session.run("BEGIN ISOLATION LEVEL SERIALIZABLE")
            for append, key in wanted:
                if append:
                    self.count += 1
                    value = self.identity * 10_000_000 + self.count
                    done.operations.append(["append", key, value])
                    self.session.run("INSERT INTO lists VALUES (%s, ARRAY[%s::bigint]) ON CONFLICT (key) DO UPDATE "
                                     "SET items = lists.items || excluded.items", (key, value))
                else:
                    rows = self.session.run("SELECT items FROM lists WHERE key = %s", (key,))
                    done.operations.append(["read", key, list(rows[0][0]) if rows else []])
            data, timeline, _ = self.session.run(f"SELECT {WHERE}")[0]
            done.node, done.timeline = node_of(data), int(timeline, 16)
        except psycopg2.Error as error:  # nothing was told to commit
            done.outcome, done.error = FAILED, str(error).strip()[:200]
        if done.outcome == OK:
            try:
                self.session.run("COMMIT")
            except psycopg2.Error as error:
                done.outcome = FAILED if error.pgcode in CERTAIN else UNKNOWN
                done.error = str(error).strip()[:200]
        done.ended = self.history.now()
        self.history.add(self.history.transactions, done)
        if done.outcome == FAILED:
            try:
                self.session.run("ROLLBACK")
                return done.error is not None and "read-only" not in done.error
            except psycopg2.Error:
                return False
        return done.outcome == OK


class Reader(Client):
    """Reads what one node shows, and between which positions."""

    def step(self):
        position = ("SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() "
                    "ELSE pg_current_wal_insert_lsn() END - '0/0', CASE WHEN pg_is_in_recovery() THEN "
                    "(SELECT received_tli FROM pg_stat_wal_receiver) ELSE ('x' || substr(pg_walfile_name("
                    "CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_insert_lsn() END), 1, 8))::bit(32)::int END")
        sent = self.history.now()
        try:
            replica, before, timeline = self.session.run(position)[0]
            highest = dict(self.session.run("SELECT client, max(number) FROM writes GROUP BY client"))
            still_replica, after, same_timeline = self.session.run(position)[0]
        except psycopg2.Error:
            return False
        if timeline is not None and timeline == same_timeline and replica == still_replica and None not in (before, after):
            self.history.add(self.history.reads, Read(self.name, sent, self.history.now(), timeline, int(before), int(after), highest, replica))
        return True


class Clients:
    """The usual set: a writer on each node, one over the network, one through the pooler; transactions on lists both ways; a
    reader on each node."""

    SERVICE = ("network", "pooler")  # whose gaps are outages

    def __init__(self, deployment, history, seed=1, rate=25):
        install()
        nodes = list(deployment.nodes.values())
        network = [n.dsn(target_session_attrs="read-write") for n in nodes]
        pooler = [deployment.pooler_dsn()] if deployment.pooler else network
        self.all = [Writer(history, f"on-{n.name}", [n.dsn(local=True)], 1 / rate) for n in nodes]
        self.all += [Writer(history, "network", network, 1 / rate), Writer(history, "pooler", pooler, 1 / rate)]
        self.all += [Appender(history, "lists-network", network, 3 / rate, 1, seed), Appender(history, "lists-pooler", pooler, 3 / rate, 2, seed + 1)]
        self.all += [Reader(history, n.name, [n.dsn(local=True)], 0.3) for n in nodes]

    @staticmethod
    def make_schema(leader):
        for sql in SCHEMA:
            leader.query(sql)

    def __enter__(self):
        for client in self.all:
            client.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for client in self.all:
            client.stop()
        for client in self.all:
            client.join(2 * PATIENCE + DIAL)
