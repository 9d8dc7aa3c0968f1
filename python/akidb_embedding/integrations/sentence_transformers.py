"""The interface of sentence-transformers' `SentenceTransformer`, without torch.

>>> from akidb_embedding.integrations.sentence_transformers import SentenceEncoder
>>> model = SentenceEncoder("akidb-mini")
>>> queries = model.encode_query(["how do I resume a download"])
>>> documents = model.encode_document(["continue an interrupted transfer", "bake a cake"])
>>> model.similarity(queries, documents).shape
(1, 2)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from .. import Embedder, OptionError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._native import EmbedderOptions, EmbedOptions

Precision: TypeAlias = Literal["float32", "float16", "int8", "binary", "ubinary"]

_ENCODINGS: dict[str, Literal["f32", "f16", "int8", "binary"]] = {
    "float32": "f32",
    "float16": "f16",
    "int8": "int8",
    "ubinary": "binary",
    "binary": "binary",
}


class SentenceEncoder:
    """Encodes sentences as `SentenceTransformer` does: same methods, same keywords.

    What differs: vectors have length 1 unless `normalize_embeddings=False` says otherwise, and
    precision "int8" scales each vector by itself, without calibration.
    """

    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str] | None = "akidb-mini",
        *,
        truncate_dim: int | None = None,
        **options: Unpack[EmbedderOptions],
    ) -> None:
        """Load a model; `options` are those of `Embedder`."""
        self.embedder = Embedder(model_name_or_path, **options)
        self.truncate_dim = truncate_dim

    @property
    def max_seq_length(self) -> int:
        """The longest text in tokens, special tokens included."""
        return self.embedder.info["max_tokens"]

    def get_embedding_dimension(self) -> int:
        """Return the length of the vectors."""
        return self.truncate_dim or self.embedder.info["dimension"]

    get_sentence_embedding_dimension = get_embedding_dimension

    def encode(
        self,
        sentences: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: Literal["sentence_embedding"] = "sentence_embedding",
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        **keywords: object,
    ) -> Any:
        """Vectors of sentences: an array `[n, d]`, or `[d]` for a single string.

        `batch_size` counts only with a progress bar, which moves on after each so many sentences.
        With `convert_to_tensor` it is a tensor of torch; without `convert_to_numpy` a list.
        """
        options: EmbedOptions = {}
        if prompt is not None:
            options["prompt"] = prompt
        elif prompt_name is not None:
            options["prompt_name"] = prompt_name
        return self._encode(
            sentences,
            options,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            output_value=output_value,
            precision=precision,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            device=device,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            **keywords,
        )

    def encode_query(self, sentences: str | Sequence[str], **keywords: Any) -> Any:
        """`encode` with the model's prompt for queries, unless another is named."""
        return self._encode_as("query", sentences, keywords)

    def encode_document(self, sentences: str | Sequence[str], **keywords: Any) -> Any:
        """`encode` with the model's prompt for documents, unless another is named."""
        return self._encode_as("document", sentences, keywords)

    def _encode_as(
        self,
        role: Literal["query", "document"],
        sentences: str | Sequence[str],
        keywords: dict[str, Any],
    ) -> Any:
        if keywords.get("prompt") is not None or keywords.get("prompt_name") is not None:
            return self.encode(sentences, **keywords)
        keywords = {k: v for k, v in keywords.items() if k not in ("prompt", "prompt_name")}
        return self._encode(sentences, {"role": role}, **keywords)

    def _encode(
        self,
        sentences: str | Sequence[str],
        options: EmbedOptions,
        *,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: str = "sentence_embedding",
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        **keywords: object,
    ) -> Any:
        if output_value != "sentence_embedding":
            raise OptionError(f"output_value {output_value!r}: there are sentence embeddings alone")
        if device not in (None, "cpu"):
            raise OptionError(f"device {device!r}: it runs on the CPU, or where provider= says")
        if precision not in _ENCODINGS:
            raise OptionError(f"precision {precision!r}: it is one of {', '.join(_ENCODINGS)}")
        if keywords:
            raise TypeError(f"encode has no keyword {next(iter(keywords))!r}")
        options["encoding"] = _ENCODINGS[precision]
        options["normalize"] = normalize_embeddings
        dim = truncate_dim or self.truncate_dim
        if dim is not None:
            options["dim"] = dim
        single = isinstance(sentences, str)
        texts = [sentences] if isinstance(sentences, str) else sentences
        vectors = _embed(self.embedder, texts, options, batch_size, show_progress_bar)
        if precision == "binary":
            # The same bits, as sentence-transformers has them: counted from -128 on.
            vectors = (vectors.astype(np.int16) - 128).astype(np.int8)
        if convert_to_tensor:
            import torch  # type: ignore[import-not-found,unused-ignore]

            tensor = torch.from_numpy(vectors)
            return tensor[0] if single else tensor
        if single:
            return vectors[0]
        return vectors if convert_to_numpy else list(vectors)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> np.ndarray[Any, Any]:
        """Return the cosine of each vector of the first with each of the second: `[n, m]`."""
        first, second = (_unit(np.atleast_2d(np.asarray(e))) for e in (embeddings1, embeddings2))
        return np.asarray(first @ second.T)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> np.ndarray[Any, Any]:
        """Return the cosine of each vector of the first with the second's in its place: `[n]`."""
        first, second = (_unit(np.atleast_2d(np.asarray(e))) for e in (embeddings1, embeddings2))
        return np.asarray((first * second).sum(axis=1))


def _embed(
    embedder: Embedder,
    texts: Sequence[str],
    options: EmbedOptions,
    batch_size: int,
    show_progress_bar: bool | None,
) -> np.ndarray[Any, Any]:
    if not show_progress_bar:
        return embedder.embed(texts, **options)
    from tqdm.auto import tqdm  # type: ignore[import-untyped,unused-ignore]

    starts = tqdm(range(0, len(texts), batch_size), desc="Batches", file=sys.stderr)
    batches = [embedder.embed(texts[start : start + batch_size], **options) for start in starts]
    return np.concatenate(batches) if batches else embedder.embed([], **options)


def _unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    vectors = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny))
