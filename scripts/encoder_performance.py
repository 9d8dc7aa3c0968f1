#!/usr/bin/env python3
"""How fast an encoder is here, beside other programs: the encoders' table of docs/performance.md.

Needs:  pip install numpy onnxruntime tokenizers; for --peers a Python with sentence-transformers and fastembed,
        and a release build of akidb-embed
Usage:  encoder_performance.py MODEL_DIR [--only WORDS]... [--turns 5] [--peers PYTHON] [--texts 256]
            [--f32 X --bf16 X --int8 X]
  MODEL_DIR   Hugging Face layout with model.safetensors, onnx/model.onnx and, if there, onnx/model_int8.onnx
  --f32, --bf16, --int8
              10^12 operations a second that this machine gives at most (scripts/ceilings.c)

All programs get the same texts: log-normal lengths, median 60 tokens, 3 to 256. ONNX Runtime gets token ids, sorted
by length, in batches of 32 that are padded to their longest; the others tokenize. Time is that of one call with all
texts, after one that isn't counted; programs take turns, and ratios are those of each turn.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from machine import cpu_name
from peers import fastembed, sentence_transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent

PEERS = {
    "sentence-transformers": lambda o: sentence_transformers(o.model, o.threads),
    "fastembed": lambda o: fastembed(o.model, o.threads, batch_size=32),
}

PEER = """
import json, sys, time
{load}
texts = [json.loads(line)["text"] for line in open(sys.argv[1])]
embed(texts)
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    embed(texts)
    print(time.perf_counter() - start, flush=True)
"""


def lengths(count, seed=42):
    found = np.random.default_rng(seed).lognormal(math.log(60), 0.8, count)
    return np.clip(np.rint(found), 3, 256).astype(int).tolist()


class Texts:
    """Texts of so many tokens, special ones included, and their token ids."""

    def __init__(self, tokenizer, counts):
        words = [w for w in tokenizer.get_vocab() if w.isascii() and w.isalpha() and w.islower() and len(w) > 2]
        words = [w for w in sorted(words) if len(tokenizer.encode(w, add_special_tokens=False).ids) == 1]
        special = len(tokenizer.encode("").ids)
        draw = np.random.default_rng(len(counts))
        self.texts = [" ".join(draw.choice(words, max(n - special, 1))) for n in counts]
        self.ids = [tokenizer.encode(text).ids for text in self.texts]
        self.file = tempfile.NamedTemporaryFile("w", suffix=".jsonl")
        self.file.writelines(json.dumps({"text": text}) + "\n" for text in self.texts)
        self.file.flush()

    @property
    def tokens(self):
        return sum(map(len, self.ids))


class Akidb:
    def __init__(self, options, name, *flags):
        self.name, self.options, self.flags = name, options, flags

    def seconds(self, texts):
        command = [self.options.embed, "bench", str(self.options.model), "--jsonl", texts.file.name, "--json", "--quiet",
                   "--threads", str(self.options.threads), "--warm-up", "1", "--runs", str(runs(texts)), *self.flags]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stderr}")
        line = json.loads(done.stdout.splitlines()[-1])
        if line["total_tokens"] != texts.tokens:
            sys.exit(f"{line['total_tokens']} tokens, expected {texts.tokens}")
        return line["median_ms"] / 1e3


class OnnxRuntime:
    def __init__(self, options, name, file):
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        self.name = name
        self.session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        self.inputs = {i.name for i in self.session.get_inputs()}

    def feeds(self, ids):
        width = max(map(len, ids))
        padded = np.array([i + [0] * (width - len(i)) for i in ids], np.int64)
        mask = np.array([[1] * len(i) + [0] * (width - len(i)) for i in ids], np.int64)
        feeds = {"input_ids": padded, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
        return {name: value for name, value in feeds.items() if name in self.inputs}

    def seconds(self, texts):
        ids = sorted(texts.ids, key=len)
        work = [self.feeds(ids[i : i + 32]) for i in range(0, len(ids), 32)]
        times = []
        for _ in range(runs(texts) + 1):
            start = time.perf_counter()
            for feeds in work:
                self.session.run(None, feeds)
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])


class Peer:
    def __init__(self, options, name, texts):
        self.name = name
        command = [options.peers, "-c", PEER.format(load=PEERS[name](options)), texts.file.name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        # Nobody else is timed while it gets ready.
        self.process.stdout.readline()

    def seconds(self, _):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def runs(texts):
    return 1 if texts.tokens > 5000 else 5 if texts.tokens > 500 else 50


def operations(config, counts):
    """Multiplications and additions of the linear layers and of attention."""
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    linear = layers * (4 * width * width + 2 * width * inner) * sum(counts)
    return 2 * (linear + layers * sum(2 * n * n * width for n in counts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers")
    for precision in ("f32", "bf16", "int8"):
        parser.add_argument(f"--{precision}", type=float)
    parser.add_argument("--embed", default=str(ROOT / "target" / "release" / "akidb-embed"))
    options = parser.parse_args()
    config = json.loads((options.model / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    native = lambda precision, *more: Akidb(options, f"akidb {precision}", "--backend", "native", "--precision", precision, *more)
    onnx = options.model / "onnx"
    mixed = lengths(options.texts)
    works = [(f"f32 {options.texts} mixed", mixed, [native("f32"), native("bf16"), native("int8"),
              Akidb(options, "akidb on RTen", "--backend", "rten", "--variant", "f32"),
              OnnxRuntime(options, "ONNX Runtime", onnx / "model.onnx")], True)]
    if (onnx / "model_int8.onnx").exists():
        for name, counts in (("int8 8 x 128", [128] * 8), ("int8 1 x 12", [12])):
            works.append((name, counts, [native("int8", "--variant", "int8"),
                                         OnnxRuntime(options, "ONNX Runtime", onnx / "model_int8.onnx")], False))
    print(f"{options.model.name} on {cpu_name()}, {options.threads} of {os.cpu_count()} threads, "
          f"ONNX Runtime {onnxruntime.__version__}\n")
    print("| work | program | ms | akidb's first is times as fast | share of arithmetic |\n|---|---|---|---|---|")
    for name, counts, programs, with_peers in works:
        if options.only and not any(words in name for words in options.only):
            continue
        texts = Texts(tokenizer, counts)
        peers = [Peer(options, peer, texts) for peer in PEERS if with_peers and options.peers]
        programs = programs + peers
        turns = [[program.seconds(texts) for program in programs] for _ in range(options.turns)]
        for peer in peers:
            peer.close()
        for at, program in enumerate(programs):
            times = [turn[at] for turn in turns]
            ratios = sorted(turn[at] / turn[0] for turn in turns)
            ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})" if at else ""
            tera = getattr(options, program.name.split()[-1], None) if program.name.startswith("akidb") else None
            share = f"{operations(config, list(map(len, texts.ids))) / tera / 1e12 / statistics.median(times):.0%}" if tera else ""
            print(f"| {name}, {texts.tokens} tokens | {program.name} | {statistics.median(times) * 1e3:.4g} | {ratio} | {share} |",
                  flush=True)


if __name__ == "__main__":
    main()
