"""LangChain's `Embeddings`.

>>> from akidb_embedding.integrations.langchain import AkidbEmbeddings
>>> len(AkidbEmbeddings(model="akidb-mini").embed_query("how do I resume a download"))
256
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from .. import Embedder

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._native import EmbedderOptions


class AkidbEmbeddings(Embeddings):
    """Documents and queries, each with the model's prompt for them.

    The asynchronous methods work on a thread of LangChain's; those that run at the same time share
    the model's passes.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = "akidb-mini",
        *,
        dim: int | None = None,
        instruction: str | None = None,
        **options: Unpack[EmbedderOptions],
    ) -> None:
        """Load a model.

        `dim` cuts the vectors, `instruction` is the task of queries in your words, and `options`
        are those of `Embedder`.
        """
        self.embedder = Embedder(model, **options)
        self.dim = dim
        self.instruction = instruction

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of documents, one each."""
        vectors: Any = self.embedder.embed(texts, role="document", dim=self.dim)
        return vectors.tolist()  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        vector: Any = self.embedder.embed_query(text, instruction=self.instruction, dim=self.dim)
        return vector.tolist()  # type: ignore[no-any-return]
