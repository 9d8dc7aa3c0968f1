#!/usr/bin/env python3
"""Writes the tiny random Qwen3 fixtures (fixtures/tiny*) and their goldens (goldens/tiny*.jsonl), and checks every ONNX file
with ONNX Runtime against PyTorch.

Needs:  pip install torch transformers safetensors tokenizers onnx onnxruntime onnxruntime-genai numpy
Usage:  make_tiny.py

The sizes are no multiples of a vector's or a tile's width where a model may choose them so; three query heads share one
key/value head. The ONNX graphs are written by ONNX Runtime GenAI's model builder:
  tiny, tiny-external  f32, MultiHeadAttention, the output renamed to last_hidden_state as in the published files
  tiny-f16             f16, MultiHeadAttention, the output cast to f32
  tiny-gqa             f32, GroupQueryAttention with rotary inside and packed q/k/v, exactly as the builder writes it
"""

import json
import pathlib
import shutil
import tempfile

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import tokenizers
import torch
from onnx import TensorProto, helper
from onnxruntime_genai.models.builders.qwen import Qwen3Model
from safetensors.torch import save_file
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, AutoTokenizer

from golden_io import FIXTURES, last_hidden, numbers, write_jsonl
from golden_texts import TEXTS

EOS = "<|endoftext|>"
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 299,
    "eos_token_id": 299,
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 28,
    "initializer_range": 0.02,
    "intermediate_size": 52,
    "max_position_embeddings": 512,
    "max_window_layers": 3,
    "model_type": "qwen3",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "pad_token_id": 299,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 300,
}
LENGTHS = [1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 127, 129, 200, 255, 300, 511, 512]


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


# ---- weights ----

def random_weights():
    """Hugging Face names → f32. Large enough that attention is far from uniform and every layer counts."""
    g = torch.Generator().manual_seed(20)
    c = CONFIG
    q, kv = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
    h, m = c["hidden_size"], c["intermediate_size"]
    def normal(rows, cols, scale=1.0):
        return torch.randn(rows, cols, generator=g) * (scale / cols**0.5)
    def norm(n, low=0.6, high=1.6):
        return low + (high - low) * torch.rand(n, generator=g)
    embeddings = torch.randn(c["vocab_size"], h, generator=g)
    embeddings[::5] *= 0.003  # a mean square near rms_norm_eps, so that a wrong epsilon shows
    w = {"model.embed_tokens.weight": embeddings}
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        w[p + "input_layernorm.weight"] = norm(h)
        w[p + "self_attn.q_proj.weight"] = normal(q, h)
        w[p + "self_attn.k_proj.weight"] = normal(kv, h)
        w[p + "self_attn.v_proj.weight"] = normal(kv, h, 1.5)
        w[p + "self_attn.q_norm.weight"] = norm(c["head_dim"], 1.0, 2.0)
        w[p + "self_attn.k_norm.weight"] = norm(c["head_dim"], 1.0, 2.0)
        w[p + "self_attn.o_proj.weight"] = normal(h, q, 1.5)
        w[p + "post_attention_layernorm.weight"] = norm(h)
        w[p + "mlp.gate_proj.weight"] = normal(m, h, 1.5)
        w[p + "mlp.up_proj.weight"] = normal(m, h, 1.5)
        w[p + "mlp.down_proj.weight"] = normal(h, m, 1.5)
    w["model.norm.weight"] = norm(h)
    w["lm_head.weight"] = normal(c["vocab_size"], h)
    return w


def torch_model(weights):
    config = AutoConfig.for_model(**CONFIG)
    config._attn_implementation = "eager"
    model = AutoModel.from_config(config, dtype=torch.float32).eval()
    model.load_state_dict({k.removeprefix("model."): v.float() for k, v in weights.items() if k != "lm_head.weight"})
    return model


# ---- tokenizer ----

def make_tokenizer():
    """Byte-level BPE like Qwen3's, 299 entries and the EOS; its post-processor does NOT append the EOS."""
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    byte_level = dict(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t = tokenizers.Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(**byte_level),
    ])
    t.post_processor = processors.ByteLevel(**byte_level)
    t.decoder = decoders.ByteLevel(**byte_level)
    words = "the file and the other file then read there here water with this thing for more information on a word in an hour"
    t.train_from_iterator([words], trainers.BpeTrainer(
        vocab_size=299, min_frequency=1, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_special_tokens([tokenizers.AddedToken(EOS, normalized=False, special=True)])
    assert t.get_vocab_size() == 300 and t.token_to_id(EOS) == 299
    return t


# ---- model directories ----

def write_directory(name, config, tokenizer, weights=None):
    path = FIXTURES / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    write_json(path / "config.json", config)
    (path / "tokenizer.json").write_text(tokenizer.to_str())
    write_json(path / "tokenizer_config.json", {
        "added_tokens_decoder": {"299": {"content": EOS, "lstrip": False, "normalized": False, "rstrip": False,
                                         "single_word": False, "special": True}},
        "eos_token": EOS, "pad_token": EOS, "model_max_length": 512, "tokenizer_class": "Qwen2Tokenizer",
    })
    modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    write_json(path / "1_Pooling/config.json", {
        "word_embedding_dimension": config["hidden_size"],
        **{f"pooling_mode_{m}": m == "lasttoken" for m in modes},
        "include_prompt": True,
    })
    if weights is not None:
        save_file(weights, path / "model.safetensors", {"format": "pt"})
        (path / "model.safetensors").chmod(0o644)
    return path


def transformers5_config(dtype):
    """What transformers 5 writes when it saves this model: rope_parameters instead of rope_theta, dtype instead of torch_dtype."""
    config = AutoConfig.for_model(**CONFIG).to_dict()
    config.update(architectures=CONFIG["architectures"], dtype=dtype, tie_word_embeddings=True)
    assert config["rope_parameters"]["rope_theta"] == 10000 and "rope_theta" not in config
    return {k: v for k, v in sorted(config.items()) if k in CONFIG or k in ("dtype", "layer_types", "rope_parameters", "transformers_version")}


# ---- ONNX ----

class MultiHeadAttentionModel(Qwen3Model):
    """The builder's form for targets without GroupQueryAttention."""

    def is_gqa_supported(self):
        return False

    def is_packed_attn_supported(self):
        return False


def build(builder, hf_dir, dtype):
    with tempfile.TemporaryDirectory() as tmp:
        model = builder(AutoConfig.from_pretrained(hf_dir), dtype, dtype, "cpu", tmp, {"exclude_lm_head": True})
        model.make_model(str(hf_dir))
        model.save_model(tmp)
        return onnx.load(f"{tmp}/model.onnx")


def rename_output(graph, cast):
    """hidden_states → last_hidden_state, f32; a narrower graph keeps its own values and gets a Cast."""
    output = next(o for o in graph.output if o.name == "hidden_states")
    if cast:
        graph.node.append(helper.make_node("Cast", ["hidden_states"], ["last_hidden_state"],
                                           name="/model/Cast_last_hidden_state", to=TensorProto.FLOAT))
    else:
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = ["last_hidden_state" if n == "hidden_states" else n for n in names]
    output.name = "last_hidden_state"
    output.type.tensor_type.elem_type = TensorProto.FLOAT


def run_onnx(path, ids):
    session = run_onnx.sessions.setdefault(path, onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]))
    n = len(ids)
    feeds = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, n), np.int64), "position_ids": np.arange(n)[None]}
    inputs = {i.name: i for i in session.get_inputs()}
    for name, i in inputs.items():
        if name.startswith("past_key_values."):
            feeds[name] = np.zeros((1, i.shape[1], 0, CONFIG["head_dim"]), np.float16 if "float16" in i.type else np.float32)
    output = session.get_outputs()[0].name
    return session.run([output], {k: v for k, v in feeds.items() if k in inputs})[0][0, -1].astype(np.float32)


run_onnx.sessions = {}


def verify(path, goldens, limit):
    diff = max(float(np.abs(run_onnx(path, g["ids"]) - np.float32(g["hidden"])).max()) for g in goldens)
    print(f"{path.relative_to(FIXTURES)}: max abs diff to PyTorch {diff:.2e}")
    assert diff < limit


# ---- all of it ----

def goldens_for(name, weights):
    rng = np.random.default_rng(7)
    model = torch_model(weights)
    rows = []
    for n in LENGTHS:
        ids = rng.integers(0, CONFIG["vocab_size"], n).tolist()
        rows.append({"ids": ids, "hidden": numbers(last_hidden(model, ids))})
    write_jsonl(name, rows)
    return rows


def main():
    torch.set_num_threads(2)
    weights = random_weights()
    body = {k: v for k, v in weights.items() if k != "lm_head.weight"}
    half = {k: v.to(torch.float16) for k, v in body.items()}
    bfloat = {k: v.to(torch.bfloat16) for k, v in body.items()}
    tokenizer = make_tokenizer()

    tiny = write_directory("tiny", CONFIG, tokenizer, weights)
    external = write_directory("tiny-external", CONFIG, tokenizer)
    gqa = write_directory("tiny-gqa", CONFIG, tokenizer)
    f16 = write_directory("tiny-f16", {**CONFIG, "tie_word_embeddings": True, "torch_dtype": "float16"}, tokenizer, half)
    write_directory("tiny-bf16", transformers5_config("bfloat16"), tokenizer, bfloat)

    goldens = goldens_for("tiny.jsonl", weights)
    goldens_f16 = goldens_for("tiny-f16.jsonl", half)
    goldens_for("tiny-bf16.jsonl", bfloat)

    for d in (tiny, external, gqa, f16):
        (d / "onnx").mkdir()
    graph = build(MultiHeadAttentionModel, tiny, onnx_ir.DataType.FLOAT)
    rename_output(graph.graph, cast=False)
    onnx.save(graph, tiny / "onnx/model.onnx")
    onnx.save(graph, external / "onnx/model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=1024)
    (external / "onnx/model.onnx_data").chmod(0o644)
    onnx.save(build(Qwen3Model, tiny, onnx_ir.DataType.FLOAT), gqa / "onnx/model.onnx")
    graph = build(MultiHeadAttentionModel, f16, onnx_ir.DataType.FLOAT16)
    rename_output(graph.graph, cast=True)
    onnx.save(graph, f16 / "onnx/model_fp16.onnx")

    for d in (tiny, external, gqa):
        verify(d / "onnx/model.onnx", goldens, 1e-5)
    verify(f16 / "onnx/model_fp16.onnx", goldens_f16, 2e-2)

    transformers_tokenizer = AutoTokenizer.from_pretrained(tiny)
    texts = [t for t in TEXTS if len(t) < 60 and EOS not in t][::2][:12] + [
        "the other file", EOS, "in the middle " + EOS + " and at the end" + EOS]
    rows = [{"text": t, "ids": transformers_tokenizer(t).input_ids} for t in texts]
    assert all(r["ids"] == tokenizer.encode(r["text"]).ids for r in rows)
    write_jsonl("tiny-tokens.jsonl", rows)
    print(f"tiny*: {sum(f.stat().st_size for f in FIXTURES.glob('tiny*/**/*') if f.is_file())} bytes")


if __name__ == "__main__":
    main()
