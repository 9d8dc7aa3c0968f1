"""Compares the vectors of two builds of akidb-embed, bit by bit.

Usage:  same_bits.py BEFORE AFTER [MODEL ...] [--texts FILE] [--count N] [--tiers auto|TIER,...]
                     [--precisions P,...]

BEFORE and AFTER are programs. A MODEL is what `--model` takes, with `@VARIANT` behind it where one of
its files is meant; without any, the built-in model in f32, bf16, int8 and int4, and every model file
of crates/akidb-testing/fixtures. Texts are one a line of FILE, or N (300) made here: of one word to
several hundred, in several scripts, some of them twice. Each model runs on every tier that
AFTER finds in this CPU, with one thread and with two, all texts at once and the first ten one by one.

Prints one line for each comparison, and the first text whose vector differs. Exit status 1 when one
differs, or when the programs don't agree on whether a model can be run.
"""

import argparse
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "crates/akidb-testing/fixtures"
WORDS = (
    "the of and search index vector a model token 7 42 3.14 price € naïve café Größe straße "
    "search-engine foo_bar C++ λ Ω 東京 検索 モデル 向量 你好 вектор поиск модель متجه بحث שלום 🙂 🚀"
).split()


def made_texts(count):
    choose = random.Random(7)
    texts = []
    while len(texts) < count:
        if len(texts) % 20 == 19:
            texts.append(choose.choice(texts))
            continue
        longest = choose.choice([1, 3, 8, 20, 60, 200])
        texts.append(" ".join(choose.choices(WORDS, k=choose.randint(1, longest))))
    return texts[:count]


def fixture_models():
    """Each model file of the fixtures, as the arguments that name it."""
    for directory in sorted(FIXTURES.iterdir()):
        for file in sorted([*directory.glob("*.safetensors"), *directory.glob("onnx/*.onnx")]):
            yield [str(file)], "auto"


def tiers_of(program):
    report = subprocess.run([program, "doctor"], stdout=subprocess.PIPE, text=True, check=False).stdout
    found = re.search(r"^cpu .*\(of ([^)]*)\)", report, re.MULTILINE)
    return [tier.strip() for tier in found.group(1).split(",")] if found else [None]


def embed(program, model, precision, tier, threads, texts):
    """The bytes of the .npy file, or the error's first line."""
    command = [program, "embed", "--format", "npy", "--backend", "native", "--precision", precision]
    command += ["--threads", str(threads), "--on-long", "truncate"]
    for part, option in zip(model, ["--model", "--variant"]):
        command += [option, part]
    environment = {**os.environ, **({"AKIDB_ISA": tier} if tier else {})}
    with tempfile.TemporaryDirectory() as directory:
        environment["XDG_CACHE_HOME"] = directory
        file = pathlib.Path(directory) / "out.npy"
        lines = "".join(text + "\n" for text in texts)
        done = subprocess.run(
            [*command, "-o", file], input=lines, env=environment, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            return next((line for line in done.stderr.splitlines() if "error" in line), "no error told")
        return file.read_bytes()


def first_difference(before, after, texts):
    """Which text's row differs; rows are of one length, behind the header."""
    if len(before) != len(after):
        return f"{len(before)} bytes before, {len(after)} after"
    header = 10 + int.from_bytes(before[8:10], "little")
    row = (len(before) - header) // max(len(texts), 1)
    at = next(i for i, (a, b) in enumerate(zip(before, after)) if a != b)
    if at < header or not row:
        return "the headers differ"
    return f"text {(at - header) // row}: {texts[(at - header) // row][:60]!r}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--texts", metavar="FILE")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--tiers", default="auto")
    parser.add_argument("--precisions", default="auto,f32,bf16,int8,int4")
    args = parser.parse_intermixed_args()

    texts = pathlib.Path(args.texts).read_text("utf-8").splitlines() if args.texts else made_texts(args.count)
    tiers = tiers_of(args.after) if args.tiers == "auto" else args.tiers.split(",")
    precisions = args.precisions.split(",")
    named = [model.split("@", 1) for model in args.models]
    models = [(model, precision) for model in named or [["akidb-mini"]] for precision in precisions]
    if not named:
        models += fixture_models()

    differ = compared = 0
    for model, precision in models:
        for tier in tiers:
            for threads in (1, 2):
                runs = [texts] + [[text] for text in texts[:10] if threads == 2]
                for run in runs:
                    before, after = (
                        embed(program, model, precision, tier, threads, run)
                        for program in (args.before, args.after)
                    )
                    compared += 1
                    what = f"{'@'.join(model)} {precision} {tier or ''} threads {threads}, {len(run)} texts"
                    if before == after:
                        told = f" ({before})" if isinstance(before, str) else ""
                        if len(run) > 1:
                            print(f"same    {what}{told}", flush=True)
                        continue
                    differ += 1
                    both = isinstance(before, bytes) and isinstance(after, bytes)
                    why = first_difference(before, after, run) if both else f"{before!r:.200} and {after!r:.200}"
                    print(f"DIFFERS {what}: {why}", flush=True)
    print(f"{compared} comparisons, {differ} differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
