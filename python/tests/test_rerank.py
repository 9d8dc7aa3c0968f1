"""Documents for a query: scores of the command line and of PyTorch."""

from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from test_embed import command_line

from akidb_embedding import (
    ClosedError,
    Embedder,
    NotTextError,
    OptionError,
    Reranker,
    TooLongError,
)

QUERY = "how do I resume a download"
DOCUMENTS = ["bake a chocolate cake", "continue an interrupted transfer", "bake a chocolate cake"]
TESTING = Path(__file__).parents[2] / "crates/akidb-testing"


@pytest.fixture(scope="module")
def reranker() -> Reranker:
    return Reranker("akidb-mini")


def tiny(family: str, **keywords: str) -> Reranker:
    model = TESTING / "fixtures/tiny-rerankers" / family
    return Reranker(model, variant="safetensors", precision="f32", **keywords)  # type: ignore[arg-type]


def goldens(family: str) -> list[dict[str, object]]:
    lines = TESTING.joinpath("goldens/tiny-rerankers", f"{family}.jsonl").read_text()
    return [json.loads(line) for line in lines.splitlines()]


def test_scores_are_those_of_the_command_line_and_of_vectors(
    reranker: Reranker, embedder: Embedder
) -> None:
    scores = reranker.rerank(QUERY, DOCUMENTS)
    lines = command_line("rerank", QUERY, *DOCUMENTS, "--format", "jsonl").splitlines()
    theirs = [json.loads(line) for line in lines]
    relevance = [row["relevance_score"] for row in theirs]
    assert [s.index for s in scores] == [row["index"] for row in theirs] == [1, 0, 2]
    np.testing.assert_array_equal(np.float32([s.score for s in scores]), np.float32(relevance))
    cosines = embedder.embed(DOCUMENTS, role="document") @ embedder.embed_query(QUERY)
    np.testing.assert_allclose([s.score for s in scores], cosines[[1, 0, 2]], atol=1e-6)
    assert reranker.provenance()["scoring"] == "cosine"
    best = embedder.rerank(QUERY, DOCUMENTS, top_n=1)
    assert [(s.index, s.score) for s in best] == [(1, scores[0].score)]
    assert not best[0].truncated
    assert best[0].tokens == len(embedder.tokenize(DOCUMENTS, role="document")[1])
    assert "index=1" in repr(best[0])


@pytest.mark.parametrize("family", ["bert", "xlmr", "qwen3", "qwen3-seq"])
def test_logits_are_pytorchs(family: str) -> None:
    with tiny(family) as reranker:
        assert reranker.provenance()["scoring"] == "model"
        queries = {str(pair["query"]) for pair in goldens(family)}
        for query in queries:
            pairs = [pair for pair in goldens(family) if pair["query"] == query]
            documents = pa.array([pair["document"] for pair in pairs])
            scores = reranker.rerank(query, documents)
            assert [s.logit for s in scores] == sorted((s.logit for s in scores), reverse=True)
            for score in scores:
                golden = pairs[score.index]
                assert score.logit == pytest.approx(golden["logit"], abs=1e-4)
                assert score.tokens == len(golden["ids"])  # type: ignore[arg-type]
                alone = reranker.rerank(query, [str(golden["document"])])[0]
                assert alone.logit == score.logit


def test_threads_share_it_and_get_their_own() -> None:
    reranker = tiny("qwen3")
    queries = [f"{QUERY} {n}" for n in range(8)]
    alone = [[s.logit for s in reranker.rerank(q, DOCUMENTS * 8)] for q in queries]
    found: dict[int, list[float]] = {}

    def work(n: int) -> None:
        found[n] = [s.logit for s in reranker.rerank(queries[n], DOCUMENTS * 8)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[n] for n in range(8)] == alone


def test_what_does_not_fit_is_told(reranker: Reranker) -> None:
    assert reranker.rerank(QUERY, []) == []
    with pytest.raises(NotTextError, match="index 1 is None") as caught:
        reranker.rerank(QUERY, ["a", None])  # type: ignore[list-item]
    assert caught.value.index == 1
    with pytest.raises(TypeError, match="texts are a list"):
        reranker.rerank(QUERY, "a document")
    with pytest.raises(NotTextError):
        reranker.rerank(None, DOCUMENTS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match='no keyword "top_k"'):
        reranker.rerank(QUERY, DOCUMENTS, top_k=1)  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="scores documents by cosine"):
        reranker.rerank(QUERY, DOCUMENTS, scoring="model")
    with pytest.raises(OptionError, match="no scoring"):
        reranker.rerank(QUERY, DOCUMENTS, scoring="vibes")  # type: ignore[arg-type]
    with pytest.raises(TooLongError, match="index 1 is longer than 32 tokens") as long:
        reranker.rerank("cake", ["cake", "word " * 40], max_tokens=32, on_long="error")
    assert long.value.index == 1
    with pytest.raises(TooLongError, match="the query: ") as long:
        reranker.rerank("word " * 40, DOCUMENTS, max_tokens=32, on_long="error")
    assert long.value.index is None


def test_a_query_that_leaves_no_room_is_told() -> None:
    with pytest.raises(TooLongError, match="query is too long"):
        tiny("bert").rerank("word " * 200, DOCUMENTS, max_tokens=32)
    cut = tiny("bert").rerank("cake", ["word " * 200], max_tokens=32)[0]
    assert cut.truncated
    assert cut.tokens == 32


def test_closed_and_pickled() -> None:
    reranker = tiny("bert")
    again = pickle.loads(pickle.dumps(reranker))
    assert again.rerank("a", ["b"])[0].logit == reranker.rerank("a", ["b"])[0].logit
    reranker.close()
    with pytest.raises(ClosedError):
        reranker.rerank("a", ["b"])
    embedder = Embedder(TESTING / "fixtures/tiny-rerankers/bert", variant="safetensors")
    with pytest.raises(OptionError, match="is a reranker") as caught:
        embedder.embed(["a"])
    assert "Reranker(" in (caught.value.hint or "")
