#!/usr/bin/env python3
"""Makes models of two layers and random weights in the shapes of Qwen3-Embedding 4B and 8B, with what PyTorch makes of texts.

  pip install torch transformers
  scripts/make_shape_replicas.py FOLDER
  scripts/families.py FOLDER --precision f32      # and bf16, int8, int4

Too large to keep (1.2 GB): FOLDER/NAME/golden.json and FOLDER/NAME/safetensors, in parts with an index. Weights are in bf16, as
they are published; the vectors are those of the same weights in float32. The vocabulary is that of the fixture `tiny`.
"""

import argparse
import json
import pathlib
import shutil

import torch
import transformers
from transformers import AutoModel, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

FIXTURE = pathlib.Path(__file__).resolve().parent.parent / "crates/akidb-testing/fixtures/tiny"
SHAPES = {
    "qwen3-4b": {"hidden_size": 2560, "intermediate_size": 9728, "tie_word_embeddings": True},
    "qwen3-8b": {"hidden_size": 4096, "intermediate_size": 12288, "tie_word_embeddings": False},
}
TEXTS = ["a", "how do I resume an interrupted download", "Grüße, 世界! 🚀", "line one\nline two\t3.14159",
         "the quick brown fox jumps over the lazy dog " * 7]
PART = "200MB"


def replica(shape):
    known = json.loads((FIXTURE / "config.json").read_text())
    config = Qwen3Config(
        vocab_size=known["vocab_size"], num_hidden_layers=2, num_attention_heads=32, num_key_value_heads=8, head_dim=128,
        max_position_embeddings=40960, rms_norm_eps=1e-6, rope_theta=1000000.0, eos_token_id=known["eos_token_id"],
        bos_token_id=known["bos_token_id"], pad_token_id=known["pad_token_id"], attn_implementation="eager", **shape)
    torch.manual_seed(shape["hidden_size"])
    model = Qwen3ForCausalLM(config).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data.normal_(1.0, 0.1)
    return model.to(torch.bfloat16)


@torch.inference_mode()
def vectors(target, tokenizer):
    body = AutoModel.from_pretrained(target, dtype=torch.float32, attn_implementation="eager").eval()
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        if ids[-1:] != [tokenizer.eos_token_id]:
            ids = [*ids, tokenizer.eos_token_id]
        state = body(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1].double()
        yield (state / state.norm()).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    tokenizer = AutoTokenizer.from_pretrained(FIXTURE)
    for name, shape in SHAPES.items():
        target = folder / name / "safetensors"
        model = replica(shape)
        # The one that ties its output is published as the body alone.
        whole = model if not shape["tie_word_embeddings"] else model.model
        whole.save_pretrained(target, max_shard_size=PART)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(FIXTURE / file, target)
        shutil.copytree(FIXTURE / "1_Pooling", target / "1_Pooling", dirs_exist_ok=True)
        rows = list(vectors(target, tokenizer))
        golden = {"texts": TEXTS, "embeddings": rows, "normalize": True, "prompted": {"document": rows}}
        (folder / name / "golden.json").write_text(json.dumps(golden))
        parts = list(target.glob("*.safetensors"))
        print(f"{name}: {len(parts)} parts, {sum(p.stat().st_size for p in parts) >> 20} MiB, transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
