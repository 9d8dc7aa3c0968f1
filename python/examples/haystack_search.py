"""A pipeline of Haystack's. Needs: haystack."""

from haystack import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore

from akidb_embedding.integrations.haystack import AkidbDocumentEmbedder, AkidbTextEmbedder

texts = ["continue an interrupted transfer", "bake a chocolate cake"]
store = InMemoryDocumentStore()
embedded = AkidbDocumentEmbedder(model="akidb-mini").run([Document(content=t) for t in texts])
store.write_documents(embedded["documents"])
query = AkidbTextEmbedder(model="akidb-mini").run("how do I resume a download")["embedding"]
print(store.embedding_retrieval(query, top_k=1)[0].content)
