#!/usr/bin/env python3
"""Writes goldens/akidb-mini.jsonl and goldens/qwen3-tokens.jsonl from PyTorch transformers, float32 on the CPU.

Needs:  pip install torch transformers safetensors onnx numpy
Usage:  make_goldens.py WEIGHTS_DIR QWEN3_TOKENIZER_DIR
  WEIGHTS_DIR          a directory with the built-in model's model.safetensors (config and tokenizer come from models/akidb-mini)
  QWEN3_TOKENIZER_DIR  where scripts/fetch_qwen3_tokenizer.sh put tokenizer.json
"""

import sys

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from golden_io import last_hidden, numbers, unit, write_jsonl
from golden_texts import TEXTS

MODEL = "models/akidb-mini"
MAX_LENGTH = 2048


def onnx_weights(path):
    """Initializers of an ONNX Runtime GenAI graph under their Hugging Face names, [out, in] as in safetensors."""
    weights = {}
    for t in onnx.load(path).graph.initializer:
        name = t.name.replace(".MatMul.weight", ".weight").replace(".layernorm.weight", ".weight").replace(".attn.", ".self_attn.")
        if "final_norm" in name:
            name = "model.norm.weight"
        x = numpy_helper.to_array(t)
        weights[name] = x.T if "MatMul" in t.name else x
    return weights


def load_model(weights_dir):
    weights = load_file(f"{weights_dir}/model.safetensors")
    weights = {k if k.startswith("model.") else "model." + k: v for k, v in weights.items()}
    graph = onnx_weights(f"{MODEL}/onnx/model_fp16.onnx")
    for name, w in weights.items():
        assert w.dtype == torch.float16 and np.array_equal(w.numpy(), graph[name]), f"{name} differs from model_fp16.onnx"
    print(f"{len(weights)} tensors of model.safetensors equal those of model_fp16.onnx")
    config = AutoConfig.from_pretrained(MODEL)
    config._attn_implementation = "eager"
    model = AutoModel.from_config(config, dtype=torch.float32).eval()
    model.load_state_dict({k.removeprefix("model."): v.float() for k, v in weights.items()})
    return model


def main():
    weights_dir, qwen3_dir = sys.argv[1:]
    torch.set_num_threads(2)
    model = load_model(weights_dir)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    rows = []
    for text in TEXTS:
        ids = tokenizer(text, truncation=True, max_length=MAX_LENGTH).input_ids
        truncated = len(tokenizer(text).input_ids) > MAX_LENGTH
        assert ids[-1] == tokenizer.eos_token_id and len(ids) <= MAX_LENGTH
        rows.append({"text": text, "ids": ids, "truncated": truncated, "vector": numbers(unit(last_hidden(model, ids)))})
    assert any(r["truncated"] for r in rows) and max(len(r["ids"]) for r in rows if not r["truncated"]) == MAX_LENGTH
    write_jsonl("akidb-mini.jsonl", rows)

    # This revision of the tokenizer appends no end token.
    qwen3 = PreTrainedTokenizerFast(tokenizer_file=f"{qwen3_dir}/tokenizer.json")
    write_jsonl("qwen3-tokens.jsonl", [{"text": text, "ids": qwen3(text).input_ids} for text in TEXTS])


if __name__ == "__main__":
    main()
