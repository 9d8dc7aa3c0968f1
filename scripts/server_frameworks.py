"""What stands between programs and the clients of `server_clients.py`: frameworks with embedders.

Each function talks to a server at `url`; `expected` are the vectors of `akidb-embed embed`. What isn't
installed raises ModuleNotFoundError, or Skipped.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

MODEL = "akidb-mini"
TEXTS = ["how do I resume a download", "naïve café 😀, 日本語", "bake a chocolate cake"]
LONG = "word " * 3000


class Skipped(Exception):
    """Why a check can't run."""


def with_langchain_openai(url, expected, same):
    from langchain_openai import OpenAIEmbeddings

    # Otherwise it sends ids of OpenAI's tokenizer.
    embedder = OpenAIEmbeddings(
        model=MODEL, base_url=f"{url}/v1", api_key="none", check_embedding_ctx_length=False
    )
    same(embedder.embed_documents(TEXTS), expected["document"], "langchain-openai")
    same([embedder.embed_query(TEXTS[0])], expected["document"][:1], "langchain-openai, query")
    narrow = OpenAIEmbeddings(
        model=MODEL, base_url=f"{url}/v1/", api_key="none", check_embedding_ctx_length=False, dimensions=64
    )
    same(narrow.embed_documents(TEXTS), expected["narrow"], "langchain-openai, dimensions")


def with_langchain_ollama(url, expected, same):
    from langchain_ollama import OllamaEmbeddings

    embedder = OllamaEmbeddings(model="Akidb-Mini", base_url=url)
    same(embedder.embed_documents(TEXTS), expected["document"], "langchain-ollama")
    same(embedder.embed_documents(["", TEXTS[0]])[1:], expected["document"][:1], "langchain-ollama, empty")
    # One empty text, which it sends as a list.
    assert len(embedder.embed_query("")) == len(expected["document"][0])


def with_llama_index_openai_like(url, expected, same):
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    embedder = OpenAILikeEmbedding(model_name=MODEL, api_base=f"{url}/v1", max_retries=0)
    same(embedder.get_text_embedding_batch(TEXTS), expected["document"], "llama-index, OpenAI-like")
    same([embedder.get_query_embedding(TEXTS[0])], expected["document"][:1], "llama-index, query")


def with_llama_index_tei(url, expected, same):
    from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

    # It puts prompts of its own before the texts of models that it knows.
    embedder = TextEmbeddingsInference(
        model_name=MODEL, base_url=url, text_instruction="", query_instruction=""
    )
    same(embedder.get_text_embedding_batch(TEXTS), expected["document"], "llama-index, TEI")
    same([embedder.get_query_embedding(TEXTS[0])], expected["document"][:1], "llama-index, TEI, query")


def with_llama_index_ollama(url, expected, same):
    from llama_index.embeddings.ollama import OllamaEmbedding

    embedder = OllamaEmbedding(model_name=f"{MODEL}:latest", base_url=url)
    same(embedder.get_text_embedding_batch(TEXTS), expected["document"], "llama-index, Ollama")
    assert len(embedder.get_text_embedding_batch([""])[0]) == len(expected["document"][0])


def with_haystack(url, expected, same):
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
    from haystack.utils import Secret

    api = {"model": MODEL, "api_base_url": f"{url}/v1", "api_key": Secret.from_token("none")}
    documents = OpenAIDocumentEmbedder(**api, progress_bar=False)
    documents = documents.run([Document(content=text) for text in TEXTS])["documents"]
    same([document.embedding for document in documents], expected["document"], "haystack")
    query = OpenAITextEmbedder(**api).run(TEXTS[0])["embedding"]
    same([query], expected["document"][:1], "haystack, query")


def with_litellm(url, expected, same):
    # Otherwise it fetches prices first.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True

    def vectors(answer):
        return [item["embedding"] for item in answer.data]

    openai = {"model": f"openai/{MODEL}", "api_base": f"{url}/v1", "api_key": "none"}
    answer = litellm.embedding(**openai, input=TEXTS, encoding_format="float")
    same(vectors(answer), expected["document"], "litellm, OpenAI")
    try:
        litellm.embedding(**openai, input=[LONG], encoding_format="float", max_retries=0)
        raise AssertionError("a text that is too long was taken")
    except litellm.ContextWindowExceededError as error:
        assert "maximum context length" in str(error)
    answer = litellm.embedding(model=f"ollama/{MODEL}", api_base=url, input=TEXTS)
    same(vectors(answer), expected["document"], "litellm, Ollama")


def with_chroma(url, expected, same):
    from chromadb.utils.embedding_functions import OllamaEmbeddingFunction, OpenAIEmbeddingFunction

    os.environ["CHROMA_OPENAI_API_KEY"] = "none"
    openai = OpenAIEmbeddingFunction(model_name=MODEL, api_base=f"{url}/v1")
    same(openai(TEXTS), expected["document"], "chroma, OpenAI")
    ollama = OllamaEmbeddingFunction(url=url, model_name=MODEL)
    same(ollama(TEXTS), expected["document"], "chroma, Ollama")


def with_ai_sdk(url, expected, same):
    modules = Path(os.environ.get("NODE_CLIENTS", ""))
    if not shutil.which("node") or not (modules / "node_modules/ai").is_dir():
        raise Skipped("no node, or NODE_CLIENTS names no directory with its packages")
    script = Path(__file__).with_name("ai_sdk_client.mjs")
    command = ["node", str(script), url, MODEL]
    run = subprocess.run(
        command, cwd=modules, input=json.dumps(TEXTS), text=True, stdout=subprocess.PIPE, check=True
    )
    answer = json.loads(run.stdout)
    same(answer["many"], expected["document"], "AI SDK")
    same([answer["one"]], expected["document"][:1], "AI SDK, one text")
    same(answer["narrow"], expected["narrow"], "AI SDK, dimensions")
    assert answer["tokens"] > 10, answer["tokens"]
    assert answer["refused"]["status"] == 400, answer["refused"]


CHECKS = [
    with_langchain_openai,
    with_langchain_ollama,
    with_llama_index_openai_like,
    with_llama_index_tei,
    with_llama_index_ollama,
    with_haystack,
    with_litellm,
    with_chroma,
    with_ai_sdk,
]
