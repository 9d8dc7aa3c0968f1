"""Spark on its own cluster on this machine: a master, two workers, an executor on each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import (
    BAD,
    check,
    corpus,
    kill,
    processes,
)
from corpora import begun, contents, make, once_there
from standalone import session, standalone, stop

from akidb_embedding import CorpusError, Embedder, OptionError, run

pyspark = pytest.importorskip("pyspark", reason="pyspark is not installed")
pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc"),
    pytest.mark.filterwarnings("ignore"),
]
EXECUTOR = "CoarseGrainedExecutorBackend"


@pytest.fixture(scope="module")
def cluster(nothing_left: None) -> Iterator[str]:
    with standalone() as address:
        yield address


@pytest.fixture(scope="module")
def spark(cluster: str) -> Iterator[Any]:
    spark = session(cluster)
    yield spark
    stop(spark)


def test_a_cluster_that_does_not_start_is_told(nothing_left: None) -> None:
    with pytest.raises(RuntimeError, match="NoMaster ended with 1"), standalone("NoMaster"):
        pytest.fail("it is said to be there")


def frame(spark: Any) -> Any:
    return spark.createDataFrame(corpus()).repartition(20)


def rows(df: Any) -> list[dict[str, Any]]:
    return [row.asDict() for row in df.collect()]


def test_a_frame_gets_its_columns(spark: Any, embedder: Embedder) -> None:
    from akidb_embedding.spark import embed

    df = embed(frame(spark), text="body")
    assert df.columns == ["id", "body", "embedding", "tokens", "truncated", "error"]
    check(rows(df), embedder)


def test_encodings_have_types_of_sql(spark: Any, embedder: Embedder) -> None:
    from akidb_embedding.spark import embed

    some = frame(spark).where("id in (3, 7)")
    for encoding, kind in [
        ("f16", "array<float>"),
        ("int8", "array<tinyint>"),
        ("binary", "binary"),
    ]:
        df = embed(some, text="body", encoding=encoding, dim=64)
        assert dict(df.dtypes)["embedding"] == kind
        good, bad = sorted(rows(df), key=lambda row: row["id"])
        assert bad["id"] in BAD
        assert bad["embedding"] is None
        expected = embedder.embed([good["body"]], encoding=encoding, dim=64)[0]
        assert list(good["embedding"]) == expected.tolist()


def test_an_executor_that_is_killed_is_made_up_for(spark: Any, embedder: Embedder) -> None:
    from akidb_embedding.spark import embed

    before = processes(EXECUTOR)
    assert len(before) == 2
    killed = []

    def strike() -> None:
        tracker = spark.sparkContext.statusTracker()
        while not killed:
            time.sleep(0.01)
            stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            # Some tasks of the stage that embeds are done, and some are not.
            if any(s and s.numTasks == 20 and 2 <= s.numCompletedTasks < 15 for s in stages):
                killed.append(kill(EXECUTOR))

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    check(rows(embed(frame(spark), text="body")), embedder)
    assert killed


def test_what_does_not_fit_is_told_on_the_driver(spark: Any) -> None:
    from akidb_embedding.spark import embed

    with pytest.raises(OptionError, match="no column 'text'"):
        embed(frame(spark))
    with pytest.raises(OptionError, match="no option 'rle'"):
        embed(frame(spark), text="body", rle="query")
    with pytest.raises(OptionError, match="'error' is there already"):
        embed(frame(spark).withColumnRenamed("id", "error"), text="body")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("model", 'there is no model "no-such-model"'),
        ("other wheel", "install the driver's wheel on every worker"),
        ("no wheel", "pip install 'akidb-embedding"),
    ],
)
def test_what_a_worker_lacks_is_told_on_the_driver(
    spark: Any, wrong: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from akidb_embedding import _cluster
    from akidb_embedding.spark import embed

    if wrong == "other wheel":
        other = {**_cluster.fingerprint(), "version": "9.9.9"}
        monkeypatch.setattr(_cluster, "fingerprint", lambda: other)
    if wrong == "no wheel":
        missing = "raise ModuleNotFoundError(\"No module named 'akidb_embedding'\")"
        tmp_path.joinpath("akidb_embedding.py").write_text(missing)
        monkeypatch.setitem(spark.sparkContext.environment, "PYTHONPATH", str(tmp_path))
    model = "no-such-model" if wrong == "model" else "akidb-mini"
    df = embed(frame(spark), text="body", model=model)
    with pytest.raises(Exception, match=says) as caught:
        df.collect()
    assert str(caught.value).count(says) == 1


UNITS = {"text": "body", "id": "n", "unit_rows": 10}


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("spark") / "docs", rows=1500)


@pytest.fixture(scope="module")
def undisturbed(docs: Path) -> dict[str, bytes]:
    run(docs, docs.with_name("undisturbed"), **UNITS)  # type: ignore[call-overload]
    return contents(docs.with_name("undisturbed"))


DRIVER = """
import sys
from standalone import session
from akidb_embedding.spark import embed_files
address, docs, out = sys.argv[1:]
embed_files(session(address), docs, out, text="body", id="n", unit_rows=10)
"""


def kill_driver(cluster: str, docs: Path, out: Path) -> None:
    """Begins the work, and kills whoever shares it out: Python and its Java."""
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    command = [sys.executable, "-c", DRIVER, cluster, str(docs), str(out)]
    driver = subprocess.Popen(command, env=environment)

    def strike() -> None:
        (java,) = processes("SparkSubmit", of=driver.pid)
        os.kill(java, signal.SIGKILL)
        driver.kill()

    try:
        once_there(out, 5, strike).result()
        assert driver.wait(timeout=60) == -signal.SIGKILL
    finally:
        driver.kill()


@pytest.mark.parametrize("victim", ["nobody", "executor", "driver"])
def test_a_corpus_is_written_once_whoever_is_killed(
    cluster: str,
    spark: Any,
    docs: Path,
    undisturbed: dict[str, bytes],
    victim: str,
    tmp_path: Path,
) -> None:
    from akidb_embedding.spark import embed_files

    out = tmp_path / "out"
    if victim == "driver":
        kill_driver(cluster, docs, out)
        there = contents(out)
        assert 5 <= len(there) < len(undisturbed)
        manifest = embed_files(spark, docs, out, **UNITS)
    else:
        strike = (lambda: kill(EXECUTOR)) if victim == "executor" else (lambda: 0)
        struck = once_there(out, 5, strike)
        manifest = embed_files(spark, docs, out, **UNITS)
        assert struck.result() < len(undisturbed)
    assert (manifest["rows_in"], manifest["errors"]) == (1500, 1)
    assert contents(out) == undisturbed
    counts = begun(out)
    assert set(counts) == {name.removesuffix(".parquet") for name in undisturbed}
    # Two executors, of two tasks each, a unit each.
    in_work = {"nobody": 0, "executor": 2, "driver": 4}
    assert sum(counts.values()) - len(counts) <= in_work[victim]
    embed_files(spark, docs, out, **UNITS)
    assert begun(out) == counts


def test_a_corpus_that_does_not_fit_is_told_on_the_driver(
    spark: Any, docs: Path, tmp_path: Path
) -> None:
    from akidb_embedding.spark import embed_files

    with pytest.raises(OptionError, match="no column"):
        embed_files(spark, docs, tmp_path / "out", keep=["no such"])
    with pytest.raises(CorpusError, match="rows failed"):
        embed_files(spark, docs, tmp_path / "out", text="body", max_error_rate=0)
    with pytest.raises(CorpusError, match=r"docs/0\.jsonl/out"):
        embed_files(spark, docs, docs / "0.jsonl" / "out", text="body")
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    assert embed_files(spark, empty, tmp_path / "none")["rows_in"] == 0
