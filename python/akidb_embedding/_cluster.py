"""What Ray and Spark have in common: a worker's model, the columns that it adds, its units."""

from __future__ import annotations

import hashlib
import sysconfig
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from . import Embedder, OptionError, __version__
from ._run import Manifest, Work, check_rate, manifest, warn_of_files
from .errors import EmbedError

if TYPE_CHECKING:
    from ._native import Corpus, EmbedderOptions, EmbedOptions

Fingerprint: TypeAlias = dict[str, str]

ADDED = ("embedding", "tokens", "truncated", "error")
"""The columns that a transform adds."""


class WorkerError(EmbedError, RuntimeError):
    """A worker isn't fit for the driver's work: its wheel is another, or is missing."""


def check_columns(names: list[str], text: str) -> None:
    """Raise when the text's column is missing, or one that is added is there."""
    if text not in names:
        raise OptionError(
            f"there is no column {text!r}", hint=f'name one of: {", ".join(names)} (text="…")'
        )
    taken = [name for name in ADDED if name in names]
    if taken:
        raise OptionError(
            f"a column {taken[0]!r} is there already, and one of that name is added",
            hint="rename it, or leave it out",
        )


@cache
def fingerprint() -> Fingerprint:
    """Return what tells this wheel from others: version, Python's files, and the library's."""
    here = Path(__file__).parent
    python = hashlib.sha256()
    for file in sorted(here.rglob("*.py")):
        python.update(file.relative_to(here).as_posix().encode())
        python.update(file.read_bytes())
    native = hashlib.sha256()
    for file in sorted(here.glob("_native*.so")) + sorted(here.glob("_native*.pyd")):
        native.update(file.read_bytes())
    return {
        "version": __version__,
        "python": python.hexdigest()[:16],
        "platform": sysconfig.get_platform(),
        "native": native.hexdigest()[:16],
    }


def check_fingerprint(driver: Fingerprint | None) -> None:
    """Raise where this worker's wheel isn't the driver's; other platforms have another library."""
    if driver is None:
        return
    mine = fingerprint()
    same_platform = mine["platform"] == driver["platform"]
    keys = ("version", "python", "native") if same_platform else ("version", "python")
    if any(mine[key] != driver[key] for key in keys):
        raise WorkerError(
            f"this worker has akidb-embedding {_words(mine)}, the driver {_words(driver)}",
            hint="install the driver's wheel on every worker",
        )


def _words(wheel: Fingerprint) -> str:
    return f"{wheel['version']} ({wheel['python']}, {wheel['native']})"


_EMBEDDERS: dict[str, Embedder] = {}


def embedder(model: str | None, options: EmbedderOptions) -> Embedder:
    """Return the process's model of these options: loaded once, for all tasks that come here."""
    key = repr((model, sorted(options.items())))
    found = _EMBEDDERS.get(key)
    if found is None:
        found = _EMBEDDERS[key] = Embedder(model, **options)
    return found


def add_columns(
    table: pa.Table | pa.RecordBatch, text: str, embedder: Embedder, options: EmbedOptions
) -> pa.Table:
    """Add the columns `embedding`, `tokens`, `truncated` and `error` to a table."""
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    check_columns(table.column_names, text)
    added = pa.record_batch(embedder.embed_columns(table.column(text), **options))
    for name in ADDED:
        table = table.append_column(name, added.column(name))
    return table


def begin(
    work: Work, force: bool, max_error_rate: float, embedder: Embedder
) -> tuple[Corpus, Manifest | None]:
    """Begin a corpus in its folder, on the driver; where it is done, give its manifest."""
    check_rate(max_error_rate)
    corpus = work.corpus(embedder, force)
    warn_of_files(corpus)
    finished = corpus.finished(max_error_rate)
    if finished is not None:
        return corpus, manifest(finished)
    corpus.begin()
    return corpus, None


_CORPORA: dict[str, Corpus] = {}


def worker_corpus(work: Work, run: str, threads: int | None) -> Corpus:
    """Return the process's corpus of a driver's run: cut into units once, for all tasks."""
    found = _CORPORA.get(run)
    if found is None:
        load = work.load.copy()
        if threads is not None:
            load.setdefault("threads", threads)
        found = replace(work, load=load).corpus(embedder(work.model, load))
        _CORPORA.clear()
        _CORPORA[run] = found
    return found


def embed_units(corpus: Corpus, table: pa.Table | pa.RecordBatch) -> pa.Table:
    """Compute the units that a table names; the errors and tokens of those that were not there."""
    units = table.column("unit").to_pylist()
    done = [corpus.run_unit(unit) for unit in units]
    return pa.table(
        {
            "unit": pa.array(units, pa.string()),
            "rows": table.column("rows"),
            "written": pa.array([written for written, _, _ in done], pa.bool_()),
            "errors": pa.array([errors for _, errors, _ in done], pa.int64()),
            "tokens": pa.array([tokens for _, _, tokens in done], pa.int64()),
        }
    )
