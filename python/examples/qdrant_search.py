"""A collection of Qdrant's, in local mode. Needs: qdrant_client."""

from qdrant_client import QdrantClient
from qdrant_client.models import Distance, PointStruct, VectorParams

from akidb_embedding import Embedder

embedder = Embedder("akidb-mini")
client = QdrantClient(":memory:")
params = VectorParams(size=embedder.info["dimension"], distance=Distance.COSINE)
client.create_collection("texts", vectors_config=params)
texts = ["continue an interrupted transfer", "bake a chocolate cake"]
vectors = embedder.embed(texts, role="document")
points = [
    PointStruct(id=n, vector=vectors[n].tolist(), payload={"text": text})
    for n, text in enumerate(texts)
]
client.upsert("texts", points)
query = embedder.embed_query("how do I resume a download").tolist()
print(client.query_points("texts", query=query, limit=1).points[0].payload["text"])
