"""Found nodes, ranked, in LlamaIndex. Needs: llama_index."""

from llama_index.core.schema import NodeWithScore, TextNode

from akidb_embedding.integrations.llama_index import AkidbRerank

found = ["bake a chocolate cake", "continue an interrupted transfer"]
nodes = [NodeWithScore(node=TextNode(text=text)) for text in found]
best = AkidbRerank(model="akidb-mini", top_n=1)
(node,) = best.postprocess_nodes(nodes, query_str="how do I resume a download")
print(node.text)
