#!/usr/bin/env python3
"""`akidb-embed run` from and into Azure's blob storage: Azurite, Microsoft's emulator, on loopback.

  npm install azurite; pip install azure-storage-blob 'moto[server]' boto3 pyarrow
  scripts/bulk_azure.py target/debug/akidb-embed AZURITE_FOLDER [--rows 300] [--kills 3] [--seed 1]

Rows from az:// to az:// are compared with those of the same files on disk, bit for bit; then processes
beside each other, kills, and a blob that is written to.
"""

import argparse
import collections
import io
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from bulk_cloud import check, files, rows_of

try:
    import pyarrow.parquet as pq
    from azure.storage.blob import BlobServiceClient
except ImportError as missing:
    sys.exit(f"SKIPPED: Azure ({missing})")

# Known to everybody: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Azure:
    def __init__(self, options, port):
        self.options = options
        self.endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        self.store = BlobServiceClient(self.endpoint, credential={"account_name": ACCOUNT, "account_key": KEY})
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AZURE_")}
        self.environment = {**kept, "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY,
                            "AZURE_ENDPOINT": self.endpoint}

    def blobs(self, prefix):
        container = self.store.get_container_client("out")
        return {blob.name: container.download_blob(blob.name).readall()
                for blob in container.list_blobs(name_starts_with=prefix)}

    def rows(self, name):
        units = [content for key, content in self.blobs(f"{name}/").items() if key.endswith(".parquet")]
        return rows_of(pq.read_table(io.BytesIO(unit)) for unit in units)

    def command(self, inputs, out, *more):
        settings = ["--unit-rows", str(max(self.options.rows // 36, 1)), "--max-error-rate", "5%", "--id", "n", "--quiet"]
        return [self.options.binary, "run", inputs, "--out", out, *settings, *more]

    def run(self, inputs, out, status=0, says=""):
        ran = subprocess.run(self.command(inputs, out), capture_output=True, text=True, env=self.environment)
        told = ran.stdout + ran.stderr
        if ran.returncode != status or says not in told or KEY in told:
            sys.exit(f"{inputs} to {out} ended with {ran.returncode}, not {status} ({says!r}):\n{told}")


def kills(azure, expected, seconds):
    source, killed = random.Random(azure.options.seed), 0
    while killed < azure.options.kills:
        process = subprocess.Popen(azure.command("az://corpus/", "az://out/killed"), env=azure.environment)
        try:
            process.wait(0.2 + source.random() * seconds / 2)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        # A claim expires in a minute; this test doesn't wait for it.
        for claim in azure.blobs("killed/_run/claims/"):
            azure.store.get_blob_client("out", claim).delete_blob()
    azure.run("az://corpus/", "az://out/killed")
    check(f"killed {killed} times", azure.rows("killed"), expected)


def beside(azure, expected):
    running = [subprocess.Popen(azure.command("az://corpus/", "az://out/beside"), env=azure.environment) for _ in range(2)]
    if any(process.wait(600) for process in running):
        sys.exit("one of two processes beside each other failed")
    check("two processes beside each other", azure.rows("beside"), expected)
    blobs = azure.blobs("beside/")
    lines = [json.loads(line) for name, content in blobs.items() if "/_run/log/" in name
             for line in content.decode().splitlines()]
    written = collections.Counter(line["unit"] for line in lines if line["event"] == "written")
    if max(written.values()) > 1 or any("/_run/claims/" in name for name in blobs):
        sys.exit(f"units were written twice, or claims were left: {written}, {sorted(blobs)}")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("azurite", help="folder into which npm has installed it")
    arguments.add_argument("--rows", type=int, default=300)
    arguments.add_argument("--kills", type=int, default=3)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    program = pathlib.Path(options.azurite) / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists() or not shutil.which("node"):
        sys.exit(print("SKIPPED: Azure (no Azurite)"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([program, "--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--blobPort", str(port)],
                              stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        azure = Azure(options, port)
        for container in ("corpus", "out"):
            azure.store.create_container(container)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for name, content in files(options.rows, options.seed).items():
                path = folder / "corpus" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                azure.store.get_blob_client("corpus", name).upload_blob(content)
            azure.run(str(folder / "corpus"), str(folder / "local"))
            expected = rows_of(map(pq.read_table, sorted((folder / "local").glob("*.parquet"))))
        started = time.monotonic()
        azure.run("az://corpus/", "az://out/whole")
        seconds = time.monotonic() - started
        check("from az:// to az://", azure.rows("whole"), expected)
        azure.run("az://corpus/", "az://out/whole")
        azure.run("az://nowhere/", "az://out/wrong", status=2)
        azure.store.get_blob_client("corpus", "d.csv").upload_blob(b"text,n\nother,1\n", overwrite=True)
        azure.run("az://corpus/", "az://out/whole", status=2, says="has changed")
        azure.store.get_blob_client("corpus", "d.csv").upload_blob(files(options.rows, options.seed)["d.csv"], overwrite=True)
        kills(azure, expected, seconds)
        beside(azure, expected)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
