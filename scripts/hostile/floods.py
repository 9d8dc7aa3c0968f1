"""Rows: HTTP/2 frames without end, which held before and must hold."""

from . import http2
from .attacked import SLACK_MB, Bystander
from .clients import counted, wait_until
from .harness import row

BESIDE = 0.5


def flood(setup, send, connections=20):
    """`send(client)` floods, over one connection after the other; memory stays, somebody else is answered."""
    with setup.serve() as server:
        server.warm()
        ends = []
        with server.memory(SLACK_MB), Bystander(server) as bystander:
            for _ in range(connections):
                with http2.Client(server.address, timeout=5) as client:
                    sent = send(client)
                    wait_until(lambda client=client: client.gone, 1)
                    ends.append(f"{sent}, then {'closed' if client.gone else 'left open'}")
        setup.tell("connections", counted(ends))
        bystander.check(BESIDE)
        server.still_answers()


@row(
    "HTTP/2 rapid reset: 20 connections of up to 50 000 requests, each cancelled at once",
    "cut, others are answered",
    packages=("hpack",),
)
def rapid_reset(setup):
    head = http2.headers("/v1/embeddings", content_type="application/json")

    def send(client):
        for i in range(500):
            numbers = range(client.next + 200 * i, client.next + 200 * (i + 1), 2)
            pairs = (
                http2.frame(http2.HEADERS, http2.END_HEADERS, n, head)
                + http2.frame(http2.RST_STREAM, 0, n, b"\0\0\0\x08")
                for n in numbers
            )
            if not client.write(b"".join(pairs)):
                return "cut"
        return "50 000 resets"

    flood(setup, send)


@row("CONTINUATION flood: 20 heads of 200 MB that never end", "cut, others are answered", packages=("hpack",))
def continuation_flood(setup):
    def send(client):
        client.write(http2.frame(http2.HEADERS, 0, 1, http2.headers("/v1/embeddings")))
        fields = http2.literal("x-filler", "y" * 16_000)
        for i in range(12_000):
            if not client.write(http2.frame(http2.CONTINUATION, 0, 1, fields)):
                return "cut"
        return "200 MB"

    flood(setup, send)


@row("HPACK bomb: heads of 16 kB that stand for 60 MB", "cut or bounded, others are answered", packages=("hpack",))
def hpack_bomb(setup):
    # The first head puts 4 kB into the table; each byte of the others is a reference to it.
    large = http2.literal("x-large", "y" * 3900, indexed=True)
    references = http2.integer(62, 7, 0x80) * 15_000

    def send(client):
        for i in range(200):
            head = http2.headers("/health", method="GET") + (large if i == 0 else references)
            client.open(head, end=True)
            if client.gone:
                return "cut"
        return "200 heads"

    flood(setup, send)


@row("floods of PING, SETTINGS, empty DATA and unknown frames", "bounded, others are answered", packages=("hpack",))
def frame_floods(setup):
    ping = http2.frame(http2.PING, 0, 0, b"12345678")
    settings = http2.frame(http2.SETTINGS, 0, 0, b"\0\4\0\1\0\0")
    priority = http2.frame(2, 0, 1, b"\0\0\0\0\x10")
    unknown = http2.frame(200, 0, 0, b"x" * 100)
    empty = http2.frame(http2.DATA, 0, 1)

    def send(client):
        for frame in [ping, settings, priority, unknown, empty]:
            if frame == empty:
                client.open(http2.headers("/v1/embeddings", content_type="application/json"))
            if not all(client.write(frame * 1000) for _ in range(40)):
                return "cut"
        return "40 000 of each"

    flood(setup, send, connections=5)
