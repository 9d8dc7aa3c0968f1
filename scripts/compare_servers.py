#!/usr/bin/env python3
"""How fast the servers of two builds of akidb-embed are beside each other, in one run and in turns.

Needs:  cargo build --release -p akidb-server --example load
Usage:  compare_servers.py BEFORE AFTER [MODEL] [--variant V] [--only NAME]... [--turns 9] [--load PROGRAM]

Prints a Markdown table: median of each build, and the median and range of AFTER / BEFORE over the turns; of
times and of rates alike, so that 1 is the same and the rows say what is better. Each turn asks both servers
for a few seconds, one after the other, which one first in turns.
"""

import argparse
import re
import statistics
import subprocess

from serving import Serving

SECONDS = 4
# Name, what is looked at, flags of `load`.
ROWS = [
    ("one client, p50 (less is better)", "p50", []),
    ("8 clients, texts/s", "texts", ["--clients", "8"]),
    ("64 clients, texts/s", "texts", ["--clients", "64"]),
    (
        "64 clients, mixed lengths, texts/s",
        "texts",
        ["--clients", "64", "--words", "30", "--sigma", "1", "--max-words", "300"],
    ),
]


def measured(server, load, what, flags):
    command = [load, "--address", server.address, "--seconds", str(SECONDS), *flags]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    others = re.findall(r"^(?:status (?!200)\d+|no answer): \d+.*$", text, re.M)
    assert not others, others
    pattern = {"p50": r"^status 200: \d+, ms: p50 ([\d.]+)", "texts": r"([\d.]+) texts/s"}[what]
    return float(re.search(pattern, text, re.M)[1])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("model", nargs="?", default="akidb-mini")
    parser.add_argument("--variant")
    parser.add_argument("--only", action="append", choices=[name for name, *_ in ROWS])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--load", default="target/release/examples/load")
    arguments = parser.parse_args()
    model = ["--model", arguments.model]
    if arguments.variant:
        model += ["--variant", arguments.variant]
    print("| | before | after | after / before | range |")
    print("|---|---|---|---|---|")
    with (
        Serving(arguments.before, *model, path="health/ready") as before,
        Serving(arguments.after, *model, path="health/ready") as after,
    ):
        for name, what, flags in ROWS:
            if arguments.only and name not in arguments.only:
                continue
            turns = []
            for turn in range(arguments.turns):
                pair = {}
                for server in (before, after) if turn % 2 == 0 else (after, before):
                    pair[server] = measured(server, arguments.load, what, flags)
                turns.append((pair[before], pair[after]))
            ratios = [b / a for a, b in turns]
            cells = [
                *(f"{statistics.median(side):.5g}" for side in zip(*turns)),
                f"{statistics.median(ratios):.3f}",
                f"{min(ratios):.3f} to {max(ratios):.3f}",
            ]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
