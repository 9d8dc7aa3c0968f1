#!/usr/bin/env python3
"""How fast akidb is beside ONNX Runtime, on the same file, the same token ids, in one run and in turns.

Needs:  pip install numpy onnxruntime tokenizers    and a build of akidb-embed (cargo build --release -p akidb-embed)
Usage:  performance.py MODEL_DIR [--only NAME]... [--turns 3] [--int8-tops X] [--bf16-tflops X] [--embed PROGRAM]
  MODEL_DIR      Hugging Face layout with config.json, tokenizer.json, onnx/model*.onnx
  --only         rows whose name contains these words: "int8", "8 x 128", "mixed", "query", "start", "memory"
  --int8-tops, --bf16-tflops
                 what this machine's arithmetic gives at most (10^12 multiplications and additions a second); with them
                 the last column can name arithmetic as the limit, else it knows memory only

Prints the Markdown tables of docs/performance.md; what they mean is said there. Run it on a quiet machine.
"""

import argparse
import concurrent.futures
import dataclasses
import datetime
import json
import math
import multiprocessing
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from machine import cpu_name
from onnxruntime_peer import Peer, file_of, read_config, with_eos

ROOT = pathlib.Path(__file__).resolve().parent.parent
TASK = "Given a web search query, retrieve relevant passages that answer the query"
QUERY = "how do I resume an interrupted download"
# Bytes of one weight of the linear layers; 4-bit with a 16-bit scale for 32 of them.
WEIGHT_BYTES = {"f32": 4, "bf16": 2, "int8": 1, "int4": 0.5 + 2 / 32}


def mixed_lengths(count, seed=42):
    """Tokens of texts as they come: log-normal, median 60, sigma 0.8, 2 to 512."""
    lengths = np.random.default_rng(seed).lognormal(math.log(60), 0.8, count)
    return np.clip(np.rint(lengths), 2, 512).astype(int).tolist()


@dataclasses.dataclass
class Row:
    name: str
    variant: str
    precision: str
    lengths: list  # tokens of each text, the end-of-text token included; empty for the query
    flags: tuple = ()  # of `akidb-embed bench`


ROWS = [
    Row("int8 1 x 5", "int8", "auto", [5]),
    Row("int8 8 x 5", "int8", "auto", [5] * 8),
    Row("int8 32 x 5", "int8", "auto", [5] * 32),
    Row("int8 8 x 128", "int8", "auto", [128] * 8),
    Row("int8 1 x 512", "int8", "auto", [512]),
    Row("int8 query", "int8", "auto", []),
    Row("int8 query without prefix cache", "int8", "auto", [], ("--no-prefix-cache",)),
    Row("int8 256 mixed", "int8", "auto", mixed_lengths(256)),
    Row("q4 1 x 5", "q4", "int4", [5]),
    Row("fp16 1 x 5", "fp16", "bf16", [5]),
    Row("fp16 8 x 128", "fp16", "bf16", [128] * 8),
]


class Skipped(Exception):
    """This build of akidb-embed can't do it."""


class Machine:
    def __init__(self, args):
        self.args, self.config = args, read_config(args.model)
        self.tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
        self.help = subprocess.run([args.embed, "bench", "--help"], capture_output=True, text=True).stdout
        self.peer = (None, None)

    def ids(self, lengths):
        """Token ids of different texts, drawn evenly from the vocabulary's first half, which holds no special token."""
        rng = np.random.default_rng(len(lengths))
        eos = self.config["eos_token_id"]
        return [[*rng.integers(0, self.config["vocab_size"] // 2, n - 1).tolist(), eos] for n in lengths]

    def bench(self, variant, precision, rows, flags):
        """One run of `akidb-embed bench` on JSON objects; its own JSON object."""
        missing = [f for f in ("--jsonl", *flags) if f.startswith("--") and f not in self.help]
        if missing:
            raise Skipped(f"akidb-embed bench has no {' '.join(missing)}")
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write("".join(json.dumps(r) + "\n" for r in rows))
            file.flush()
            command = [self.args.embed, "bench", "--json", "--model", str(self.args.model), "--variant", variant,
                       "--backend", "native", "--precision", precision, "--threads", str(self.args.threads),
                       "--jsonl", file.name, *flags]
            done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Skipped(" ".join(done.stderr.split()))
        return json.loads(done.stdout.splitlines()[-1])

    def onnx_runtime(self, variant):
        if self.peer[0] != variant:
            self.peer = (None, None)  # frees the old session before the new one is made
            self.peer = (variant, Peer(file_of(self.args.model, variant), self.config, self.args.threads))
        return self.peer[1]

    def limit_ms(self, precision, lengths, read_gb_s):
        """(what limits, the least time in ms) for the linear layers of texts computed together."""
        c, tokens, texts = self.config, sum(lengths), len(lengths)
        head = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
        kv = 2 * c["hidden_size"] * c["num_key_value_heads"] * head
        rest = 2 * c["hidden_size"] * c["num_attention_heads"] * head + 3 * c["hidden_size"] * c["intermediate_size"]
        layers = c["num_hidden_layers"]
        limits = [("memory", layers * (kv + rest) * WEIGHT_BYTES[precision] / read_gb_s / 1e6)]
        tera = {"int8": self.args.int8_tops, "int4": self.args.int8_tops, "bf16": self.args.bf16_tflops}.get(precision)
        if tera:
            # Of the last layer only keys and values are needed for every token.
            products = (layers - 1) * (kv + rest) * tokens + kv * tokens + rest * texts
            limits.append(("arithmetic", 2 * products / tera / 1e9))
        return max(limits, key=lambda limit: limit[1])


def batches(ids):
    """What ONNX Runtime is given at once: texts of one length together, mixed ones sorted, 32 by 32."""
    if len({len(i) for i in ids}) == 1:
        return [ids]
    ids = sorted(ids, key=len)
    return [ids[i : i + 32] for i in range(0, len(ids), 32)]


def compare(machine, row):
    """One line of the first table."""
    if row.lengths:
        ids = machine.ids(row.lengths)
        rows, flags = [{"ids": i[:-1]} for i in ids], ("--field", "ids", *row.flags)
    else:
        prompt = f"Instruct: {TASK}\nQuery:{QUERY}"
        ids = [with_eos(machine.tokenizer.encode(prompt).ids, machine.config["eos_token_id"])]
        rows, flags = [{"text": QUERY}], ("--instruction", TASK, *row.flags)
    tokens = sum(len(i) for i in ids)
    runs = machine.args.runs or (15 if tokens <= 50 else 7 if tokens <= 200 else 3 if tokens <= 2000 else 1)
    theirs, ours = [], []
    for _ in range(machine.args.turns):
        # Ours first, so that a row that this build can't run costs no time.
        turn = machine.bench(row.variant, row.precision, rows, (*flags, "--runs", str(runs)))
        if turn["total_tokens"] != tokens:
            raise SystemExit(f"{row.name}: akidb saw {turn['total_tokens']} tokens, ONNX Runtime is given {tokens}")
        ours.append(turn)
        peer = machine.onnx_runtime(row.variant)
        work = [peer.feeds(batch) for batch in batches(ids)]
        times = []
        for run in range(runs + 1):
            start = time.perf_counter()
            for feeds in work:
                peer.states(feeds)
            if run > 0:  # the first call sizes the session's memory
                times.append((time.perf_counter() - start) * 1e3)
        theirs.append(statistics.median(times))
        print(f"{row.name}: {theirs[-1]:.2f} / {turn['median_ms']:.2f} ms, {turn['read_gb_s']:.0f} GB/s", file=sys.stderr, flush=True)
    a, b = statistics.median(theirs), statistics.median(t["median_ms"] for t in ours)
    ratios = [t / o["median_ms"] for t, o in zip(theirs, ours)]
    precision = ours[0]["precision"]
    if row.lengths:
        limits = [machine.limit_ms(precision, row.lengths, t["read_gb_s"]) for t in ours]
        share = f"{statistics.median(least / t['median_ms'] for (_, least), t in zip(limits, ours)):.0%} of {limits[0][0]}"
    else:
        share = ""
    barrier = [t["barrier_ns"] for t in ours if t["barrier_ns"] is not None]
    cells = [row.name, precision, f"{tokens}", f"{a:.4g} ms", f"{b:.4g} ms",
             f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
             f"{statistics.median(t['read_gb_s'] for t in ours):.0f}",
             f"{statistics.median(barrier):.0f}" if barrier else "", share]
    return f"| {' | '.join(cells)} |", ours[0]["tier"]


def rss_mb():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def peer_start(model_dir, variant, threads):
    """Seconds from nothing to the first vector, Python and its imports not counted."""
    start = time.perf_counter()
    config = read_config(model_dir)
    tokenizer = Tokenizer.from_file(str(pathlib.Path(model_dir) / "tokenizer.json"))
    peer = Peer(file_of(model_dir, variant), config, threads)
    peer.hidden(with_eos(tokenizer.encode("Hello, world!").ids, config["eos_token_id"]))
    return time.perf_counter() - start


def peer_memory(model_dir, variant, threads, ids):
    peer = Peer(file_of(model_dir, variant), read_config(model_dir), threads)
    for text in ids:
        peer.hidden(text)
    return rss_mb()


def in_new_process(function, *arguments):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def start(machine):
    a = machine.args
    command = [a.embed, "embed", "Hello, world!", "--model", str(a.model), "--variant", "int8", "--backend", "native",
               "--format", "npy", "--threads", str(a.threads)]
    theirs, ours = [], []
    for turn in range(a.turns + 1):
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True)
        mine = time.perf_counter() - begin
        if done.returncode != 0:
            raise Skipped(" ".join(done.stderr.decode().split()))
        peer = in_new_process(peer_start, str(a.model), "int8", a.threads)
        if turn > 0:  # the first start may read files from disk and write caches
            ours.append(mine)
            theirs.append(peer)
    x, y = statistics.median(theirs), statistics.median(ours)
    return f"| int8: new process to first vector | {x:.3f} s | {y:.3f} s | {x / y:.2f} |"


def memory(machine):
    a = machine.args
    ids = machine.ids(mixed_lengths(a.requests, seed=1))
    flags = ("--field", "ids", "--batch", "1", "--warm-up", "0", "--runs", "1")
    ours = machine.bench("int8", "auto", [{"ids": i[:-1]} for i in ids], flags)["rss_mb"]
    theirs = in_new_process(peer_memory, str(a.model), "int8", a.threads, ids)
    return f"| int8: resident after {a.requests} requests of mixed length | {theirs:.0f} MB | {ours:.0f} MB | {theirs / ours:.2f} |"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--only", action="append")
    p.add_argument("--turns", type=int, default=3)
    p.add_argument("--runs", type=int, help="timed calls in a turn (default: by the number of tokens)")
    p.add_argument("--requests", type=int, default=1000)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--int8-tops", type=float)
    p.add_argument("--bf16-tflops", type=float)
    p.add_argument("--embed", default=str(ROOT / "target" / "release" / "akidb-embed"))
    a = p.parse_args()
    machine = Machine(a)

    def wanted(name):
        return a.only is None or any(f" {o} " in f" {name} " for o in a.only)

    lines, others, tier = [], [], None
    for row in filter(lambda r: wanted(r.name), ROWS):
        try:
            line, tier = compare(machine, row)
            lines.append(line)
        except Skipped as e:
            print(f"SKIPPED: {row.name}: {e}", file=sys.stderr)
    machine.peer = (None, None)
    for name, measure in (("start", start), ("memory", memory)):
        if wanted(name):
            try:
                others.append(measure(machine))
            except Skipped as e:
                print(f"SKIPPED: {name}: {e}", file=sys.stderr)
    version = subprocess.run([a.embed, "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{a.model.name} on {cpu_name()}, {a.threads} of {os.cpu_count()} threads{', ' + tier if tier else ''}; {version}, "
          f"ONNX Runtime {onnxruntime.__version__}, {platform.system()} {platform.machine()}, {datetime.date.today()}.\n")
    if lines:
        print("| work | akidb computes in | tokens | ONNX Runtime | akidb | times as fast | read GB/s | barrier ns | akidb's share of the limit |")
        print("|---|---|---|---|---|---|---|---|---|")
        print("\n".join(lines))
    if others:
        print("\n| | ONNX Runtime | akidb | ratio |\n|---|---|---|---|")
        print("\n".join(others))
    return 0


if __name__ == "__main__":
    sys.exit(main())
