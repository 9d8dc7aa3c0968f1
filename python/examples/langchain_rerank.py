"""Found documents, ranked, in LangChain. Needs: langchain_core."""

from langchain_core.documents import Document

from akidb_embedding.integrations.langchain import AkidbReranker

found = ["bake a chocolate cake", "continue an interrupted transfer"]
best = AkidbReranker(model="akidb-mini", top_n=1)
(document,) = best.compress_documents(
    [Document(text) for text in found], "how do I resume a download"
)
print(document.page_content)
