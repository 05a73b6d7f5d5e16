"""The frontend/backend protocol by hand, for what no driver would send: messages to send, and a client that reads answers
one by one. Names of message types are those of PostgreSQL's manual, chapter 'Message Formats'."""

import socket
import struct
import time

PROTOCOL_3_0, PROTOCOL_3_2 = 0x00030000, 0x00030002
SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)


def message(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def text(value):
    return (value if isinstance(value, bytes) else value.encode()) + b"\0"


def startup(parameters, protocol=PROTOCOL_3_0):
    body = struct.pack("!I", protocol) + b"".join(text(k) + text(v) for k, v in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def cancel_request(key):
    return struct.pack("!II", 8 + len(key), 80877102) + key


def query(sql):
    return message("Q", text(sql))


def parse(name, sql, types=()):
    return message("P", text(name) + text(sql) + struct.pack(f"!H{len(types)}I", len(types), *types))


def bind(portal="", statement="", values=(), formats=(), results=()):
    """Values are text, bytes or None; formats and results are 0 (text) or 1 (binary)."""
    body = text(portal) + text(statement) + struct.pack(f"!H{len(formats)}H", len(formats), *formats) + struct.pack("!H", len(values))
    for value in values:
        data = value.encode() if isinstance(value, str) else value
        body += struct.pack("!i", -1) if data is None else struct.pack("!I", len(data)) + data
    return message("B", body + struct.pack(f"!H{len(results)}H", len(results), *results))


def describe(kind, name=""):
    return message("D", kind.encode() + text(name))


def execute(portal="", rows=0):
    return message("E", text(portal) + struct.pack("!I", rows))


def close(kind, name=""):
    return message("C", kind.encode() + text(name))


def function_call(oid, values):
    body = struct.pack("!IHHH", oid, 1, 0, len(values))
    for value in values:
        body += struct.pack("!I", len(value)) + value.encode()
    return message("F", body + struct.pack("!H", 0))


SYNC, FLUSH, TERMINATE, COPY_DONE = message("S"), message("H"), message("X"), message("c")


def copy_data(data):
    return message("d", data)


def copy_fail(why):
    return message("f", text(why))


class Message:
    def __init__(self, kind, body):
        self.kind, self.body = kind, body

    def __repr__(self):
        return f"{self.kind}({self.body[:200]!r})"

    @property
    def fields(self):
        """Of an ErrorResponse or NoticeResponse."""
        parts = self.body.rstrip(b"\0").split(b"\0")
        return {p[:1].decode(): p[1:].decode(errors="replace") for p in parts if p}

    @property
    def values(self):
        """Of a DataRow."""
        count, at, out = struct.unpack_from("!H", self.body)[0], 2, []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", self.body, at)
            at += 4
            out.append(None if length < 0 else self.body[at:at + length].decode(errors="replace"))
            at += max(length, 0)
        return out

    @property
    def columns(self):
        """Of a RowDescription: (name, table, attribute, type, size, modifier, format)."""
        count, at, out = struct.unpack_from("!H", self.body)[0], 2, []
        for _ in range(count):
            end = self.body.index(b"\0", at)
            out.append((self.body[at:end].decode(), *struct.unpack_from("!IhIhih", self.body, end + 1)))
            at = end + 19
        return out

    @property
    def string(self):
        return self.body.split(b"\0")[0].decode(errors="replace")


class Closed(OSError):
    """The other side has ended the connection."""


class Raw:
    def __init__(self, connection):
        self.socket, self.buffer = connection, b""
        self.parameters, self.key, self.welcome = {}, None, []

    def close(self):
        self.socket.close()

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))
        return self

    def read(self, count):
        """Exactly so many bytes."""
        while len(self.buffer) < count:
            data = self.socket.recv(max(65536, count - len(self.buffer)))
            if not data:
                raise Closed(f"end of stream, with {self.buffer[:100]!r} left")
            self.buffer += data
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def receive(self):
        head = self.read(5)
        (length,) = struct.unpack("!I", head[1:])
        return Message(chr(head[0]), self.read(length - 4))

    def until(self, *kinds):
        """All messages up to and including the first of one of these kinds."""
        out = []
        while True:
            out.append(self.receive())
            if out[-1].kind in kinds:
                return out

    def expect(self, kinds):
        """The next messages are exactly these kinds, a string such as '1 2 D C Z'. Notices and parameters do not count."""
        out = []
        for kind in kinds.split():
            answer = self.receive()
            while answer.kind in "NS" and kind not in "NS":
                answer = self.receive()
            out.append(answer)
            if answer.kind != kind:
                more = answer.fields if answer.kind == "E" else answer.body[:100]
                raise AssertionError(f"expected {kinds}; after {[m.kind for m in out[:-1]]} came {answer.kind}: {more}")
        return out

    def closed(self, seconds=10):
        """The messages up to the end of the stream, which has to come."""
        self.socket.settimeout(seconds)
        out = []
        try:
            while True:
                out.append(self.receive())
        except Closed:
            return out
        except ConnectionResetError:
            return out
        except TimeoutError:
            raise AssertionError(f"still open after {seconds} s; got {out}") from None

    def fatal(self, seconds=10):
        """The fields of the error that ends the connection."""
        messages = self.closed(seconds)
        errors = [m for m in messages if m.kind == "E"]
        assert errors, f"closed without an error: {messages}"
        return errors[-1].fields

    def silent(self, seconds):
        """Nothing arrives for so long."""
        if self.buffer:
            return False
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1)
            self.buffer += data
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(10)

    def start(self, user="app", database="db1", protocol=PROTOCOL_3_0, **parameters):
        """Sends a startup message only."""
        named = {"user": user, "database": database, **parameters}
        return self.send(startup({k: v for k, v in named.items() if v is not None}, protocol))

    def login(self, user="app", database="db1", protocol=PROTOCOL_3_0, **parameters):
        self.start(user, database, protocol, **parameters)
        self.welcome = self.until("Z", "E")
        if self.welcome[-1].kind == "E":
            raise AssertionError(f"login failed: {self.welcome[-1].fields}")
        for m in self.welcome:
            if m.kind == "S":
                name, value = m.body.rstrip(b"\0").split(b"\0") if m.body.count(b"\0") > 1 and m.body[-2:] != b"\0\0" \
                    else (m.body.split(b"\0")[0], b"")
                self.parameters[name.decode()] = value.decode()
            elif m.kind == "K":
                self.key = m.body
        return self

    def query(self, sql):
        """The messages that answer a simple query."""
        return self.send(query(sql)).until("Z")

    def value(self, sql):
        rows = [m for m in self.query(sql) if m.kind in "DE"]
        assert rows and rows[0].kind == "D", rows and rows[0].fields
        return rows[0].values[0]

    def run(self, sql, values=(), statement=""):
        """One extended-protocol round trip; the messages."""
        return self.send(parse(statement, sql), bind("", statement, values), describe("P"), execute(), SYNC).until("Z")


def kinds(messages):
    """'1 2 D C Z', without notices and parameters."""
    return " ".join(m.kind for m in messages if m.kind not in "NS")


def errors(messages):
    return [m.fields["M"] for m in messages if m.kind == "E"]


def wait_closed(connection, seconds=10):
    """A plain socket is closed by the other side."""
    deadline = time.monotonic() + seconds
    connection.settimeout(seconds)
    try:
        while time.monotonic() < deadline:
            if not connection.recv(65536):
                return True
    except ConnectionResetError:
        return True
    except (TimeoutError, socket.timeout):
        pass
    return False
