"""Found documents, ranked, in Haystack. Needs: haystack."""

from haystack import Document

from akidb_embedding.integrations.haystack import AkidbRanker

found = ["bake a chocolate cake", "continue an interrupted transfer"]
ranker = AkidbRanker(model="akidb-mini", top_k=1)
ranked = ranker.run("how do I resume a download", [Document(content=text) for text in found])
print(ranked["documents"][0].content)
