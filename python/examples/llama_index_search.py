"""A vector index of LlamaIndex's. Needs: llama_index."""

from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode

from akidb_embedding.integrations.llama_index import AkidbEmbedding

texts = ["continue an interrupted transfer", "bake a chocolate cake"]
nodes = [TextNode(text=text) for text in texts]
index = VectorStoreIndex(nodes, embed_model=AkidbEmbedding(model_name="akidb-mini"))
found = index.as_retriever(similarity_top_k=1).retrieve("how do I resume a download")
print(found[0].get_content())
