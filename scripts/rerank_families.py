#!/usr/bin/env python3
"""Runs every reranker directory below a folder and compares its logits with golden ones.

Usage:  rerank_families.py FOLDER [--binary target/release/akidb-embed] [--backend auto] [--family NAME]...

FOLDER/FAMILY/golden.json holds `pairs`, `logits` and `scores`, what PyTorch makes of them in float32; FOLDER/FAMILY/FORM
is a model directory of the same weights in some form. A line a directory: the largest difference of a logit and of a score,
or why there is none. A form of floats is right at 1e-4 of the logit (f16: 1e-2, times the largest logit above 1), one of fewer
bits where its mean difference is at most 1.1 of ONNX Runtime's on the same file (`reference.json`). Exit status 1: one isn't
right.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROUNDED = ("fp16", "ort-O4")
QUANTIZED = ("int8", "quantized", "q4", "q4f16", "bnb4", "genai-int4")


def ranked(args, form, query, documents):
    """Logit and score of each document, in order; or why there is none."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as lines:
        lines.writelines(json.dumps({"text": text}) + "\n" for text in documents)
        lines.flush()
        command = [args.binary, "rerank", query, "-m", str(form), "--jsonl", lines.name]
        command += ["--backend", args.backend, "--scoring", "model", "--format", "json"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if run.returncode:
        raise RuntimeError(" ".join(run.stderr.split())[:200])
    results = json.loads(run.stdout)["results"]
    results.sort(key=lambda result: result["index"])
    return [(result["logit"], result["relevance_score"]) for result in results]


def all_ranked(args, form, golden):
    """As the golden pairs stand."""
    cut = golden.get("document_characters")
    pairs = [(query, document[:cut]) for query, document in golden["pairs"]]
    found = {}
    for query in dict.fromkeys(query for query, _ in pairs):
        documents = [document for other, document in pairs if other == query]
        places = [i for i, (other, _) in enumerate(pairs) if other == query]
        found.update(zip(places, ranked(args, form, query, documents)))
    return [found[i] for i in range(len(pairs))]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def differences(a, b):
    return [abs(x - y) for x, y in zip(a, b)]


def is_right(form, logits, golden):
    reference = form / "reference.json"
    theirs = json.loads(reference.read_text())["logits"] if reference.exists() else golden["logits"]
    theirs = [x[0] if isinstance(x, list) else x for x in theirs]
    if form.name in QUANTIZED:
        return mean(differences(logits, golden["logits"])) <= 1.1 * mean(differences(theirs, golden["logits"]))
    # f16 has 11 bits of a value, whatever its size.
    most = 1e-2 * max(1, *map(abs, golden["logits"])) if form.name in ROUNDED else 1e-4
    # Some files have another GELU than the model: they are right.
    return min(max(differences(logits, want)) for want in (golden["logits"], theirs)) <= most


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--binary", default="target/release/akidb-embed")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--family", action="append")
    args = parser.parse_args()
    forms = right = 0
    for path in sorted(args.folder.glob("rerank-*/golden.json")):
        if args.family and path.parent.name not in args.family:
            continue
        golden = json.loads(path.read_text())
        for form in sorted(form for form in path.parent.iterdir() if form.is_dir()):
            forms += 1
            name = f"{path.parent.name}/{form.name}"
            try:
                rows = all_ranked(args, form, golden)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"{name:36} FAILED {error}", flush=True)
                continue
            logits, scores = zip(*rows)
            ok = is_right(form, logits, golden)
            right += ok
            off = max(differences(logits, golden["logits"])), max(differences(scores, golden["scores"]))
            print(f"{name:36} {'right' if ok else 'WRONG'} logit {off[0]:.1e} score {off[1]:.1e}", flush=True)
    print(f"{right} of {forms} directories are right")
    sys.exit(right != forms)


if __name__ == "__main__":
    main()
