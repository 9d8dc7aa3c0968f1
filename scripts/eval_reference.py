#!/usr/bin/env python3
"""Recall of the reference implementation: queries (with the query prompt) against documents (bare), for comparison with ours.

Needs:  pip install torch transformers safetensors numpy          (with --onnx: onnxruntime)
Usage:  eval_reference.py MODEL_DIR DATA [--onnx FILE] [--weights DIR] [--dim N]
  MODEL_DIR  Hugging Face layout: config.json, tokenizer.json, config_sentence_transformers.json
  DATA       a folder with documents.jsonl {"id", "text"} and queries.jsonl {"text", "relevant": document id},
             or one .jsonl file of pairs {"query", "document"}
  --weights  where model.safetensors is (default MODEL_DIR); run by PyTorch in float32
  --onnx     run this file with ONNX Runtime instead
  --dim      keep the first N values (Matryoshka)
Each text runs alone, without padding.
"""

import argparse
import json
import pathlib

import numpy as np


def read_jsonl(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def load_data(path):
    """(queries, documents, for each query the index of its document)."""
    if path.is_file():
        pairs = read_jsonl(path)
        return [p["query"] for p in pairs], [p["document"] for p in pairs], list(range(len(pairs)))
    documents, queries = read_jsonl(path / "documents.jsonl"), read_jsonl(path / "queries.jsonl")
    index = {d["id"]: i for i, d in enumerate(documents)}
    return [q["text"] for q in queries], [d["text"] for d in documents], [index[q["relevant"]] for q in queries]


def torch_forward(model_dir, weights_dir):
    import torch
    from golden_io import last_hidden
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel

    torch.set_num_threads(2)
    model = AutoModel.from_config(AutoConfig.from_pretrained(model_dir), dtype=torch.float32).eval()
    weights = load_file(weights_dir / "model.safetensors")
    model.load_state_dict({k.removeprefix("model."): v.float() for k, v in weights.items() if k != "lm_head.weight"})
    return lambda ids: last_hidden(model, ids).numpy()


def onnx_forward(file, head_dim):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    inputs = {i.name: i for i in session.get_inputs()}
    past = {name: np.zeros((1, i.shape[1], 0, head_dim), np.float16 if "float16" in i.type else np.float32)
            for name, i in inputs.items() if name.startswith("past_key_values.")}
    output = session.get_outputs()[0].name

    def forward(ids):
        n = len(ids)
        feeds = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, n), np.int64), "position_ids": np.arange(n)[None]}
        return session.run([output], {k: v for k, v in feeds.items() if k in inputs} | past)[0][0, -1].astype(np.float32)

    return forward


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model_dir", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--onnx", type=pathlib.Path)
    parser.add_argument("--weights", type=pathlib.Path)
    parser.add_argument("--dim", type=int)
    args = parser.parse_args()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.model_dir)
    config = json.loads((args.model_dir / "config.json").read_text())
    prompts = json.loads((args.model_dir / "config_sentence_transformers.json").read_text())["prompts"]
    if args.onnx:
        forward = onnx_forward(args.onnx, config["head_dim"])
    else:
        forward = torch_forward(args.model_dir, args.weights or args.model_dir)

    def embed(texts, prompt):
        rows = np.stack([forward(tokenizer(prompt + t, truncation=True, max_length=config["max_position_embeddings"]).input_ids) for t in texts])
        rows = rows[:, : args.dim].astype(np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    queries, documents, relevant = load_data(args.data)
    similarity = embed(queries, prompts["query"]) @ embed(documents, prompts["document"]).T
    right = similarity[np.arange(len(queries)), relevant]
    rank = (similarity > right[:, None]).sum(axis=1)
    print(f"{len(queries)} queries, {len(documents)} documents")
    print(" ".join(f"recall@{k} {np.mean(rank < k):.3f}" for k in (1, 5, 10)))


if __name__ == "__main__":
    main()
