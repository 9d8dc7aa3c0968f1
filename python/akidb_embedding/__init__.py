"""Text to vectors with Qwen3-Embedding and other ONNX models, on plain CPUs.

>>> from akidb_embedding import Embedder
>>> embedder = Embedder("akidb-mini")
>>> embedder.embed(["continue an interrupted transfer", "bake a chocolate cake"]).shape
(2, 256)
"""

from ._native import ArrowArray, Embedder, Embedding, Reranker, Score, __version__
from ._run import Manifest, RunStatus, run, run_status
from .errors import (
    BackendError,
    ClosedError,
    CorpusError,
    EmbedError,
    ForkedError,
    ModelFilesError,
    ModelNotFoundError,
    NotFiniteError,
    NotTextError,
    OptionError,
    TextError,
    TooLongError,
)

__all__ = [
    "ArrowArray",
    "BackendError",
    "ClosedError",
    "CorpusError",
    "EmbedError",
    "Embedder",
    "Embedding",
    "ForkedError",
    "Manifest",
    "ModelFilesError",
    "ModelNotFoundError",
    "NotFiniteError",
    "NotTextError",
    "OptionError",
    "Reranker",
    "RunStatus",
    "Score",
    "TextError",
    "TooLongError",
    "__version__",
    "run",
    "run_status",
]
