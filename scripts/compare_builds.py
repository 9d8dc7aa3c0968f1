#!/usr/bin/env python3
"""How fast two builds of akidb-embed are beside each other, in one run and in turns.

Needs:  pip install numpy
Usage:  compare_builds.py BEFORE AFTER MODEL_DIR [--only NAME]... [--turns 9]
  MODEL_DIR  as for performance.py; rows whose variant it lacks are skipped, visibly

Prints a Markdown table: median of each build, and the median and range of AFTER / BEFORE over the turns.
Each build has a cache directory of its own, so that a start reads the pack that the same build wrote.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

THREADS = 2
# Name, variant, precision, tokens of each text, timed calls in a turn.
ROWS = [
    ("int8 1 x 5", "int8", "auto", [5], 25),
    ("int8 8 x 5", "int8", "auto", [5] * 8, 15),
    ("int8 8 x 128", "int8", "auto", [128] * 8, 3),
    ("int8 1 x 512", "int8", "auto", [512], 3),
    ("q4 1 x 5", "q4", "int4", [5], 25),
    ("fp16 8 x 128", "fp16", "bf16", [128] * 8, 3),
]


def ids_file(model, lengths, directory):
    """A JSONL file of token ids from the vocabulary's first half; the EOS is the engine's to add."""
    vocabulary = json.loads((model / "config.json").read_text(encoding="utf-8-sig"))["vocab_size"]
    rng = np.random.default_rng(len(lengths))
    path = directory / f"{len(lengths)}x{lengths[0]}.jsonl"
    rows = [{"ids": rng.integers(0, vocabulary // 2, n - 1).tolist()} for n in lengths]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Build:
    def __init__(self, program, cache):
        self.program, self.environment = program, {**os.environ, "AKIDB_CACHE_DIR": str(cache)}

    def run(self, *arguments):
        command = [self.program, *map(str, arguments), "--backend", "native", "--threads", str(THREADS)]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False)

    def bench(self, model, variant, precision, file, runs):
        done = self.run("bench", "--json", "--model", model, "--variant", variant, "--precision", precision,
                        "--jsonl", file, "--field", "ids", "--runs", runs)
        return json.loads(done.stdout.splitlines()[-1])["median_ms"] if done.returncode == 0 else done.stderr.strip()

    def start(self, model, variant):
        begin = time.perf_counter()
        done = self.run("embed", "Hello, world!", "--model", model, "--variant", variant, "--format", "csv")
        taken = (time.perf_counter() - begin) * 1e3
        return taken if done.returncode == 0 else done.stderr.strip()


def compare(name, measure, builds, turns):
    """One line of the table; `measure` gives milliseconds, or an error's text. The first turn isn't counted."""
    times = ([], [])
    for turn in range(turns + 1):
        # Who comes first alternates, so that neither always finds the warmer machine.
        for side in (0, 1) if turn % 2 else (1, 0):
            taken = measure(builds[side])
            if isinstance(taken, str):
                return f"SKIPPED: {name}: {taken}"
            if turn > 0:
                times[side].append(taken)
    ratios = [after / before for before, after in zip(*times)]
    before, after = map(statistics.median, times)
    return (f"| {name} | {before:.2f} ms | {after:.2f} ms | {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f}–{max(ratios):.3f}) | {after / before:.3f} |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("before")
    p.add_argument("after")
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--only", action="append", help="rows whose name contains this")
    p.add_argument("--turns", type=int, default=9)
    a = p.parse_args()

    def wanted(name):
        return a.only is None or any(only in name for only in a.only)

    print("| work | before | after | median of the turns' ratios (range) | ratio of the medians |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        builds = [Build(a.before, directory / "before"), Build(a.after, directory / "after")]
        for name, variant, precision, lengths, runs in ROWS:
            if wanted(name):
                file = ids_file(a.model, lengths, directory)
                print(compare(name, lambda build: build.bench(a.model, variant, precision, file, runs), builds, a.turns), flush=True)
        if wanted("int8 start with a pack"):
            print(compare("int8 start with a pack", lambda build: build.start(a.model, "int8"), builds, a.turns), flush=True)


if __name__ == "__main__":
    sys.exit(main())
