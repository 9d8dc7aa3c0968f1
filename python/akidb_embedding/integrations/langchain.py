"""LangChain's `Embeddings`, and a compressor that ranks documents.

>>> from akidb_embedding.integrations.langchain import AkidbEmbeddings
>>> len(AkidbEmbeddings(model="akidb-mini").embed_query("how do I resume a download"))
256
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from pydantic import PrivateAttr

from .. import Embedder, Reranker

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


class AkidbReranker(BaseDocumentCompressor):
    """The documents that answer a query best, with `relevance_score` in their metadata.

    The asynchronous method works on a thread of LangChain's.
    """

    model: str | None = "akidb-mini"
    top_n: int | None = 3
    instruction: str | None = None
    reranker_options: dict[str, Any] | None = None
    _reranker: Reranker = PrivateAttr()

    def model_post_init(self, _context: Any) -> None:
        """Load the model: `reranker_options` are the keywords of `Reranker`."""
        options = cast("EmbedderOptions", self.reranker_options or {})
        self._reranker = Reranker(self.model, **options)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the best `top_n`, the best first; the documents that came stay as they are."""
        scores = self._reranker.rerank(
            query,
            [document.page_content for document in documents],
            top_n=self.top_n,
            instruction=self.instruction,
        )
        return [
            documents[score.index].model_copy(
                update={
                    "metadata": {**documents[score.index].metadata, "relevance_score": score.score}
                }
            )
            for score in scores
        ]
