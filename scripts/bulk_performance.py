#!/usr/bin/env python3
"""What `akidb-embed run` costs: the figures of docs/bulk.md.

  scripts/bulk_performance.py target/release/akidb-embed [--only bench,memory,restart,peers] [--model NAME] [--variant NAME]
      [--peers PYTHON] [--minilm DIR] [--mini DIR] [--rows N] [--median WORDS]

- bench: tokens a second of `run`, from start to end, beside `bench --jsonl` on the same texts, in turns.
- memory: the most memory that a run takes for ten thousand and for --many rows of short texts.
- restart: how long a finished folder of 10 000 units takes to be started again, with and without manifest.
- peers: --rows texts by this, by sentence-transformers and by fastembed, each in a process of its own that
  reads JSON Lines and writes Parquet: time and memory. Needs a Python that has them (--peers) and
  all-MiniLM-L6-v2 (--minilm); the built-in model with its safetensors (--mini) is compared with
  sentence-transformers alone: fastembed has no pooling by the last token.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from peers import fastembed, sentence_transformers

WORDS = [f"{a}{b}" for a in ("ra", "lo", "mi", "ten", "su", "ka") for b in ("ver", "dan", "li", "po", "stra", "ne")]

# What people write: all texts in memory, vectors to Parquet.
PEER = """
import json, sys, pyarrow as pa, pyarrow.parquet as pq
{load}
texts = [json.loads(line)["text"] for line in open(sys.argv[1])]
vectors = embed(texts)
column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
pq.write_table(pa.table({{"embedding": column}}), sys.argv[2], compression="zstd")
"""


def write_texts(path, rows, median, most, seed=1):
    """Lengths in words are log-normal, as those of what people index."""
    source = random.Random(seed)
    with path.open("w") as file:
        for row in range(rows):
            words = max(1, min(most, round(source.lognormvariate(0, 0.6) * median)))
            text = " ".join(source.choices(WORDS, k=words))
            file.write(json.dumps({"text": f"{text} {row}"}) + "\n")


def write_short(path, rows):
    """Short texts, of which some hundred are different: equal ones of a window are computed once."""
    with path.open("w") as file:
        for row in range(rows):
            file.write(f'{{"text": "{WORDS[row % len(WORDS)]} {row % 10}"}}\n')


def timed(command, **more):
    """Seconds, and the most memory in MiB."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}:\n{output}")
    return time.monotonic() - started, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, output


def bench(options, folder):
    texts = folder / "texts.jsonl"
    write_texts(texts, options.rows, options.median, 128)
    shares, run_rates, bench_rates = [], [], []
    variant = ["--variant", options.variant] if options.variant else []
    for turn in range(options.turns):
        *_, output = timed([options.binary, "bench", options.model, *variant, "--jsonl", str(texts), "--runs", "1", "--warm-up",
                            "0", "--json", "--quiet"])
        work = json.loads(output.splitlines()[-1])
        rate = work["tokens_per_s"]
        out = folder / f"bench-{turn}"
        seconds, memory, cpu, _ = timed([options.binary, "run", str(texts), "--out", str(out), "--quiet", "--model",
                                    options.model, *variant])
        manifest = json.loads((out / "_manifest.json").read_text())
        shutil.rmtree(out)
        run_rates.append(manifest["tokens"] / seconds)
        bench_rates.append(rate)
        shares.append(run_rates[-1] / rate)
        print(f"  turn {turn + 1}: run {run_rates[-1]:.0f} tokens/s ({seconds:.1f} s, {cpu:.1f} s of CPU, {memory:.0f} "
              f"MiB), bench {rate:.0f}", flush=True)
    print(f"bench: {options.rows} texts of {options.model}: run {statistics.median(run_rates):.0f} tokens/s, bench "
          f"{statistics.median(bench_rates):.0f}; share {statistics.median(shares):.3f} ({min(shares):.3f} to "
          f"{max(shares):.3f})")


def memory(options, folder):
    for rows in (10_000, options.many):
        texts = folder / "short.jsonl"
        write_short(texts, rows)
        out = folder / "memory"
        seconds, most, _, output = timed([options.binary, "run", str(texts), "--out", str(out), "--model", "akidb-mini"])
        shutil.rmtree(out)
        texts.unlink()
        stated = [line for line in output.splitlines() if "memory" in line.lower()][:1]
        print(f"memory: {rows} rows: at most {most:.0f} MiB, {seconds:.1f} s; said before: {stated}", flush=True)


def restart(options, folder):
    texts, out = folder / "units.jsonl", folder / "units"
    write_texts(texts, 10_000, 3, 8)
    command = [options.binary, "run", str(texts), "--out", str(out), "--unit-rows", "1", "--quiet"]
    first, *_ = timed(command)
    again = statistics.median(timed(command)[0] for _ in range(5))
    (out / "_manifest.json").unlink()
    without, *_ = timed(command)
    print(f"restart: 10 000 units: first {first:.1f} s; again {again:.2f} s; without its manifest {without:.2f} s")


def peers(options, folder):
    texts = folder / "peers.jsonl"
    write_texts(texts, options.rows, options.median, 128)
    mini = pathlib.Path(options.mini)
    for name, directory in (("all-MiniLM-L6-v2", options.minilm), ("akidb-mini", mini)):
        for turn in range(options.turns):
            out = folder / "out"
            row = {}
            model = str(directory) if name != "akidb-mini" else name
            row["akidb-embed run"] = timed([options.binary, "run", str(texts), "--out", str(out), "--quiet", "--model", model])
            shutil.rmtree(out)
            for peer, load in (("sentence-transformers", sentence_transformers), ("fastembed", fastembed)):
                if (peer, name) == ("fastembed", "akidb-mini"):
                    continue
                program = PEER.format(load=load(directory))
                row[peer] = timed([options.peers, "-c", program, str(texts), str(folder / "x.parquet")])
            for peer, (seconds, most, cpu, _) in row.items():
                print(f"peers: {name}: {peer}: {seconds:.1f} s, {most:.0f} MiB, {cpu:.1f} s of CPU", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("--only", default="bench,memory,restart")
    arguments.add_argument("--model", default="akidb-mini")
    arguments.add_argument("--variant")
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--median", type=int, default=24, help="words of a text")
    arguments.add_argument("--many", type=int, default=5_000_000)
    arguments.add_argument("--turns", type=int, default=5)
    arguments.add_argument("--peers", default=sys.executable)
    arguments.add_argument("--minilm", default="target/all-MiniLM-L6-v2")
    arguments.add_argument("--mini", default="models/akidb-mini")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only.split(","):
            {"bench": bench, "memory": memory, "restart": restart, "peers": peers}[name](options, pathlib.Path(folder))


if __name__ == "__main__":
    main()
