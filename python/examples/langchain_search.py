"""A vector store of LangChain's. Needs: langchain_core."""

from langchain_core.vectorstores import InMemoryVectorStore

from akidb_embedding.integrations.langchain import AkidbEmbeddings

store = InMemoryVectorStore(AkidbEmbeddings(model="akidb-mini"))
store.add_texts(["continue an interrupted transfer", "bake a chocolate cake"])
(found,) = store.similarity_search("how do I resume a download", k=1)
print(found.page_content)
