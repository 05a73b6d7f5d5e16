"""A new process takes the listening sockets over while clients connect, work and hold transactions: nobody is dropped."""

import signal
import threading

from harness import wait_for
from pool_harness import failure_of, ours_only, value_of

pytestmark = ours_only


class Traffic:
    """Clients that connect anew for every query, and one that stays."""

    def __init__(self, pooler, clients=4):
        self.pooler, self.errors, self.queries, self.end = pooler, [], 0, threading.Event()
        self.threads = [threading.Thread(target=self.connect_and_ask, daemon=True) for _ in range(clients)]
        self.threads.append(threading.Thread(target=self.stay_and_ask, daemon=True))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_for(lambda: self.queries > 20, 20, "traffic flows")
        return self

    def __exit__(self, *_):
        self.end.set()
        for thread in self.threads:
            thread.join(30)

    def ask(self, connection):
        assert value_of(connection, "SELECT 7") == 7
        self.queries += 1

    def connect_and_ask(self):
        while not self.end.is_set():
            try:
                connection = self.pooler.connect()
                self.ask(connection)
                connection.close()
            except Exception as error:  # noqa: BLE001  (whatever it is, the test reports it)
                self.errors.append(repr(error))

    def stay_and_ask(self):
        try:
            connection = self.pooler.connect()
            while not self.end.is_set():
                self.ask(connection)
            connection.close()
        except Exception as error:  # noqa: BLE001
            self.errors.append(repr(error))


def successor(pool, old, option="--handover", **more):
    new = pool(directory=old.directory, port=old.port, arguments=[option], start=False, **more)
    old.expect_exit = True
    new.process.start()
    wait_for(lambda: old.pidfile.exists() and old.pidfile.read_text().strip() == str(new.process.process.pid), 20,
             "the pid file names the new process")
    return new


def ended(pooler, seconds=20):
    return wait_for(lambda: pooler.process.process.poll() is not None, seconds, "the old process has ended")


def test_nobody_is_dropped(pool):
    old = pool()
    held = old.connect(autocommit=False)
    assert value_of(held, "SELECT 1") == 1
    with Traffic(old) as traffic:
        new = successor(pool, old)
        before = traffic.queries
        wait_for(lambda: traffic.queries > before + 200, 30, "traffic flows on")
    assert traffic.errors == []
    # The transaction is the old process's still, and goes on.
    assert old.process.process.poll() is None
    assert value_of(held, "SELECT 2") == 2
    held.commit()
    held.close()
    ended(old)
    assert old.process.process.returncode == 0
    assert new.query("SELECT 3") == [(3,)] and new.query("SELECT 4", unix=True) == [(4,)]


def test_again_and_again(pool):
    first = pool()
    second = successor(pool, first)
    ended(first)
    third = successor(pool, second, option="-R")
    ended(second)
    assert third.query("SELECT 1") == [(1,)]
    assert third.directory.joinpath(f".s.PGSQL.{third.port}").exists()


def test_the_new_process_listens_where_its_file_says(pool):
    old = pool()
    old.settings["unix_socket_dir"] = old.directory  # the place where they meet
    new = successor(pool, old, settings={"listen_addr": ""})
    ended(old)
    assert new.query("SELECT 1", unix=True) == [(1,)]
    assert failure_of(lambda: new.connect()) is not None


def test_without_a_process_to_replace_it_starts_as_usual(pool):
    pooler = pool(arguments=["-R"])
    assert pooler.query("SELECT 1") == [(1,)]
    pooler.wait_log("old process not found, try to continue normally")


def test_a_successor_that_fails_leaves_the_old_one_at_work(pool):
    old = pool()
    broken = pool(directory=old.directory, port=old.port, arguments=["-R"], start=False,
                  settings={"metrics_listen": f"127.0.0.1:{old.port}"})
    broken.process.start()
    broken.expect_exit = True
    assert broken.process.process.wait(20) == 1
    assert old.query("SELECT 1") == [(1,)] and old.query("SELECT 2", unix=True) == [(2,)]
    assert old.pidfile.read_text().strip() == str(old.process.process.pid)


def test_sigterm_ends_a_draining_process_with_its_clients(pool):
    old = pool()
    client = old.connect()
    successor(pool, old)
    old.process.signal(signal.SIGTERM)
    assert value_of(client, "SELECT 1") == 1
    old.process.signal(signal.SIGTERM)
    ended(old)
