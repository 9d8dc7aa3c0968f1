"""Each drop-in against the library that it is for."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TEXTS

from akidb_embedding import Embedder, OptionError, Reranker


class TestSentenceTransformers:
    @pytest.fixture(scope="class")
    def model(self) -> Any:
        from akidb_embedding.integrations.sentence_transformers import SentenceEncoder

        return SentenceEncoder("akidb-mini")

    def test_encode_takes_what_sentence_transformers_takes(self, model: Any) -> None:
        ours = inspect.signature(model.encode).parameters
        library = pytest.importorskip("sentence_transformers", reason="it needs torch")
        theirs = inspect.signature(library.SentenceTransformer.encode).parameters
        known = {"self", "kwargs", "pool", "chunk_size", "sentences", "inputs"}
        assert set(theirs) - known <= set(ours)

    def test_one_and_many(self, model: Any, embedder: Embedder) -> None:
        np.testing.assert_array_equal(model.encode(TEXTS), embedder.embed(TEXTS))
        assert model.encode("a cake").shape == (256,)
        as_list = model.encode(TEXTS, convert_to_numpy=False)
        assert isinstance(as_list, list)
        assert model.encode([]).shape == (0, 256)
        assert model.get_sentence_embedding_dimension() == 256
        assert model.max_seq_length == embedder.info["max_tokens"]

    def test_prompts(self, model: Any, embedder: Embedder) -> None:
        query = embedder.embed(TEXTS, role="query")
        np.testing.assert_array_equal(model.encode_query(TEXTS), query)
        np.testing.assert_array_equal(
            model.encode_document(TEXTS), embedder.embed(TEXTS, role="document")
        )
        np.testing.assert_array_equal(
            model.encode(["a"], prompt="q: "), embedder.embed(["q: a"], prompt="")
        )
        np.testing.assert_array_equal(
            model.encode_query(["a"], prompt="q: "), model.encode(["a"], prompt="q: ")
        )
        with pytest.raises(OptionError, match="no prompt"):
            model.encode(["a"], prompt_name="no such")

    def test_precisions(self, model: Any, embedder: Embedder) -> None:
        bits = embedder.embed(TEXTS, encoding="binary")
        np.testing.assert_array_equal(model.encode(TEXTS, precision="ubinary"), bits)
        signed = model.encode(TEXTS, precision="binary")
        assert signed.dtype == np.int8
        np.testing.assert_array_equal(signed.astype(int) + 128, bits)
        assert model.encode(TEXTS, precision="int8").dtype == np.int8
        raw = model.encode(TEXTS, normalize_embeddings=False)
        np.testing.assert_array_equal(raw, embedder.embed(TEXTS, normalize=False))
        assert model.encode(TEXTS, truncate_dim=32).shape == (4, 32)

    def test_progress(self, model: Any, capsys: pytest.CaptureFixture[str]) -> None:
        pytest.importorskip("tqdm")
        vectors = model.encode(TEXTS, show_progress_bar=True, batch_size=3)
        np.testing.assert_array_equal(vectors, model.encode(TEXTS))
        assert "2/2" in capsys.readouterr().err

    def test_similarity(self, model: Any) -> None:
        vectors = model.encode(TEXTS)
        scores = model.similarity(vectors, vectors)
        np.testing.assert_allclose(np.diag(scores), 1, rtol=1e-5)
        np.testing.assert_allclose(
            model.similarity_pairwise(vectors, vectors[::-1]), np.diag(scores[:, ::-1]), rtol=1e-5
        )

    def test_tensors(self, model: Any) -> None:
        torch = pytest.importorskip("torch")
        tensor = model.encode(TEXTS, convert_to_tensor=True)
        assert isinstance(tensor, torch.Tensor)
        assert tensor.shape == (4, 256)

    def test_what_it_does_not_do_is_refused(self, model: Any) -> None:
        for keywords in [
            {"precision": "uint8"},
            {"output_value": "token_embeddings"},
            {"device": "cuda"},
        ]:
            with pytest.raises(OptionError, match=str(next(iter(keywords.values())))):
                model.encode(["a"], **keywords)
        with pytest.raises(TypeError, match="no_such"):
            model.encode(["a"], no_such=1)


def test_langchain(embedder: Embedder) -> None:
    pytest.importorskip("langchain_core")
    from akidb_embedding.integrations.langchain import AkidbEmbeddings

    embeddings = AkidbEmbeddings(dim=64)
    documents = embeddings.embed_documents(TEXTS)
    expected = embedder.embed(TEXTS, role="document", dim=64)
    np.testing.assert_array_equal(np.float32(documents), expected)
    assert isinstance(documents[0][0], float)
    query = embeddings.embed_query("a cake")
    np.testing.assert_array_equal(np.float32(query), embedder.embed_query("a cake", dim=64))

    async def both() -> Any:
        return await asyncio.gather(
            embeddings.aembed_documents(TEXTS), embeddings.aembed_query("a cake")
        )

    assert asyncio.run(both()) == [documents, query]


def test_llama_index(embedder: Embedder) -> None:
    pytest.importorskip("llama_index.core")
    from akidb_embedding.integrations.llama_index import AkidbEmbedding

    model = AkidbEmbedding(dim=64, embed_batch_size=3)
    expected = embedder.embed(TEXTS[:3], role="document", dim=64)
    np.testing.assert_array_equal(np.float32(model.get_text_embedding_batch(TEXTS[:3])), expected)
    np.testing.assert_array_equal(np.float32(model.get_text_embedding(TEXTS[0])), expected[0])
    query = model.get_query_embedding("a cake")
    np.testing.assert_array_equal(np.float32(query), embedder.embed_query("a cake", dim=64))
    assert asyncio.run(model.aget_query_embedding("a cake")) == query
    batch = asyncio.run(model.aget_text_embedding_batch(TEXTS[:3]))
    np.testing.assert_array_equal(np.float32(batch), expected)
    assert model.to_dict()["model_name"] == "akidb-mini"


def test_haystack(embedder: Embedder) -> None:
    pytest.importorskip("haystack")
    from haystack import Document, Pipeline
    from haystack.core.serialization import allow_deserialization_module

    from akidb_embedding.integrations.haystack import AkidbDocumentEmbedder, AkidbTextEmbedder

    documents = [Document(content=text, meta={"title": "t", "no": None}) for text in TEXTS]
    component = AkidbDocumentEmbedder(meta_fields_to_embed=["title", "no"], dim=64)
    embedded = component.run(documents)["documents"]
    expected = embedder.embed([f"t\n{text}" for text in TEXTS], role="document", dim=64)
    np.testing.assert_array_equal(np.float32([d.embedding for d in embedded]), expected)
    assert [d.id for d in embedded] == [d.id for d in documents]
    assert documents[0].embedding is None
    assert component.run([]) == {"documents": []}

    pipeline = Pipeline()
    pipeline.add_component("query", AkidbTextEmbedder(dim=64))
    allow_deserialization_module(AkidbTextEmbedder.__module__)
    again = Pipeline.loads(pipeline.dumps())
    vector = again.run({"query": {"text": "a cake"}})["query"]["embedding"]
    np.testing.assert_array_equal(np.float32(vector), embedder.embed_query("a cake", dim=64))
    for embedder_of, wrong in [(component, "text"), (AkidbTextEmbedder(), documents)]:
        with pytest.raises(TypeError, match="takes a"):
            embedder_of.run(wrong)


def test_lancedb(embedder: Embedder, tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb")
    from lancedb.embeddings import EmbeddingFunctionConfig, get_registry

    import akidb_embedding.integrations.lancedb  # noqa: F401

    function = get_registry().get("akidb").create(dim=64)
    assert function.ndims() == 64
    present, absent = function.compute_source_embeddings(["a", None])
    assert absent is None
    np.testing.assert_array_equal(present, embedder.embed(["a"], role="document", dim=64)[0])

    config = EmbeddingFunctionConfig(vector_column="v", source_column="t", function=function)
    table = lancedb.connect(tmp_path).create_table(
        "texts",
        data=[{"t": text, "id": n} for n, text in enumerate(TEXTS)],
        embedding_functions=[config],
    )
    vectors = np.float32([row["v"] for row in table.to_arrow().sort_by("id").to_pylist()])
    np.testing.assert_array_equal(vectors, embedder.embed(TEXTS, role="document", dim=64))
    again = lancedb.connect(tmp_path).open_table("texts")
    assert again.search("resume a download").limit(1).to_list()[0]["t"] == TEXTS[0]


def test_chroma(embedder: Embedder, tmp_path: Path) -> None:
    chromadb = pytest.importorskip("chromadb")
    from akidb_embedding.integrations.chroma import AkidbEmbeddingFunction

    function = AkidbEmbeddingFunction(dim=64)
    assert not function.is_legacy()
    np.testing.assert_array_equal(
        np.array(function(TEXTS)), embedder.embed(TEXTS, role="document", dim=64)
    )
    collection = chromadb.PersistentClient(tmp_path).create_collection(
        "texts", embedding_function=function
    )
    collection.add(ids=[str(n) for n in range(len(TEXTS))], documents=TEXTS)
    # Another client makes the function of what was stored.
    again = chromadb.PersistentClient(tmp_path).get_collection("texts")
    found = again.query(query_texts=["resume a download"], n_results=1)
    assert found["documents"] == [[TEXTS[0]]]
    query = function.embed_query(["a cake"])[0]
    np.testing.assert_array_equal(query, embedder.embed_query("a cake", dim=64))
    with pytest.raises(OptionError, match="dim can't change"):
        function.validate_config_update(function.get_config(), {"model": "akidb-mini", "dim": 32})


QUERY = "how do I resume a download"


@pytest.fixture(scope="module")
def ranked() -> list[tuple[int, float]]:
    """The documents' places, and how well they answer the query."""
    return [(score.index, score.score) for score in Reranker().rerank(QUERY, TEXTS, top_n=3)]


def test_langchain_ranks(ranked: Any) -> None:
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document

    from akidb_embedding.integrations.langchain import AkidbReranker

    documents = [Document(text, metadata={"n": n}, id=str(n)) for n, text in enumerate(TEXTS)]
    reranker = AkidbReranker(top_n=3, reranker_options={"threads": 1})
    best = reranker.compress_documents(documents, QUERY)
    assert [(d.metadata["n"], d.metadata["relevance_score"]) for d in best] == ranked
    assert [d.id for d in best] == [str(n) for n, _ in ranked]
    assert [d.metadata for d in documents] == [{"n": n} for n in range(4)]
    assert asyncio.run(reranker.acompress_documents(documents, QUERY)) == best
    assert reranker.compress_documents([], QUERY) == []


def test_llama_index_ranks(ranked: Any) -> None:
    pytest.importorskip("llama_index.core")
    from llama_index.core.schema import NodeWithScore, TextNode

    from akidb_embedding.integrations.llama_index import AkidbRerank

    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in TEXTS]
    reranker = AkidbRerank(top_n=3)
    best = reranker.postprocess_nodes(nodes, query_str=QUERY)
    assert [(TEXTS.index(node.text), node.score) for node in best] == ranked
    assert [node.score for node in nodes] == [0.5] * 4
    again = asyncio.run(reranker.apostprocess_nodes(nodes, query_str=QUERY))
    assert [node.text for node in again] == [node.text for node in best]
    with pytest.raises(OptionError, match="ranked for a query"):
        reranker.postprocess_nodes(nodes)
    assert reranker.to_dict()["top_n"] == 3


def test_haystack_ranks(ranked: Any) -> None:
    pytest.importorskip("haystack")
    from haystack import Document, Pipeline
    from haystack.core.serialization import allow_deserialization_module

    from akidb_embedding.integrations.haystack import AkidbRanker

    documents = [Document(content=text, meta={"title": "t"}) for text in TEXTS]
    pipeline = Pipeline()
    pipeline.add_component("ranker", AkidbRanker(top_k=3))
    allow_deserialization_module(AkidbRanker.__module__)
    again = Pipeline.loads(pipeline.dumps())
    best = again.run({"ranker": {"query": QUERY, "documents": documents}})["ranker"]["documents"]
    assert [(TEXTS.index(d.content), d.score) for d in best] == ranked
    assert all(document.score is None for document in documents)
    fields = AkidbRanker(meta_fields_to_embed=["title"]).run(QUERY, documents, top_k=1)
    whole = Reranker().rerank(QUERY, [f"t\n{text}" for text in TEXTS], top_n=1)
    assert fields["documents"][0].score == whole[0].score
    assert AkidbRanker().run(QUERY, []) == {"documents": []}
