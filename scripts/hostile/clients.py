"""Requests over HTTP/1.1, one by one and many at a time."""

import http.client
import json
import threading
import time
from typing import NamedTuple


class Answer(NamedTuple):
    status: int | None
    body: bytes
    seconds: float
    error: str = ""


def post(server, path, body, timeout=30, source="127.0.0.1", headers=None):
    """One request over a connection of its own; an error is an answer without a status."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    headers = {"content-type": "application/json", **(headers or {})}
    start = time.monotonic()
    host, port = server.address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout, source_address=(source, 0))
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), time.monotonic() - start)
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, b"", time.monotonic() - start, type(error).__name__)
    finally:
        connection.close()


def message(answer):
    """What an answer of the OpenAI routes says is wrong."""
    if answer.status in (None, 200):
        return ""
    try:
        return json.loads(answer.body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return answer.body.decode(errors="replace")


def get(server, path, timeout=5, headers=None):
    """The status of a GET; None where there is no answer in time."""
    host, port = server.address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout)
    try:
        connection.request("GET", path, headers=headers or {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def together(clients, work):
    """`work(i)` in a thread for each client; what they gave, in order."""
    results = [None] * clients

    def one(i):
        results[i] = work(i)

    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def wait_until(done, seconds, every=0.1):
    """Seconds until `done()`, None where it isn't in time."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if done():
            return time.monotonic() - start
        time.sleep(every)
    return None


def counted(values):
    values = list(values)
    return ", ".join(f"{values.count(v)} × {v}" for v in sorted(set(values), key=str))
