"""A collection of Chroma's. Needs: chromadb."""

import chromadb

from akidb_embedding.integrations.chroma import AkidbEmbeddingFunction

akidb = AkidbEmbeddingFunction(model="akidb-mini")
collection = chromadb.EphemeralClient().create_collection("texts", embedding_function=akidb)
texts = ["continue an interrupted transfer", "bake a chocolate cake"]
collection.add(ids=["1", "2"], documents=texts)
found = collection.query(query_texts=["how do I resume a download"], n_results=1)
print(found["documents"][0][0])
