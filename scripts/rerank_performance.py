#!/usr/bin/env python3
"""What ranking costs beside embedding the same documents: the figures of docs/rerank.md.

Needs:  pip install numpy onnx onnxruntime tokenizers, 12 GB of memory, and a release build of akidb-embed
Usage:  rerank_performance.py EMBEDDER [--documents 100] [--tokens 128] [--turns 3] [--embed PROGRAM]
  EMBEDDER   a full-size Qwen3-Embedding-0.6B with onnx/model.onnx in f32 and onnx/model_int8.onnx; random weights do

A reranker is made of it, EMBEDDER-reranker: the same graph with an output layer that is tied to its table, quantized as
the int8 file is. Documents are embedded by the one and ranked by the other, in turns; then, once, by ONNX Runtime on the
reranker's file, in padded batches of 8: more would need gigabytes for the logits of all words.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer

from onnxruntime_peer import Peer, read_config

ROOT = pathlib.Path(__file__).resolve().parent.parent


def make(embedder, reranker):
    """The embedder's f32 graph with logits, in int8."""
    if (reranker / "onnx" / "model_int8.onnx").exists():
        return
    (reranker / "onnx").mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(embedder / name, reranker / name)
    model = onnx.load(embedder / "onnx" / "model.onnx")
    graph = model.graph
    table = next(t for t in graph.initializer if "embed_tokens" in t.name)
    head = onnx.numpy_helper.from_array(np.ascontiguousarray(onnx.numpy_helper.to_array(table).T), "lm_head.weight")
    graph.initializer.append(head)
    states = graph.output[0].name
    graph.node.append(onnx.helper.make_node("MatMul", [states, head.name], ["logits"], "/lm_head/MatMul"))
    shape = ["batch_size", "sequence_length", head.dims[1]]
    graph.output.remove(graph.output[0])
    graph.output.insert(0, onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, shape))
    with tempfile.TemporaryDirectory(dir=reranker) as folder:
        path = pathlib.Path(folder) / "model.onnx"
        onnx.save_model(model, path, save_as_external_data=True, location="model.onnx_data", size_threshold=1024)
        del model
        quantize_dynamic(path, reranker / "onnx" / "model_int8.onnx", weight_type=QuantType.QInt8,
                         extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True})


def documents(tokenizer, count, tokens):
    words = [w for w in tokenizer.get_vocab() if w.startswith("Ġ") and w[1:].isascii() and w[1:].isalpha()]
    words = [word[1:] for word in sorted(words)]
    draw = np.random.default_rng(1)
    texts = [" ".join(draw.choice(words, tokens)) for _ in range(count)]
    # Cut to the tokens of a document.
    return [tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids[:tokens]) for text in texts]


def bench(options, model, texts):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        file.flush()
        command = [options.embed, "bench", str(model), "--variant", "int8", "--jsonl", file.name, "--json", "--quiet",
                   "--runs", "1", "--warm-up", "1"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embedder", type=pathlib.Path)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--embed", default=str(ROOT / "target" / "release" / "akidb-embed"))
    options = parser.parse_args()
    reranker = options.embedder.with_name(f"{options.embedder.name}-reranker")
    make(options.embedder, reranker)
    tokenizer = Tokenizer.from_file(str(options.embedder / "tokenizer.json"))
    texts = documents(tokenizer, options.documents, options.tokens)
    turns = [(bench(options, options.embedder, texts), bench(options, reranker, texts)) for _ in range(options.turns)]
    for embedded, ranked in turns:
        print(f"embedded {embedded['median_ms']:.0f} ms ({embedded['total_tokens']} tokens, {embedded['rss_mb']:.0f} MB), "
              f"ranked {ranked['median_ms']:.0f} ms ({ranked['total_tokens']} tokens, {ranked['rss_mb']:.0f} MB): "
              f"{ranked['median_ms'] / embedded['median_ms']:.3f}", flush=True)
    ratio = statistics.median(ranked["median_ms"] / embedded["median_ms"] for embedded, ranked in turns)
    print(f"ranked / embedded: {ratio:.3f}")

    ranked = turns[-1][1]
    pair = ranked["total_tokens"] // options.documents
    peer = Peer(reranker / "onnx" / "model_int8.onnx", read_config(reranker), 2)
    ids = np.random.default_rng(2).integers(0, 100_000, (8, pair)).tolist()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        peer.states(peer.feeds(ids))
        times.append(time.perf_counter() - start)
    theirs = min(times) * options.documents / 8 * 1e3
    print(f"ONNX Runtime {onnxruntime.__version__}, {options.documents} pairs of {pair} tokens by 8: {theirs:.0f} ms, "
          f"{theirs / ranked['median_ms']:.2f} of ours")


if __name__ == "__main__":
    main()
