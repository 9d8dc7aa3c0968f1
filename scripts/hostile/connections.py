"""Rows: sockets that are slow, half open, many or cut, which held before and must hold."""

import contextlib
import http.client
import resource
import signal
import socket
import threading
import time

from .attacked import SLACK_MB, Bystander
from .clients import get, together, wait_until
from .harness import Skipped, row

BESIDE = 0.5
IMPATIENT = ("--header-timeout", "2s", "--body-timeout", "2s", "--keep-alive", "2s")


def connect(server, timeout=5):
    host, port = server.address.split(":")
    return socket.create_connection((host, int(port)), timeout)


def trickle(server, head, seconds):
    """A byte now and then, until the server closes; after how long it did."""
    start = time.monotonic()
    with contextlib.suppress(OSError), connect(server) as client:
        client.sendall(head)
        client.settimeout(0.3)
        while time.monotonic() - start < seconds:
            client.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                if not client.recv(1000):
                    break
    return time.monotonic() - start


@row("200 slow heads and 200 slow bodies, a byte at a time", "cut in time, others are answered")
def slow_bodies(setup):
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    body = head + b"content-length: 1000\r\n\r\n{"
    with setup.serve(*IMPATIENT) as server:
        server.warm()
        with server.memory(SLACK_MB), Bystander(server) as bystander:
            times = together(400, lambda i: trickle(server, body if i % 2 else head, 15))
        server.check("cut (≤ 8 s)", f"the last after {max(times):.1f} s", max(times) <= 8)
        bystander.check(BESIDE)


@row("1 000 half-open sockets: silent, half closed, or gone after half a request", "let go in time")
def half_open(setup):
    part = (
        b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"
    )
    with setup.serve(*IMPATIENT) as server:
        server.warm()
        before = server.descriptors()
        with Bystander(server) as bystander:
            sockets = []
            for i in range(1000):
                client = connect(server)
                sockets.append(client)
                with contextlib.suppress(OSError):
                    if i % 4:
                        client.sendall(part)
                    if i % 4 == 2:
                        client.shutdown(socket.SHUT_WR)
                    if i % 4 == 3:
                        client.close()
            gone = wait_until(lambda: server.descriptors() <= before + 3, 15)
        shown = f"after {gone:.1f} s" if gone is not None else f"{server.descriptors() - before} stay"
        server.check("all let go (≤ 15 s)", shown, gone is not None)
        bystander.check(BESIDE)
        for client in sockets:
            client.close()


@row("5 000 connects, 1 000 of them at a time", "all are closed again, others are answered")
def connects(setup):
    with setup.serve() as server:
        server.warm()
        before = server.descriptors()
        with server.memory(SLACK_MB), Bystander(server) as bystander:
            for _ in range(5):
                sockets = [connect(server) for _ in range(1000)]
                for client in sockets:
                    client.close()
        gone = wait_until(lambda: server.descriptors() <= before + 3, 10)
        server.check("descriptors given back", "yes" if gone is not None else "no", gone is not None)
        bystander.check(BESIDE)
        server.still_answers()


def until_refused(server, i, lost, answered):
    """Asks over new connections until none is accepted; notes requests that were accepted and lost."""
    host, port = server.address.split(":")
    body = b'{"input":"' + b"river small " * 40 + str(i).encode() + b'"}'
    while True:
        connection = http.client.HTTPConnection(host, int(port), 20)
        try:
            connection.connect()
        except OSError:
            return
        try:
            connection.request("POST", "/v1/embeddings", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            (answered if answer.status == 200 else lost).append(answer.status)
        except (OSError, http.client.HTTPException) as error:
            lost.append(type(error).__name__)
        finally:
            connection.close()


@row("SIGTERM under load, three times", "nothing that was accepted is lost, status 0")
def sigterm_under_load(setup):
    for i in range(3):
        lost, answered = [], []
        with setup.serve() as server:
            threads = [
                threading.Thread(target=until_refused, args=(server, n, lost, answered), daemon=True) for n in range(16)
            ]
            for thread in threads:
                thread.start()
            time.sleep(1.5)
            server.process.send_signal(signal.SIGTERM)
            for thread in threads:
                thread.join(30)
            ended = server.process.wait(30)
        shown = f"{len(lost)} of {len(lost) + len(answered)} lost {lost[:3]}, status {ended}"
        setup.check(f"time {i + 1}", shown, not lost and ended == 0 and answered)


@row(
    "1 024 descriptors is the soft limit, max_connections is 4 096",
    "the soft limit is raised, and told when it can't be",
)
def descriptors(setup):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 8192:
        raise Skipped(f"this process may open only {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    with setup.serve() as server:
        resource.setrlimit(resource.RLIMIT_NOFILE, (8192, hard))
        sockets = []
        # The system completes some for a server that can't accept them, then it doesn't.
        with contextlib.suppress(TimeoutError):
            while len(sockets) < 2000:
                sockets.append(connect(server, 2))
        status = get(server, "/health")
        shown = f"{status or 'no answer in 5 s'} beside {len(sockets)}"
        server.check("/health beside 2 000 connections", shown, status == 200 and len(sockets) == 2000)
        for client in sockets:
            client.close()
    program = setup.directory / "limited"
    program.write_text(f'#!/bin/sh\nulimit -n 1024\nexec "{setup.program}" "$@"\n')
    program.chmod(0o755)
    with setup.serve(program=program) as server:
        told = [line for line in server.log().splitlines() if "1024" in line or "1 024" in line]
        server.check("with a hard limit of 1 024 it says so", told[0] if told else "nothing", told)
