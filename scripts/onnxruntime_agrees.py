"""Runs every ONNX variant of a decoder through akidb's ONNX Runtime backend and through ONNX Runtime's
Python API, and prints how far apart the vectors are.

Needs:  pip install numpy onnxruntime; cargo build --release -p akidb-embed
Usage:  onnxruntime_agrees.py MODEL_DIR [--akidb PATH] [--limit X]

Texts are random token ids of lengths so different that each runs alone on both sides. Both use the
library of this Python's onnxruntime package. Exit status 1 when a value differs by more than X
(default 1e-4).
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import onnxruntime
from onnxruntime_peer import Peer, file_of, read_config

VARIANTS = ["f32", "fp16", "int8", "uint8", "quantized", "q4", "q4f16", "bnb4"]
LENGTHS = [1, 12, 30, 70, 150, 300]


def akidb_vectors(akidb, model_dir, variant, texts):
    lines = "".join(json.dumps({"text": ids}) + "\n" for ids in texts)
    command = [akidb, "embed", "--jsonl", "-", "--model", str(model_dir), "--variant", variant]
    command += ["--provider", "cpu", "--format", "jsonl", "--threads", "2"]
    library = pathlib.Path(onnxruntime.__file__).parent / "capi"
    environment = {**os.environ, "ORT_DYLIB_PATH": str(library)}
    output = subprocess.run(command, input=lines, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    answers = [json.loads(line) for line in output.stdout.splitlines()]
    return [np.array(answer["embedding"]) for answer in answers], answers[0]


def peer_vectors(model_dir, variant, texts):
    peer = Peer(file_of(model_dir, variant), read_config(model_dir), threads=2)
    hidden = [peer.hidden(ids).astype(np.float64) for ids in texts]
    return [h / np.linalg.norm(h) for h in hidden]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=pathlib.Path)
    parser.add_argument("--akidb", default="target/release/akidb-embed")
    parser.add_argument("--limit", type=float, default=1e-4)
    args = parser.parse_args()

    config = read_config(args.model_dir)
    eos = config["eos_token_id"]
    rng = np.random.default_rng(7)
    texts = [rng.integers(0, min(config["vocab_size"], eos), n - 1).tolist() + [eos] for n in LENGTHS]
    failed = False
    for variant in VARIANTS:
        if not file_of(args.model_dir, variant).exists():
            print(f"{variant:>10}  no file")
            continue
        ours, answer = akidb_vectors(args.akidb, args.model_dir, variant, texts)
        theirs = peer_vectors(args.model_dir, variant, texts)
        worst = max(np.abs(a - b).max() for a, b in zip(ours, theirs))
        cosine = min(float(a @ b) / float(np.linalg.norm(a)) for a, b in zip(ours, theirs))
        failed |= not worst <= args.limit
        print(f"{variant:>10}  largest difference {worst:.1e}, least cosine {cosine:.9f}  ({len(texts)} texts)", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
