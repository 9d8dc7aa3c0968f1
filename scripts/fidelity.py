#!/usr/bin/env python3
"""How near the vectors of each ONNX variant are to those of the same weights in f32: ours and ONNX Runtime's.

Needs:  pip install numpy onnx onnxruntime tokenizers    and a build of akidb-embed (cargo build --release -p akidb-embed)
Usage:  fidelity.py MODEL_DIR [--texts FILE]... [--variants int8,q4] [--precisions auto,int4] [--no-check] [--embed PROGRAM]
  MODEL_DIR     Hugging Face layout with config.json, tokenizer.json, onnx/model*.onnx
  --texts       JSON Lines with "text", or with "query" and "document"; may be given more than once
  --precisions  for `akidb-embed --precision`; "auto" is what the file runs in by default
  --no-check    leave out the proof of the reference (it needs onnx/model.onnx, and as much disk and memory again)

Prints the Markdown tables of docs/fidelity.md; what they mean is said there. Exit status 1 when the reference is not
proved for a variant, or a vector is wrong in kind.
"""

import argparse
import io
import json
import pathlib
import platform
import subprocess
import sys
import tempfile
import datetime

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from tokenizers import Tokenizer

from onnxruntime_peer import Peer, file_of, read_config, with_eos

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXTS = [ROOT / "docs" / "fidelity-texts.jsonl", ROOT / "crates" / "akidb-testing" / "goldens" / "pairs.jsonl"]
VARIANTS = ["f32", "fp16", "int8", "uint8", "quantized", "q4", "q4f16", "bnb4"]
PROVED = 1e-6  # the largest error, 1 - cosine, of a reference that counts as proved
NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                0.7229568362236023, 1.0], np.float32)  # QLoRA, arXiv:2305.14314, appendix E


def read_texts(paths):
    texts = []
    for path in paths:
        for line in open(path, encoding="utf-8"):
            row = json.loads(line)
            texts += [row["text"]] if "text" in row else [row["query"], row["document"]]
    return texts


def unit(vectors):
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def errors(a, b):
    """1 - cosine of each row; as half the squared distance of unit vectors, which doesn't cancel for tiny angles."""
    return ((a - b) ** 2).sum(axis=1) / 2


class Akidb:
    def __init__(self, program, model_dir, texts, threads):
        self.command = [program, "embed", "--jsonl", "-", "--model", str(model_dir), "--threads", str(threads),
                        "--backend", "native", "--format", "npy"]
        self.input = "".join(json.dumps({"text": t}) + "\n" for t in texts).encode()

    def vectors(self, variant, precision):
        """Unit vectors [texts, hidden_size], or the error message in one line."""
        done = subprocess.run([*self.command, "--variant", variant, "--precision", precision],
                              input=self.input, capture_output=True)
        if done.returncode != 0:
            return " ".join(done.stderr.decode().split())
        return unit(np.load(io.BytesIO(done.stdout)))


def dequantized(name, tensors, attributes):
    """The f32 weights that a skeleton's initializer has in this file, in the skeleton's layout ([in, out] for linear layers)."""
    if name in tensors:
        return tensors[name].astype(np.float32)
    if name + "_quantized" in tensors:
        scale, zero = tensors[name + "_scale"], tensors[name + "_zero_point"].astype(np.int32)
        return (tensors[name + "_quantized"].astype(np.int32) - zero).astype(np.float32) * scale
    shape = attributes.get(name)
    if name + "_Q4" in tensors:
        packed, scales = tensors[name + "_Q4"], tensors[name + "_scales"].astype(np.float32)
        if name + "_zero_points" in tensors or shape["bits"] != 4:
            raise SystemExit(f"{name}: only symmetric 4-bit weights are dequantized here")
        n, blocks, half = packed.shape
        codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(n, blocks, 2 * half).astype(np.float32) - 8
        return (codes * scales.reshape(n, blocks, 1)).reshape(n, -1)[:, : shape["K"]].T
    if name + "_Bnb4" in tensors:
        if shape["quant_type"] != 1:
            raise SystemExit(f"{name}: of MatMulBnb4 only NF4 is dequantized here")
        packed, absmax = tensors[name + "_Bnb4"], tensors[name + "_absmax"].astype(np.float32)
        values = NF4[np.stack([packed >> 4, packed & 15], axis=-1).reshape(-1)]
        blocks = values.reshape(-1, shape["block_size"]) * absmax.reshape(-1, 1)
        return blocks.reshape(shape["N"], shape["K"]).T
    raise SystemExit(f"{name}: not found in the file, in no form that is known here")


def f32_graph(model_dir, variant, folder):
    """Writes the f32 graph with the weights of a variant; its own weights are read by this script, not by akidb."""
    model = onnx.load(file_of(model_dir, variant))
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    attributes = {n.input[1].rsplit("_", 1)[0]: {a.name: a.i for a in n.attribute}
                  for n in model.graph.node if n.op_type in ("MatMulNBits", "MatMulBnb4")}
    skeleton = onnx.load(file_of(model_dir, "f32"), load_external_data=False)
    for t in skeleton.graph.initializer:
        if t.data_type == onnx.TensorProto.FLOAT:
            t.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(dequantized(t.name, tensors, attributes)), t.name))
    path = pathlib.Path(folder) / "model.onnx"
    onnx.save_model(skeleton, path, save_as_external_data=True, location="model.onnx_data", size_threshold=1024)
    return path


def accuracy_level_4(path):
    """The graph's bytes with every MatMulNBits told to compute in 8 bits; its external data stays where it is."""
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            for a in [a for a in node.attribute if a.name == "accuracy_level"]:
                node.attribute.remove(a)
            node.attribute.append(onnx.helper.make_attribute("accuracy_level", 4))
    return model.SerializeToString()


def peer_vectors(model, config, ids, threads, folder=None):
    peer = Peer(model, config, threads, folder)
    return unit([peer.hidden(text) for text in ids])


def small(x):
    return "0" if x == 0 else f"{x:.2e}" if x < 1e-4 else f"{x:.6f}"


def columns(e):
    return f"{1 - e.mean():.6f} | {1 - e.max():.6f} | {small(e.mean())}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--texts", type=pathlib.Path, action="append")
    p.add_argument("--variants")
    p.add_argument("--precisions", default="auto")
    p.add_argument("--no-check", action="store_true")
    p.add_argument("--embed", default=str(ROOT / "target" / "release" / "akidb-embed"))
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    config, texts = read_config(a.model), read_texts(a.texts or TEXTS)
    tokenizer = Tokenizer.from_file(str(a.model / "tokenizer.json"))
    eos = config["eos_token_id"]
    ids = [with_eos(tokenizer.encode(t).ids, eos) for t in texts]
    akidb = Akidb(a.embed, a.model, texts, a.threads)
    variants = a.variants.split(",") if a.variants else [v for v in VARIANTS if file_of(a.model, v).exists()]
    check = not a.no_check and file_of(a.model, "f32").exists()
    if not check:
        print("SKIPPED: the references are not proved", file=sys.stderr)
    failed, rows, proofs = False, [], []
    for variant in variants:
        reference = akidb.vectors(variant, "f32")
        if isinstance(reference, str):
            print(f"SKIPPED: {variant}: {reference}", file=sys.stderr)
            failed = True
            continue
        if check:
            with tempfile.TemporaryDirectory() as folder:
                path = f32_graph(a.model, variant, folder)
                e = errors(reference, peer_vectors(path, config, ids, a.threads))
            failed |= not e.max() <= PROVED
            proofs.append(f"| {variant} | {small(e.mean())} | {small(e.max())} | {'yes' if e.max() <= PROVED else 'NO'} |")
        path = file_of(a.model, variant)
        peers = [("", errors(reference, peer_vectors(path, config, ids, a.threads)))]
        if variant in ("q4", "q4f16"):
            peers.append((", accuracy_level=4",
                          errors(reference, peer_vectors(accuracy_level_4(path), config, ids, a.threads, path.parent))))
        for name, e in peers:
            rows.append(f"| {variant} | ONNX Runtime{name} | {columns(e)} | |")
        # The last one: in the others ONNX Runtime computes 4-bit weights in f32, at the price of speed.
        base = peers[-1][1].mean()
        for precision in a.precisions.split(","):
            ours = akidb.vectors(variant, precision)
            if isinstance(ours, str):
                print(f"SKIPPED: {variant} --precision {precision}: {ours}", file=sys.stderr)
                continue
            e = errors(reference, ours)
            ratio = f"{e.mean() / base:.2f}" if base > 1e-9 else "–"
            rows.append(f"| {variant} | akidb --precision {precision} | {columns(e)} | {ratio} |")
        print(f"{variant}: done", file=sys.stderr, flush=True)
    lengths = np.array([len(i) for i in ids])
    version = subprocess.run([a.embed, "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{a.model.name}, {len(texts)} texts of {lengths.min()} to {lengths.max()} tokens ({lengths.sum()} in all); {version}, "
          f"ONNX Runtime {onnxruntime.__version__}, {platform.machine()}, {datetime.date.today()}.\n")
    print("| variant | computed by | mean cosine | least cosine | mean error | of ONNX Runtime's |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))
    if proofs:
        print("\n| variant | mean error of the reference | largest | proved |\n|---|---|---|---|")
        print("\n".join(proofs))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
