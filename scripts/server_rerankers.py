"""Rerank clients of `server_clients.py`: each ranks documents as `akidb-embed rerank` does.

Each function talks to a server at `url`; `expected` are index and score of each document, the best first. What isn't installed
raises ModuleNotFoundError. huggingface_hub 2.4.0 has no task that ranks.
"""

import json
import os
import subprocess
import urllib.request

from server_frameworks import MODEL

QUERY = "how do I resume a download"
DOCUMENTS = ["bake a chocolate cake", "continue an interrupted transfer", "naïve café 😀, 日本語", ""]


def rank(program):
    """What the command line says."""
    command = [program, "rerank", "--model", MODEL, "--format", "json", QUERY, *DOCUMENTS]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return [(found["index"], found["relevance_score"]) for found in answer["results"]]


def same(ranked, expected, what):
    """Frameworks may pass scores through f32, and on as text: they are the same to six digits."""
    ranked = list(ranked)
    assert [index for index, _ in ranked] == [index for index, _ in expected], (what, ranked)
    for (_, score), (_, should) in zip(ranked, expected, strict=True):
        assert abs(score - should) < 1e-6, (what, score, should)


def with_cohere_rerank(url, expected):
    import cohere

    def pairs(answer):
        return [(found.index, found.relevance_score) for found in answer.results]

    client = cohere.ClientV2(api_key="none", base_url=url)
    answer = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS)
    same(pairs(answer), expected, "cohere")
    assert answer.id and answer.meta.billed_units.search_units == 1
    few = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, top_n=2, max_tokens_per_doc=100)
    same(pairs(few), expected[:2], "cohere, top_n")
    older = cohere.Client(api_key="none", base_url=url)
    answer = older.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, return_documents=True)
    same(pairs(answer), expected, "cohere, the older client")
    assert [found.document.text for found in answer.results] == [DOCUMENTS[index] for index, _ in expected]
    objects = [{"title": "a title", "body": text} for text in DOCUMENTS]
    answer = older.rerank(model=MODEL, query=QUERY, documents=objects, rank_fields=["body"], top_n=1)
    assert len(answer.results) == 1
    for call, kind in [
        (lambda: client.rerank(model="rerank-v4.0", query=QUERY, documents=DOCUMENTS), cohere.errors.NotFoundError),
        (lambda: client.rerank(model=MODEL, query=QUERY, documents=[]), cohere.errors.BadRequestError),
    ]:
        try:
            call()
        except kind:
            continue
        raise AssertionError(f"{kind.__name__} was not raised")


def with_litellm_rerank(url, expected):
    # Otherwise it fetches prices first.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True
    providers = {"cohere": url, "jina_ai": f"{url}/v1/rerank", "hosted_vllm": url, "huggingface": url, "infinity": url}
    for provider, base in providers.items():
        # Infinity's client takes documents as texts only, where Cohere's and Jina's answer has objects.
        options = {"return_documents": False} if provider == "infinity" else {}
        answer = litellm.rerank(
            model=f"{provider}/{MODEL}", api_base=base, api_key="none", query=QUERY, documents=DOCUMENTS,
            top_n=len(DOCUMENTS), **options,
        )
        found = [(one["index"], one["relevance_score"]) for one in answer.results]
        same(found, expected, f"litellm, {provider}")


def with_langchain_cohere(url, expected):
    from langchain_cohere import CohereRerank
    from langchain_core.documents import Document

    ranker = CohereRerank(model=MODEL, base_url=url, cohere_api_key="none", top_n=len(DOCUMENTS))
    found = ranker.rerank(DOCUMENTS, QUERY)
    same([(one["index"], one["relevance_score"]) for one in found], expected, "langchain-cohere")
    documents = [Document(page_content=text, metadata={"index": index}) for index, text in enumerate(DOCUMENTS)]
    found = ranker.compress_documents(documents, QUERY)
    found = [(one.metadata["index"], one.metadata["relevance_score"]) for one in found]
    same(found, expected, "langchain-cohere, documents")


def llama_index(ranker):
    from llama_index.core.schema import NodeWithScore, TextNode

    nodes = [NodeWithScore(node=TextNode(id_=str(index), text=text)) for index, text in enumerate(DOCUMENTS)]
    found = ranker.postprocess_nodes(nodes, query_str=QUERY)
    return [(int(one.node.node_id), one.score) for one in found]


def with_llama_index_tei_rerank(url, expected):
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    ranker = TextEmbeddingInference(base_url=url, top_n=len(DOCUMENTS))
    same(llama_index(ranker), expected, "llama-index, TEI")


def with_llama_index_cohere_rerank(url, expected):
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    ranker = CohereRerank(model=MODEL, api_key="none", base_url=url, top_n=len(DOCUMENTS))
    same(llama_index(ranker), expected, "llama-index, Cohere")


def haystack(ranker):
    from haystack import Document

    documents = [Document(id=str(index), content=text) for index, text in enumerate(DOCUMENTS)]
    found = ranker.run(query=QUERY, documents=documents)["documents"]
    return [(int(one.id), one.score) for one in found]


def with_haystack_cohere(url, expected):
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.cohere import CohereRanker

    ranker = CohereRanker(model=MODEL, top_k=len(DOCUMENTS), api_key=Secret.from_token("none"), api_base_url=url)
    same(haystack(ranker), expected, "haystack, Cohere")


def with_haystack_jina(url, expected):
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.jina import JinaRanker

    ranker = JinaRanker(model=MODEL, top_k=len(DOCUMENTS), api_key=Secret.from_token("none"), base_url=f"{url}/v1/rerank")
    same(haystack(ranker), expected, "haystack, Jina")


def with_plain_rerank(url, expected):
    """The requests of llama.cpp's, vLLM's and Text Embeddings Inference's users, who need no client."""

    def post(path, **body):
        body = json.dumps(body).encode()
        request = urllib.request.Request(f"{url}{path}", body, {"content-type": "application/json"})
        return json.load(urllib.request.urlopen(request))

    for path in ["/rerank", "/v1/rerank", "/v2/rerank"]:
        answer = post(path, model=MODEL, query=QUERY, documents=DOCUMENTS)
        same([(one["index"], one["relevance_score"]) for one in answer["results"]], expected, path)
        assert answer["usage"]["total_tokens"] > 10
    ranks = post("/rerank", query=QUERY, texts=DOCUMENTS)
    same([(one["index"], one["score"]) for one in ranks], expected, "TEI")
    scores = post("/score", model=MODEL, text_1=QUERY, text_2=DOCUMENTS)["data"]
    assert [one["index"] for one in scores] == list(range(len(DOCUMENTS)))
    same([(index, scores[index]["score"]) for index, _ in expected], expected, "/score")


CHECKS = [
    with_plain_rerank,
    with_cohere_rerank,
    with_litellm_rerank,
    with_langchain_cohere,
    with_llama_index_tei_rerank,
    with_llama_index_cohere_rerank,
    with_haystack_cohere,
    with_haystack_jina,
]
