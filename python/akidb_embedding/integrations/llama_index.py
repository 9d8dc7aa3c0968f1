"""LlamaIndex's `BaseEmbedding`, and a postprocessor that ranks nodes.

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
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from .. import Embedder, OptionError, Reranker

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


class AkidbRerank(BaseNodePostprocessor):
    """The nodes that answer a query best, with how well as their score."""

    model: str = "akidb-mini"
    top_n: int = 2
    instruction: str | None = None
    _reranker: Reranker = PrivateAttr()

    def __init__(
        self,
        model: str | os.PathLike[str] = "akidb-mini",
        *,
        top_n: int = 2,
        instruction: str | None = None,
        reranker_options: EmbedderOptions | None = None,
        **keywords: Any,
    ) -> None:
        """Load a model.

        `instruction` is the task in your words, `reranker_options` are the keywords of `Reranker`,
        and `keywords` those of `BaseNodePostprocessor`.
        """
        super().__init__(**keywords)
        self.model = os.fspath(model)
        self.top_n = top_n
        self.instruction = instruction
        self._reranker = Reranker(model, **(reranker_options or {}))

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex stores."""
        return "AkidbRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise OptionError("nodes are ranked for a query", hint="name it: query_str=…")
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        scores = self._reranker.rerank(
            query_bundle.query_str, texts, top_n=self.top_n, instruction=self.instruction
        )
        return [NodeWithScore(node=nodes[score.index].node, score=score.score) for score in scores]
