"""What the Python wheel costs: the figures of docs/python.md. Needs the wheel of a release build.

    python scripts/python_performance.py [--only overhead,command-line,import,peers]
        [--peers MODEL_DIR [--peers-python PYTHON]] [--texts N] [--threads N]

- overhead: of a call and of a text; `embed` less what `akidb-embed bench` says of the same texts, in turns.
- command-line: 20 000 short texts through `embed` and through `akidb-embed embed -o x.npy`, in turns.
- import: a new Python that imports the package, less one that imports numpy.
- peers: on all-MiniLM-L6-v2 in MODEL_DIR (with model.safetensors and onnx/model.onnx) sentence-transformers,
  fastembed and onnxruntime, on the built-in model onnxruntime, in a PYTHON that has them: time, memory, first
  vector, each in processes of its own, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from machine import cpu_name
from peers import fastembed, sentence_transformers

ROOT = Path(__file__).resolve().parent.parent
COMMAND = Path(sys.executable).with_name("akidb-embed")
WORDS = "the quick brown fox jumps over a lazy dog and runs into some deep woods".split()


def texts(count: int, words: int = 8) -> list[str]:
    """Different short texts, the same ones every time."""
    chance = np.random.default_rng(7)
    return [" ".join(chance.choice(WORDS, words)) + f" {n}" for n in range(count)]


def median_time(work, turns: int = 7) -> float:
    """Median of so many turns, in seconds."""
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def overhead() -> None:
    """A call's own cost, and a text's: `embed` less what the library takes in `akidb-embed bench`."""
    from akidb_embedding import Embedder

    embedder = Embedder("akidb-mini")
    nothing = median_time(lambda: [embedder.embed([]) for _ in range(1000)]) / 1000
    print(f"embed([]): {nothing * 1e6:.1f} µs")
    # Equal texts are computed once: nearly all that is left is what each text costs.
    for what, some, runs in [("a call", ["a"], 400), ("a text", ["a"] * 20_000, 15)]:
        ours, library = [], []
        for _ in range(5):
            ours.append(median_time(lambda some=some: embedder.embed(some), runs))
            library.append(bench(some, runs))
        more = (statistics.median(ours) - statistics.median(library)) / len(some)
        print(
            f"{what}: {more * 1e6:.2f} µs ({len(some)} texts: embed {statistics.median(ours) * 1e3:.3f} ms, "
            f"akidb-embed bench {statistics.median(library) * 1e3:.3f} ms)"
        )


def bench(some: list[str], runs: int) -> float:
    """Seconds that the library alone takes for a call: the median of so many."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in some)
        file.flush()
        command = [COMMAND, "bench", "akidb-mini", "--jsonl", file.name, "--json", "--runs", str(runs)]
        done = subprocess.run(command, capture_output=True, check=True)
    return json.loads(done.stdout)["median_ms"] / 1e3


def against_command_line() -> None:
    """20 000 short texts: `embed` against the command line, in turns."""
    from akidb_embedding import Embedder

    embedder = Embedder("akidb-mini")
    some = texts(20_000)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        lines, out = Path(folder, "lines.txt"), Path(folder, "out.npy")
        lines.write_text("\n".join(some) + "\n")
        command = [COMMAND, "-q", "embed", "-m", "akidb-mini", "-o", out]
        for _ in range(5):
            with lines.open() as file:
                start = time.perf_counter()
                subprocess.run(command, stdin=file, check=True)
                theirs = time.perf_counter() - start
            start = time.perf_counter()
            ours = embedder.embed(some)
            mine = time.perf_counter() - start
            ratios.append(theirs / mine)
            assert np.array_equal(ours, np.load(out))
            print(f"20 000 texts: embed {mine:.2f} s, akidb-embed {theirs:.2f} s (its start included)")
    print(f"speed of the command line's: {statistics.median(ratios):.0%}")


def imports() -> None:
    """A new Python with the package, less one with numpy."""

    def new(program: str) -> float:
        return median_time(lambda: subprocess.run([sys.executable, "-c", program], check=True), 11)

    base, ours = new("import numpy"), new("import akidb_embedding")
    print(f"import: {(ours - base) * 1e3:.0f} ms more than numpy's {base * 1e3:.0f} ms")


AKIDB = "from akidb_embedding import Embedder\nembed = Embedder({model!r}, threads={threads}).embed\n"

# What people write by hand: texts in the order of their lengths, in batches of 32.
ONNXRUNTIME = """
import json, pathlib, sys
import numpy as np
from tokenizers import Tokenizer
sys.path.insert(0, {scripts!r})
from onnxruntime_peer import Peer, read_config
folder = pathlib.Path({model!r})
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation({max_tokens})
peer = Peer(folder / "onnx" / {file!r}, read_config(folder), {threads})
is_last = json.loads((folder / "1_Pooling/config.json").read_text()).get("pooling_mode_lasttoken")
def embed(texts):
    ids = [found.ids for found in tokenizer.encode_batch(texts)]
    order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
    vectors = np.empty((len(ids), read_config(folder)["hidden_size"]), np.float32)
    for at in range(0, len(order), 32):
        some = order[at:at + 32]
        feeds = peer.feeds([ids[n] for n in some])
        if "token_type_ids" in peer.inputs:
            feeds["token_type_ids"] = np.zeros_like(feeds["input_ids"])
        states, mask = peer.states(feeds).astype(np.float32), feeds["attention_mask"]
        if is_last:
            rows = states[np.arange(len(some)), mask.sum(1) - 1]
        else:
            rows = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        vectors[some] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return vectors
"""

PEER = """
import json, resource, sys, time
start = time.perf_counter()
{load}
embed(["Hello, world!"])
first = time.perf_counter() - start
import numpy as np
texts = json.load(open(sys.argv[1]))
embed(texts[:64])
start = time.perf_counter()
vectors = embed(texts)
took = time.perf_counter() - start
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
np.save(sys.argv[2], vectors[:50])
print(json.dumps([first, took, memory]))
"""


def peers(model: str, python: str, count: int, threads: int) -> None:
    """Time, memory and first vector of each in a process of its own, in turns."""
    chance = np.random.default_rng(3)
    lengths = np.clip(chance.lognormal(np.log(40), 0.8, count), 2, 150).astype(int)
    some = [" ".join(chance.choice(WORDS, n)) + f" {i}" for i, n in enumerate(lengths)]
    mini = str(ROOT / "models" / "akidb-mini")

    def akidb(path: str) -> str:
        return AKIDB.format(model=path, threads=threads)

    def onnxruntime(path: str, file: str) -> str:
        scripts = str(ROOT / "scripts")
        return ONNXRUNTIME.format(model=path, file=file, threads=threads, scripts=scripts, max_tokens=256)

    compared = {
        "all-MiniLM-L6-v2": {
            "akidb": (sys.executable, akidb(model)),
            "sentence-transformers": (python, sentence_transformers(model, threads)),
            "fastembed": (python, fastembed(model, threads, batch_size=32)),
            "onnxruntime": (python, onnxruntime(model, "model.onnx")),
        },
        "akidb-mini": {
            "akidb": (sys.executable, akidb("akidb-mini")),
            "onnxruntime": (python, onnxruntime(mini, "model_fp16.onnx")),
        },
    }
    print(f"\n{count} texts, {threads} threads, {cpu_name()}\n")
    print("| model | by | all texts | most memory | new process to first vector | cosine with akidb's |")
    print("|---|---|---|---|---|---|")
    for name, programs in compared.items():
        found = {by: Turns([], []) for by in programs}
        for _ in range(3):
            for by, (interpreter, load) in programs.items():
                alone(interpreter, PEER.format(load=load), some, found[by])
        for by, turns in found.items():
            if not turns.figures:
                print(f"SKIPPED: {by}: {turns.why}")
                continue
            first, took, memory = (statistics.median(column) for column in zip(*turns.figures, strict=True))
            ours, theirs = found["akidb"].vectors[0], turns.vectors[0]
            cosine = (ours * theirs).sum(1).min()
            print(f"| {name} | {by} | {took:.2f} s | {memory:.0f} MB | {first:.2f} s | ≥ {cosine:.4f} |")


@dataclass
class Turns:
    """What a program's processes have told."""

    figures: list[list[float]]
    vectors: list[np.ndarray]
    why: str = ""


def alone(interpreter: str, program: str, some: list[str], turns: Turns) -> None:
    """Run a program in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        given, vectors = Path(folder, "texts.json"), Path(folder, "vectors.npy")
        given.write_text(json.dumps(some))
        done = subprocess.run(
            [interpreter, "-W", "ignore", "-c", program, given, vectors],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        if done.returncode:
            turns.why = done.stderr.strip().splitlines()[-1]
            return
        turns.figures.append(json.loads(done.stdout.splitlines()[-1]))
        turns.vectors.append(np.load(vectors))


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="overhead,command-line,import,peers")
    parser.add_argument("--peers", metavar="MODEL_DIR")
    parser.add_argument("--peers-python", metavar="PYTHON", default=sys.executable)
    parser.add_argument("--texts", type=int, default=2000, help="of the comparison with others")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    only = arguments.only.split(",")
    if "overhead" in only:
        overhead()
    if "command-line" in only:
        against_command_line()
    if "import" in only:
        imports()
    if "peers" in only and arguments.peers:
        peers(
            str(Path(arguments.peers).resolve()),
            arguments.peers_python,
            arguments.texts,
            arguments.threads,
        )


if __name__ == "__main__":
    main()
