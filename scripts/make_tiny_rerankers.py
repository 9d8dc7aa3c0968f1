"""Makes the fixtures under tiny-rerankers and their golden values of families of small rerankers with random weights.

Usage: python scripts/make_tiny_rerankers.py FOLDER

FOLDER/rerank-FAMILY holds golden.json (pairs of texts, their token ids by the family's own tokenizer, and the logits that PyTorch
transformers gives them in float32; of "yes" less "no" where the model has a vocabulary) and model directories of one model in
several forms. Here some of them are copied: safetensors, and a graph by TorchScript of optimum (bert, modernbert, qwen3-seq) or by
ONNX Runtime GenAI's model builder, with GroupQueryAttention (qwen3).
"""

import json
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).parent.parent / "crates/akidb-testing"
GRAPHS = {"bert": "ts-optimum", "modernbert": "ts-optimum", "xlmr": None, "qwen3": "genai-gqa", "qwen3-seq": "ts-optimum"}


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    (ROOT / "goldens/tiny-rerankers").mkdir(exist_ok=True)
    for family, graph in GRAPHS.items():
        source, out = folder / f"rerank-{family}", ROOT / "fixtures/tiny-rerankers" / family
        out.mkdir(parents=True, exist_ok=True)
        for file in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            shutil.copy(source / "safetensors" / file, out / file)
        if graph:
            (out / "onnx").mkdir(exist_ok=True)
            shutil.copy(next((source / graph / "onnx").glob("*.onnx")), out / "onnx/model.onnx")
        golden = json.loads((source / "golden.json").read_text())
        most = golden.get("document_characters")
        with (ROOT / f"goldens/tiny-rerankers/{family}.jsonl").open("w") as lines:
            for (query, document), ids, segments, logit in zip(
                golden["pairs"], golden["ids"], golden["segments"], golden["logits"], strict=True
            ):
                row = {"query": query, "document": document[:most], "ids": ids, "second_segment": segments.index(1) if 1 in segments else None, "logit": logit}
                lines.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
