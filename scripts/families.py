#!/usr/bin/env python3
"""Runs every model directory below a folder and compares its vectors with golden ones.

Usage:  families.py FOLDER [--binary target/release/akidb-embed] [--backend auto] [--precision auto] [--family NAME…]

FOLDER/FAMILY/golden.json holds `texts` and `embeddings`, what PyTorch makes of them in float32; FOLDER/FAMILY/FORM is a model
directory of the same weights in some form. A line a directory: what ran it, the largest difference of a component to the largest
component of its vector, and the least cosine. A form of floats is right at 1e-5 (f16, and what is computed in bf16: 0.9999 by
cosine; int8 0.99, int4 0.9), one of fewer bits where its mean difference is at most 1.1 of ONNX Runtime's on the same file
(`reference.json`): most of it is that of the weights, which nobody can win back.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROUNDED = ("f16", "fp16", "q4f16", "ort-O4")
QUANTIZED = ("int8", "quantized", "q4", "bnb4", "int4")
# Of what is computed in fewer bits than the file has.
LEAST_COSINE = {"bf16": 0.9999, "int8": 0.99, "int4": 0.9}


def largest_difference(row, want):
    scale = max(map(abs, want)) or 1.0
    return max(abs(a - b) for a, b in zip(row, want)) / scale


def mean_difference(rows, wanted):
    differences = [abs(a - b) for row, want in zip(rows, wanted) for a, b in zip(row, want)]
    return sum(differences) / len(differences)


def cosine(a, b):
    dot = lambda x, y: sum(p * q for p, q in zip(x, y))
    return dot(a, b) / (dot(a, a) * dot(b, b)) ** 0.5


def embed(args, form, known):
    """What ran it and the vectors, or why there are none."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as lines:
        lines.writelines(json.dumps({"text": text}) + "\n" for text in known["texts"])
        lines.flush()
        options = ["--backend", args.backend, "--precision", args.precision, "--format", "json"]
        if not known["normalize"]:
            options.append("--no-normalize")
        command = [args.binary, "embed", "-m", str(form), "--jsonl", lines.name, *options]
        run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if run.returncode:
        return None, " ".join(run.stderr.split())[:160]
    answer = json.loads(run.stdout)
    fallback = "doesn't run this model" in run.stderr
    backend = answer.get("backend") or ("fallback" if fallback else "native")
    return [entry["embedding"] for entry in answer["data"]], backend


def embed_without_prompts(args, form, known):
    """The same, of the model without its prompts."""
    with tempfile.TemporaryDirectory() as copy:
        for path in form.iterdir():
            if path.name != "config_sentence_transformers.json":
                (pathlib.Path(copy) / path.name).symlink_to(path.resolve())
        return embed(args, pathlib.Path(copy), known)


def is_right(form, precision, rows, wanted):
    if precision in LEAST_COSINE:
        return min(map(cosine, rows, wanted)) >= LEAST_COSINE[precision]
    kind = form.name
    if any(word in kind for word in QUANTIZED):
        reference = form / "reference.json"
        if not reference.exists():
            return min(map(cosine, rows, wanted)) > 0.99
        theirs = json.loads(reference.read_text())["embeddings"]
        ratio = mean_difference(rows, wanted) / mean_difference(theirs, wanted)
        print(f"{'':40} {ratio:.2f} of ONNX Runtime's mean difference")
        return ratio <= 1.1
    if any(word in kind for word in ROUNDED):
        return min(map(cosine, rows, wanted)) >= 0.9999
    # Some files have another GELU or scale than the model: they are right.
    reference = form / "reference.json"
    theirs = json.loads(reference.read_text())["embeddings"] if reference.exists() else wanted
    return min(max(map(largest_difference, rows, right)) for right in (wanted, theirs)) <= 1e-5


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--binary", default="target/release/akidb-embed")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--family", nargs="*")
    args = parser.parse_args()
    counts = {"directories": 0, "right": 0, "native": 0, "native and right": 0}
    for golden in sorted(args.folder.glob("*/golden.json")):
        family = golden.parent
        known = json.loads(golden.read_text())
        if "embeddings" not in known or (args.family and family.name not in args.family):
            continue
        for form in sorted(path for path in family.iterdir() if path.is_dir()):
            counts["directories"] += 1
            # ONNX Runtime's own results are without a prompt, as all texts are where there are no prompts.
            wanted = known["prompted"].get("document")
            if wanted is None or (form / "reference.json").exists():
                rows, backend = embed_without_prompts(args, form, known)
                wanted = known["embeddings"]
            else:
                rows, backend = embed(args, form, known)
            name = f"{family.name}/{form.name}"
            if rows is None:
                print(f"{name:40} error    {backend}", flush=True)
                continue
            right = len(rows) == len(wanted) and is_right(form, args.precision, rows, wanted)
            native = backend == "native"
            counts["right"] += right
            counts["native"] += native
            counts["native and right"] += native and right
            worst = max(map(largest_difference, rows, wanted))
            least = min(map(cosine, rows, wanted))
            verdict = "right" if right else "WRONG"
            print(f"{name:40} {backend:10} {verdict} {worst:.1e} {least:.7f}", flush=True)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    return 0 if counts["native"] == counts["native and right"] else 1


if __name__ == "__main__":
    sys.exit(main())
