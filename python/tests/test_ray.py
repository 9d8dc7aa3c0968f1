"""Ray Data on a real cluster of two nodes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import (
    ROWS,
    check,
    corpus,
    kill,
)
from corpora import begun, contents, make, once_there

from akidb_embedding import CorpusError, Embedder, OptionError, run

ray = pytest.importorskip("ray", reason="ray is not installed")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc"),
    pytest.mark.filterwarnings("ignore"),
]
MEMORY = 200 << 20
"""Bytes of a node's object store."""


@pytest.fixture(scope="module")
def cluster(nothing_left: None) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": MEMORY}
    )
    cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
    ray.init(address=cluster.address, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def kill_raylet(cluster: Any) -> None:
    """Kills what keeps a node's workers, and clears away what is left of the node."""
    (node,) = cluster.worker_nodes
    (raylet,) = node.all_processes["raylet"]
    os.kill(raylet.process.pid, signal.SIGKILL)
    raylet.process.wait(timeout=60)
    cluster.remove_node(node, allow_graceful=False)


def dataset() -> Any:
    return ray.data.from_arrow(corpus()).repartition(40)


def embedded(then: Callable[[], object] = lambda: None, **options: Any) -> list[dict[str, Any]]:
    """The rows of a run; `then` is done when the first are there."""
    from akidb_embedding.ray import embed

    ds = embed(dataset(), text="body", concurrency=2, batch_size=50, **options)
    rows: list[dict[str, Any]] = []
    for batch in ds.iter_batches(batch_size=50, batch_format="pyarrow", prefetch_batches=0):
        if not rows:
            then()
        rows.extend(batch.to_pylist())
    return rows


def test_a_dataset_gets_its_columns(cluster: Any, embedder: Embedder) -> None:
    check(embedded(), embedder)


def test_the_class_is_for_map_batches(cluster: Any) -> None:
    from akidb_embedding.ray import EmbedTexts

    ds = dataset().map_batches(
        EmbedTexts,
        batch_format="pyarrow",
        fn_constructor_kwargs={"model": "akidb-mini", "text": "body", "dim": 64},
        concurrency=1,
        num_cpus=2,
    )
    first = ds.take(1)[0]
    assert set(first) == {"id", "body", "embedding", "tokens", "truncated", "error"}
    assert len(first["embedding"]) == 64


@pytest.mark.parametrize("victim", ["actor", "raylet"])
def test_what_is_killed_is_made_up_for(cluster: Any, embedder: Embedder, victim: str) -> None:
    def strike() -> None:
        if victim == "actor":
            kill("ray::MapWorker(MapBatches(EmbedTexts))")
        else:
            kill_raylet(cluster)

    rows = embedded(strike)
    if victim == "raylet":
        cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
    assert len(rows) == ROWS
    check(rows, embedder)


def test_what_does_not_fit_is_told_on_the_driver(cluster: Any) -> None:
    from akidb_embedding.ray import embed

    with pytest.raises(OptionError, match=r"no column 'text'.*\n.*id, body"):
        embed(dataset())
    with pytest.raises(OptionError, match="no option 'rle'"):
        embed(dataset(), text="body", rle="query")
    taken = dataset().rename_columns({"id": "tokens"})
    with pytest.raises(OptionError, match="'tokens' is there already"):
        embed(taken, text="body")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("model", 'there is no model "no-such-model"'),
        ("other wheel", "install the driver's wheel on every worker"),
        ("no wheel", "pip install 'akidb-embedding"),
    ],
)
def test_what_a_worker_lacks_is_told_on_the_driver(
    cluster: Any, wrong: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from akidb_embedding import _cluster
    from akidb_embedding.ray import embed

    environment = {}
    if wrong == "other wheel":
        other = {**_cluster.fingerprint(), "version": "9.9.9"}
        monkeypatch.setattr(_cluster, "fingerprint", lambda: other)
    if wrong == "no wheel":
        missing = "raise ModuleNotFoundError(\"No module named 'akidb_embedding'\")"
        tmp_path.joinpath("akidb_embedding.py").write_text(missing)
        environment = {"env_vars": {"PYTHONPATH": str(tmp_path)}}
    model = "no-such-model" if wrong == "model" else "akidb-mini"
    remote = {"runtime_env": environment}
    ds = embed(dataset(), text="body", model=model, concurrency=1, ray_remote_args=remote)
    with pytest.raises(Exception, match=says):
        ds.take_all()


UNITS = {"text": "body", "id": "n", "unit_rows": 10}


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("ray") / "docs", rows=1500)


@pytest.fixture(scope="module")
def undisturbed(docs: Path) -> dict[str, bytes]:
    run(docs, docs.with_name("undisturbed"), **UNITS)  # type: ignore[call-overload]
    return contents(docs.with_name("undisturbed"))


DRIVER = """
import sys, ray
from akidb_embedding.ray import embed_files
address, docs, out = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
embed_files(docs, out, concurrency=2, text="body", id="n", unit_rows=10)
"""


@pytest.mark.parametrize("victim", ["nobody", "actor", "raylet", "driver"])
def test_a_corpus_is_written_once_whoever_is_killed(
    cluster: Any, docs: Path, undisturbed: dict[str, bytes], victim: str, tmp_path: Path
) -> None:
    from akidb_embedding.ray import embed_files

    out = tmp_path / "out"

    def strike() -> None:
        if victim == "actor":
            kill("ray::MapWorker(MapBatches(EmbedUnits))")
        elif victim == "raylet":
            kill_raylet(cluster)

    if victim == "driver":
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, cluster.address, docs, out])
        try:
            once_there(out, 5, driver.kill).result()
            assert driver.wait(timeout=60) == -signal.SIGKILL
        finally:
            driver.kill()
        assert 5 <= len(contents(out)) < len(undisturbed)
        embed_files(docs, out, concurrency=2, **UNITS)
    else:
        struck = once_there(out, 5, strike)
        manifest = embed_files(docs, out, concurrency=2, **UNITS)
        assert struck.result() < len(undisturbed)
        assert (manifest["rows_in"], manifest["errors"]) == (1500, 1)
    if victim == "raylet":
        cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
    assert contents(out) == undisturbed
    counts = begun(out)
    assert set(counts) == {name.removesuffix(".parquet") for name in undisturbed}
    # Two workers, a unit each.
    assert sum(counts.values()) - len(counts) <= (0 if victim == "nobody" else 2)
    assert embed_files(docs, out, concurrency=2, **UNITS)["rows_in"] == 1500
    assert begun(out) == counts


def test_a_corpus_that_does_not_fit_is_told_on_the_driver(
    cluster: Any, docs: Path, tmp_path: Path
) -> None:
    from akidb_embedding.ray import embed_files

    with pytest.raises(OptionError, match="no column"):
        embed_files(docs, tmp_path / "out", keep=["no such"])
    with pytest.raises(OptionError, match="no option 'rle'"):
        embed_files(docs, tmp_path / "out", text="body", rle="query")
    assert not tmp_path.joinpath("out").exists()
    with pytest.raises(CorpusError, match="rows failed"):
        embed_files(docs, tmp_path / "out", text="body", max_error_rate=0)
    with pytest.raises(CorpusError, match=r"docs/0\.jsonl/out"):
        embed_files(docs, docs / "0.jsonl" / "out", text="body")
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    assert embed_files(empty, tmp_path / "none")["rows_in"] == 0
