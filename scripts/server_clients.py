"""Proves that `akidb-embed serve` speaks its clients' languages: the official ones talk to it.

    python scripts/server_clients.py target/debug/akidb-embed

Their vectors must be those of `akidb-embed embed`, their rankings those of `akidb-embed rerank`. Needs openai, huggingface_hub with numpy, ollama,
cohere, grpcio with grpcio-reflection and grpcio-health-checking, schemathesis, which checks what the
OpenAPI document promises, and what server_frameworks.py and server_rerankers.py name (versions: .ci/run; NODE_CLIENTS
names the directory of node's packages). What isn't installed is skipped, with a line that says so.
"""

import importlib
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import server_frameworks
import server_rerankers
from server_frameworks import LONG, MODEL, TEXTS
from serving import Serving


def embed(program, texts, *options):
    """What the command line says."""
    command = [program, "embed", "--model", MODEL, "--format", "json", *options, "--", *texts]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return [item["embedding"] for item in answer["data"]]


def f32(vectors):
    """Python's numbers as the f32 that they stand for."""
    import array

    return [list(array.array("f", vector)) for vector in vectors]


def same(got, expected, what):
    assert f32(got) == f32(expected), f"{what}: other vectors than on the command line"


def raises(kind, call, **attributes):
    try:
        call()
    except kind as error:
        for name, value in attributes.items():
            assert getattr(error, name) == value, (name, getattr(error, name), value)
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def with_openai(url, expected):
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)

    def create(**fields):
        return client.embeddings.create(**{"model": MODEL, "input": TEXTS, **fields})

    def vectors(answer):
        assert [item.index for item in answer.data] == list(range(len(answer.data)))
        return [item.embedding for item in answer.data]

    answer = create()
    same(vectors(answer), expected["document"], "openai, base64")
    assert answer.model == MODEL and answer.usage.total_tokens == answer.usage.prompt_tokens > 10
    assert answer.model_extra["provenance"]["backend"] == "native"
    same(vectors(create(encoding_format="float")), expected["document"], "openai, float")
    same(vectors(create(input=TEXTS[0])), expected["document"][:1], "openai, one text")
    same(vectors(create(dimensions=64)), expected["narrow"], "openai, dimensions")
    same(vectors(create(extra_body={"input_type": "query"})), expected["query"], "openai, query")
    request = urllib.request.Request(
        f"{url}/tokenize",
        json.dumps({"inputs": TEXTS}).encode(),
        {"content-type": "application/json"},
    )
    tokens = json.load(urllib.request.urlopen(request))
    ids = [[token["id"] for token in text] for text in tokens]
    same(vectors(create(input=ids)), expected["document"], "openai, token ids")
    same(vectors(create(input=ids[1])), expected["document"][1:2], "openai, ids of one text")

    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).object == "model"
    raises(openai.NotFoundError, lambda: create(model="gpt"), code="model_not_found", param="model")
    raises(openai.NotFoundError, lambda: client.models.retrieve("gpt"), code="model_not_found")
    raises(openai.BadRequestError, lambda: create(input=[]), type="invalid_request_error")
    raises(openai.BadRequestError, lambda: create(input=LONG), code="context_length_exceeded")
    raises(openai.BadRequestError, lambda: create(dimensions=5000), param="dimensions")


def with_huggingface_hub(url, expected):
    importlib.import_module("numpy")
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError

    for path in ["/embed", "/", ""]:
        client = InferenceClient(model=f"{url}{path}")
        same(client.feature_extraction(TEXTS).tolist(), expected["document"], f"huggingface_hub {path}")
    one = client.feature_extraction(TEXTS[0], normalize=True, truncate=True, truncation_direction="left")
    same(one.tolist(), expected["document"][:1], "huggingface_hub, one text")
    queries = client.feature_extraction(TEXTS, prompt_name="query")
    same(queries.tolist(), expected["query"], "huggingface_hub, query")
    narrow = client.feature_extraction(TEXTS, dimensions=64)
    same(narrow.tolist(), expected["narrow"], "huggingface_hub, dimensions")
    bare = client.feature_extraction(TEXTS, normalize=False)
    same(bare.tolist(), expected["bare"], "huggingface_hub, not normalised")

    similar = InferenceClient(model=f"{url}/similarity")
    cosines = similar.sentence_similarity(TEXTS[0], other_sentences=[TEXTS[0], TEXTS[2]])
    assert cosines[0] > 0.999 > cosines[1], cosines
    error = raises(HfHubHTTPError, lambda: client.feature_extraction(LONG, truncate=False))
    assert error.response.status_code == 422
    error = raises(HfHubHTTPError, lambda: client.feature_extraction(""))
    assert (error.response.status_code, error.response.json()["error_type"]) == (400, "Empty")


def with_ollama(url, expected):
    import ollama

    client = ollama.Client(host=url)
    answer = client.embed(model=MODEL, input=TEXTS)
    same(answer.embeddings, expected["document"], "ollama")
    assert answer.prompt_eval_count > 10 and answer.total_duration > 0
    one = client.embed(model=f"{MODEL}:latest", input=TEXTS[0], truncate=True, keep_alive="5m")
    same(one.embeddings, expected["document"][:1], "ollama, one text")
    narrow = client.embed(model=MODEL, input=TEXTS, dimensions=64, options={"num_ctx": 512})
    same(narrow.embeddings, expected["narrow"], "ollama, dimensions")
    older = client.embeddings(model=MODEL, prompt=TEXTS[0])
    same([older.embedding], expected["bare"][:1], "ollama, the older route")
    assert [model.model for model in client.list().models] == [MODEL]
    assert [model.model for model in client.ps().models] == [MODEL]
    assert client.show(MODEL).capabilities == ["embedding"]
    raises(ollama.ResponseError, lambda: client.embed(model="llama", input="a"), status_code=404)
    error = raises(
        ollama.ResponseError,
        lambda: client.embed(model=MODEL, input=LONG, truncate=False),
        status_code=400,
    )
    assert "exceeds the context length" in error.error


def with_cohere(url, expected):
    import cohere

    client = cohere.ClientV2(api_key="none", base_url=url)

    def embed(**fields):
        request = {"model": MODEL, "input_type": "search_document", "texts": TEXTS, **fields}
        return client.embed(**request)

    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    answer = embed(embedding_types=types)
    by_type = answer.embeddings
    same(by_type.float_, expected["document"], "cohere")
    assert answer.texts == TEXTS and answer.meta.tokens.input_tokens > 10
    assert by_type.int8 == expected["int8"], "cohere, int8"
    assert by_type.uint8 == [[code + 128 for code in codes] for codes in expected["int8"]]
    assert by_type.ubinary == expected["binary"], "cohere, ubinary"
    assert by_type.binary == [[byte - 128 for byte in bits] for bits in expected["binary"]]
    assert len(by_type.base64) == len(TEXTS)
    same(embed(input_type="search_query").embeddings.float_, expected["query"], "cohere, query")
    same(embed(output_dimension=64).embeddings.float_, expected["narrow"], "cohere, dimension")
    parts = [{"content": [{"type": "text", "text": text}]} for text in TEXTS]
    inputs = client.embed(model=MODEL, input_type="search_document", inputs=parts)
    same(inputs.embeddings.float_, expected["document"], "cohere, inputs")
    older = cohere.Client(api_key="none", base_url=url)
    request = {"model": MODEL, "input_type": "search_document", "texts": TEXTS}
    same(older.embed(**request).embeddings, expected["document"], "cohere, the older client")
    types = older.embed(**request, embedding_types=["float", "int8"]).embeddings
    same(types.float_, expected["document"], "cohere, the older client's types")
    assert types.int8 == expected["int8"]
    raises(cohere.errors.NotFoundError, lambda: embed(model="embed-v4.0"))
    raises(cohere.errors.BadRequestError, lambda: embed(texts=[LONG], truncate="NONE"))


def with_grpc(url, expected):
    import grpc_client

    address = url.removeprefix("http://")
    grpc_client.check(address)
    same(grpc_client.vectors(address, TEXTS), expected["document"], "gRPC")


def schemathesis(url):
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        print("SKIPPED: what the OpenAPI document promises (schemathesis is not installed)")
        return
    # A schema can't say which token ids, widths or prompts the model at hand has, so data that
    # fits the schema may be refused.
    command = [program, "run", f"{url}/openapi.json", "--phases", "examples,coverage,fuzzing"]
    command += ["--exclude-checks", "positive_data_acceptance", "--max-examples", "20"]
    command += ["--seed", "1", "--no-color", "--suppress-health-check", "all"]
    subprocess.run(command, check=True)


def main():
    program = sys.argv[1]
    expected = {
        "document": embed(program, TEXTS),
        "query": embed(program, TEXTS, "--as", "query"),
        "narrow": embed(program, TEXTS, "--dim", "64"),
        "bare": embed(program, TEXTS, "--no-normalize"),
        "int8": embed(program, TEXTS, "--encoding", "int8"),
        "binary": embed(program, TEXTS, "--encoding", "binary"),
    }
    with Serving(program, "--model", MODEL, stderr=None) as server:
        url = server.url.removesuffix("/")
        checks = [with_openai, with_huggingface_hub, with_ollama, with_cohere, with_grpc]
        frameworks = server_frameworks.CHECKS
        calls = [(check, (expected,)) for check in checks]
        calls += [(check, (expected, same)) for check in frameworks]
        calls += [(check, (server_rerankers.rank(program),)) for check in server_rerankers.CHECKS]
        for check, arguments in calls:
            name = check.__name__.removeprefix("with_")
            try:
                check(url, *arguments)
            except ModuleNotFoundError as error:
                print(f"SKIPPED: the server with {name} ({error.name} is not installed)")
                continue
            except server_frameworks.Skipped as why:
                print(f"SKIPPED: the server with {name} ({why})")
                continue
            print(f"{name}: answers and errors as they should be")
        schemathesis(url)


if __name__ == "__main__":
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["NO_PROXY"] = "127.0.0.1"
    main()
