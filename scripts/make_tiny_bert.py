"""Makes the fixture tiny-bert and its golden values of a family of small models with random weights.

Usage: python scripts/make_tiny_bert.py FAMILY

FAMILY holds golden.json (token ids of some texts, and what transformers' BertModel pools of each in
float32) and model directories of one BertModel: safetensors, ts-old (optimum 1.23, opset 11), ort-O2
(ONNX Runtime's transformer optimizer on it) and int8 (ONNX Runtime's quantize_dynamic on it). Here its
tables are cut to the first tokens and positions, so that the files are small, and the texts to those
that keep to them: their vectors stay the same.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

ROOT = pathlib.Path(__file__).parent.parent / "crates/akidb-testing"
OUT = ROOT / "fixtures/tiny-bert"
TOKENS = 137
POSITIONS = 16
GRAPHS = {"ts-old": "model.onnx", "ort-O2": "model_o2.onnx", "int8": "model_int8.onnx"}


def cut_rows(rows: int, config: dict) -> int:
    """How many rows of a table with so many are kept."""
    return {config["vocab_size"]: TOKENS, config["max_position_embeddings"]: POSITIONS}.get(rows, rows)


def main() -> None:
    family = pathlib.Path(sys.argv[1])
    config = json.loads((family / "safetensors/config.json").read_text())

    tensors = load_file(family / "safetensors/model.safetensors")
    kept = {}
    for name, tensor in tensors.items():
        if name.startswith("pooler."):
            continue
        if name.endswith("embeddings.weight"):
            tensor = tensor[: cut_rows(tensor.shape[0], config)]
        if name == "embeddings.position_ids":
            tensor = tensor[:, :POSITIONS]
        kept[name] = np.ascontiguousarray(tensor)
    (OUT / "onnx").mkdir(parents=True, exist_ok=True)
    save_file(kept, OUT / "model.safetensors", metadata={"format": "pt"})

    for form, name in GRAPHS.items():
        graph = onnx.load(next((family / form / "onnx").glob("*.onnx")))
        for initializer in graph.graph.initializer:
            dims = list(initializer.dims)
            array = numpy_helper.to_array(initializer)
            if len(dims) == 2 and dims[1] == config["hidden_size"]:
                array = array[: cut_rows(dims[0], config)]
            elif dims == [1, config["max_position_embeddings"]]:
                array = array[:, :POSITIONS]
            else:
                continue
            initializer.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), initializer.name))
        onnx.save(graph, OUT / "onnx" / name)

    goldens = json.loads((family / "golden.json").read_text())
    fits = [len(ids) <= POSITIONS and max(ids) < TOKENS for ids in goldens["ids"]]
    rows = zip(goldens["ids"], goldens["pooled"], fits)
    lines = [{"ids": ids, "hidden": pooled} for ids, pooled, fits in rows if fits]
    with open(ROOT / "goldens/tiny-bert.jsonl", "w", encoding="utf-8", newline="\n") as out:
        out.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    config.update(vocab_size=TOKENS, max_position_embeddings=POSITIONS)
    (OUT / "config.json").write_text(json.dumps(config, indent=2) + "\n")


main()
