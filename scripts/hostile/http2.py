"""HTTP/2 (RFC 9113) frame by frame, so that a client can do what libraries don't let it."""

import contextlib
import socket
import struct
import threading

DATA, HEADERS, _, RST_STREAM, SETTINGS, _, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INITIAL_WINDOW = 4
MAX_FRAME = 16_384
MOST_WINDOW = 2**31 - 1


def frame(kind, flags=0, stream=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def integer(value, bits, first=0):
    """HPACK's integers (RFC 7541, 5.1), with the examples of C.1.

    >>> integer(10, 5).hex(), integer(1337, 5).hex(), integer(42, 8).hex()
    ('0a', '1f9a0a', '2a')
    """
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    encoded, value = [first | most], value - most
    while value >= 128:
        encoded.append(value % 128 | 128)
        value //= 128
    return bytes([*encoded, value])


def text(value):
    return integer(len(value), 7) + value


def literal(name, value, indexed=False):
    """A header in plain letters; `indexed`: it goes into the table of those that came."""
    return (b"\x40" if indexed else b"\0") + text(name.encode()) + text(value.encode())


def headers(path, method="POST", **others):
    fields = {":method": method, ":scheme": "http", ":authority": "localhost", ":path": path, **others}
    return b"".join(literal(name.replace("_", "-"), value) for name, value in fields.items())


def grpc_headers(method):
    path = f"/akidb.embedding.v1.EmbeddingService/{method}"
    return headers(path, content_type="application/grpc", te="trailers")


def field(number, payload):
    """A length-delimited field of protocol buffers."""
    return integer_of_protobuf(number << 3 | 2) + integer_of_protobuf(len(payload)) + payload


def integer_of_protobuf(value):
    """A varint: `150` of protocol buffers' own documentation.

    >>> integer_of_protobuf(150).hex(), field(2, b"testing").hex()
    ('9601', '120774657374696e67')
    """
    encoded = bytearray()
    while value >= 128:
        encoded.append(value % 128 | 128)
        value //= 128
    return bytes([*encoded, value])


def grpc_message(payload):
    return b"\0" + len(payload).to_bytes(4, "big") + payload


class Stream:
    def __init__(self, window):
        self.window = window
        self.headers = []
        self.received = 0
        self.ended = False
        self.reset = None


class Client:
    """One connection. A thread reads what comes; `window` is what the server may send on each stream."""

    def __init__(self, address, window=MOST_WINDOW, timeout=30):
        import hpack

        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout)
        # Reading may take as long as a row likes, writing may not.
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", timeout, 0))
        self.decoder = hpack.Decoder()
        self.streams = {}
        self.next = 1
        self.window = self.initial = 65_535
        self.gone = self.goaway = None
        self.changed = threading.Condition()
        self.writing = threading.Lock()
        self.timeout = timeout
        self.write(PREFACE + frame(SETTINGS, payload=struct.pack(">HI", INITIAL_WINDOW, window)))
        if window:
            increment = struct.pack(">I", MOST_WINDOW - 65_535)
            self.write(frame(WINDOW_UPDATE, payload=increment))
        threading.Thread(target=self._read, daemon=True).start()

    def write(self, data):
        try:
            with self.writing:
                self.socket.sendall(data)
            return True
        except OSError as error:
            self._end(type(error).__name__)
            return False

    def _end(self, why):
        with self.changed:
            self.gone = self.gone or why
            self.changed.notify_all()

    def _read(self):
        try:
            file = self.socket.makefile("rb")
            while True:
                head = file.read(9)
                if len(head) < 9:
                    return self._end("closed")
                payload = file.read(int.from_bytes(head[:3], "big"))
                with self.changed:
                    self._take(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
                    self.changed.notify_all()
        except (OSError, ValueError) as error:
            self._end(type(error).__name__)

    def _take(self, kind, flags, number, payload):
        stream = self.streams.get(number)
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == INITIAL_WINDOW:
                    for other in self.streams.values():
                        other.window += value - self.initial
                    self.initial = value
            threading.Thread(target=self.write, args=(frame(SETTINGS, ACK),), daemon=True).start()
        elif kind == PING and not flags & ACK:
            threading.Thread(target=self.write, args=(frame(PING, ACK, 0, payload),), daemon=True).start()
        elif kind == WINDOW_UPDATE:
            increment = int.from_bytes(payload, "big")
            if number == 0:
                self.window += increment
            elif stream:
                stream.window += increment
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif stream and kind == HEADERS:
            stream.headers += self.decoder.decode(payload)
            stream.ended |= bool(flags & END_STREAM)
        elif stream and kind == DATA:
            stream.received += len(payload)
            stream.ended |= bool(flags & END_STREAM)
        elif stream and kind == RST_STREAM:
            stream.reset = int.from_bytes(payload, "big")

    def open(self, block, end=False):
        """Sends a request's head; gives its number."""
        with self.changed:
            number, self.next = self.next, self.next + 2
            self.streams[number] = Stream(self.initial)
        self.write(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), number, block))
        return number

    def send(self, number, data, end=False):
        """Sends a body as fast as the windows let it; whether all of it went."""
        stream, rest = self.streams[number], memoryview(data)
        ready = lambda: self.gone or stream.reset is not None or min(self.window, stream.window) > 0
        while rest:
            with self.changed:
                if not self.changed.wait_for(ready, self.timeout) or self.gone or stream.reset is not None:
                    return False
                size = min(len(rest), MAX_FRAME, self.window, stream.window)
                self.window -= size
                stream.window -= size
            flags = END_STREAM if end and size == len(rest) else 0
            if not self.write(frame(DATA, flags, number, bytes(rest[:size]))):
                return False
            rest = rest[size:]
        return True

    def request(self, path, body):
        number = self.open(headers(path, content_type="application/json"))
        self.send(number, body, end=True)
        return number

    def header(self, number, name):
        return next((value for key, value in self.streams[number].headers if key == name), None)

    def unanswered(self):
        """Streams of which not even the head has come."""
        if self.gone:
            return 0
        return sum(not s.headers and s.reset is None for s in list(self.streams.values()))

    def waiting(self):
        """Streams that are neither answered nor cut."""
        if self.gone:
            return 0
        return sum(not s.ended and s.reset is None for s in list(self.streams.values()))

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
