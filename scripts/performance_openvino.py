#!/usr/bin/env python3
"""How fast akidb is beside OpenVINO, on the same file, in one run and in turns.

Needs:  pip install numpy openvino    and a build of akidb-embed (cargo build --release -p akidb-embed)
Usage:  performance_openvino.py MODEL_DIR [--turns 6] [--threads 2] [--embed PROGRAM]
  MODEL_DIR      Hugging Face layout with config.json, tokenizer.json, onnx/model*.onnx

Prints a Markdown table; docs/performance.md says what its columns mean. OpenVINO computes in the arithmetic that the
row names: bf16 by INFERENCE_PRECISION_HINT, 4-bit weights with activations in 8 bits in groups of 32 by
DYNAMIC_QUANTIZATION_GROUP_SIZE. Run it on a quiet machine.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import time

import numpy as np
import openvino

from machine import cpu_name

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Name, variant, precision of akidb, texts, tokens of each, options of OpenVINO, runs a turn.
ROWS = [
    ("q4 1 x 5", "q4", "int4", 1, 5, {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 32}, 10),
    ("fp16 1 x 5", "fp16", "bf16", 1, 5, {"INFERENCE_PRECISION_HINT": "bf16"}, 10),
    ("fp16 8 x 128", "fp16", "bf16", 8, 128, {"INFERENCE_PRECISION_HINT": "bf16"}, 1),
]


def inputs(model, config, batch, tokens):
    """What the graph asks for: random token ids, no past."""
    ids = np.random.default_rng(0).integers(0, config["vocab_size"], (batch, tokens))
    known = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "position_ids": np.tile(np.arange(tokens), (batch, 1)),
    }
    past = np.zeros((batch, config["num_key_value_heads"], 0, config["head_dim"]))
    types = {port.get_any_name(): port.element_type.to_dtype() for port in model.inputs}
    return {name: known.get(name, past).astype(dtype) for name, dtype in types.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--embed", type=pathlib.Path, default=ROOT / "target/release/akidb-embed")
    args = parser.parse_args()
    config = json.loads((args.model / "config.json").read_text())
    core = openvino.Core()
    version = openvino.__version__.split("-")[0]
    print(f"{cpu_name()}, {args.threads} threads; OpenVINO {version}.\n")
    print("| work | akidb computes in | OpenVINO | akidb | times as fast | read GB/s | barrier ns |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, variant, precision, batch, tokens, options, runs in ROWS:
        options = {"INFERENCE_NUM_THREADS": args.threads, "PERFORMANCE_HINT": "LATENCY", **options}
        model = core.compile_model(args.model / f"onnx/model_{variant}.onnx", "CPU", options)
        feeds, request = inputs(model, config, batch, tokens), model.create_infer_request()

        def infer():
            start = time.perf_counter()
            request.infer(feeds)
            return (time.perf_counter() - start) * 1e3

        for _ in range(3):
            infer()
        command = [args.embed, "bench", "-m", args.model, "--variant", variant, "--precision", precision, "--json"]
        command += ["--batch", str(batch), "--tokens", str(tokens), "--threads", str(args.threads), "--runs", str(runs)]
        turns = []
        for _ in range(args.turns):
            peer = statistics.median(infer() for _ in range(runs))
            own = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            turns.append((peer, own["median_ms"], peer / own["median_ms"], own["read_gb_s"], own["barrier_ns"]))
        peer, own, ratio, read, barrier = (statistics.median(column) for column in zip(*turns))
        ratios = [turn[2] for turn in turns]
        print(f"| {name} | {precision} | {peer:.4g} ms | {own:.4g} ms | {ratio:.2f} ({min(ratios):.2f}–{max(ratios):.2f}) "
              f"| {read:.0f} | {barrier:.0f} |", flush=True)


if __name__ == "__main__":
    main()
