"""How well documents are found with the built-in model: by vectors of 64 values, and these reranked by cosine at full width.

Usage: python scripts/rerank_eval.py akidb-embed FOLDER

FOLDER holds documents.jsonl (`id`, `text`) and queries.jsonl (`text`, and `relevant`, the id of the one document that answers it).
The first pass takes the nearest 100 documents by the first 64 values, normalised again; the second orders them by all values.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

FIRST, CANDIDATES = 64, 100


def embed(program: str, file: pathlib.Path, role: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "vectors.npy"
        subprocess.run([program, "-q", "embed", "-m", "akidb-mini", "--jsonl", file, "--as", role, "-o", out], check=True)
        return np.load(out)


def measures(ranks: np.ndarray) -> str:
    """`ranks` are those of the relevant documents, from 0."""
    recall = [f"{np.mean(ranks < most):.3f}" for most in (1, 10, 100)]
    ndcg = np.mean(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0))
    return f"recall@1 {recall[0]}, @10 {recall[1]}, @100 {recall[2]}, nDCG@10 {ndcg:.3f}"


def main() -> None:
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    documents = embed(program, folder / "documents.jsonl", "document")
    queries = embed(program, folder / "queries.jsonl", "query")
    ids = [json.loads(line)["id"] for line in (folder / "documents.jsonl").read_text().splitlines()]
    place = {id: index for index, id in enumerate(ids)}
    relevant = np.array([place[json.loads(line)["relevant"]] for line in (folder / "queries.jsonl").read_text().splitlines()])
    cut = [v[:, :FIRST] / np.linalg.norm(v[:, :FIRST], axis=1, keepdims=True) for v in (queries, documents)]
    first, whole = cut[0] @ cut[1].T, queries @ documents.T

    def ranks(scores: np.ndarray) -> np.ndarray:
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.argmax(order == relevant[:, None], axis=1)

    candidates = np.argsort(-first, axis=1, kind="stable")[:, :CANDIDATES]
    reranked = np.full_like(first, -np.inf)
    np.put_along_axis(reranked, candidates, np.take_along_axis(whole, candidates, axis=1), axis=1)
    missed = ~np.any(candidates == relevant[:, None], axis=1)
    print(f"{len(queries)} queries, {len(documents)} documents")
    print(f"{FIRST} values alone:        {measures(ranks(first))}")
    print(f"{CANDIDATES} of these reranked: {measures(np.where(missed, CANDIDATES, ranks(reranked)))}")
    print(f"all {documents.shape[1]} values alone:  {measures(ranks(whole))}")


if __name__ == "__main__":
    main()
