"""LanceDB's registry: `akidb` after this module is imported.

>>> import akidb_embedding.integrations.lancedb
>>> from lancedb.embeddings import get_registry
>>> get_registry().get("akidb").create(name="akidb-mini").ndims()
256
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lancedb.embeddings import EmbeddingFunction, register
from pydantic import PrivateAttr

from .. import Embedder


@register("akidb")
class AkidbEmbeddingFunction(EmbeddingFunction):
    """Vectors of a table's texts and of queries, each with the model's prompt for them."""

    name: str = "akidb-mini"
    """A model's id or directory."""
    dim: int | None = None
    """Keep the first so many values alone."""
    instruction: str | None = None
    """The task of queries, in your own words."""
    max_retries: int = 0
    """What fails here fails again."""
    _embedder: Embedder | None = PrivateAttr(default=None)

    def _loaded(self) -> Embedder:
        if self._embedder is None:
            self._embedder = Embedder(self.name)
        return self._embedder

    def compute_query_embeddings(  # type: ignore[override]
        self, query: str, *args: Any, **keywords: Any
    ) -> list[np.ndarray[Any, Any]]:
        """Return a list of one: the query's vector."""
        embedder = self._loaded()
        return [embedder.embed_query(query, instruction=self.instruction, dim=self.dim)]

    def compute_source_embeddings(
        self, texts: Any, *args: Any, **keywords: Any
    ) -> list[np.ndarray[Any, Any] | None]:
        """Return each text's vector, None for a null."""
        texts = self.sanitize_input(texts)
        present = [text for text in texts if text is not None]
        vectors = iter(self._loaded().embed(present, role="document", dim=self.dim))
        return [None if text is None else next(vectors) for text in texts]

    def ndims(self) -> int:
        """Return the length of the vectors."""
        return self.dim or self._loaded().info["dimension"]
