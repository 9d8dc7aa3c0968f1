"""Documents ranked for a query. Needs: akidb_embedding."""

from akidb_embedding import Reranker

reranker = Reranker("akidb-mini")
documents = ["bake a chocolate cake", "continue an interrupted transfer"]
scores = reranker.rerank("how do I resume a download", documents, top_n=1)
print(documents[scores[0].index])
