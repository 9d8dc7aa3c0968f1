"""A corpus of files: what goes in comes out once, as from the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import ROWS, contents, make
from test_embed import command_line

from akidb_embedding import CorpusError, Embedder, ModelNotFoundError, OptionError, run, run_status

UNIT_ROWS = 40
ENDS = [signal.SIGINT, signal.SIGKILL] if os.name == "posix" else []


def test_files_are_those_of_the_command_line_byte_for_byte(tmp_path: Path) -> None:
    docs = make(tmp_path / "docs")
    manifest = run(docs, tmp_path / "ours", text="body", id="n", unit_rows=UNIT_ROWS)
    command_line(
        *["run", str(docs), "--out", str(tmp_path / "theirs"), "--text", "body", "--id", "n"],
        *["--unit-rows", str(UNIT_ROWS), "-m", "akidb-mini", "--quiet"],
    )
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")
    assert (manifest["rows_in"], manifest["rows_out"], manifest["errors"]) == (ROWS, ROWS - 1, 1)
    written = json.loads(tmp_path.joinpath("ours/_manifest.json").read_text())
    assert written == manifest
    before = contents(tmp_path / "ours")
    assert run(docs, tmp_path / "ours", text="body", id="n", unit_rows=UNIT_ROWS) == manifest
    assert contents(tmp_path / "ours") == before


def test_vectors_are_those_of_embed(tmp_path: Path, embedder: Embedder) -> None:
    tmp_path.joinpath("a.jsonl").write_text('{"title": "x", "body": "y", "n": 3}\n')
    out = tmp_path / "out"
    run([tmp_path / "a.jsonl"], out, template="{title}: {body}", keep="all", dim=64, encoding="f16")
    row = pq.read_table(out).to_pylist()[0]
    assert row["n"] == 3
    np.testing.assert_array_equal(
        np.float16(row["embedding"]), embedder.embed(["x: y"], dim=64, encoding="f16")[0]
    )


def test_arrays_have_what_parquet_has(tmp_path: Path) -> None:
    docs = make(tmp_path / "docs")
    for format in ("parquet", "npy"):
        run(docs, tmp_path / format, text="body", id="n", unit_rows=UNIT_ROWS, format=format)
    rows, lines = pq.read_table(tmp_path / "parquet").to_pylist(), []
    vectors = []
    for path in tmp_path.joinpath("npy").glob("*.npy"):
        lines += map(json.loads, path.with_suffix(".jsonl").read_text().splitlines())
        vectors += list(np.load(path))
    places = [(line["source_file"], line["source_row"]) for line in lines]
    found = dict(zip(places, vectors, strict=True))
    assert len(found) == len(rows) == ROWS
    for row in rows:
        vector = found[row["source_file"], row["source_row"]]
        np.testing.assert_array_equal(vector, row["embedding"] or np.full_like(vector, np.nan))


def test_long_texts_are_split(tmp_path: Path) -> None:
    tmp_path.joinpath("a.txt").write_text("word " * 100 + "\n")
    manifest = run(tmp_path / "a.txt", tmp_path / "out", chunk=32, overlap=4)
    assert manifest["rows_out"] == 1
    assert manifest["vectors"] > 3


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    docs, out = make(tmp_path / "docs"), tmp_path / "out"
    for keywords, says in [
        ({"text": "body", "keep": ["no such"]}, "no column"),
        ({"txt": "body"}, r"no option 'txt'\nhint: there are: text, template, id"),
        ({"max_error_rate": "1%"}, "'1%', not between 0 and 1"),
        ({"text": "\ud800"}, "text: .*surrogates not allowed"),
        ({"text": "body", "template": "{body}"}, "both say"),
        ({"text": "body", "overlap": 3}, "overlap is for chunk"),
        ({"text": "body", "max_error_rate": 3}, "not between 0 and 1"),
        ({"text": "body", "unit_rows": 0}, "a unit has a row"),
        ({"text": "body", "dim": 9999}, "dimension 9999"),
        ({"text": "body", "keep": ["embedding"]}, "embedding"),
    ]:
        with pytest.raises(OptionError, match=says):
            run(docs, out, **keywords)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="id: "):
        run(docs, out, text="body", id=3)
    with pytest.raises(ModelNotFoundError):
        run(docs, out, text="body", model="no-such-model")
    with pytest.raises(OptionError, match="no such"):
        run(tmp_path / "no such", out)
    assert not out.exists()
    with pytest.raises(CorpusError, match='no field "no such"'):
        run(docs, tmp_path / "other", text="no such")
    with pytest.raises(CorpusError, match="rows failed") as caught:
        run(docs, out, text="body", max_error_rate=0)
    assert "max_error_rate=" in (caught.value.hint or "")
    with pytest.raises(OptionError, match="holds other work") as caught:  # type: ignore[assignment]
        run(docs, out, text="body", dim=64)
    assert "force=True" in (caught.value.hint or "")
    assert run(docs, out, text="body", dim=64, force=True)["errors"] == 1
    assert tmp_path.joinpath("out.1").is_dir()


def test_shards_are_done_apart_and_finished(tmp_path: Path) -> None:
    docs, out, whole = make(tmp_path / "docs"), tmp_path / "out", tmp_path / "whole"
    work: Any = {"text": "body", "id": "n", "unit_rows": UNIT_ROWS}
    with pytest.raises(CorpusError, match="no work was begun"):
        run(docs, out, finish=True, **work)
    with pytest.raises(CorpusError, match="no work was begun"):
        run_status(out)
    assert run(docs, out, shard="2/2", **work) is None
    half = contents(out)
    with pytest.raises(CorpusError, match="3 units of shard 1/2"):
        run(docs, out, finish=True, **work)
    status = run_status(out)
    assert (status["units"], status["units_there"], status["finished"]) == (6, 3, False)
    assert [shard["units_there"] for shard in status["shards"]] == [0, 3]
    assert status["workers"][0]["shard"] == {"index": 2, "count": 2}
    run(docs, out, shard="1/2", **work)
    manifest = run(docs, out, finish=True, **work)
    assert (manifest["rows_in"], manifest["errors"]) == (ROWS, 1)
    assert run_status(out)["finished"]
    run(docs, whole, **work)
    assert half.items() < contents(whole).items()
    assert contents(out) == contents(whole)


def test_shards_that_do_not_fit_are_told(tmp_path: Path) -> None:
    docs, out = make(tmp_path / "docs"), tmp_path / "out"
    for keywords, says in [
        ({"shard": "3/2"}, "no shard 3 of 2"),
        ({"shard": "two"}, 'a shard is I/N as in 2/8, not "two"'),
        ({"shard": "1/2", "finish": True}, "finish and shard"),
        ({"force": True, "finish": True}, "finish and force"),
    ]:
        with pytest.raises(OptionError, match=says):
            run(docs, out, text="body", **keywords)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match='shard is a str as "2/8", not tuple'):
        run(docs, out, text="body", shard=(1, 2))  # type: ignore[call-overload]
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    docs, closed = make(tmp_path / "docs"), tmp_path / "closed"
    closed.mkdir(mode=0o500)
    outs = [docs / "0.jsonl" / "out"]
    # Root writes everywhere but where the system does.
    if os.name == "posix" and os.geteuid() != 0:
        outs.append(closed / "out")
    elif sys.platform == "linux":
        outs.append(Path("/proc/out"))
    for out in outs:
        with pytest.raises(CorpusError, match=f"{re.escape(str(out))}.* can't be "):
            run(docs, out, text="body")


def test_progress_and_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    docs = make(tmp_path / "docs")
    docs.joinpath("picture.png").write_bytes(b"\x89PNG")
    with pytest.warns(UserWarning, match="not read: 1 left out"):
        run(docs, tmp_path / "out", text="body", progress=True)
    assert f"{ROWS}/{ROWS}" in capsys.readouterr().err
    run(docs.joinpath("0.jsonl"), tmp_path / "silent", text="body", progress=False)
    assert capsys.readouterr().err == ""


RUN = """
import sys
from akidb_embedding import run
print("begun", flush=True)
run(sys.argv[1], sys.argv[2], text="body", unit_rows=5, threads=1)
"""


def started(docs: Path, out: Path) -> subprocess.Popen[str]:
    """A run in a process of its own, that has written something."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, docs, out], text=True, stderr=subprocess.PIPE
    )
    while process.poll() is None and not list(out.glob("*.parquet")):
        time.sleep(0.005)
    return process


@pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")
@pytest.mark.parametrize("how", ENDS)
def test_what_was_ended_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    docs = make(tmp_path / "docs", rows=600)
    process = started(docs, tmp_path / "out")
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (-how, 1)
    if how == signal.SIGINT:
        assert errors.rstrip().endswith("KeyboardInterrupt")
    there = contents(tmp_path / "out")
    run(docs, tmp_path / "out", text="body", unit_rows=5)
    run(docs, tmp_path / "whole", text="body", unit_rows=5)
    whole = contents(tmp_path / "whole")
    assert 0 < len(there) < len(whole)
    assert contents(tmp_path / "out") == whole
    assert there.items() <= whole.items()


def test_other_threads_of_python_go_on(tmp_path: Path) -> None:
    docs = make(tmp_path / "docs", rows=400)
    ended = threading.Event()
    turns = 0

    def count() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    run(docs, tmp_path / "out", text="body")
    ended.set()
    thread.join()
    assert turns > 10


def test_processes_share_the_work(tmp_path: Path) -> None:
    docs, out = make(tmp_path / "docs", rows=400), tmp_path / "out"
    processes = [
        subprocess.Popen([sys.executable, "-c", RUN, docs, out], stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    run(docs, tmp_path / "whole", text="body", unit_rows=5)
    assert contents(out) == contents(tmp_path / "whole")
