#!/usr/bin/env python3
"""`akidb-embed run` is killed with SIGKILL at random moments, alone and as shards, and loses nothing.

  scripts/bulk_kills.py target/release/akidb-embed [--rows 200000] [--files 60] [--kills 50] [--seed 1]

Rows are of JSON Lines, CSV and gzip, some of them broken. What a run that was killed and started again
has written is compared with what an undisturbed one has: every file, byte for byte. How often a unit was
begun more than once is counted from the logs. Then the same on a disk that is full, and with clocks that
jump by years in both directions. Needs nothing but Python, and a C compiler for the clocks.
"""

import argparse
import collections
import csv
import gzip
import io
import json
import os
import pathlib
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time

WORDS = [f"{a}{b}" for a in ("ra", "lo", "mi", "ten", "su", "ka") for b in ("ver", "dan", "li", "po", "stra", "ne")]


def make(folder, files, rows, seed):
    """Files of about equal length; the number of rows that are broken."""
    source, broken = random.Random(seed), 0
    folder.mkdir()
    for number in range(files):
        count = rows // files + (number < rows % files)
        texts = [" ".join(source.choices(WORDS, k=source.randint(1, 12))) for _ in range(count)]
        kind = ("jsonl", "csv", "jsonl.gz")[number % 3]
        lines = io.StringIO()
        writer = csv.writer(lines)
        if kind == "csv":
            writer.writerow(["text", "n"])
        for row, text in enumerate(texts):
            poison = source.random() < 0.01
            broken += poison
            if kind == "csv":
                writer.writerow([text, row, "one too many"] if poison else [text, row])
            elif poison:
                lines.write(source.choice(["{\"text\": 5}\n", "{\"text\n", "null\n"]))
            else:
                lines.write(json.dumps({"text": text, "n": row}) + "\n")
        data = lines.getvalue().encode()
        path = folder / f"{number:03}.{kind}"
        path.write_bytes(gzip.compress(data, 1) if kind.endswith("gz") else data)
    return broken


def command(options, data, out, *more):
    # A few units a file.
    unit_rows = max(options.rows // options.files // 3, 1)
    settings = ["--unit-rows", str(unit_rows), "--max-error-rate", "5%", "--quiet"]
    return [options.binary, "run", str(data), "--out", str(out), *settings, *more]


def units(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.parquet"))}


def events(out):
    for log in (out / "_run" / "log").glob("*.jsonl"):
        for line in log.read_text().splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                pass  # the line in which the process was killed


def begun_and_written(out):
    counts = collections.Counter(), collections.Counter()
    for event in events(out):
        if event["event"] in ("claimed", "written"):
            counts[event["event"] == "written"][event["unit"]] += 1
    return counts


def compare(name, out, expected, most_again):
    found = units(out)
    if found != expected:
        names = {n for n in found.keys() | expected.keys() if found.get(n) != expected.get(n)}
        sys.exit(f"{name}: {len(names)} files are not as in the undisturbed run: {sorted(names)[:5]}")
    left = [path for path in (out / "_run").glob("*.tmp")]
    begun, written = begun_and_written(out)
    again = sum(begun.values()) - len(begun)
    twice = {unit: n for unit, n in written.items() if n > 1}
    print(f"{name}: {len(found)} files, each byte as it should be; begun again: {again}; written twice: {len(twice)}; "
          f"temporary files left: {len(left)}")
    if twice or again > most_again or left:
        sys.exit(f"{name}: more than the units in flight ({most_again}) was done again, or something was left")


# Put before the system's own: what it says is years off, and differently at each call.
CLOCK = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *at) {
    static unsigned int seed = 1;
    int status = syscall(SYS_clock_gettime, clock, at);
    if (clock == CLOCK_REALTIME) at->tv_sec += rand_r(&seed) % 600000000 - 300000000;
    return status;
}
"""


def jumping_clocks(folder, run, expected):
    """Three processes beside each other whose clocks agree about nothing, one of them killed."""
    library, out = folder / "clock.so", folder / "clocks"
    (folder / "clock.c").write_text(CLOCK)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "clock.c"], check=True)
    except (OSError, subprocess.CalledProcessError):
        print("SKIPPED: clocks that jump (no C compiler)")
        return
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    # Its answers are seen: else this shows nothing.
    seen = subprocess.run([sys.executable, "-c", "import time; print(*(time.time() for _ in range(9)))"], env=environment,
                          capture_output=True, text=True, check=True).stdout.split()
    if max(map(float, seen)) - min(map(float, seen)) < 1e6:
        sys.exit(f"the clock doesn't jump: {seen}")
    processes = [subprocess.Popen(run(out), env=environment) for _ in range(3)]
    while not list(out.glob("*.parquet")) and processes[0].poll() is None:
        time.sleep(0.01)
    processes[0].send_signal(signal.SIGKILL)
    if [process.wait() for process in processes][1:] != [0, 0]:
        sys.exit("a process whose clock jumps has failed")
    compare("3 processes whose clocks jump, one of them killed", out, expected, 3)


def full_disk(folder, run, expected):
    """The disk is full before the end: status 1, whole units, nothing half; with room it goes on."""
    out, copy = folder / "full", folder / "copy"
    out.mkdir()
    copy.mkdir()
    line = shlex.join(run(out))
    half = sum(map(len, expected.values())) // 2048 + 96
    script = f"""mount -t tmpfs -o size={half}k none {out} || exit 99
{line}; echo status $?
find {out} -name '*.tmp'; ls {out} | grep -c parquet
mount -o remount,size=2g {out} && {line} && cp {out}/*.parquet {copy}"""
    ran = subprocess.run(["unshare", "--map-root-user", "--mount", "sh", "-c", script], capture_output=True, text=True)
    if ran.returncode == 99 or "unshare:" in ran.stderr:
        print("SKIPPED: a disk that is full (no mounts of one's own here)")
        return
    lines = ran.stdout.split()
    if ran.returncode or lines[:2] != ["status", "1"] or len(lines) != 3 or int(lines[2]) >= len(expected):
        sys.exit(f"full disk: {ran.returncode} {ran.stdout} {ran.stderr}")
    if units(copy) != expected:
        sys.exit("full disk: the files are not as in the undisturbed run")
    print(f"full disk: {ran.stderr.splitlines()[:2]}, {lines[2]} whole files; with room it went on")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("--rows", type=int, default=200_000)
    arguments.add_argument("--files", type=int, default=60)
    arguments.add_argument("--kills", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    source = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = folder / "data"
        broken = make(data, options.files, options.rows, options.seed)

        started = time.monotonic()
        subprocess.run(command(options, data, folder / "whole"), check=True)
        seconds = time.monotonic() - started
        manifest = json.loads((folder / "whole" / "_manifest.json").read_text())
        counts = manifest["rows_in"], manifest["rows_out"], manifest["errors"]
        if counts != (options.rows, options.rows - broken, broken):
            sys.exit(f"rows in, out, errors: {counts}, with {broken} of {options.rows} broken")
        expected = units(folder / "whole")
        print(f"undisturbed: {options.rows} rows, {broken} of them broken, {len(expected)} files, {seconds:.1f} s")

        kills, starts, out = 0, 0, folder / "killed"
        # What a start costs is lost with each kill; the rest makes headway.
        pause = max(0.3, 0.8 * seconds / max(options.kills, 1))
        while True:
            starts += 1
            process = subprocess.Popen(command(options, data, out))
            if kills < options.kills:
                try:
                    process.wait(source.uniform(0.02, 2 * pause))
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    kills += 1
                    continue
            if process.wait() != 0:
                sys.exit(f"after {kills} kills it fails with status {process.returncode}")
            break
        if kills < options.kills:
            print(f"done before {options.kills} kills: only {kills} were possible")
        # One unit is computed; one may be read ahead and one on its way to the disk.
        compare(f"killed {kills} times", out, expected, 3 * kills)

        out = folder / "shards"
        shards = [subprocess.Popen(command(options, data, out, "--shard", f"{n}/3")) for n in (1, 2, 3)]
        while not list(out.glob("*.parquet")) and shards[1].poll() is None:
            time.sleep(0.01)
        alive = shards[1].poll() is None
        shards[1].send_signal(signal.SIGKILL)
        if [shard.wait() for shard in shards][::2] != [0, 0]:
            sys.exit("a shard that was not killed has failed")
        if alive:
            finish = subprocess.run(command(options, data, out, "--finish"), capture_output=True, text=True)
            if finish.returncode != 1 or "of shard 2/3" not in finish.stderr:
                sys.exit(f"--finish doesn't name the missing shard: {finish.returncode} {finish.stderr}")
            print(finish.stderr.splitlines()[0])
        else:
            print("SKIPPED: the missing shard's name (it was done before it was killed)")
        subprocess.run(command(options, data, out, "--shard", "2/3"), check=True)
        subprocess.run(command(options, data, out, "--finish"), check=True)
        compare("3 shards, one of them killed", out, expected, 3)

        jumping_clocks(folder, lambda out: command(options, data, out), expected)
        full_disk(folder, lambda out: command(options, data, out), expected)


if __name__ == "__main__":
    main()
