#!/usr/bin/env python3
"""What `akidb-embed verify` compares a model of the catalog with: a few of the test suite's vectors, which come from
PyTorch, and the similarities that the card of Qwen3-Embedding-0.6B publishes.

Usage:  make_verify_goldens.py      writes crates/akidb-models/src/goldens/
"""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "crates" / "akidb-testing" / "goldens"  # of make_goldens.py and make_minilm_goldens.py
TARGET = ROOT / "crates" / "akidb-models" / "src" / "goldens"
STARTS = ("Hello, world!", "The quick brown fox", "How do I resume", "Restart the service", "A checksum is a short",
          "fn main()", "SELECT u.name", "Der Größenunterschied", "机器学习", "def f(x", "Как перезапустить")
VECTORS = {
    "akidb-mini": "PyTorch transformers, float32",
    "all-minilm-l6-v2": "sentence-transformers, float32",
}
QUERIES = ["What is the capital of China?", "Explain gravity"]
DOCUMENTS = ["The capital of China is Beijing.",
             "Gravity is a force that attracts two bodies towards each other. It gives weight to physical objects and is "
             "responsible for the movement of planets around the sun."]
SIMILARITIES = [[0.7646, 0.1414], [0.1355, 0.6000]]


def write(name, source, rows):
    with open(TARGET / f"{name}.jsonl", "w", encoding="utf-8") as target:
        for row in [{"source": source}, *rows]:
            target.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


for name, source in VECTORS.items():
    rows = []
    with open(SOURCE / f"{name}.jsonl", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["text"].startswith(STARTS) and len(row["ids"]) <= 130:
                rows.append({"text": row["text"], "vector": [float(f"{x:.7g}") for x in row["vector"]]})
    write(name, source, rows)

write("qwen3-embedding-0.6b", "model card of Qwen/Qwen3-Embedding-0.6B, section Sentence Transformers Usage",
      [{"query": query, "document": document, "similarity": SIMILARITIES[q][d]}
       for q, query in enumerate(QUERIES) for d, document in enumerate(DOCUMENTS)])
