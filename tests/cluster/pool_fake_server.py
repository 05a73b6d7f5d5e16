"""A server that misbehaves in a way that a test chooses: it speaks just enough of the protocol for the pooler to log in."""

import socket
import struct
import threading
import time

from pool_wire import SSL_REQUEST, Closed, Raw, message, text

PARAMETERS = {"server_version": "15.0", "server_encoding": "UTF8", "client_encoding": "UTF8", "DateStyle": "ISO, MDY",
              "TimeZone": "UTC", "standard_conforming_strings": "on", "application_name": "", "IntervalStyle": "postgres",
              "integer_datetimes": "on", "is_superuser": "off", "session_authorization": "app", "in_hot_standby": "off"}
READY, IN_TRANSACTION = message("Z", b"I"), message("Z", b"T")


def error(severity, code, why):
    return message("E", b"S" + text(severity) + b"V" + text(severity) + b"C" + text(code) + b"M" + text(why) + b"\0")


def row(value):
    column = text("c") + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0)
    data = struct.pack("!H", 1) + struct.pack("!I", len(value)) + value.encode()
    return message("T", struct.pack("!H", 1) + column) + message("D", data) + message("C", text("SELECT 1"))


class FakeServer:
    """`login(client)` and `answer(client, message)` are what a test replaces; `client` is the pooler."""

    def __init__(self, login=None, answer=None, before_startup=None, port=0):
        self.socket = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = self.socket.getsockname()[1]
        self.login, self.answer = login or self.welcome, answer or self.one_row
        self.before_startup = before_startup
        self.connections, self.logins, self.queries = [], [], []
        self.stopped = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopped = True
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # close alone would leave it open for the thread that accepts
        except OSError:
            pass
        self.socket.close()
        self.drop()

    def drop(self):
        """Ends the connections without a word."""
        for connection in self.connections:
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while not self.stopped:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            client = Raw(connection)
            connection.settimeout(60)
            self.connections.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            if self.before_startup and not self.before_startup(client):
                return
            self.startup = self._read_startup(client)
            self.logins.append(time.monotonic())
            if self.login(client) is False:
                return
            while True:
                got = client.receive()
                self.queries.append(got)
                if got.kind == "X":
                    return
                self.answer(client, got)
        except (Closed, OSError):
            pass
        finally:
            client.close()

    def _read_startup(self, client):
        while True:
            (length,) = struct.unpack("!I", client.read(4))
            body = client.read(length - 4)
            if struct.pack("!I", length) + body != SSL_REQUEST:
                return body
            client.send(b"N")

    @staticmethod
    def welcome(client):
        client.send(message("R", b"\0\0\0\0"), *(message("S", text(k) + text(v)) for k, v in PARAMETERS.items()),
                    message("K", struct.pack("!II", 4711, 815)), READY)

    @staticmethod
    def one_row(client, got):
        if got.kind == "Q":
            client.send((row("fake") if b"SET" not in got.body else message("C", text("SET"))) + READY)
