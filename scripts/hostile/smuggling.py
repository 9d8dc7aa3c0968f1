"""Row: requests that two programs in a row could read in two ways."""

import re
import socket

from .harness import row

SMUGGLED = "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
LENGTH = "content-length: {0}\r\n"


def request(fields, body, line="POST /health HTTP/1.1", host="host: localhost\r\n"):
    return f"{line}\r\n{host}{fields}\r\n{body}"


def variants():
    """By name. What stands inside as a request must not be answered as one, whichever reading was meant."""
    te = "transfer-encoding: chunked\r\n"
    inner = f"0\r\n\r\n{SMUGGLED}"
    length = LENGTH.format(len(inner))
    return {
        "CL and TE": request(length + te, inner),
        "TE and CL": request(te + length, inner),
        "two different CLs": request("content-length: 0\r\n" + length, inner),
        "CL of two values": request(f"content-length: 0, {len(inner)}\r\n", inner),
        "CL with a sign": request(f"content-length: +{len(inner)}\r\n", inner),
        "CL below 0": request("content-length: -1\r\n", inner),
        "CL in hexadecimal": request(f"content-length: {len(inner):#x}\r\n", inner),
        "CL with a space in it": request("content-length: 1 0\r\n", inner),
        "CL beyond 2^64": request(f"content-length: {2**64 + 5}\r\n", inner),
        "space before the colon": request(f"content-length : {len(inner)}\r\n", inner),
        "TE: xchunked": request("transfer-encoding: xchunked\r\n", inner),
        "TE: chunked, identity": request("transfer-encoding: chunked, identity\r\n", inner),
        "TE: identity": request("transfer-encoding: identity\r\n" + length, inner),
        "TE with a vertical tab": request("transfer-encoding: \x0bchunked\r\n", inner),
        "TE folded over lines": request("transfer-encoding:\r\n chunked\r\n", inner),
        "a folded line": request(f"x: a\r\n b\r\ncontent-length: {len(inner)}\r\n", inner),
        "bare LF ends a line": f"POST /health HTTP/1.1\nhost: localhost\n{length.strip()}\n\n{inner}",
        "bare CR in a value": request(f"x: a\rcontent-length: 0\r\n{length}", inner),
        "NUL in a value": request(f"x: a\0b\r\n{length}", inner),
        "a chunk's size with a sign": request(te, f"+0\r\n\r\n{SMUGGLED}"),
        "a chunk's size of 2^64": request(te, f"10000000000000005\r\nhello\r\n{inner}"),
        "a chunk's size with 0x": request(te, f"0x5\r\nhello\r\n{inner}"),
        "a chunk ended by LF": request(te, f"5\r\nhello\n{inner}"),
        "a chunk longer than said": request(te, f"5\r\nhelloX\r\n{inner}"),
        "a chunk's extension without end": request(te, f"5;{'x' * 100_000}\r\nhello\r\n{inner}"),
        "TE in HTTP/1.0": request(te, inner, "POST /health HTTP/1.0"),
        "two hosts": request("host: other\r\n" + length, inner),
        "no host": request(length, inner, host=""),
        "a space before the first header": request(f" x: y\r\n{length}", inner),
        "two versions": request(length, inner, "POST /health HTTP/1.1 HTTP/1.1"),
    }


def answers(server, data, seconds=1.5):
    """Statuses of all answers, and whether the connection was closed."""
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), 5) as client:
        client.settimeout(seconds)
        received, closed = b"", True
        try:
            client.sendall(data.encode("latin-1"))
            while part := client.recv(65_536):
                received += part
        except TimeoutError:
            closed = False
        except OSError:
            pass
    return re.findall(rb"HTTP/1\.[01] (\d+)", received), closed


@row("request smuggling: 30 variants", "one reading, or 400 and closed", seconds=120)
def smuggling(setup):
    wrong, shown = [], {}
    with setup.serve() as server:
        sound = request(LENGTH.format(5), f"hello{SMUGGLED}")
        both = answers(server, sound)[0]
        server.check("of two sound requests both are answered", len(both), len(both) == 2)
        for name, data in variants().items():
            statuses, closed = answers(server, data)
            shown[name] = [status.decode() for status in statuses]
            # 405 is the answer to the request outside; the one inside has 200.
            if len(statuses) > 1 or b"200" in statuses:
                wrong.append(f"{name}: {shown[name]}")
            if not statuses and not closed:
                wrong.append(f"{name}: neither answered nor closed")
        server.check(f"{len(shown)} variants", "; ".join(wrong) or "one reading each", not wrong)
        for name in ["CL and TE", "TE and CL", "TE in HTTP/1.0"]:
            setup.tell(name, ", ".join(shown[name]))
        server.still_answers()
