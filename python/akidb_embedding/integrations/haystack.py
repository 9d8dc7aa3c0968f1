"""Haystack's embedders of texts and of documents.

A pipeline's file that names them is loaded where this module is trusted:
`haystack.core.serialization.allow_deserialization_module(__name__)`.

>>> from akidb_embedding.integrations.haystack import AkidbTextEmbedder
>>> len(AkidbTextEmbedder(model="akidb-mini").run("resume a download")["embedding"])
256
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from .. import Embedder


class _Embedder:
    """What both have: how they are made, and how they are stored in a pipeline's file."""

    def __init__(self, **parameters: Any) -> None:
        self.parameters = parameters
        self.embedder: Embedder | None = None

    def warm_up(self) -> None:
        """Load the model, unless it is loaded."""
        if self.embedder is None:
            options = self.parameters["embedder_options"] or {}
            self.embedder = Embedder(self.parameters["model"], **options)

    def _loaded(self) -> Embedder:
        self.warm_up()
        assert self.embedder is not None
        return self.embedder

    def to_dict(self) -> dict[str, Any]:
        """Serialize the component."""
        return default_to_dict(self, **self.parameters)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """Make the component that was serialized."""
        return default_from_dict(cls, data)


@component
class AkidbTextEmbedder(_Embedder):
    """Makes the vector of a query."""

    def __init__(
        self,
        model: str | None = "akidb-mini",
        dim: int | None = None,
        instruction: str | None = None,
        embedder_options: dict[str, Any] | None = None,
    ) -> None:
        """Name a model.

        `dim` cuts the vectors, `instruction` is the task of queries in your words, and
        `embedder_options` are those of `Embedder`.
        """
        # `component` makes the class anew, and super() would still mean the first one.
        _Embedder.__init__(
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
class AkidbDocumentEmbedder(_Embedder):
    """Adds a vector to each document."""

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
        _Embedder.__init__(
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

    def _text(self, document: Document) -> str:
        fields = self.parameters["meta_fields_to_embed"] or []
        values = (document.meta.get(field) for field in fields)
        parts = [str(value) for value in values if value is not None]
        separator: str = self.parameters["embedding_separator"]
        return separator.join([*parts, document.content or ""])
