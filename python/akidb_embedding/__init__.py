"""Text to vectors with Qwen3-Embedding and other ONNX models, on plain CPUs.

>>> from akidb_embedding import Embedder
>>> embedder = Embedder("akidb-mini")
>>> embedder.embed(["continue an interrupted transfer", "bake a chocolate cake"]).shape
(2, 256)
"""

from ._native import ArrowArray, Embedder, Embedding, __version__
from .errors import (
    BackendError,
    ClosedError,
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
    "EmbedError",
    "Embedder",
    "Embedding",
    "ForkedError",
    "ModelFilesError",
    "ModelNotFoundError",
    "NotFiniteError",
    "NotTextError",
    "OptionError",
    "TextError",
    "TooLongError",
    "__version__",
]
