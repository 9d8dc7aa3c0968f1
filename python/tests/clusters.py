"""Texts for clusters, and the processes of one."""

from __future__ import annotations

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


def processes(words: str) -> list[int]:
    """Those whose command line has these words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = entry.joinpath("cmdline").read_bytes()
            except OSError:
                continue
            if words.encode() in command.replace(b"\0", b" "):
                found.append(int(entry.name))
    return found


def kill(words: str) -> int:
    """Kills one of them, and says which."""
    process = max(processes(words))
    os.kill(process, signal.SIGKILL)
    return process
