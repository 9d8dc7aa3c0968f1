"""Spark on a real cluster on this machine: a master, two workers, an executor on each."""

from __future__ import annotations

import os
import shutil
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

from akidb_embedding import CorpusError, Embedder, OptionError, run

pyspark = pytest.importorskip("pyspark", reason="pyspark is not installed")
pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc"),
    pytest.mark.filterwarnings("ignore"),
]
EXECUTOR = "CoarseGrainedExecutorBackend"


def session() -> Any:
    """A driver with a cluster of its own: two workers, an executor on each."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local-cluster[2,2,1024]").appName("akidb")
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.memory": "1g",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "50",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.log.level": "ERROR",
    }
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    spark = session()
    yield spark
    spark.stop()


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


@pytest.mark.parametrize("victim", ["nobody", "executor"])
def test_a_corpus_is_written_once_whoever_is_killed(
    spark: Any, victim: str, tmp_path: Path
) -> None:
    from akidb_embedding.spark import embed_files

    docs, out, whole = make(tmp_path / "docs", rows=3000), tmp_path / "out", tmp_path / "whole"
    run(docs, whole, **UNITS)  # type: ignore[arg-type]
    struck = once_there(out, 5, (lambda: kill(EXECUTOR)) if victim == "executor" else lambda: None)
    manifest = embed_files(spark, docs, out, **UNITS)
    assert struck.result() < len(contents(whole))
    assert (manifest["rows_in"], manifest["errors"]) == (3000, 1)
    assert contents(out) == contents(whole)
    counts = begun(out)
    # An executor has two tasks, a unit each.
    assert sum(counts.values()) - len(counts) <= (2 if victim == "executor" else 0)
    embed_files(spark, docs, out, **UNITS)
    assert begun(out) == counts


def test_a_corpus_that_does_not_fit_is_told_on_the_driver(spark: Any, tmp_path: Path) -> None:
    from akidb_embedding.spark import embed_files

    docs = make(tmp_path / "docs")
    with pytest.raises(OptionError, match="no column"):
        embed_files(spark, docs, tmp_path / "out", keep=["no such"])
    with pytest.raises(CorpusError, match="rows failed"):
        embed_files(spark, docs, tmp_path / "out", text="body", max_error_rate=0)
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    assert embed_files(spark, empty, tmp_path / "none")["rows_in"] == 0
