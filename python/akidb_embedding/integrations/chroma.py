"""Chroma's `EmbeddingFunction`, known to its client by the name `akidb`.

>>> from akidb_embedding.integrations.chroma import AkidbEmbeddingFunction
>>> AkidbEmbeddingFunction(model="akidb-mini")(["resume a download"])[0].shape
(256,)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
from chromadb.utils.embedding_functions import register_embedding_function

from .. import Embedder, OptionError

if TYPE_CHECKING:
    from .._native import EmbedderOptions


@register_embedding_function
class AkidbEmbeddingFunction(EmbeddingFunction[Documents]):
    """Documents and queries, each with the model's prompt for them."""

    def __init__(
        self,
        model: str | None = "akidb-mini",
        *,
        dim: int | None = None,
        instruction: str | None = None,
        embedder_options: EmbedderOptions | None = None,
    ) -> None:
        """Load a model.

        `dim` cuts the vectors, `instruction` is the task of queries in your words, and
        `embedder_options` are those of `Embedder`.
        """
        self.config: dict[str, Any] = {
            "model": model,
            "dim": dim,
            "instruction": instruction,
            "embedder_options": embedder_options,
        }
        self.embedder = Embedder(model, **(embedder_options or {}))

    def __call__(self, input: Documents) -> Embeddings:
        """Vectors of documents, one each."""
        return list(self.embedder.embed(input, role="document", dim=self.config["dim"]))

    def embed_query(self, input: Documents) -> Embeddings:
        """Vectors of queries, one each."""
        instruction, dim = self.config["instruction"], self.config["dim"]
        vectors = self.embedder.embed(input, role="query", instruction=instruction, dim=dim)
        return [np.asarray(vector) for vector in vectors]

    @staticmethod
    def name() -> str:
        """Return the name that Chroma stores."""
        return "akidb"

    def default_space(self) -> Space:
        """Vectors have length 1."""
        return "cosine"

    def get_config(self) -> dict[str, Any]:
        """Return what Chroma stores."""
        return dict(self.config)

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> AkidbEmbeddingFunction:
        """Make the function that Chroma stored."""
        return AkidbEmbeddingFunction(**config)

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Refuse another model or another length: the vectors that are there would be worthless."""
        for key in ("model", "dim"):
            if old_config.get(key) != new_config.get(key):
                raise OptionError(f"{key} can't change: vectors are there of {old_config.get(key)}")
