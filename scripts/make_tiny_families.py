"""Makes the fixtures under tiny-families and their golden values of families of small models with random weights.

Usage: python scripts/make_tiny_families.py FOLDER

FOLDER/FAMILY holds golden.json (token ids of some texts, and what PyTorch transformers pools of each in float32; NomicBERT in
transformers 5) and model directories of one model in several forms. Here some of them are copied: safetensors, a graph (by
TorchScript of optimum, or by torch's dynamo exporter at opset 23), the layers behind the pooling, and the texts of different
lengths, the longest among them.
"""

import json
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).parent.parent / "crates/akidb-testing"
GRAPHS = {"nomic": "ts-remote", "modernbert": "ts-optimum", "gemma": "ts-optimum", "qwen3-bidirectional": "dynamo23"}
TEXTS = (0, 2, 4, 9, 13, 16, 20)


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    (ROOT / "goldens/tiny-families").mkdir(exist_ok=True)
    for family, graph in GRAPHS.items():
        source, out = folder / family, ROOT / "fixtures/tiny-families" / family
        out.mkdir(parents=True, exist_ok=True)
        for file in ("config.json", "model.safetensors"):
            shutil.copy(source / "safetensors" / file, out / file)
        for dense in (source / "safetensors").glob("*_Dense"):
            shutil.copytree(dense, out / dense.name, dirs_exist_ok=True)
        (out / "onnx").mkdir(exist_ok=True)
        shutil.copy(next((source / graph / "onnx").glob("*.onnx")), out / "onnx/model.onnx")
        golden = json.loads((source / "golden.json").read_text())
        with (ROOT / f"goldens/tiny-families/{family}.jsonl").open("w") as lines:
            for text in TEXTS:
                row = {"ids": golden["ids"][text], "hidden": [float(f"{x:.9g}") for x in golden["pooled"][text]]}
                lines.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
