"""Runs the files that `akidb-embed optimize --target coreml` wrote on ONNX Runtime's CPU provider and compares
with reference vectors.

    python coreml_onnxruntime.py DIR REFERENCE.jsonl

A line of the reference has a text's token ids as `ids` and its last token's state as `hidden` or `vector`. Prints a
JSON line for each shape: how many texts fit, of how many tokens at most, and the least cosine.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime

DTYPES = {"F16": np.float16, "F32": np.float32}


def read_embed_tokens(path, tensor):
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[tensor]
    start = 8 + length + entry["data_offsets"][0]
    return np.memmap(path, DTYPES[entry["dtype"]], "r", start, tuple(entry["shape"]))


def cosine(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def run(session, shape, table, texts):
    batch, sequence = shape["batch"], shape["sequence"]
    for first in range(0, len(texts), batch):
        some = texts[first : first + batch]
        inputs_embeds = np.zeros((batch, sequence, table.shape[1]), np.float32)
        last_token = np.zeros((batch, 1, sequence), np.float32)
        for row, ids in enumerate(some):
            inputs_embeds[row, : len(ids)] = table[ids]
            last_token[row, 0, len(ids) - 1] = 1
        feeds = {"inputs_embeds": inputs_embeds, "last_token": last_token}
        yield from session.run(["last_hidden_state"], feeds)[0][: len(some)]


def main(directory, reference):
    directory = pathlib.Path(directory)
    manifest = json.loads((directory / "coreml.json").read_text(encoding="utf-8"))
    embed_tokens = manifest["embed_tokens"]
    table = read_embed_tokens(directory / embed_tokens["file"], embed_tokens["tensor"])
    assert table.shape == (manifest["vocab_size"], manifest["hidden_size"])
    lines = [json.loads(line) for line in open(reference, encoding="utf-8")]
    for shape in manifest["shapes"]:
        fitting = [line for line in lines if 0 < len(line["ids"]) <= shape["sequence"]]
        session = onnxruntime.InferenceSession(str(directory / shape["file"]), providers=["CPUExecutionProvider"])
        vectors = run(session, shape, table, [line["ids"] for line in fitting])
        expected = [line["hidden"] if "hidden" in line else line["vector"] for line in fitting]
        cosines = [cosine(vector, other) for vector, other in zip(vectors, expected, strict=True)]
        name = f"{shape['batch']}x{shape['sequence']}"
        longest = max((len(line["ids"]) for line in fitting), default=0)
        least = min(cosines, default=None)
        print(json.dumps({"shape": name, "texts": len(fitting), "longest": longest, "least_cosine": least}))


if __name__ == "__main__":
    main(*sys.argv[1:])
