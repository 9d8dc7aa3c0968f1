"""Texts for clusters, and the processes of one."""

from __future__ import annotations

import collections
import ctypes
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa

from akidb_embedding import Embedder

ROWS = 2000
BAD = (7, 1345)
"""Rows without a text."""


def corpus() -> pa.Table:
    texts = [None if n in BAD else f"{n} " + "words " * (n % 20) for n in range(ROWS)]
    return pa.table({"id": range(ROWS), "body": pa.array(texts, pa.string())})


def check(rows: list[dict[str, object]], embedder: Embedder) -> None:
    """Each row is there once, with what a single process makes of it."""
    rows = sorted(rows, key=lambda row: row["id"])  # type: ignore[arg-type, return-value]
    table = corpus()
    assert [row["id"] for row in rows] == list(range(ROWS))
    assert [row["body"] for row in rows] == table.column("body").to_pylist()
    expected = pa.record_batch(embedder.embed_columns(table.column("body"))).to_pylist()
    for row, ours in zip(rows, expected, strict=True):
        for column in ("tokens", "truncated"):
            assert row[column] == ours[column]
        assert (row["error"] is None) == (row["id"] not in BAD)
        if row["id"] not in BAD:
            np.testing.assert_array_equal(
                np.float32(row["embedding"]),  # type: ignore[arg-type]
                np.float32(ours["embedding"]),
            )
        else:
            assert row["embedding"] is None
            assert str(row["error"]).endswith("is null, not a str")


def adopt_orphans() -> None:
    """Processes whose parent is killed become this one's children, and are found as such."""
    subreaper = 36
    ctypes.CDLL(None).prctl(subreaper, 1)


def command(process: int) -> str:
    """Its command line, empty when it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def processes(words: str = "", of: int | None = None) -> list[int]:
    """Those that this one, or another, has begun, and that these have, whose command has words."""
    children = collections.defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may have spaces.
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            children[int(parent)].append(int(path.parent.name))
    found = [of or os.getpid()]
    for process in found:
        found += children[process]
    return [process for process in found[1:] if words in command(process)]


def kill(words: str) -> int:
    """Kills one of them, and says which."""
    process = max(processes(words))
    os.kill(process, signal.SIGKILL)
    return process
