"""A hub on loopback, as far as `models pull` asks one."""

import hashlib
import http.server
import json
import re
import threading

LARGE = 100_000


class Hub:
    """Serves one repository's files, large ones as the hub does: by redirect, in parts."""

    def __init__(self, model, commit, files):
        self.model, self.commit, self.files = model, commit, files
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                hub.answer(self)

            do_HEAD = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # Clients that are killed are what this is for.
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def listing(self):
        siblings = []
        for name, data in self.files.items():
            entry = {"rfilename": name, "size": len(data), "blobId": blob(data)}
            if len(data) > LARGE:
                entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        about = {"id": self.model, "modelId": self.model, "sha": self.commit, "private": False}
        return json.dumps({**about, "tags": ["license:mit"], "siblings": siblings}).encode()

    def answer(self, request):
        path = request.path.split("?")[0]
        if path.startswith("/api/models/"):
            return send(request, 200, self.listing(), {"X-Repo-Commit": self.commit})
        if path.startswith("/storage/"):
            data = next(d for d in self.files.values() if sha256(d) == path.split("/")[-1])
            return self.part(request, data, {"ETag": '"storage"'})
        data = self.files.get(path.split("/", 5)[-1] if "/resolve/" in path else None)
        if data is None:
            return send(request, 404, b"no", {"X-Error-Code": "EntryNotFound"})
        commit = {"X-Repo-Commit": self.commit}
        if len(data) <= LARGE:
            return self.part(request, data, {**commit, "ETag": f'"{blob(data)}"'})
        linked = {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
        location = {"Location": f"{self.url}/storage/{sha256(data)}"}
        return send(request, 302, b"", {**commit, **linked, **location})

    def part(self, request, data, headers):
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        headers = {**headers, "Accept-Ranges": "bytes"}
        if not asked:
            return send(request, 200, data, headers)
        start, end = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
        return send(request, 206, data[start : end + 1], headers)


def send(request, status, body, headers):
    request.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def blob(data):
    """As git names it; of a large file its pointer, which nobody compares here."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
