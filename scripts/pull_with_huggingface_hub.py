"""Proves that the test hub speaks the hub's protocol: the official client pulls from it.

    python scripts/pull_with_huggingface_hub.py target/release/examples/test_hub

Needs huggingface_hub (tried with 2.4.0); without it, it says so and is skipped.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SNAPSHOTS = {"akidb/mini": "models/akidb-mini", "akidb/large": None}


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(endpoint, cache):
    from huggingface_hub import HfApi, snapshot_download

    api = HfApi(endpoint=endpoint, token=False)
    for repository, original in SNAPSHOTS.items():
        root = Path(
            snapshot_download(repository, endpoint=endpoint, cache_dir=cache, token=False)
        )
        info = api.model_info(repository, files_metadata=True)
        assert root.name == info.sha, (root, info.sha)
        for file in info.siblings:
            path = root / file.rfilename
            assert path.stat().st_size == file.size, file
            if file.lfs is not None:
                assert sha256(path) == file.lfs.sha256, file
            # The cache names files by the hub's checksums.
            assert path.resolve().name == (file.lfs.sha256 if file.lfs else file.blob_id), file
            if original:
                assert path.read_bytes() == (Path(original) / file.rfilename).read_bytes(), file
        print(f"{repository}: {len(info.siblings)} files as the hub has them")


def main():
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        print("SKIPPED: pulling with huggingface_hub (it is not installed)")
        return
    hub = subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE, text=True)
    try:
        endpoint = hub.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as cache:
            check(endpoint, cache)
    finally:
        hub.kill()


if __name__ == "__main__":
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["NO_PROXY"] = "127.0.0.1"
    main()
