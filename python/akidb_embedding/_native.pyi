"""The library itself, in Rust."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, final

from numpy.typing import NDArray
from typing_extensions import Self, Unpack

from .errors import EmbedError

__version__: str

class SupportsArrowArray(Protocol):
    """An Arrow array: pyarrow's, nanoarrow's …"""

    def __arrow_c_array__(
        self, requested_schema: object | None = None
    ) -> tuple[object, object]: ...

class SupportsArrowStream(Protocol):
    """Arrow arrays: a chunked array of pyarrow's, a series of Polars' or pandas'."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

Texts: TypeAlias = Iterable[str] | SupportsArrowArray | SupportsArrowStream
"""Texts, one each. A `str` alone is refused: it would be one text a character."""

class EmbedderOptions(TypedDict, total=False):
    """How a model is loaded and run."""

    variant: str | None
    """Which of a directory's weight files: "f32", "fp16", "int8", "q4", "safetensors" …"""
    precision: str | None
    """Arithmetic of the native engine: "auto", "f32", "bf16", "int8" …"""
    backend: Literal["auto", "native", "rten", "onnxruntime"] | None
    threads: int | None
    """Number of threads; one a core as a rule."""
    pooling: str | None
    """How a text's vector is made of its tokens' states, whatever the model's files say."""
    output: str | None
    """Name of the graph's output that is the embedding."""
    provider: str | None
    """What runs the model inside ONNX Runtime."""
    onnxruntime_library: str | os.PathLike[str] | None

class EmbedOptions(TypedDict, total=False):
    """How texts become vectors."""

    role: Literal["query", "document"] | None
    """What the texts are for; without it they get the model's default prompt, or a document's."""
    instruction: str | None
    """The task of queries, in your own words."""
    prompt: str | None
    """Put before each text as it is."""
    prompt_name: str | None
    """One of the model's prompts."""
    dim: int | None
    """Keep the first so many values alone, then normalise."""
    normalize: bool | None
    """Whether vectors have length 1; True as a rule."""
    encoding: Literal["f32", "f16", "int8", "binary"] | None
    """float32, float16, int8 (largest magnitude 127), or uint8 with 8 signs a byte."""
    max_tokens: int | None
    """Longest text in tokens, below the model's own limit."""
    on_long: Literal["truncate", "truncate-start", "truncate-end", "error"] | None
    """What to do with longer texts."""

class RerankOptions(TypedDict, total=False):
    """How documents are scored."""

    top_n: int | None
    """Give only so many, the best."""
    scoring: Literal["model", "cosine"] | None
    """By the model, which reads query and document, or by the cosine of their vectors."""
    instruction: str | None
    """The task in your own words, for models that take one."""
    max_tokens: int | None
    """Longest pair in tokens; with cosine, longest text."""
    max_document_tokens: int | None
    """Longest document in tokens."""
    on_long: Literal["truncate", "truncate-start", "truncate-end", "error"] | None
    """What to do with longer documents."""

class CorpusSettings(TypedDict, total=False):
    """Which texts of a corpus, and what goes along with their vectors."""

    text: str
    """The column that holds the text."""
    template: str
    """Puts texts together from several columns: "{title}\n{body}"."""
    id: str
    """The column that names a row."""
    keep: Literal["all"] | Sequence[str]
    """Columns that go along."""
    unit_rows: int
    """Most rows of a file that is written."""
    chunk: int
    """Most tokens of the parts that long texts are split into."""
    overlap: int
    """Tokens that a part shares with the one before."""
    format: Literal["parquet", "npy"]
    """The files that are written: npy has the other columns beside it as JSON Lines."""

class Info(TypedDict):
    """What vectors, or scores, come from."""

    model: str
    revision: str | None
    variant: str
    precision: str
    backend: str
    device: str
    pooling: str
    instruction: str
    prompt: str | None
    task: str | None
    dimension: int
    normalized: bool
    encoding: str
    fallback: str | None
    scoring: Literal["model", "cosine"] | None
    guesses: list[str]

class ModelInfo(Info):
    """The same, and what the model takes."""

    max_tokens: int
    has_query_prompt: bool

@final
class Embedding:
    """One text's vector."""

    @property
    def vector(self) -> NDArray[Any]: ...
    @property
    def scale(self) -> float | None: ...
    @property
    def tokens(self) -> int: ...
    @property
    def truncated(self) -> bool: ...

@final
class ArrowArray:
    """An Arrow array, for whatever takes one."""

    def __arrow_c_array__(
        self, requested_schema: object | None = None
    ) -> tuple[object, object]: ...
    def __arrow_c_schema__(self) -> object: ...
    def __len__(self) -> int: ...

@final
class Embedder:
    """A loaded model: texts go in, vectors come out."""

    def __new__(
        cls,
        model: str | os.PathLike[str] | None = "akidb-mini",
        **arguments: Unpack[EmbedderOptions],
    ) -> Self: ...
    def embed(self, texts: Texts, **options: Unpack[EmbedOptions]) -> NDArray[Any]: ...
    def embed_query(self, text: str, **options: Unpack[EmbedOptions]) -> NDArray[Any]: ...
    def embed_each(
        self, texts: Texts, **options: Unpack[EmbedOptions]
    ) -> list[Embedding | EmbedError]: ...
    def embed_arrow(self, texts: Texts, **options: Unpack[EmbedOptions]) -> ArrowArray: ...
    def embed_columns(self, texts: Texts, **options: Unpack[EmbedOptions]) -> ArrowArray: ...
    def rerank(
        self, query: str, documents: Texts, **options: Unpack[RerankOptions]
    ) -> list[Score]: ...
    def tokenize(self, texts: Texts, **options: Unpack[EmbedOptions]) -> list[list[int]]: ...
    def provenance(self, **options: Unpack[EmbedOptions]) -> Info: ...
    @property
    def info(self) -> ModelInfo: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class Score:
    """How well a document answers a query."""

    @property
    def index(self) -> int: ...
    @property
    def score(self) -> float: ...
    @property
    def logit(self) -> float: ...
    @property
    def tokens(self) -> int: ...
    @property
    def truncated(self) -> bool: ...

@final
class Reranker:
    """A loaded model that scores documents for a query."""

    def __new__(
        cls,
        model: str | os.PathLike[str] | None = "akidb-mini",
        **arguments: Unpack[EmbedderOptions],
    ) -> Self: ...
    def rerank(
        self, query: str, documents: Texts, **options: Unpack[RerankOptions]
    ) -> list[Score]: ...
    def provenance(self, **options: Unpack[RerankOptions]) -> Info: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class Corpus:
    """The work on a corpus of files."""

    def __new__(
        cls,
        embedder: Embedder,
        inputs: Sequence[str | os.PathLike[str]],
        out: str | os.PathLike[str],
        settings: CorpusSettings,
        options: EmbedOptions,
        force: bool = False,
        shard: str | None = None,
    ) -> Self: ...
    @property
    def units(self) -> list[tuple[str, int]]: ...
    @property
    def rows(self) -> int: ...
    @property
    def unknown_files(self) -> int: ...
    @property
    def repeated_files(self) -> int: ...
    def begin(self) -> None: ...
    def run(
        self, max_error_rate: float, progress: Callable[[int, int, int], object] | None = None
    ) -> None: ...
    def run_unit(self, name: str) -> tuple[bool, int, int]: ...
    def finished(self, max_error_rate: float) -> str | None: ...
    def finish(self, max_error_rate: float) -> str: ...

def run_status(out: str | os.PathLike[str]) -> str: ...
def command_line(arguments: Sequence[str]) -> int: ...
