"""Haystack's embedders of texts and of documents, and its ranker.

A pipeline's file that names them is loaded where this module is trusted:
`haystack.core.serialization.allow_deserialization_module(__name__)`.

>>> from akidb_embedding.integrations.haystack import AkidbTextEmbedder
>>> len(AkidbTextEmbedder(model="akidb-mini").run("resume a download")["embedding"])
256
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Generic, TypeVar

from haystack import Document, component, default_from_dict, default_to_dict

from .. import Embedder, Reranker

Model = TypeVar("Model", Embedder, Reranker)


class _Component(Generic[Model]):
    """What all have: how they are made, and how they are stored in a pipeline's file."""

    load: type[Model]
    """What loads the model."""
    options = "embedder_options"
    """The parameter that has keywords for it."""

    def __init__(self, **parameters: Any) -> None:
        self.parameters = parameters
        self.loaded: Model | None = None

    def warm_up(self) -> None:
        """Load the model, unless it is loaded."""
        if self.loaded is None:
            options = self.parameters[self.options] or {}
            self.loaded = self.load(self.parameters["model"], **options)

    def _loaded(self) -> Model:
        self.warm_up()
        assert self.loaded is not None
        return self.loaded

    def _text(self, document: Document) -> str:
        fields = self.parameters["meta_fields_to_embed"] or []
        values = (document.meta.get(field) for field in fields)
        parts: list[str] = [str(value) for value in values if value is not None]
        separator: str = self.parameters["embedding_separator"]
        return separator.join([*parts, document.content or ""])

    def to_dict(self) -> dict[str, Any]:
        """Serialize the component."""
        return default_to_dict(self, **self.parameters)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """Make the component that was serialized."""
        return default_from_dict(cls, data)


@component
class AkidbTextEmbedder(_Component[Embedder]):
    """Makes the vector of a query."""

    load = Embedder

    def __init__(
        self,
        model: str | None = "akidb-mini",
        dim: int | None = None,
        instruction: str | None = None,
        embedder_options: dict[str, Any] | None = None,
    ) -> None:
        """Name a model.

        `dim` cuts the vectors, `instruction` is the task of queries in your words, and
        `embedder_options` are the keywords of `Embedder`.
        """
        # `component` makes the class anew, and super() would still mean the first one.
        _Component.__init__(
            self, model=model, dim=dim, instruction=instruction, embedder_options=embedder_options
        )

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Return the query's vector under `embedding`."""
        if not isinstance(text, str):
            raise TypeError("AkidbTextEmbedder takes a str; for documents: AkidbDocumentEmbedder")
        options = {key: self.parameters[key] for key in ("dim", "instruction")}
        return {"embedding": self._loaded().embed_query(text, **options).tolist()}


@component
class AkidbDocumentEmbedder(_Component[Embedder]):
    """Adds a vector to each document."""

    load = Embedder

    def __init__(
        self,
        model: str | None = "akidb-mini",
        dim: int | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        embedder_options: dict[str, Any] | None = None,
    ) -> None:
        """Name a model.

        `dim` cuts the vectors; a document's fields `meta_fields_to_embed` stand before its content,
        with `embedding_separator` between them; `embedder_options` are those of `Embedder`.
        """
        _Component.__init__(
            self,
            model=model,
            dim=dim,
            meta_fields_to_embed=meta_fields_to_embed,
            embedding_separator=embedding_separator,
            embedder_options=embedder_options,
        )

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Return the documents under `documents`, each with its `embedding`."""
        if not isinstance(documents, list) or any(not isinstance(d, Document) for d in documents):
            raise TypeError(
                "AkidbDocumentEmbedder takes a list of Document; for a str: AkidbTextEmbedder"
            )
        texts = [self._text(document) for document in documents]
        vectors = self._loaded().embed(texts, role="document", dim=self.parameters["dim"])
        embedded = [
            replace(document, embedding=vector.tolist())
            for document, vector in zip(documents, vectors, strict=True)
        ]
        return {"documents": embedded}


@component
class AkidbRanker(_Component[Reranker]):
    """Ranks documents for a query, with how well they answer it as their score."""

    load = Reranker
    options = "reranker_options"

    def __init__(
        self,
        model: str | None = "akidb-mini",
        top_k: int | None = 10,
        instruction: str | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        reranker_options: dict[str, Any] | None = None,
    ) -> None:
        """Name a model.

        `top_k` is how many are given, `instruction` the task in your words, for models that take
        one; a document's fields `meta_fields_to_embed` stand before its content, with
        `embedding_separator` between them; `reranker_options` are the keywords of `Reranker`.
        """
        _Component.__init__(
            self,
            model=model,
            top_k=top_k,
            instruction=instruction,
            meta_fields_to_embed=meta_fields_to_embed,
            embedding_separator=embedding_separator,
            reranker_options=reranker_options,
        )

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, Any]:
        """Return the best under `documents`, the best first, each with its `score`."""
        scores = self._loaded().rerank(
            query,
            [self._text(document) for document in documents],
            top_n=self.parameters["top_k"] if top_k is None else top_k,
            instruction=self.parameters["instruction"],
        )
        return {"documents": [replace(documents[s.index], score=s.score) for s in scores]}
