"""What sentence-transformers does, without torch. Needs: numpy."""

from akidb_embedding.integrations.sentence_transformers import SentenceEncoder

model = SentenceEncoder("akidb-mini", truncate_dim=128)
documents = ["continue an interrupted transfer", "bake a chocolate cake"]
vectors = model.encode_document(documents)
query = model.encode_query("how do I resume a download")
nearest = int(model.similarity(query, vectors).argmax())
print(documents[nearest])
