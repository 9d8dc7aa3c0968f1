#!/usr/bin/env python3
"""Drives a running server by gRPC as clients of other languages do: messages come from reflection.

    pip install grpcio grpcio-reflection grpcio-health-checking
    akidb-embed serve --model akidb-mini --port 8080 &
    python scripts/grpc_client.py localhost:8080
"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

NAME = "akidb.embedding.v1.EmbeddingService"


class Service:
    """The calls of the service, as its own description says."""

    def __init__(self, channel, name=NAME):
        database = ProtoReflectionDescriptorDatabase(channel)
        assert name in database.get_services(), database.get_services()
        self.channel, self.name = channel, name
        self.pool = DescriptorPool(database)
        self.methods = self.pool.FindServiceByName(name).methods_by_name

    def message(self, name, **fields):
        package = self.name.rpartition(".")[0]
        return GetMessageClass(self.pool.FindMessageTypeByName(f"{package}.{name}"))(**fields)

    def __getattr__(self, name):
        method = self.methods[name]
        sides = ["stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming)]
        open_call = getattr(self.channel, "_".join(sides))
        return open_call(
            f"/{self.name}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )


def vectors(address, texts):
    with grpc.insecure_channel(address) as channel:
        service = Service(channel)
        answer = service.Embed(service.message("EmbedRequest", texts=texts))
    return [list(embedding.values) for embedding in answer.embeddings]


def check_ranking(channel):
    query, documents = "how do I resume a download", ["bake a chocolate cake", "continue an interrupted transfer"]
    service = Service(channel)
    request = service.message("RerankRequest", query=query, documents=documents, return_documents=True)
    answer = service.Rerank(request)
    assert [(d.index, d.text) for d in answer.documents] == [(1, documents[1]), (0, documents[0])], answer
    streamed = list(service.RerankStream(service.message("RerankStreamRequest", id=i, request=request) for i in range(5)))
    assert [one.id for one in streamed] == list(range(5))
    assert all(one.response.documents == answer.documents for one in streamed)
    try:
        service.Rerank(service.message("RerankRequest", query=query))
        raise AssertionError("no documents were ranked")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error

    tei = Service(channel, "tei.v1.Rerank")
    ranks = tei.Rerank(tei.message("RerankRequest", query=query, texts=documents, return_text=True)).ranks
    assert [(rank.index, rank.score) for rank in ranks] == [(d.index, d.score) for d in answer.documents]
    texts = (tei.message("RerankStreamRequest", query=query, text=text, return_text=True) for text in documents)
    assert list(tei.RerankStream(texts).ranks) == list(ranks)


def check(address):
    channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
    health = health_pb2_grpc.HealthStub(channel)
    status = health.Check(health_pb2.HealthCheckRequest(service=NAME)).status
    assert status == health_pb2.HealthCheckResponse.SERVING, status

    service = Service(channel)
    info = service.GetModelInfo(service.message("GetModelInfoRequest"))
    assert info.dimension > 0 and info.max_tokens > 0
    texts = ["continue an interrupted transfer", "bake a chocolate cake"]
    answer = service.Embed(service.message("EmbedRequest", texts=texts))
    assert [len(e.values) for e in answer.embeddings] == [info.dimension] * 2
    assert abs(sum(x * x for x in answer.embeddings[0].values) - 1) < 1e-4
    assert answer.usage.total_tokens == sum(e.tokens for e in answer.embeddings)
    assert answer.provenance.model == answer.model

    for fields, code in [
        ({"texts": []}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"texts": ["a"], "model": "other"}, grpc.StatusCode.NOT_FOUND),
        ({"texts": ["a"], "pooling": "mean"}, grpc.StatusCode.INVALID_ARGUMENT),
    ]:
        try:
            service.Embed(service.message("EmbedRequest", **fields))
            raise AssertionError(f"{fields} was answered")
        except grpc.RpcError as error:
            assert error.code() == code, error
    try:
        many = service.message("EmbedRequest", texts=["a text that takes a while"] * 1000)
        service.Embed(many, timeout=0.001)
        raise AssertionError("the deadline was passed over")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error

    requests = (
        service.message(
            "EmbedStreamRequest",
            id=i,
            request=service.message("EmbedRequest", texts=[f"text {i}"] if i != 5 else []),
        )
        for i in range(50)
    )
    answers = list(service.EmbedStream(requests))
    assert [answer.id for answer in answers] == list(range(50))
    assert [answer.id for answer in answers if answer.HasField("error")] == [5]
    check_ranking(channel)


if __name__ == "__main__":
    check(sys.argv[1])
    print("all calls answered as they should be")
