#!/usr/bin/env python3
"""`akidb-embed run` from and into an object store: moto's S3 server on loopback, alone and behind faults.

  pip install 'moto[server]' boto3 pyarrow
  scripts/bulk_cloud.py target/debug/akidb-embed [--rows 600] [--kills 6] [--seed 1] [--away]

Files of every kind are read from s3:// and http://, and units are written to s3://: the rows are compared
with those of the same files on disk, bit for bit. Then the same with kills, with processes beside each
other, and through a proxy that answers 500 and 503, before and after it has passed a request on, slowly,
or with half of what was asked for; and one that from some moment on refuses everything. With --away it
answers 503 for longer than requests are tried again, which takes minutes.
"""

import argparse
import collections
import gzip
import http.client
import http.server
import io
import json
import logging
import os
import pathlib
import random
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

try:
    import boto3
    import pyarrow as pa
    import pyarrow.parquet as pq
    from moto.server import ThreadedMotoServer
except ImportError as missing:
    sys.exit(f"SKIPPED: object stores ({missing})")

WORDS = "raver lodan mili tenpo sustra kane ravli lopo midan".split()
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret-of-the-test", "AWS_REGION": "us-east-1"}


class Faults(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the store, and does to some of them what networks do."""

    protocol_version = "HTTP/1.1"
    to, source, lock = "", random.Random(7), threading.Lock()
    counts = collections.Counter()
    # What every request is answered with, if anything.
    away = None

    def fault(self):
        with self.lock:
            kinds = ["500 before", "503 before", "500 after", "truncated", "slow"]
            kind = self.source.choices([*kinds, "none"], [3, 3, 3, 3, 3, 85])[0]
            if kind == "truncated" and self.command != "GET":
                kind = "none"
            self.counts[kind] += 1
        return kind

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.away:
            return self.refuse(self.away)
        kind = self.fault()
        if kind in ("500 before", "503 before"):
            return self.refuse(int(kind[:3]))
        if kind == "slow":
            time.sleep(0.5)
        connection = http.client.HTTPConnection(self.to)
        connection.request(self.command, self.path, body, dict(self.headers))
        found = connection.getresponse()
        content = found.read()
        if kind == "500 after":
            return self.refuse(500)
        self.send_response(found.status)
        for name, value in found.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "server", "date"):
                self.send_header(name, value)
        length = found.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        if kind == "truncated":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status):
        body = b"<Error><Code>SlowDown</Code></Error>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

    def log_message(self, *_):
        pass


class Proxy(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def files(rows, seed):
    """Names and contents, of every kind."""
    source = random.Random(seed)
    text = lambda: " ".join(source.choices(WORDS, k=source.randint(1, 12)))
    count = rows // 6
    made = {}
    for number in range(2):
        table = pa.table({"text": [text() for _ in range(count)], "n": [str(n) for n in range(count)]})
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=max(count // 3, 1))
        made[f"tables/{number}.parquet"] = sink.getvalue()
    lines = lambda: "".join(json.dumps({"text": text(), "n": str(n)}) + "\n" for n in range(count)).encode()
    made["lines/a b#1.jsonl"] = lines()
    made["lines/c.jsonl.gz"] = gzip.compress(lines())
    made["lines/50%25.jsonl"] = lines().replace(b'"text"', b'"txt"', 1)
    made["d.csv"] = ("text,n\n" + "".join(f"{text()},{n}\n" for n in range(count))).encode()
    made["_hidden/x.jsonl"] = b'{"text": "hidden"}\n'
    made["notes.md"] = b"no text of the corpus\n"
    return made


def rows_of(tables):
    """What came out, by file and row."""
    rows = {}
    for table in tables:
        for row in table.to_pylist():
            key = row["source_file"], row["source_row"]
            if key in rows:
                sys.exit(f"{key} was written twice")
            rows[key] = row
    return rows


class Cloud:
    def __init__(self, options, folder, port):
        self.options, self.folder, self.port = options, folder, port
        self.endpoint = f"http://127.0.0.1:{port}"
        self.store = boto3.client("s3", endpoint_url=self.endpoint, aws_access_key_id="test",
                                  aws_secret_access_key="test", region_name="us-east-1")

    def keys(self, prefix):
        pages = self.store.get_paginator("list_objects_v2").paginate(Bucket="out", Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def body(self, key):
        return self.store.get_object(Bucket="out", Key=key)["Body"].read()

    def units(self, prefix):
        keys = [key for key in self.keys(prefix + "/") if key.endswith(".parquet")]
        return [pq.read_table(io.BytesIO(self.body(key))) for key in keys]

    def events(self, prefix):
        for key in self.keys(prefix + "/_run/log/"):
            for line in self.body(key).decode().splitlines():
                yield json.loads(line)

    def command(self, inputs, out, *more):
        settings = ["--unit-rows", str(max(self.options.rows // 36, 1)), "--max-error-rate", "5%", "--id", "n"]
        return [self.options.binary, "run", *inputs, "--out", out, *settings, *more]

    def environment(self, endpoint=None, **more):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**kept, **CREDENTIALS, "AWS_ENDPOINT_URL": endpoint or self.endpoint, **more}

    def run(self, inputs, out, *more, endpoint=None, status=0, says="", **environment):
        ran = subprocess.run(self.command(inputs, out, *more), capture_output=True, text=True,
                             env=self.environment(endpoint, **environment))
        told = ran.stdout + ran.stderr
        if ran.returncode != status or says not in told:
            sys.exit(f"{inputs} to {out} ended with {ran.returncode}, not {status} ({says!r}):\n{told}")
        if CREDENTIALS["AWS_SECRET_ACCESS_KEY"] in told:
            sys.exit(f"a secret was told: {told}")
        return told


def check(name, found, expected):
    if found != expected:
        different = {key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)}
        sys.exit(f"{name}: {len(different)} of {len(expected)} rows are not as on disk: {sorted(different)[:5]}")
    print(f"{name}: {len(found)} rows, as on disk", flush=True)


def kills(cloud, source, expected, seconds):
    """SIGKILL at random moments; a folder whose work is done before its kill is followed by another one."""
    killed, starts, folders = 0, 0, 0
    while killed < cloud.options.kills:
        name, done = f"killed-{folders}", False
        folders += 1
        while not done:
            starts += 1
            command = cloud.command(["s3://corpus/"], f"s3://out/{name}", "--quiet")
            process = subprocess.Popen(command, env=cloud.environment())
            try:
                process.wait(600 if killed == cloud.options.kills else 0.2 + source.random() * seconds)
                done = True
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
            # A claim expires in a minute; this test doesn't wait for it.
            for key in cloud.keys(f"{name}/_run/claims/"):
                cloud.store.delete_object(Bucket="out", Key=key)
        if process.returncode:
            sys.exit(f"killed: status {process.returncode}")
        if rows_of(cloud.units(name)) != expected:
            check("killed", rows_of(cloud.units(name)), expected)
    print(f"{killed} kills, {starts} starts, {folders} folders: {len(expected)} rows each, as on disk", flush=True)


def beside(cloud, expected):
    """Two shards and a third process that does all."""
    out = "s3://out/beside"
    parts = (["--shard", "1/2"], ["--shard", "2/2"], [])
    running = [subprocess.Popen(cloud.command(["s3://corpus/"], out, "--quiet", *part), env=cloud.environment())
               for part in parts]
    if any(process.wait(600) for process in running):
        sys.exit("one of three processes beside each other failed")
    check("three processes beside each other", rows_of(cloud.units("beside")), expected)
    written = collections.Counter(event["unit"] for event in cloud.events("beside") if event["event"] == "written")
    if max(written.values()) > 1 or len(written) != len([k for k in cloud.keys("beside/") if k.endswith(".parquet")]):
        sys.exit(f"units were written twice, or by nobody: {written}")
    told = subprocess.run([cloud.options.binary, "run", "--status", out], env=cloud.environment(), check=True,
                          capture_output=True, text=True).stdout
    if "finished" not in told or "2/2" not in told:
        sys.exit(f"status: {told}")


def behind_faults(cloud, expected):
    Faults.to = f"127.0.0.1:{cloud.port}"
    proxy = Proxy(("127.0.0.1", 0), Faults)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{proxy.server_address[1]}"
    cloud.run(["s3://corpus/"], "s3://out/faults", endpoint=endpoint)
    check(f"behind faults ({dict(Faults.counts)})", rows_of(cloud.units("faults")), expected)
    left = cloud.keys("faults/_run/claims/")
    if left:
        sys.exit(f"claims were left: {left}")
    # Credentials that are no longer good, and a store that is away.
    for status in [403, 503] if cloud.options.away else [403]:
        away(cloud, endpoint, expected, status)
    proxy.shutdown()


def away(cloud, endpoint, expected, status):
    """From some moment on all is refused: that is told, what is there is whole, and a second start goes on."""
    name = f"away-{status}"
    process = subprocess.Popen(cloud.command(["s3://corpus/"], f"s3://out/{name}"), env=cloud.environment(endpoint),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while process.poll() is None and sum(key.endswith(".parquet") for key in cloud.keys(f"{name}/")) < 3:
        time.sleep(0.05)
    Faults.away, started = status, time.monotonic()
    told, _ = process.communicate()
    seconds, Faults.away = time.monotonic() - started, None
    found = rows_of(cloud.units(name))
    if process.returncode != 1 or str(status) not in told or not 0 < len(found) < len(expected):
        sys.exit(f"{status} from some moment on: status {process.returncode}, {len(found)} rows, {told}")
    check(f"{status} from some moment on (told after {seconds:.0f} s)", found, {key: expected[key] for key in found})
    # A claim expires in a minute; this test doesn't wait for it.
    for key in cloud.keys(f"{name}/_run/claims/"):
        cloud.store.delete_object(Bucket="out", Key=key)
    cloud.run(["s3://corpus/"], f"s3://out/{name}")
    check("and started again", rows_of(cloud.units(name)), expected)


def wrong(cloud):
    """What can't be done is told, and nothing is written."""
    web = f"http://127.0.0.1:{cloud.port}/corpus"
    before = len(cloud.keys(""))
    cloud.run(["s3://nowhere/"], "s3://out/wrong", status=2)
    cloud.run(["s3://corpus/nothing/"], "s3://out/wrong", status=2, says="there is no file")
    cloud.run(["s3://corpus/notes.md"], "s3://out/wrong", status=2, says="there is no file of")
    cloud.run(["ftp://corpus/"], "s3://out/wrong", status=2, says="s3://, gs://, az://")
    cloud.run([web + "/"], "s3://out/wrong", status=2, says="name each file")
    cloud.run([web + "/d.csv?X-Amz-Signature=hidden"], "s3://out/wrong", status=2, says="a query")
    cloud.run(["s3://corpus/d.csv"], web, status=2, says="takes no files")
    cloud.run(["s3://corpus/d.csv"], "s3://nowhere/out", status=1)
    if len(cloud.keys("")) != before:
        sys.exit("what was refused has written something")
    # An object that is written to while the work goes on, or between two starts.
    cloud.store.copy_object(Bucket="corpus", Key="changed/d.csv", CopySource="corpus/d.csv")
    cloud.run(["s3://corpus/changed/"], "s3://out/changed")
    cloud.store.put_object(Bucket="corpus", Key="changed/d.csv", Body=b"text,n\nother,1\n")
    cloud.run(["s3://corpus/changed/"], "s3://out/changed", status=2, says="has changed")
    cloud.run(["s3://corpus/changed/"], "s3://out/changed", "--force", status=1, says="renames no folders")
    cloud.store.delete_object(Bucket="corpus", Key="changed/d.csv")
    print("what can't be done is told", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("--rows", type=int, default=600)
    arguments.add_argument("--kills", type=int, default=6)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--away", action="store_true", help="a store that is away for minutes, too")
    options = arguments.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        cloud = Cloud(options, folder, port)
        for bucket in ("corpus", "out"):
            cloud.store.create_bucket(Bucket=bucket)
        for name, content in files(options.rows, options.seed).items():
            path = folder / "corpus" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            cloud.store.put_object(Bucket="corpus", Key=name, Body=content, ACL="public-read")

        cloud.run([str(folder / "corpus")], str(folder / "local"))
        local = lambda name: rows_of(map(pq.read_table, sorted((folder / name).glob("*.parquet"))))
        expected = local("local")
        started = time.monotonic()
        cloud.run(["s3://corpus/"], "s3://out/whole")
        seconds = time.monotonic() - started
        check("from s3:// to s3://", rows_of(cloud.units("whole")), expected)
        cloud.run(["s3://corpus"], str(folder / "mixed"))
        check("from s3:// to a folder", local("mixed"), expected)
        again = cloud.run(["s3://corpus/"], "s3://out/whole", "--finish")
        manifest = json.loads(cloud.body("whole/_manifest.json"))
        if (manifest["rows_in"], manifest["rows_out"] + manifest["errors"]) != (len(expected), len(expected)):
            sys.exit(f"manifest: {manifest}, {again}")

        base = f"http://127.0.0.1:{port}/corpus"
        cloud.run([f"{base}/tables/0.parquet", f"{base}/d.csv"], "s3://out/web")
        web = {("tables/0.parquet" if file == "0.parquet" else file, row): {**value, "source_file": None}
               for (file, row), value in rows_of(cloud.units("web")).items()}
        same = {(file, row): {**value, "source_file": None} for (file, row), value in expected.items()
                if file in ("tables/0.parquet", "d.csv")}
        check("from http:// to s3://", web, same)
        cloud.run(["s3://corpus/*/*.jsonl"], "s3://out/glob")
        cloud.run([str(folder / "corpus" / "*" / "*.jsonl")], str(folder / "glob"))
        check("a glob", rows_of(cloud.units("glob")), local("glob"))
        wrong(cloud)
        kills(cloud, random.Random(options.seed), expected, seconds)
        beside(cloud, expected)
        behind_faults(cloud, expected)
    server.stop()


if __name__ == "__main__":
    main()
