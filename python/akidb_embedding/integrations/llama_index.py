"""LlamaIndex's `BaseEmbedding`.

>>> from akidb_embedding.integrations.llama_index import AkidbEmbedding
>>> len(AkidbEmbedding(model_name="akidb-mini").get_query_embedding("resume a download"))
256
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from .. import Embedder

if TYPE_CHECKING:
    from .._native import EmbedderOptions


class AkidbEmbedding(BaseEmbedding):
    """Texts and queries, each with the model's prompt for them."""

    dim: int | None = None
    instruction: str | None = None
    _embedder: Embedder = PrivateAttr()

    def __init__(
        self,
        model_name: str | os.PathLike[str] = "akidb-mini",
        *,
        dim: int | None = None,
        instruction: str | None = None,
        embed_batch_size: int = 256,
        embedder_options: EmbedderOptions | None = None,
        **keywords: Any,
    ) -> None:
        """Load a model.

        `dim` cuts the vectors, `instruction` is the task of queries in your words,
        `embedder_options` are those of `Embedder`, and `keywords` those of `BaseEmbedding`.
        """
        super().__init__(
            model_name=os.fspath(model_name),
            embed_batch_size=embed_batch_size,
            **keywords,
        )
        self.dim = dim
        self.instruction = instruction
        self._embedder = Embedder(model_name, **(embedder_options or {}))

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex stores."""
        return "AkidbEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: Any = self._embedder.embed_query(query, instruction=self.instruction, dim=self.dim)
        return vector.tolist()  # type: ignore[no-any-return]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: Any = self._embedder.embed(texts, role="document", dim=self.dim)
        return vectors.tolist()  # type: ignore[no-any-return]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
