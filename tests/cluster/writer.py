"""A client that inserts a numbered row every few milliseconds through a multi-host connection string and remembers what
was acknowledged, as applications do."""

import threading
import time

import psycopg2

from harness import SUPERUSER_PASSWORD


class Writer:
    def __init__(self, nodes, table="writes", pause=0.005):
        self.dsn = (f"host={','.join('127.0.0.1' for _ in nodes)} port={','.join(str(n.port) for n in nodes)} "
                    f"user=postgres password={SUPERUSER_PASSWORD} dbname=postgres target_session_attrs=read-write "
                    f"connect_timeout=2 application_name=writer")
        self.table, self.pause = table, pause
        self.acknowledged = []  # (number, time of the acknowledgement)
        self.errors = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        self._thread.join(20)

    def _run(self):
        connection, number = None, 0
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection = psycopg2.connect(self.dsn, options="-c statement_timeout=5000")
                    connection.autocommit = True
                number += 1
                with connection.cursor() as cursor:
                    cursor.execute(f"INSERT INTO {self.table} VALUES (%s)", (number,))
                self.acknowledged.append((number, time.monotonic()))
            except psycopg2.Error as error:
                self.errors.append((number, str(error).strip()))
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.01)
            time.sleep(self.pause)

    def last(self):
        return self.acknowledged[-1][1] if self.acknowledged else None

    def outage_after(self, moment):
        """Seconds from `moment` to the first acknowledgement that came after the longest gap behind it."""
        times = [t for _, t in self.acknowledged if t >= moment - 0.5]
        gaps = [(b - a, b) for a, b in zip(times, times[1:])]
        return max(gaps)[0] if gaps else None

    def lost(self, node):
        rows = {row[0] for row in node.query(f"SELECT * FROM {self.table}")}
        return [number for number, _ in self.acknowledged if number not in rows]
