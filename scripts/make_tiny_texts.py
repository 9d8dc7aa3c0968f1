#!/usr/bin/env python3
"""Writes goldens/tiny-texts.jsonl: the 60 texts through the fixture `tiny`, by PyTorch transformers in float32 on the CPU.

Needs:  pip install torch transformers safetensors numpy
Usage:  make_tiny_texts.py
The fixture's tokenizer appends no end token, so it is appended here, once, after truncation.
"""

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from golden_io import FIXTURES, last_hidden, numbers, unit, write_jsonl
from golden_texts import TEXTS


def main():
    torch.set_num_threads(2)
    path = FIXTURES / "tiny"
    config = AutoConfig.from_pretrained(path)
    config._attn_implementation = "eager"
    model = AutoModel.from_pretrained(path, config=config, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    room = config.max_position_embeddings - 1
    rows = []
    for text in TEXTS:
        ids = tokenizer(text).input_ids
        cut = ids[:room] + [config.eos_token_id]
        rows.append({"text": text, "ids": cut, "truncated": len(ids) > room, "vector": numbers(unit(last_hidden(model, cut)))})
    write_jsonl("tiny-texts.jsonl", rows)


if __name__ == "__main__":
    main()
