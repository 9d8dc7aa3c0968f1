"""What a cluster costs: the figures of docs/distributed.md. Needs the wheel of a release build.

    python scripts/cluster_performance.py [--only ray,spark] [--rows N] [--turns N] [--model NAME]

One corpus, in turns: by one process of two threads (`run`), by two processes of one thread each
that share a folder (`run` twice), and by two workers of one thread each on Ray and on Spark
(`embed_files`), each on a cluster of this machine that is there already.

- speed: tokens by the time of the whole call, as part of the one process's. A worker's start and its
  model are in it: the more rows, the less they count.
- first output: from the call to the first file.
- overhead a unit: the time that a worker needs more, for each unit, when units are --small rows
  instead of --large.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import cpu_name

WORKERS = 2
WORDS = "the quick brown fox jumps over a lazy dog and runs into some deep woods".split()

RUN = """
import json, sys
from akidb_embedding import run
run(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))
"""

Way = Callable[[Path, Path, dict[str, Any]], object]
Turn = tuple[float, float, int, int]
"""Seconds of a call and until its first file, tokens, units."""


def write_corpus(folder: Path, rows: int) -> None:
    """Eight files of texts whose lengths are log-normal, as those of what people index."""
    chance = random.Random(5)
    folder.mkdir()
    for number in range(8):
        with folder.joinpath(f"{number}.jsonl").open("w") as file:
            for row in range(number, rows, 8):
                words = max(1, min(400, round(chance.lognormvariate(0, 0.6) * 60)))
                text = f"{row} " + " ".join(chance.choices(WORDS, k=words))
                file.write(json.dumps({"text": text}) + "\n")


def processes(count: int, threads: int) -> Way:
    """New processes of Python, which do the same work."""

    def work(docs: Path, out: Path, options: dict[str, Any]) -> None:
        keywords = json.dumps({**options, "threads": threads})
        command = [sys.executable, "-c", RUN, str(docs), str(out), keywords]
        begun = [subprocess.Popen(command) for _ in range(count)]
        if [process for process in begun if process.wait()]:
            raise SystemExit("a process failed")

    return work


def on_ray() -> Way:
    """A node of four logical cores: two for what shares units out."""
    import ray
    from akidb_embedding.ray import embed_files

    ray.init(num_cpus=4, log_to_driver=False, include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return lambda docs, out, options: embed_files(docs, out, concurrency=WORKERS, **options)


def on_spark() -> Way:
    """Two executors of one core each."""
    from akidb_embedding.spark import embed_files
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = SparkSession.builder.master(f"local-cluster[{WORKERS},1,1024]")
    for key, value in {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.memory": "1g",
        "spark.log.level": "ERROR",
    }.items():
        session = session.config(key, value)
    spark = session.getOrCreate()
    return lambda docs, out, options: embed_files(spark, docs, out, **options)


def measured(work: Way, docs: Path, options: dict[str, Any]) -> Turn:
    """A call on a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        begun, start = time.time(), time.perf_counter()
        work(docs, out, options)
        took = time.perf_counter() - start
        first = min(path.stat().st_mtime for path in out.glob("*.parquet")) - begun
        manifest = json.loads(out.joinpath("_manifest.json").read_text())
        return took, first, manifest["tokens"], len(manifest["units"])


def ways(names: list[str]) -> dict[str, tuple[int, Way]]:
    """What is compared: how many work at the same time, and how."""
    found: dict[str, tuple[int, Way]] = {
        "1 process, 2 threads": (1, processes(1, 2)),
        "2 processes, 1 thread each": (2, processes(2, 1)),
    }
    for name, make in {"Ray": on_ray, "Spark": on_spark}.items():
        if name.lower() in names:
            try:
                found[f"2 workers on {name}, 1 thread each"] = (WORKERS, make())
            except ImportError as error:
                print(f"SKIPPED: {name}: {error}")
    return found


def row(name: str, workers: int, turns: list[Turn], small: list[Turn], base: list[Turn]) -> str:
    """A line of the table: medians of all turns."""
    took, first, tokens, _ = (statistics.median(column) for column in zip(*turns, strict=True))
    part = statistics.median(one[0] / turn[0] for one, turn in zip(base, turns, strict=True))
    pairs = zip(small, turns, strict=True)
    more = statistics.median((less[0] - turn[0]) / (less[3] - turn[3]) for less, turn in pairs)
    overhead = f"{more * workers * 1e3:.1f} ms"
    return f"| {name} | {took:.2f} s | {tokens / took:.0f} | {part:.1%} | {first:.2f} s | {overhead} |"


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="ray,spark")
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--large", type=int, default=1000, metavar="ROWS")
    parser.add_argument("--small", type=int, default=50, metavar="ROWS")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--model", default="akidb-mini")
    arguments = parser.parse_args()
    all_ways = ways(arguments.only.split(","))
    found: dict[str, list[Turn]] = {name: [] for name in all_ways}
    small: dict[str, list[Turn]] = {name: [] for name in all_ways}
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder, "docs")
        write_corpus(docs, arguments.rows)
        for _ in range(arguments.turns):
            for name, (_workers, work) in all_ways.items():
                for turns, rows in ((found, arguments.large), (small, arguments.small)):
                    options = {"model": arguments.model, "unit_rows": rows}
                    turns[name].append(measured(work, docs, options))
                    print(f"{name}, {rows} rows a unit: {turns[name][-1][0]:.2f} s", file=sys.stderr)
    (base, *_) = found.values()
    print(
        f"{arguments.rows} rows, {base[0][2]} tokens, {base[0][3]} units, {arguments.turns} turns, {cpu_name()}\n\n"
        "| | time | tokens/s | part of one process's speed | first output | overhead a unit |\n"
        "|---|---|---|---|---|---|"
    )
    for name, (workers, _) in all_ways.items():
        print(row(name, workers, found[name], small[name], base))


if __name__ == "__main__":
    main()
