"""Corpora of files, and what came of them."""

from __future__ import annotations

import collections
import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

ROWS = 240
"""One of them has no text."""


def make(folder: Path, rows: int = ROWS) -> Path:
    """Three files of JSON Lines."""
    folder.mkdir()
    for number in range(3):
        lines = []
        for n in range(number, rows, 3):
            body = None if n == 7 else f"{n} " + "words " * (n % 20)
            lines.append(json.dumps({"n": n, "body": body}) + "\n")
        folder.joinpath(f"{number}.jsonl").write_text("".join(lines))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of each file that is there for readers."""
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def begun(folder: Path) -> collections.Counter[str]:
    """How often each unit was begun, by the logs of all processes."""
    events = [
        json.loads(line)
        for path in folder.glob("_run/log/*.jsonl")
        for line in path.read_text().splitlines()
    ]
    return collections.Counter(event["unit"] for event in events if event["event"] == "claimed")


def once_there(folder: Path, files: int, strike: Callable[[], object]) -> Future[int]:
    """Strikes, on another thread, when so many files are there; gives how many there were then."""

    def watch() -> int:
        end = time.monotonic() + 300
        while (there := len(list(folder.glob("*.parquet")))) < files:
            assert time.monotonic() < end, "nothing is written"
            time.sleep(0.005)
        strike()
        return there

    executor = ThreadPoolExecutor(1)
    future = executor.submit(watch)
    executor.shutdown(wait=False)
    return future
