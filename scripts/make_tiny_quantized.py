#!/usr/bin/env python3
"""Writes fixtures/tiny-quantized, quantized ONNX files of a cut tiny model, and their goldens (goldens/tiny-quantized/).

Needs:  what make_tiny.py needs
Usage:  make_tiny_quantized.py

The model is the first two layers of `tiny` with 64 positions. ONNX Runtime's own quantizers write the files, with the recipes
of the published files of Qwen3-Embedding-0.6B where there is one. Names are shortened and type hints dropped, to keep them small.
  model_int8, model_uint8   quantize_dynamic, one scale per weight; the table in u8
  model_int8_per_channel    a scale for each output
  model_q4, model_q4f16     MatMulNBits, 4 bits, blocks of 32, symmetric
  model_q4_table            4 bits in blocks of 16, the table as well: GatherBlockQuantized
  model_q8_table            the same with the table in bytes with zero points, which that quantizer doesn't write
  model_bnb4                MatMulBnb4, NF4, blocks of 64
  model_mixed               each linear layer in another form: blocks of 16 to 128, zero points, 8 bits, FP4, int8 per channel
  model_gqa                 GroupQueryAttention with packed q/k/v: int8 per channel, and 4 bits with zero points

Goldens: a checksum of every dequantized weight by numpy from the operators' definitions (weights.jsonl), and hidden states by
PyTorch in float32 with these weights. ONNX Runtime, which computes MatMulNBits and MatMulBnb4 in float32, checks both.
"""

import pathlib
import re
import tempfile

import numpy as np
import onnx
import onnx_ir
import torch
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from onnxruntime_genai.models.builders.qwen import Qwen3Model
from transformers import AutoConfig, AutoModel

import make_tiny
from golden_io import last_hidden, numbers, write_jsonl
from make_tiny import CONFIG, MultiHeadAttentionModel, build, rename_output, run_onnx

LAYERS = 2
LENGTHS = [1, 2, 5, 16, 33, 64]
LINEARS = {"attn": ["q_proj", "k_proj", "v_proj", "o_proj"], "mlp": ["gate_proj", "up_proj", "down_proj"]}
NF4 = np.float32([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                  -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0])
FP4 = np.float32([0, 5.208333333e-03, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25])
FP4 = np.concatenate([FP4, -FP4])


# ---- quantizers: each takes a model and the patterns of the node names that it is to quantize ----

def selected(model, patterns):
    names = [n.name for n in model.graph.node if n.op_type == "MatMul"]
    return [n for n in names if any(re.search(p, n) for p in patterns)]


def nbits(model, patterns=("",), block_size=32, bits=4, symmetric=True, table=False):
    config = DefaultWeightOnlyQuantConfig(block_size=block_size, is_symmetric=symmetric, bits=bits)
    wanted = selected(model, patterns)
    excluded = [n.name for n in model.graph.node if n.op_type == "MatMul" and n.name not in wanted]
    config.op_types_to_quantize = ("MatMul", "Gather") if table else ("MatMul",)
    quantizer = MatMulNBitsQuantizer(model, nodes_to_exclude=excluded, algo_config=config)
    quantizer.process()
    return quantizer.model.model


def byte_table(model, block_size=16):
    """The embedding table as GatherBlockQuantized of 8 bits."""
    graph = model.graph
    gather = next(n for n in graph.node if n.op_type == "Gather" and n.input[0] == "model.embed_tokens.weight")
    table = next(t for t in graph.initializer if t.name == gather.input[0])
    values = numpy_helper.to_array(table)
    starts = range(0, values.shape[1], block_size)
    low = np.stack([values[:, at:at + block_size].min(1) for at in starts], 1)
    high = np.stack([values[:, at:at + block_size].max(1) for at in starts], 1)
    scales = ((high - low) / 255).astype(np.float32)
    zeros = np.round(-low / scales).clip(0, 255)
    spread = lambda x: np.repeat(x, block_size, 1)[:, :values.shape[1]]
    codes = np.round(values / spread(scales) + spread(zeros)).clip(0, 255)
    graph.initializer.remove(table)
    for name, array in [("_Q8", codes.astype(np.uint8)), ("_scales", scales), ("_zero_points", zeros.astype(np.uint8))]:
        graph.initializer.append(numpy_helper.from_array(array, gather.input[0] + name))
    names = [gather.input[0] + "_Q8", gather.input[1], gather.input[0] + "_scales", gather.input[0] + "_zero_points"]
    node = onnx.helper.make_node("GatherBlockQuantized", names, gather.output, domain="com.microsoft", bits=8,
                                 block_size=block_size, gather_axis=0, quantize_axis=1)
    gather.CopyFrom(node)
    return model


def bnb4(model, patterns=("",), block_size=64, quant_type=MatMulBnb4Quantizer.NF4):
    wanted = selected(model, patterns)
    excluded = [n.name for n in model.graph.node if n.op_type == "MatMul" and n.name not in wanted]
    quantizer = MatMulBnb4Quantizer(model, quant_type, block_size, nodes_to_exclude=excluded)
    quantizer.process()
    return quantizer.model.model


def dynamic(model, patterns=("", "Gather"), kind=QuantType.QInt8, per_channel=False):
    wanted = selected(model, patterns) + (["/model/embed_tokens/Gather"] if "Gather" in patterns else [])
    with tempfile.TemporaryDirectory() as tmp:
        onnx.save(model, f"{tmp}/in.onnx")
        quantize_dynamic(f"{tmp}/in.onnx", f"{tmp}/out.onnx", weight_type=kind, per_channel=per_channel, nodes_to_quantize=wanted,
                         extra_options=dict(EnableSubgraph=True, MatMulConstBOnly=True))
        return onnx.load(f"{tmp}/out.onnx")


def mixed(model):
    for layer, forms in enumerate([
        dict(q_proj=dict(block_size=16), k_proj=dict(block_size=16, symmetric=False), v_proj=dict(block_size=64, symmetric=False),
             o_proj=dict(symmetric=False), gate_proj=dict(block_size=128), up_proj=dict(bits=8),
             down_proj=dict(bits=8, block_size=16, symmetric=False)),
        dict(gate_proj=dict(block_size=64), up_proj=dict(bits=8, block_size=128)),
    ]):
        for linear, form in forms.items():
            model = nbits(model, [f"layers.{layer}/.*{linear}"], **form)
    model = bnb4(model, ["layers.1/.*v_proj"], 16, MatMulBnb4Quantizer.FP4)
    model = bnb4(model, ["layers.1/.*o_proj"], 128)
    model = dynamic(model, ["layers.1/.*q_proj"], per_channel=True)
    return dynamic(model, ["layers.1/.*k_proj"], QuantType.QUInt8, per_channel=True)  # the rest stays f32


def gqa(model):
    model = nbits(model, ["layers.0/.*qkv_proj"], 16, symmetric=False)
    model = bnb4(model, ["o_proj"], 64, MatMulBnb4Quantizer.FP4)
    return dynamic(model, ["layers.1/.*qkv_proj", "mlp", "Gather"], per_channel=True)


def strip(model):
    """Drops hints and shortens the names of nodes and values; inputs, outputs and initializers keep theirs."""
    graph = model.graph
    kept = {v.name for v in [*graph.input, *graph.output, *graph.initializer]} | {""}
    short = {}
    def name(value):
        return value if value in kept else short.setdefault(value, f"v{len(short)}")
    for node in graph.node:
        node.ClearField("name")
        node.input[:] = [name(i) for i in node.input]
        node.output[:] = [name(o) for o in node.output]
    graph.ClearField("value_info")
    del model.metadata_props[:]
    return model


# ---- numpy reference ----

def nibbles(packed, low_first):
    halves = [packed & 15, packed >> 4]
    return np.stack(halves if low_first else halves[::-1], -1).reshape(*packed.shape[:-1], -1)


def of_nbits(a, codes, scales, zero_points=None):
    n, blocks, bits = a["N"], codes.shape[1], a["bits"]
    q = (nibbles(codes, True) if bits == 4 else codes).astype(np.float32)
    if zero_points is None:
        z = np.full((n, blocks), 2 ** (bits - 1))
    else:
        z = zero_points.reshape(n, -1)
        z = (nibbles(z, True) if bits == 4 else z)[:, :blocks]
    w = (q - z.astype(np.float32)[..., None]) * scales.astype(np.float32).reshape(n, blocks, 1)
    return w.reshape(n, -1)[:, :a["K"]]


def of_block_table(a, codes, scales, zero_points=None):
    """As of MatMulNBits, with blocks along the rows: in bytes with the middle for zero, or in types of 4 bits with 0."""
    is_packed = codes.dtype == np.uint8 and a.get("bits", 4) == 4
    q = (nibbles(codes, True) if is_packed else codes).astype(np.float32)
    if zero_points is None:
        z = np.full(scales.shape, 2.0 ** (a.get("bits", 4) - 1) if codes.dtype == np.uint8 else 0)
    else:
        z = (nibbles(zero_points, True) if is_packed else zero_points)[:, :scales.shape[1]]
    spread = lambda x: np.repeat(x.astype(np.float32), a["block_size"], 1)[:, :q.shape[1]]
    return (q - spread(z)) * spread(scales)


def of_bnb4(a, codes, absmax):
    q = nibbles(codes, False)[:a["N"] * a["K"]]
    table = NF4 if a["quant_type"] else FP4
    return (table[q] * absmax[np.arange(len(q)) // a["block_size"]]).reshape(a["N"], a["K"])


def of_integer(codes, scale, zero_point):
    return ((codes.astype(np.float32) - zero_point.astype(np.float32)) * scale).T


def dequantized(model):
    """(layer, linear) → f32 [out, in], and the embedding table."""
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = {}
    for node in model.graph.node:
        match = re.match(r"model\.layers\.(\d+)\.\w+\.(\w+)\.MatMul\.weight", node.input[1]) if len(node.input) > 1 else None
        if node.op_type not in ("MatMul", "MatMulInteger", "MatMulNBits", "MatMulBnb4") or match is None:
            continue
        a = {x.name: onnx.helper.get_attribute_value(x) for x in node.attribute}
        inputs = [tensors[i] for i in node.input[1:] if i in tensors]
        if node.op_type == "MatMulInteger":
            scale = tensors[match.group(0) + "_scale"]
            w = of_integer(inputs[0], scale, inputs[1])
        else:
            w = {"MatMul": lambda: inputs[0].T, "MatMulNBits": lambda: of_nbits(a, *inputs),
                 "MatMulBnb4": lambda: of_bnb4(a, *inputs)}[node.op_type]()
        assert w.dtype == np.float32 or node.op_type == "MatMul"
        w = np.ascontiguousarray(w.astype(np.float32))
        layer = int(match.group(1))
        if match.group(2) == "qkv_proj":
            q, kv = CONFIG["num_attention_heads"] * CONFIG["head_dim"], CONFIG["num_key_value_heads"] * CONFIG["head_dim"]
            for linear, part in zip(("q_proj", "k_proj", "v_proj"), np.split(w, [q, q + kv])):
                weights[layer, linear] = np.ascontiguousarray(part)
        else:
            weights[layer, match.group(2)] = w
    name = "model.embed_tokens.weight"
    block = next((n for n in model.graph.node if n.op_type == "GatherBlockQuantized"), None)
    if block is not None:
        a = {x.name: onnx.helper.get_attribute_value(x) for x in block.attribute}
        codes, _, *scales = [tensors.get(i) for i in block.input]
        table = of_block_table(a, codes, *scales)
    elif name in tensors:
        table = tensors[name].astype(np.float32)
    else:
        table = (tensors[name + "_quantized"].astype(np.float32) - tensors[name + "_zero_point"].astype(np.float32)) * tensors[name + "_scale"]
    assert len(weights) == 7 * LAYERS
    return weights, table


def torch_model(config, body, weights, table):
    config = AutoConfig.for_model(**config)
    config._attn_implementation = "eager"
    model = AutoModel.from_config(config, dtype=torch.float32).eval()
    state = {k.removeprefix("model."): v.float() for k, v in body.items()}
    state["embed_tokens.weight"] = torch.tensor(table)
    for (layer, linear), w in weights.items():
        block = "self_attn" if linear in LINEARS["attn"] else "mlp"
        state[f"layers.{layer}.{block}.{linear}.weight"] = torch.tensor(w)
    model.load_state_dict(state)
    return model


def fnv1a(data):
    """64-bit FNV-1a: a checksum of a few lines in any language."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def check(path, config, body, texts):
    """Writes the goldens of a file; gives the lines of weights.jsonl."""
    model = onnx.load(path)
    weights, table = dequantized(model)
    reference = torch_model(config, body, weights, table)
    rows = [{"ids": ids, "hidden": numbers(last_hidden(reference, ids))} for ids in texts]
    write_jsonl(f"tiny-quantized/{path.stem}.jsonl", rows)
    answers = [run_onnx(path, row["ids"]) for row in rows]
    diff = max(float(np.abs(a - np.float32(row["hidden"])).max()) for a, row in zip(answers, rows))
    cosine = min(float(a @ h / np.linalg.norm(a) / np.linalg.norm(h)) for a, h in zip(answers, [np.float32(r["hidden"]) for r in rows]))
    print(f"{path.name}: {path.stat().st_size} bytes; ONNX Runtime differs by {diff:.2e}, least cosine {cosine:.6f}")
    if any(n.op_type == "MatMulInteger" for n in model.graph.node):
        assert cosine > 0.98  # ONNX Runtime quantizes activations too
    else:
        assert diff < (2e-2 if "f16" in path.stem else 2e-5)
    return [{"file": path.name, "layer": layer, "linear": linear, "out_features": w.shape[0], "in_features": w.shape[1],
             "head": numbers(w[0, :4]), "fnv1a": fnv1a(w.tobytes())} for (layer, linear), w in sorted(weights.items())] + [
        {"file": path.name, "linear": "embed_tokens", "out_features": table.shape[0], "in_features": table.shape[1],
         "head": numbers(table[0, :4]), "fnv1a": fnv1a(table.tobytes())}]


def main():
    torch.set_num_threads(2)
    config = {**CONFIG, "num_hidden_layers": LAYERS, "max_window_layers": LAYERS, "max_position_embeddings": 64}
    body = {k: v for k, v in make_tiny.random_weights().items()
            if k != "lm_head.weight" and not re.match(rf"model\.layers\.[{LAYERS}-9]\.", k)}
    path = make_tiny.write_directory("tiny-quantized", config, make_tiny.make_tokenizer(), body)
    (path / "onnx").mkdir()

    def graph(builder, dtype, cast=False):
        model = build(builder, path, dtype)
        rename_output(model.graph, cast)
        return model
    def f32():
        return graph(MultiHeadAttentionModel, onnx_ir.DataType.FLOAT)
    models = {
        "int8": dynamic(f32()),
        "uint8": dynamic(f32(), kind=QuantType.QUInt8),
        "int8_per_channel": dynamic(f32(), per_channel=True),
        "q4": nbits(f32()),
        "q4_table": nbits(f32(), block_size=16, table=True),
        "q8_table": byte_table(nbits(f32(), block_size=16)),
        "q4f16": nbits(graph(MultiHeadAttentionModel, onnx_ir.DataType.FLOAT16, cast=True)),
        "bnb4": bnb4(f32()),
        "mixed": mixed(f32()),
        "gqa": gqa(graph(Qwen3Model, onnx_ir.DataType.FLOAT)),
    }
    (path / "model.safetensors").unlink()
    half = {k: v.half() for k, v in body.items()}
    rng = np.random.default_rng(11)
    # 8 bits make zeros of every fifth embedding, and a text of nothing else has no direction: each text ends in another.
    texts = [rng.integers(0, CONFIG["vocab_size"], n - 1).tolist() + [7] for n in LENGTHS]
    rows = []
    for name, model in models.items():
        file = path / f"onnx/model_{name}.onnx"
        onnx.save(strip(model), file)
        rows += check(file, config, half if name == "q4f16" else body, texts)
    write_jsonl("tiny-quantized/weights.jsonl", rows)
    print(f"tiny-quantized: {sum(f.stat().st_size for f in pathlib.Path(path).glob('**/*') if f.is_file())} bytes")


if __name__ == "__main__":
    main()
