#!/usr/bin/env python3
"""Attacks the server and the command line on loopback, row by row, and says which bounds hold.

Needs:  cargo build --release -p akidb-embed; pip install hpack numpy onnx xxhash
        (rows whose packages are missing are skipped, and say so)
Usage:  hostile.py [--only ROW]... [--qwen DIR] [--target target/release] [--markdown FILE]

Each row runs in a process and a directory of its own, with servers of its own, and is killed with all of
them when its time is up. Rows on a full-size model run with --qwen, a directory with its int8 file. What is
not stated otherwise is added to the resident memory before the attack. Exit status 1: a row fails.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# Each declares its rows.
from hostile import (  # noqa: F401
    bundles,
    cache,
    connections,
    floods,
    keys,
    kills,
    model_files,
    onnx_shapes,
    server_memory,
    smuggling,
    tar_tricks,
    tokenizers,
)
from hostile.harness import ROOT, ROWS, Setup, run_inside
from machine import cpu_name

IDLE = "idle"
# Rows in the order of their table; the others come after them, as they are declared.
TABLE = [
    "digits-qwen",
    "digits-builtin",
    "fairness-builtin",
    "fairness-qwen",
    "h2-window",
    "h2-window-three",
    "tokenize-unread",
    "grpc-stream",
    "big-bodies",
    "keys",
    "keys-fifo",
    "import-replace",
    "import-killed",
    "cache-directory",
    "tokenizers",
    "onnx-shapes",
    "truncated-files",
    "overflow",
    "import-fifo",
    "descriptors",
]


def rows():
    return [ROWS[name] for name in TABLE] + [row for name, row in ROWS.items() if name not in TABLE]


def lines_of(process, seconds):
    """The lines that a process says, until it ends or its time is up; then None."""
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    end, rest = time.monotonic() + seconds, b""
    while (left := end - time.monotonic()) > 0:
        if not selector.select(left):
            continue
        part = os.read(process.stdout.fileno(), 65_536)
        if not part:
            return
        *lines, rest = (rest + part).split(b"\n")
        yield from (json.loads(line) for line in lines)
    yield None


def failure(what, shown):
    return {"what": what, "shown": shown, "holds": False, "idle": False}


def run(row, arguments):
    """One row in a process of its own; gives what it said."""
    print(f"\n{row.name}: {row.attack}", flush=True)
    said, start = [], time.monotonic()
    seconds = row.limit(arguments.kills)
    directory = tempfile.mkdtemp(prefix=f"hostile-{row.name}-")
    command = [sys.executable, __file__, "--inside", row.name, directory, "--target", arguments.target]
    command += ["--kills", str(arguments.kills), "--memory", str(arguments.memory)]
    command += ["--qwen", arguments.qwen] if arguments.qwen else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        for line in lines_of(process, seconds):
            if line is None:
                line = failure("the row's end", f"none in {seconds} s")
            if "note" in line:
                print(f"    … {line['note']}", flush=True)
                continue
            said.append(line)
            if "skipped" in line:
                print(f"SKIPPED: {row.name} ({line['skipped']})", flush=True)
            else:
                mark = {True: "holds", False: "FAILS", None: "     "}[line["holds"]]
                print(f"    {mark}  {line['what']}: {line['shown']}", flush=True)
    finally:
        # Servers too: they are in the row's session.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        status = process.wait()
        process.stdout.close()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"    {time.monotonic() - start:.0f} s", flush=True)
    return said or [failure("the row itself", f"it says nothing and ends with {status}")]


def outcome(said):
    """Whether a row holds; None where it was skipped."""
    if any("skipped" in line for line in said):
        return None
    checks = [line["holds"] for line in said if line["holds"] is not None]
    return bool(checks) and all(checks)


def idle_row(results):
    """What stayed after any of the attacks: the table's own row for it."""
    said = [(name, line) for name, lines in results.items() for line in lines if line.get("idle")]
    return [{**line, "what": f"{name}, {line['what']}"} for name, line in said]


def table(results):
    """The issue's table with today's figures, as Markdown."""
    lines = ["| attack | today | must be | |", "|---|---|---|---|"]
    entries = [(row.name, row.attack, row.must) for row in rows()]
    at = 1 + max((i for i, entry in enumerate(entries) if entry[0] == "big-bodies"), default=-1)
    entries.insert(at, (IDLE, "idle after any of these", "RSS within 100 MB of before after 10 s"))
    for name, attack, must in entries:
        if not (said := results.get(name)):
            continue
        figures = [f"{l['what']}: {l['shown']}" if "what" in l else f"skipped: {l['skipped']}" for l in said]
        if name == IDLE:
            worst = max(said, key=lambda line: not line["holds"])
            figures = [f"{len(said)} times; {worst['what']}: {worst['shown']}"]
        word = {True: "holds", False: "**fails**", None: "–"}[outcome(said)]
        cells = [attack, "; ".join(figures), must, word]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="ROW", choices=list(ROWS))
    parser.add_argument("--list", action="store_true", help="the rows' names")
    parser.add_argument("--target", default=str(ROOT / "target/release"), help="directory of akidb-embed")
    parser.add_argument("--qwen", "--model", metavar="DIR", help="a full-size model, for the rows on it")
    parser.add_argument("--kills", type=int, default=500, help="times that import --replace is killed")
    parser.add_argument("--memory", type=int, default=6000, help="MB beyond which a server is killed")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there, too")
    parser.add_argument("--inside", nargs=2, metavar=("ROW", "DIR"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    program = pathlib.Path(arguments.target, "akidb-embed").resolve()
    if arguments.inside:
        name, directory = arguments.inside
        path = pathlib.Path(directory)
        return run_inside(name, Setup(str(program), path, arguments.qwen, arguments.kills, arguments.memory))
    if arguments.list:
        for row in rows():
            print(f"{row.name:20}{row.attack}")
        return None
    if not program.is_file():
        parser.error(f"there is no {program}")
    # A shell that is told to stop stops what runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    about = f"{cpu_name()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, {datetime.date.today()}"
    print(about)
    start = time.monotonic()
    results = {row.name: run(row, arguments) for row in rows() if row.name in (arguments.only or ROWS)}
    results[IDLE] = idle_row(results)
    text = f"{table(results)}\n\n{about}, {time.monotonic() - start:.0f} s."
    print(f"\n{text}")
    if arguments.markdown:
        pathlib.Path(arguments.markdown).write_text(text + "\n")
    failed = [name for name, said in results.items() if said and outcome(said) is False]
    print(f"\n{len(failed)} of {len(results)} rows fail: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
