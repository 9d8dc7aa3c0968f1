"""Rows: small clients that make the server hold much, and what they do to others."""

import http.client
import json
import socket
import statistics
import threading
import time

from . import http2
from .attacked import SLACK_MB
from .clients import counted, post, together, wait_until
from .harness import row

MIB = 1_048_576 / 1e6
QUEUE_MB = 256 * MIB
# How long a slice of a text may take to be tokenized, in seconds.
SLICE = 0.25
BODY_TIMEOUT = 5
IMPATIENT = ("--body-timeout", f"{BODY_TIMEOUT}s", "--keep-alive", "5s")


def digits(bytes_):
    return b'{"input":"' + b"1" * bytes_ + b'"}'


def qwen(setup):
    return setup.serve(models=("--model", f"qwen={setup.model}"))


@row(
    "one request of 8.3 MB of digits, then four, on Qwen",
    "peak ≤ weights + 2 × max_queue_bytes",
    seconds=400,
    needs_model=True,
)
def digits_qwen(setup):
    body = digits(8_300_000)
    with qwen(setup) as server:
        server.warm(texts=4)
        for clients in (1, 4):
            with server.memory(2 * QUEUE_MB + SLACK_MB, f"{clients} at a time"):
                answers = together(clients, lambda _: post(server, "/v1/embeddings", body, timeout=150))
            setup.tell("answers", counted(f"{a.status or a.error} after {a.seconds:.0f} s" for a in answers))
            server.idle()


@row("20 clients of 0.52 MB of digits on the built-in model", "≤ +256 MB at defaults")
def digits_builtin(setup):
    body = digits(520_000)
    with setup.serve() as server:
        server.warm()
        with server.memory(256):
            answers = together(20, lambda _: post(server, "/v1/embeddings", body, timeout=40))
        setup.tell("statuses", counted(a.status or a.error for a in answers))
        server.idle()


def beside_digits(setup, server, requests):
    """The median of another address's text of 6 kB, alone and beside four clients of digits."""
    ordinary = {"input": "river small stone over " * 260}
    ask = lambda: post(server, "/v1/embeddings", ordinary, 60, source="127.0.0.2")
    by_itself = [ask() for _ in range(7)]
    alone = statistics.median(a.seconds for a in by_itself)
    refused = [a.status or a.error for a in by_itself if a.status != 200]
    if refused:
        server.check("the 6 kB text alone is answered", counted(refused), False)
        return
    stopped = threading.Event()
    body = digits(8_300_000)

    def attack(_):
        while not stopped.is_set():
            post(server, "/v1/embeddings", body, timeout=60)

    attackers = threading.Thread(target=together, args=(4, attack), daemon=True)
    attackers.start()
    time.sleep(1)
    answers, start = [], time.monotonic()
    while len(answers) < requests and time.monotonic() - start < 60:
        answers.append(ask())
    stopped.set()
    beside = statistics.median(a.seconds for a in answers)
    failed = [a.status or a.error for a in answers if a.status != 200]
    most = 3 * alone + SLICE
    shown = f"p50 {beside:.2f} s beside, {alone:.3f} s alone" + (f", {counted(failed)}" if failed else "")
    server.check(f"6 kB text of another address (≤ {most:.2f} s)", shown, beside <= most and not failed)
    attackers.join(60)


@row(
    "beside 4 clients of such texts, another address's 6 kB text, built-in model",
    "p50 ≤ 3 × alone + one slice",
    seconds=150,
)
def fairness_builtin(setup):
    with setup.serve() as server:
        server.warm()
        beside_digits(setup, server, 15)


@row("the same on Qwen", "p50 ≤ 3 × alone + one slice", seconds=900, needs_model=True)
def fairness_qwen(setup):
    with qwen(setup) as server:
        server.warm(texts=2)
        beside_digits(setup, server, 5)


def many_vectors(request):
    return json.dumps({"input": [[(request * 1024 + i) % 15_000 + 100] for i in range(1024)]}).encode()


def unread_vectors(setup, connections, requests, *flags):
    """Connections with window 0, each of which asks for 1 024 vectors many times."""
    # However long the queue: nothing is refused for that.
    with setup.serve(*IMPATIENT, "--max-wait", "5m", *flags) as server:
        server.warm()
        queue = (16 if flags else 256) * MIB
        clients = [http2.Client(server.address, window=0) for _ in range(connections)]
        with server.memory(2 * queue + SLACK_MB):
            end = time.monotonic() + 40

            def ask(i):
                # A few at a time: what is refused because much waits holds no memory.
                for n in range(requests):
                    wait_until(lambda: clients[i].unanswered() < (3 if flags else 12), 5, every=0.01)
                    if time.monotonic() > end:
                        return
                    clients[i].request("/v1/embeddings", many_vectors(n))

            together(connections, ask)
            limit = 25
            cut = wait_until(lambda: not any(c.waiting() for c in clients), limit)
        statuses = [c.header(number, ":status") for c in clients for number in c.streams]
        setup.tell("statuses", counted(statuses))
        left = sum(c.waiting() for c in clients)
        shown = f"{left} streams are still open after {limit} s" if left else f"after {cut:.0f} s"
        server.check(f"cut, {BODY_TIMEOUT} s without progress", shown, not left)
        server.idle("idle, clients still there")
        for client in clients:
            client.close()
        server.still_answers()


@row(
    "one HTTP/2 connection with window 0 asks 250 times for 1 024 vectors",
    "answers count until sent; one without progress for body_timeout is cut",
    seconds=120,
    packages=("hpack",),
)
def h2_window(setup):
    unread_vectors(setup, 1, 250)


@row(
    "three such connections, max_queue_bytes 16 MiB",
    "≤ + 2 × max_queue_bytes",
    seconds=120,
    packages=("hpack",),
)
def h2_window_three(setup):
    unread_vectors(setup, 3, 250, "--max-queue-bytes", "16MiB")


def silent_client(server, head, body):
    """Sends a request over HTTP/1.1 and doesn't read."""
    host, port = server.address.split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect((host, int(port)))
    lines = f"{head} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    try:
        client.sendall(lines.encode() + body)
    except OSError:
        pass  # Refused: that is an answer.
    return client


@row(
    "/tokenize of 1 MB answers 65.8 MB: 12 clients, then 40, that don't read; max_queue_bytes 64 MiB",
    "the answer is counted",
    seconds=150,
)
def tokenize_unread(setup):
    for clients in (12, 40):
        tokenize_unread_by(setup, clients)


def tokenize_unread_by(setup, clients):
    body = b'{"inputs":"' + b"1" * 1_000_000 + b'"}'
    with setup.serve(*IMPATIENT, "--max-queue-bytes", "64MiB") as server:
        server.warm()
        before = server.descriptors()
        with server.memory(2 * 64 * MIB + SLACK_MB, f"{clients} clients"):
            sockets = together(clients, lambda _: silent_client(server, "POST /tokenize", body))
            time.sleep(10)
        gone = wait_until(lambda: server.descriptors() <= before + 1, 20)
        left = server.descriptors() - before
        shown = f"after {10 + gone:.0f} s" if gone is not None else f"{left} connections stay for 30 s"
        server.check(f"cut, {BODY_TIMEOUT} s without progress", shown, gone is not None)
        server.idle("idle, clients still there")
        for client in sockets:
            client.close()
        server.still_answers()


def embed_stream_request(texts):
    request = b"".join(http2.field(1, text) for text in texts)
    return http2.grpc_message(b"\x08\x01" + http2.field(2, request))


def grpc_streams(setup, streams, window, send, what):
    """Streams that hold memory, each over a connection of its own: `send(client, stream)` is what it sends."""
    with setup.serve(*IMPATIENT) as server:
        server.warm()
        clients = [http2.Client(server.address, window, timeout=15) for _ in range(streams)]
        with server.memory(2 * QUEUE_MB + SLACK_MB, what):

            def one(i):
                return send(clients[i], clients[i].open(http2.grpc_headers("EmbedStream")))

            sent = together(streams, one)
            cut = wait_until(lambda: not any(c.waiting() for c in clients), 25)
        setup.tell("streams that could send all", f"{sum(sent)} of {streams}")
        left = sum(c.waiting() for c in clients)
        shown = f"{left} streams are still open after 25 s" if left else f"after {cut:.0f} s"
        server.check(f"cut, {BODY_TIMEOUT} s without progress", shown, not left)
        server.idle("idle, clients still there")
        for client in clients:
            client.close()
        server.still_answers()


@row(
    "gRPC EmbedStream: 60 streams with 15 of 16 MB sent, then silence; 40 streams × 4 messages unread",
    "inside the same bounds",
    seconds=260,
    packages=("hpack",),
)
def grpc_stream(setup):
    message = embed_stream_request([b"river small " * 1_330_000])
    grpc_streams(setup, 60, http2.MOST_WINDOW, lambda c, n: c.send(n, message[:15_000_000]), "60 unfinished")
    message = embed_stream_request([b"river small " * 1_250_000])
    four = lambda c, n: all(c.send(n, message) for _ in range(4))
    grpc_streams(setup, 40, 0, four, "40 × 4 unread")


@row(
    "60 texts of 16 MB at defaults",
    "≤ the bound that /info states; refused clients get their 429",
    seconds=150,
)
def big_bodies(setup):
    body = b'{"input":"' + b"river small " * 1_390_000 + b'"}'
    with setup.serve() as server:
        server.warm()
        host, port = server.address.split(":")
        connection = http.client.HTTPConnection(host, int(port), 5)
        connection.request("GET", "/info")
        limits = json.loads(connection.getresponse().read())["limits"]
        connection.close()
        queue = limits["max_queue_bytes"] / 1e6
        with server.memory(2 * queue + SLACK_MB):
            answers = together(60, lambda _: post(server, "/v1/embeddings", body, timeout=60))
        lost = [a.error for a in answers if a.status is None]
        shown = counted(a.status or a.error for a in answers)
        server.check("every client has an answer", shown, not lost)
        server.idle()
        server.still_answers()
