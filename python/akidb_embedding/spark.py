"""Spark: texts of a DataFrame to vectors, on all executors of a cluster.

>>> vectors = embed(df, text="body", model="akidb-mini")  # doctest: +SKIP
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    FloatType,
    IntegerType,
    StringType,
    StructField,
    StructType,
)

from . import Embedder, _cluster
from ._options import split
from ._run import Inputs, Manifest, Work, manifest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from ._native import EmbedderOptions, EmbedOptions

__all__ = ["embed", "embed_files"]

MOST_TASKS = 10_000
"""Tasks that units are shared out in, at most: Spark keeps account of each."""


def embed(
    df: DataFrame, *, text: str = "text", model: str | None = "akidb-mini", **options: Any
) -> DataFrame:
    """Add the columns `embedding`, `tokens`, `truncated` and `error` to a DataFrame.

    `options` are those of `Embedder` and of its `embed`. One model a process of Python, whose
    threads follow `spark.task.cpus`. Where a text can't be embedded, the row has the reason in
    `error` and nulls in the others. `embedding` is an array of floats (f32 and f16), of bytes
    (int8), or binary.

    Raises `OptionError`; workers without the wheel, or with another than the driver's, say so when
    the DataFrame is computed.
    """
    load, how = split(options)
    _cluster.check_columns(df.columns, text)
    encoding = how.get("encoding") or "f32"
    fields = [
        StructField("embedding", _sql_type(encoding)),
        StructField("tokens", IntegerType()),
        StructField("truncated", BooleanType()),
        StructField("error", StringType()),
    ]
    run = _on_worker("embed_batches", text, model, load, how, _cluster.fingerprint())
    return df.mapInArrow(run, StructType([*df.schema.fields, *fields]))


def _on_worker(function: str, *arguments: Any) -> Callable[[Any], Any]:
    """Make what `mapInArrow` takes of one of this module's functions, by its name."""
    version = _cluster.fingerprint()["version"]

    # Spark sends this function's code itself, so that it can say what a worker lacks.
    def run(batches: Any) -> Any:
        try:
            from akidb_embedding import spark
        except ImportError as error:
            raise RuntimeError(
                f"this worker can't use akidb-embedding ({error}): install it where the executors' "
                f"Python is: pip install 'akidb-embedding[spark]=={version}'"
            ) from None
        yield from getattr(spark, function)(batches, *arguments)

    return run


def embed_batches(
    batches: Iterator[pa.RecordBatch],
    text: str,
    model: str | None,
    load: EmbedderOptions,
    how: EmbedOptions,
    driver: _cluster.Fingerprint,
) -> Iterator[pa.RecordBatch]:
    """Add the columns to a task's batches, on a worker."""
    _cluster.check_fingerprint(driver)
    cpus = _task_cpus()
    if cpus is not None:
        load.setdefault("threads", cpus)
    embedder = _cluster.embedder(model, load)
    for batch in batches:
        table = _cluster.add_columns(batch, text, embedder, how)
        place = table.schema.get_field_index("embedding")
        vectors = _for_spark(table.column(place))
        yield from table.set_column(place, "embedding", vectors).to_batches()


def embed_files(
    spark: SparkSession,
    inputs: Inputs,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = "akidb-mini",
    force: bool = False,
    max_error_rate: float = 0.01,
    **options: Any,
) -> Manifest:
    """Embed a corpus of files into a folder, exactly once: `akidb_embedding.run` on a cluster.

    Inputs and `out` are at the same paths on all machines. Each task reads, embeds and writes whole
    units; no vector is shuffled or collected. Killed at any time and started again, it goes on. The
    keywords are those of `run`; a task's threads follow `spark.task.cpus`.

    Returns the manifest. Raises what `run` does, on the driver; a worker's error is Spark's, with
    it.
    """
    work = Work.of(inputs, out, model, options)
    corpus, done = _cluster.begin(work, force, max_error_rate, Embedder(work.model, **work.load))
    if done is not None:
        return done
    units = corpus.units
    if units:
        run = _on_worker("embed_units", asdict(work), uuid.uuid4().hex, _cluster.fingerprint())
        results = (
            spark.createDataFrame(units, "unit string, rows long")
            .coalesce(1)
            .repartition(min(len(units), MOST_TASKS))
            .mapInArrow(run, "unit string, rows long, written boolean, errors long, tokens long")
        )
        # Counted, not collected: what came of the units is in the folder.
        results.agg({"errors": "sum"}).collect()
    return manifest(corpus.finish(max_error_rate))


def embed_units(
    batches: Iterator[pa.RecordBatch], work: dict[str, Any], run: str, driver: _cluster.Fingerprint
) -> Iterator[pa.RecordBatch]:
    """Compute the units of a task, on a worker."""
    _cluster.check_fingerprint(driver)
    corpus = _cluster.worker_corpus(Work(**work), run, _task_cpus())
    for batch in batches:
        yield from _cluster.embed_units(corpus, batch).to_batches()


def _sql_type(encoding: str) -> DataType:
    if encoding == "binary":
        return BinaryType()
    return ArrayType(ByteType() if encoding == "int8" else FloatType())


def _for_spark(vectors: pa.ChunkedArray) -> pa.ChunkedArray:
    """Arrow's types that Spark has: no lists of fixed size, no float16, no uint8."""
    kind = vectors.type
    if kind.value_type == pa.uint8():
        width = kind.list_size
        chunks = [
            pa.Array.from_buffers(
                pa.binary(width),
                len(chunk),
                [chunk.buffers()[0], chunk.values.buffers()[1]],
                offset=chunk.offset,
            )
            for chunk in vectors.chunks
        ]
        return pa.chunked_array(chunks, pa.binary(width)).cast(pa.binary())
    if kind.value_type == pa.float16():
        vectors = vectors.cast(pa.list_(pa.float32(), kind.list_size))
    return vectors.cast(pa.list_(vectors.type.value_type))


def _task_cpus() -> int | None:
    context = TaskContext.get()
    return None if context is None else max(1, context.cpus())
