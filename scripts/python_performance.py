"""What the Python wheel costs: the figures of docs/python.md. Needs the wheel of a release build.

    python scripts/python_performance.py [--peers MODEL_DIR]

- overhead of a call: `embed` of n short texts, less the time that the model alone takes for them
  (`akidb-embed bench` doesn't tell it of so short a call; a second call from two threads does not count);
  the slope over n is the cost of a text.
- 20 000 short texts through `embed` and through `akidb-embed embed -o x.npy`, in turns.
- import: a new Python that imports the package, less one that imports numpy.
- --peers: sentence-transformers, fastembed and onnxruntime on all-MiniLM-L6-v2 in MODEL_DIR, each where
  it is installed: time for 2 000 texts, memory, first vector.
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
from pathlib import Path

import numpy as np

COMMAND = Path(sys.executable).with_name("akidb-embed")
WORDS = "the quick brown fox jumps over a lazy dog and runs into some deep woods".split()


def texts(count: int, words: int = 8) -> list[str]:
    """Different short texts, the same ones every time."""
    chance = np.random.default_rng(7)
    return [" ".join(chance.choice(WORDS, words)) + f" {n}" for n in range(count)]


def best(work, turns: int = 7) -> float:
    """Median of a few turns, in seconds."""
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def overhead() -> None:
    """A call's own cost: tokenizing alone against nothing but the call, and a text's by the slope."""
    from akidb_embedding import Embedder

    embedder = Embedder("akidb-mini")
    embedder.embed(["warm"])
    nothing = best(lambda: [embedder.embed([]) for _ in range(1000)]) / 1000
    print(f"embed([]): {nothing * 1e6:.1f} µs")
    one = ["a"]
    call = best(lambda: [embedder.embed(one) for _ in range(200)]) / 200
    print(f"embed of one text: {call * 1e6:.0f} µs, the model's pass included")
    same = ["a"] * 10_000
    # Equal texts are computed once: what is left is Python, tokenizing and copying.
    each = best(lambda: embedder.embed(same)) / len(same)
    print(f"a text more, equal to one that is there: {each * 1e6:.2f} µs, tokenizing included")


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
        return best(lambda: subprocess.run([sys.executable, "-c", program], check=True), 11)

    base, ours = new("import numpy"), new("import akidb_embedding")
    print(f"import: {(ours - base) * 1e3:.0f} ms more than numpy's {base * 1e3:.0f} ms")


PEERS = {
    "akidb": "from akidb_embedding import Embedder\ne = Embedder({model!r})\nembed = e.embed",
    "akidb-mini": "from akidb_embedding import Embedder\ne = Embedder('akidb-mini')\nembed = e.embed",
    "sentence-transformers": (
        "from sentence_transformers import SentenceTransformer\n"
        "e = SentenceTransformer({model!r}, device='cpu')\nembed = e.encode"
    ),
    "onnxruntime": (
        "import numpy as np, onnxruntime, tokenizers\n"
        "t = tokenizers.Tokenizer.from_file({model!r} + '/tokenizer.json')\n"
        "t.enable_padding(); t.enable_truncation(256)\n"
        "s = onnxruntime.InferenceSession({model!r} + '/onnx/model.onnx')\n"
        "names = [i.name for i in s.get_inputs()]\n"
        "def batch(texts):\n"
        "    e = t.encode_batch(texts)\n"
        "    all = {{'input_ids': [x.ids for x in e], 'attention_mask': [x.attention_mask for x in e],\n"
        "           'token_type_ids': [x.type_ids for x in e]}}\n"
        "    h = s.run(None, {{n: np.array(all[n], dtype=np.int64) for n in names}})[0]\n"
        "    m = np.array(all['attention_mask'])[:, :, None]\n"
        "    v = (h * m).sum(1) / m.sum(1)\n"
        "    return v / np.linalg.norm(v, axis=1, keepdims=True)\n"
        "def embed(texts):\n"
        "    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))\n"
        "    for at in range(0, len(texts), 32):\n"
        "        batch([texts[n] for n in order[at:at + 32]])\n"
    ),
}

PEER = """
import json, resource, sys, time
start = time.perf_counter()
{load}
embed(["Hello, world!"])
first = time.perf_counter() - start
texts = json.load(open(sys.argv[1]))
embed(texts[:64])
start = time.perf_counter()
embed(texts)
took = time.perf_counter() - start
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([first, took, memory]))
"""


def peers(model: str) -> None:
    """Time, memory and first vector of each in a process of its own, in turns."""
    chance = np.random.default_rng(3)
    lengths = np.clip(chance.lognormal(np.log(40), 0.8, 2000), 2, 200).astype(int)
    some = [" ".join(chance.choice(WORDS, n)) + f" {i}" for i, n in enumerate(lengths)]
    found: dict[str, list[list[float]]] = {}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(some, file)
        file.flush()
        for turn in range(3):
            for name, load in PEERS.items():
                program = PEER.format(load=load.format(model=model))
                done = subprocess.run(
                    [sys.executable, "-W", "ignore", "-c", program, file.name],
                    capture_output=True,
                    text=True,
                    check=False,
                    env={**os.environ, "HF_HUB_OFFLINE": "1"},
                )
                if done.returncode:
                    if turn == 0:
                        print(f"SKIPPED: {name}: {done.stderr.strip().splitlines()[-1]}")
                    continue
                found.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
    print("| | 2 000 texts | most memory | new process to first vector |\n|---|---|---|---|")
    for name, turns in found.items():
        first, took, memory = (statistics.median(column) for column in zip(*turns, strict=True))
        print(f"| {name} | {took:.2f} s | {memory:.0f} MB | {first:.2f} s |")


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", metavar="MODEL_DIR")
    arguments = parser.parse_args()
    overhead()
    against_command_line()
    imports()
    if arguments.peers:
        peers(arguments.peers)


if __name__ == "__main__":
    main()
