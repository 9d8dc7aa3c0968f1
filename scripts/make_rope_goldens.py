#!/usr/bin/env python3
"""Makes goldens/rope.jsonl: frequencies of rotary embeddings that are stretched, as PyTorch transformers computes them.

  pip install transformers torch
  scripts/make_rope_goldens.py
"""

import json
import pathlib

import transformers
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

OUT = pathlib.Path(__file__).parent.parent / "crates/akidb-testing/goldens/rope.jsonl"

LLAMA3 = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192, "rope_theta": 500000.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "rope_theta": 1000000.0}
CASES = [
    (64, LLAMA3),
    (128, {**LLAMA3, "factor": 8.0, "original_max_position_embeddings": 512}),
    (128, YARN),
    (64, {**YARN, "factor": 40.0, "original_max_position_embeddings": 4096, "rope_theta": 10000.0, "mscale": 0.707,
          "mscale_all_dim": 1.0}),
    (64, {**YARN, "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.25}),
    (32, {**YARN, "truncate": False, "original_max_position_embeddings": 64, "rope_theta": 10000.0}),
    (32, {"rope_type": "linear", "factor": 8.0, "rope_theta": 10000.0}),
]


def main():
    with OUT.open("w") as lines:
        for head_dim, rope in CASES:
            config = LlamaConfig(hidden_size=2 * head_dim, num_attention_heads=2, max_position_embeddings=131072,
                                 rope_parameters=dict(rope))
            frequencies, factor = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, "cpu")
            row = {"head_dim": head_dim, "rope_parameters": rope, "inv_freq": frequencies.tolist(),
                   "attention_factor": factor}
            lines.write(json.dumps(row) + "\n")
    print(f"transformers {transformers.__version__}: {len(CASES)} cases")


if __name__ == "__main__":
    main()
