"""`run`: a corpus of files to vectors, exactly once."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, overload

from ._native import Corpus, Embedder
from ._native import run_status as native_status
from ._options import split
from .errors import OptionError

if TYPE_CHECKING:
    from ._native import CorpusSettings, EmbedderOptions, EmbedOptions

Inputs: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
"""Files, folders and globs."""

SETTINGS = ("text", "template", "id", "keep", "unit_rows", "chunk", "overlap", "format")
"""Options that say which texts."""


class Manifest(TypedDict):
    """What the work has come to."""

    fingerprint: dict[str, Any]
    """What all vectors depend on."""
    rows_in: int
    rows_out: int
    """Rows that have a vector."""
    errors: int
    """Rows that have none."""
    vectors: int
    """More than rows where texts are split."""
    tokens: int
    truncated: int
    seconds: float
    """Time that was spent on units, of all processes together."""
    units: list[dict[str, Any]]


class Shard(TypedDict):
    """A part of the units."""

    index: int
    """From 1."""
    count: int


class WorkerStatus(TypedDict):
    """A process that has worked on a corpus."""

    pid: int
    shard: Shard | None
    units: int
    """Units that it has written."""
    rows: int
    tokens: int
    seconds: float
    unit: str | None
    """The unit that it works on, or did when it was killed."""
    ended: bool
    """It has done all that it was to do."""


class ShardStatus(TypedDict):
    """How far a shard is."""

    shard: Shard
    units: int
    units_there: int


class RunStatus(TypedDict):
    """How far the work in a folder is."""

    units: int
    units_there: int
    units_claimed: int
    """Units that somebody works on, or was working on when it was killed."""
    rows: int
    rows_there: int
    errors: int
    finished: bool
    """The manifest is written."""
    workers: list[WorkerStatus]
    shards: list[ShardStatus]


@dataclass(frozen=True)
class Work:
    """What `run` is asked for: the same on the driver of a cluster and on its workers."""

    inputs: list[str]
    out: str
    model: str | None
    settings: CorpusSettings
    load: EmbedderOptions
    how: EmbedOptions

    @classmethod
    def of(
        cls,
        inputs: Inputs,
        out: str | os.PathLike[str],
        model: str | os.PathLike[str] | None,
        options: dict[str, Any],
    ) -> Work:
        """Sort keywords by what they are for; paths become absolute."""
        settings, rest = split_corpus(options)
        load, how = split(rest, SETTINGS)
        if isinstance(inputs, (str, os.PathLike)):
            inputs = [inputs]
        return cls(
            inputs=[_absolute(os.fspath(path)) for path in inputs],
            out=_absolute(os.fspath(out)),
            model=None if model is None else os.fspath(model),
            settings=settings,
            load=load,
            how=how,
        )

    def corpus(self, embedder: Embedder, force: bool = False, shard: str | None = None) -> Corpus:
        """Cut the files into units."""
        return Corpus(embedder, self.inputs, self.out, self.settings, self.how, force, shard)


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)


def split_corpus(options: dict[str, Any]) -> tuple[CorpusSettings, dict[str, Any]]:
    """Tell what says which texts from what says how they become vectors."""
    settings: Any = {name: options[name] for name in SETTINGS if options.get(name) is not None}
    if "text" in settings and "template" in settings:
        raise OptionError("text and template both say where texts are", hint="leave one out")
    return settings, {name: value for name, value in options.items() if name not in SETTINGS}


def check_rate(max_error_rate: float) -> None:
    """Raise where a part is none."""
    if not isinstance(max_error_rate, (int, float)) or not 0 <= max_error_rate <= 1:
        raise OptionError(f"max_error_rate is {max_error_rate!r}, not between 0 and 1")


@overload
def run(
    inputs: Inputs,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = "akidb-mini",
    force: bool = False,
    max_error_rate: float = 0.01,
    progress: bool | None = None,
    shard: None = None,
    finish: bool = False,
    **options: Any,
) -> Manifest: ...
@overload
def run(
    inputs: Inputs,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = "akidb-mini",
    force: bool = False,
    max_error_rate: float = 0.01,
    progress: bool | None = None,
    shard: str,
    finish: Literal[False] = False,
    **options: Any,
) -> None: ...
def run(
    inputs: Inputs,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = "akidb-mini",
    force: bool = False,
    max_error_rate: float = 0.01,
    progress: bool | None = None,
    shard: str | None = None,
    finish: bool = False,
    **options: Any,
) -> Manifest | None:
    """Embed a corpus of files into a folder of Parquet files, exactly once: `akidb-embed run`.

    Parameters: `inputs` (files, folders and globs of Parquet, JSON Lines, CSV and plain text, also
    at s3://, gs:// and az://), `out` (a new folder, here or there, or one of the same work, which
    then goes on), `force` (moves other work in `out` aside), `max_error_rate` (the part of the rows
    that may fail), `progress` (a bar of tqdm's; None shows one where tqdm is there and somebody
    watches), `shard` ("2/8": the second of eight parts alone, beside others that do the rest),
    `finish` (compute nothing: look whether all shards are done, and write the manifest), and as
    `options`

    - which texts: `text` (the column, "text" unless said), or `template` ("{title}\\n{body}"), `id`
      (the column that names a row), `keep` (columns that go along, or "all"), `chunk` (tokens of
      the parts that long texts are split into), `overlap` (tokens that parts share), `unit_rows`
      (most rows of a file, and of what a kill costs), `format` ("parquet" or "npy");
    - those of `Embedder` and of its `embed`.

    Returns the manifest, which is in `out/_manifest.json`, too; None for a shard, which is a part.
    Killed at any time and started again, it goes on; several processes that do the same work at the
    same time share it. Ctrl-C ends it after the pass that is being computed.

    Raises `OptionError` for what doesn't fit, `CorpusError` when files can't be read or written,
    too many rows have failed, or what is to be finished isn't there, and what `Embedder` raises.
    """
    check_rate(max_error_rate)
    if finish and (shard is not None or force):
        other = "force" if shard is None else "shard"
        raise OptionError(f"finish and {other} contradict each other", hint="leave one out")
    if shard is not None and not isinstance(shard, str):
        raise TypeError(f'shard is a str as "2/8", not {type(shard).__name__}')
    work = Work.of(inputs, out, model, options)
    corpus = work.corpus(Embedder(work.model, **work.load), force, shard)
    warn_of_files(corpus)
    if finish:
        return manifest(corpus.finish(max_error_rate))
    finished = None if shard is not None else corpus.finished(max_error_rate)
    if finished is not None:
        return manifest(finished)
    with Bar(corpus.rows, progress) as bar:
        corpus.run(max_error_rate, bar.show)
    return None if shard is not None else manifest(corpus.finish(max_error_rate))


def run_status(out: str | os.PathLike[str]) -> RunStatus:
    """Tell how far the work in a folder is, whoever does it: `akidb-embed run --status`.

    Raises `CorpusError` when no work was begun there, or it can't be read.
    """
    status: RunStatus = json.loads(native_status(out))
    return status


def manifest(text: str) -> Manifest:
    """Read a manifest."""
    read: Manifest = json.loads(text)
    return read


def warn_of_files(corpus: Corpus) -> None:
    """Tell what of the input may not have been meant."""
    if corpus.unknown_files:
        what = f"files of kinds that are not read: {corpus.unknown_files} left out"
        warnings.warn(what, stacklevel=3)
    if corpus.repeated_files:
        what = f"files that several inputs lead to: {corpus.repeated_files} taken once"
        warnings.warn(what, stacklevel=3)


class Bar:
    """A progress bar of tqdm's, where it is there and wanted."""

    def __init__(self, rows: int, wanted: bool | None) -> None:
        """`wanted` None is where somebody watches: on a terminal, or in a notebook."""
        self.bar: Any = None
        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        if wanted or (wanted is None and watched):
            tqdm = _tqdm(needed=bool(wanted))
            self.bar = tqdm and tqdm(total=rows, unit="rows", dynamic_ncols=True)

    @property
    def show(self) -> Callable[[int, int, int], None] | None:
        """What takes sums of rows, tokens and errors; None where there is no bar."""
        return self._show if self.bar is not None else None

    def _show(self, rows: int, tokens: int, errors: int) -> None:
        self.bar.set_postfix({"tokens": tokens, "errors": errors}, refresh=False)
        self.bar.update(rows - self.bar.n)

    def __enter__(self) -> Bar:
        """Nothing: the bar is there."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """End its line."""
        if self.bar is not None:
            self.bar.close()


def _tqdm(needed: bool) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        if needed:
            raise OptionError("progress=True needs tqdm", hint="pip install tqdm") from None
        return None
    return tqdm
