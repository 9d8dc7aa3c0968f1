"""Ray Data: texts of a dataset to vectors, on all machines of a cluster.

>>> ds = ds.map_batches(  # doctest: +SKIP
...     EmbedTexts,
...     batch_format="pyarrow",
...     fn_constructor_kwargs={"model": "akidb-mini", "text": "body"},
...     num_cpus=2,
...     concurrency=4,
... )
"""

from __future__ import annotations

import os
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray

from . import Embedder, _cluster
from ._options import split
from ._run import Bar, Inputs, Manifest, Work, manifest

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["EmbedTexts", "embed", "embed_files"]

MOST_BLOCKS = 4096
"""Blocks that units are shared out in, at most: Ray keeps account of each."""


class EmbedTexts:
    """Adds the columns `embedding`, `tokens`, `truncated` and `error` to batches of pyarrow.

    One model a process; its threads follow `num_cpus`. Where a text can't be embedded, the row has
    the reason in `error` and nulls in the others; the job goes on.
    """

    def __init__(
        self,
        *,
        text: str = "text",
        model: str | None = "akidb-mini",
        driver: _cluster.Fingerprint | None = None,
        **options: Any,
    ) -> None:
        """Load the model.

        `text` names the column, `options` are those of `Embedder` and of its `embed`, `driver` is
        the wheel that the driver has, where it is to be the same here.
        """
        _cluster.check_fingerprint(driver)
        self.text = text
        load, self.options = split(options)
        load.setdefault("threads", _assigned_cpus())
        self.embedder = _cluster.embedder(model, load)
        self.embedder.provenance(**self.options)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Add the columns to a batch."""
        return _cluster.add_columns(batch, self.text, self.embedder, self.options)


def _assigned_cpus() -> int | None:
    """Cores that Ray gave this worker, None outside of one."""
    if not ray.is_initialized():
        return None
    cpus = ray.get_runtime_context().get_assigned_resources().get("CPU")
    return None if cpus is None else max(1, int(cpus))


def _on_worker(name: str) -> type:
    """Make what `map_batches` takes of one of this module's classes, by its name."""
    version = _cluster.fingerprint()["version"]

    # Ray sends this class's code itself, so that it can say what a worker lacks.
    class OnWorker:
        def __init__(self, **arguments: Any) -> None:
            try:
                from akidb_embedding import ray
            except ImportError as error:
                raise RuntimeError(
                    f"this worker can't use akidb-embedding ({error}): install it where the "
                    f"workers' Python is: pip install 'akidb-embedding[ray]=={version}'"
                ) from None
            self.worker = getattr(ray, name)(**arguments)

        def __call__(self, batch: Any) -> Any:
            return self.worker(batch)

    # What Ray calls it, and what others see of it.
    OnWorker.__name__ = OnWorker.__qualname__ = name
    return OnWorker


def embed(
    dataset: Dataset,
    *,
    text: str = "text",
    model: str | None = "akidb-mini",
    num_cpus: float = 1,
    concurrency: int | tuple[int, int] | None = None,
    batch_size: int | None = 1024,
    ray_remote_args: dict[str, Any] | None = None,
    **options: Any,
) -> Dataset:
    """Add the columns `embedding`, `tokens`, `truncated` and `error` to a dataset.

    `concurrency` is the number of models, or the least and the most of them; each has `num_cpus`
    threads. Workers whose wheel is another than the driver's are refused.
    """
    split(options)
    names = dataset.columns()
    if names:
        _cluster.check_columns(names, text)
    arguments = {"text": text, "model": model, "driver": _cluster.fingerprint(), **options}
    return dataset.map_batches(
        _on_worker("EmbedTexts"),
        batch_format="pyarrow",
        batch_size=batch_size,
        fn_constructor_kwargs=arguments,
        num_cpus=num_cpus,
        concurrency=concurrency,
        zero_copy_batch=True,
        **(ray_remote_args or {}),
    )


class EmbedUnits:
    """Computes the units of a corpus that batches of pyarrow name, and writes them."""

    def __init__(self, work: dict[str, Any], run: str, driver: _cluster.Fingerprint) -> None:
        """Load the model and look at the corpus, as the driver did."""
        _cluster.check_fingerprint(driver)
        self.corpus = _cluster.worker_corpus(Work(**work), run, _assigned_cpus())

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Compute the units of a batch."""
        return _cluster.embed_units(self.corpus, batch)


def embed_files(
    inputs: Inputs,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = "akidb-mini",
    num_cpus: float = 1,
    concurrency: int | tuple[int, int] | None = None,
    force: bool = False,
    max_error_rate: float = 0.01,
    progress: bool | None = None,
    ray_remote_args: dict[str, Any] | None = None,
    **options: Any,
) -> Manifest:
    """Embed a corpus of files into a folder, exactly once: `akidb_embedding.run` on a cluster.

    Inputs and `out` are at the same paths on all machines. Each worker reads, embeds and writes
    whole units; no vector passes the object store. Killed at any time and started again, it goes
    on. `concurrency` and `num_cpus` are those of `embed`, the other keywords those of `run`.

    Returns the manifest. Raises what `run` does, on the driver; a worker's error is Ray's, with it.
    """
    work = Work.of(inputs, out, model, options)
    corpus, done = _cluster.begin(work, force, max_error_rate, Embedder(work.model, **work.load))
    if done is not None:
        return done
    units = corpus.units
    table = pa.table(
        {
            "unit": pa.array([name for name, _ in units], pa.string()),
            "rows": pa.array([rows for _, rows in units], pa.int64()),
        }
    )
    step = -(-len(units) // MOST_BLOCKS)
    blocks = [table.slice(first, step) for first in range(0, len(units), max(step, 1))]
    rows = tokens = errors = 0
    with Bar(corpus.rows, progress) as bar:
        # Without any row there is no unit.
        results = ray.data.from_arrow(blocks or [table]).map_batches(
            _on_worker("EmbedUnits"),
            batch_format="pyarrow",
            batch_size=1,
            fn_constructor_kwargs={
                "work": asdict(work),
                "run": uuid.uuid4().hex,
                "driver": _cluster.fingerprint(),
            },
            num_cpus=num_cpus,
            concurrency=concurrency,
            **(ray_remote_args or {}),
        )
        batch: Any
        for batch in results.iter_batches(batch_size=None, batch_format="pyarrow"):
            rows += sum(batch.column("rows").to_pylist())
            tokens += sum(batch.column("tokens").to_pylist())
            errors += sum(batch.column("errors").to_pylist())
            if bar.show is not None:
                bar.show(rows, tokens, errors)
    return manifest(corpus.finish(max_error_rate))
