#!/usr/bin/env python3
"""Writes fixtures/tiny-opset23, the model `tiny` in ONNX's own operators of opset 23, and the goldens of its quantized file
(goldens/tiny-opset23/).

Needs:  what make_tiny.py needs, and fixtures/tiny
Usage:  make_tiny_opset23.py

  model.onnx      f32. Attention, RotaryEmbedding and RMSNormalization, no operator of ONNX Runtime's. Layer 0 works on
                  [batch, seq, heads * head_dim]; layers 1 and 2 on [batch, heads, seq, head_dim], with q, k and v of one product;
                  the norm of heads comes before the transposition in layer 1, after it in layer 2. Layer 0 gives RotaryEmbedding
                  the positions, the others rows of the tables. Padding is masked by booleans, the future by is_causal.
  model_qdq.onnx  the same, each linear layer behind DequantizeLinear in another form: int8 and uint8 with one scale or one for
                  each output or input, int4 and uint4 in blocks along the inputs, stored either way round; two of them by ONNX
                  Runtime's own quantizer.

Both are checked by onnx.checker with all shapes, and run by ONNX Runtime against PyTorch's hidden states.
"""

import json

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from onnxruntime.quantization.quant_utils import QuantFormat
from safetensors.numpy import load_file

import make_tiny
from golden_io import FIXTURES, GOLDENS, last_hidden, numbers, write_jsonl
from make_tiny import CONFIG, run_onnx, verify
from make_tiny_quantized import fnv1a

HEADS, KV, DIM = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"], CONFIG["head_dim"]
LAYERS, EPSILON = CONFIG["num_hidden_layers"], CONFIG["rms_norm_eps"]
LENGTHS = [1, 2, 5, 16, 33, 64]


class Graph:
    def __init__(self):
        self.nodes, self.initializers = [], {}

    def op(self, op_type, inputs, outputs=None, **attributes):
        names = outputs or [f"{op_type}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(op_type, inputs, names, **attributes))
        return names[0]

    def constant(self, name, value):
        self.initializers.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def ints(self, *values):
        return self.constant("i" + "_".join(map(str, values)), np.int64(values))


def rotary_tables():
    """In f32 throughout, as transformers computes them."""
    frequency = 1.0 / CONFIG["rope_theta"] ** (torch.arange(0, DIM, 2).float() / DIM)
    angles = torch.outer(torch.arange(CONFIG["max_position_embeddings"]).float(), frequency)
    return angles.cos().numpy(), angles.sin().numpy()


class Decoder(Graph):
    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def norm(self, value, name):
        return self.op("RMSNormalization", [value, self.constant(name, self.weights[name])], axis=-1, epsilon=EPSILON)

    def linear(self, value, name, *names):
        """Hugging Face stores [out, in]; several weights make one product."""
        weight = np.concatenate([self.weights[n] for n in (names or (name,))]).T
        return self.op("MatMul", [value, self.constant(name, weight)])

    def rotary(self, value, by_position, **attributes):
        if by_position:
            return self.op("RotaryEmbedding", [value, "cos", "sin", "position_ids"], **attributes)
        return self.op("RotaryEmbedding", [value, "cos_rows", "sin_rows"], **attributes)

    def swap(self, value):
        return self.op("Transpose", [value], perm=[0, 2, 1, 3])

    def attention_of_tokens(self, p, x, past, present):
        def head(name, heads):
            y = self.op("Reshape", [self.linear(x, p + name + "_proj.weight"), self.ints(0, 0, heads, DIM)])
            y = self.op("Reshape", [self.norm(y, p + name + "_norm.weight"), self.ints(0, 0, heads * DIM)])
            return self.rotary(y, True, num_heads=heads)
        v = self.linear(x, p + "v_proj.weight")
        return self.op("Attention", [head("q", HEADS), head("k", KV), v, "mask", *past], present,
                       is_causal=1, q_num_heads=HEADS, kv_num_heads=KV)

    def attention_of_heads(self, p, x, past, present, norm_first):
        qkv = self.linear(x, p + "qkv_proj.weight", *(f"{p}{n}_proj.weight" for n in "qkv"))
        parts = [f"{p}{n}" for n in "qkv"]
        self.op("Split", [qkv, self.ints(HEADS * DIM, KV * DIM, KV * DIM)], parts, axis=-1)
        q, k, v = (self.op("Reshape", [part, self.ints(0, 0, -1, DIM)]) for part in parts)
        def head(y, name):
            if norm_first:
                y = self.swap(self.norm(y, p + name + "_norm.weight"))
            else:
                y = self.norm(self.swap(y), p + name + "_norm.weight")
            return self.rotary(y, False)
        y = self.op("Attention", [head(q, "q"), head(k, "k"), self.swap(v), "mask", *past], present,
                    is_causal=1, scale=DIM**-0.5, softcap=0.0)
        return self.op("Reshape", [self.swap(y), self.ints(0, 0, HEADS * DIM)])

    def layer(self, i, x):
        p = f"model.layers.{i}."
        past = [f"past_key_values.{i}.{kind}" for kind in ("key", "value")]
        present = [f"attended.{i}", f"present.{i}.key", f"present.{i}.value"]
        y = self.norm(x, p + "input_layernorm.weight")
        if i == 0:
            y = self.attention_of_tokens(p + "self_attn.", y, past, present)
        else:
            y = self.attention_of_heads(p + "self_attn.", y, past, present, norm_first=i == 1)
        x = self.op("Add", [x, self.linear(y, p + "self_attn.o_proj.weight")])
        y = self.norm(x, p + "post_attention_layernorm.weight")
        gate, up = self.linear(y, p + "mlp.gate_proj.weight"), self.linear(y, p + "mlp.up_proj.weight")
        gate = self.op("Mul", [gate, self.op("Sigmoid", [gate])])
        return self.op("Add", [x, self.linear(self.op("Mul", [gate, up]), p + "mlp.down_proj.weight")])

    def build(self):
        for name, table in zip(("cos", "sin"), rotary_tables()):
            self.constant(name, table)
            self.op("Gather", [name, "position_ids"], [name + "_rows"], axis=0)
        tokens = self.op("Cast", ["attention_mask"], to=TensorProto.BOOL)
        # ONNX Runtime wants the mask as long as the queries, though it broadcasts by the specification.
        shape = self.op("Concat", [self.ints(1, 1), self.op("Shape", ["input_ids"], start=1, end=2), self.ints(1)], axis=0)
        self.op("Expand", [self.op("Unsqueeze", [tokens, self.ints(1, 2)]), shape], ["mask"])
        x = self.op("Gather", [self.constant("model.embed_tokens.weight", self.weights["model.embed_tokens.weight"]), "input_ids"])
        for i in range(LAYERS):
            x = self.layer(i, x)
        weight = self.constant("model.norm.weight", self.weights["model.norm.weight"])
        self.op("RMSNormalization", [x, weight], ["last_hidden_state"], epsilon=EPSILON)

        def info(name, shape, kind=TensorProto.FLOAT):
            return helper.make_tensor_value_info(name, kind, shape)
        cache = [(i, kind) for i in range(LAYERS) for kind in ("key", "value")]
        inputs = [info("input_ids", ["batch", "seq"], TensorProto.INT64), info("attention_mask", ["batch", "total"], TensorProto.INT64),
                  info("position_ids", ["batch", "seq"], TensorProto.INT64)]
        inputs += [info(f"past_key_values.{i}.{kind}", ["batch", KV, "past", DIM]) for i, kind in cache]
        outputs = [info("last_hidden_state", ["batch", "seq", CONFIG["hidden_size"]])]
        outputs += [info(f"present.{i}.{kind}", ["batch", KV, "total", DIM]) for i, kind in cache]
        graph = helper.make_graph(self.nodes, "tiny", inputs, outputs, list(self.initializers.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11, producer_name="make_tiny_opset23")


# ---- quantized: each form takes a weight [in, out] and gives codes, scales, zero points, axis, block size ----

def quantize(weight, low, high, axes, symmetric):
    """Codes, scales and zero points, with one scale along `axes`."""
    top, bottom = np.maximum(weight.max(axes, keepdims=True), 0), np.minimum(weight.min(axes, keepdims=True), 0)
    if symmetric:
        scale = (np.maximum(top, -bottom) / high).astype(np.float32)
        zero = np.zeros_like(scale)
    else:
        scale = ((top - bottom) / (high - low)).astype(np.float32)
        zero = np.rint(low - bottom / scale)
    codes = np.clip(np.rint(weight / scale) + zero, low, high)
    return codes, scale, zero


RANGES = {TensorProto.INT8: (-128, 127), TensorProto.UINT8: (0, 255), TensorProto.INT4: (-8, 7), TensorProto.UINT4: (0, 15)}


def dequantize_linear(model, name, dtype, axis=None, block_size=0, turned=False, symmetric=False):
    """Puts initializer `name`, [in, out], behind a DequantizeLinear; `axis` counts those of the stored weight."""
    graph = model.graph
    stored = next(t for t in graph.initializer if t.name == name)
    weight = numpy_helper.to_array(stored)
    graph.initializer.remove(stored)
    weight = weight.T if turned else weight
    low, high = RANGES[dtype]
    if block_size:
        length = weight.shape[axis]
        parts = [quantize(part, low, high, axis, symmetric)
                 for part in np.split(weight, range(block_size, length, block_size), axis)]
        codes, scale, zero = (np.concatenate([p[i] for p in parts], axis) for i in range(3))
    else:
        axes = None if axis is None else 1 - axis
        codes, scale, zero = quantize(weight, low, high, axes, symmetric)
        scale, zero = (v.reshape(() if axis is None else -1) for v in (scale, zero))
    def tensor(suffix, values):
        values = np.asarray(values).astype(helper.tensor_dtype_to_np_dtype(dtype))
        graph.initializer.append(numpy_helper.from_array(values, name + suffix))
        return name + suffix
    inputs = [tensor("_quantized", codes), name + "_scale"]
    graph.initializer.append(numpy_helper.from_array(scale, inputs[1]))
    if not symmetric:
        inputs.append(tensor("_zero_point", zero))
    attributes = {} if axis is None else {"axis": axis}
    if block_size:
        attributes["block_size"] = block_size
    nodes = [helper.make_node("DequantizeLinear", inputs, [name + "_dequantized"], **attributes)]
    if turned:
        nodes.append(helper.make_node("Transpose", [name + "_dequantized"], [name + "_turned"], perm=[1, 0]))
    index = next(i for i, n in enumerate(graph.node) if n.op_type == "MatMul" and n.input[1] == name)
    graph.node[index].input[1] = nodes[-1].output[0]
    for node in reversed(nodes):
        graph.node.insert(index, node)


def by_onnx_runtime(model, name, **form):
    """4 bits in blocks along the inputs, as ONNX Runtime's quantizer writes them without its own operators."""
    for node in model.graph.node:
        node.name = node.output[0]
    wanted = next(n.name for n in model.graph.node if n.op_type == "MatMul" and n.input[1] == name)
    config = DefaultWeightOnlyQuantConfig(quant_format=QuantFormat.QDQ, **form)
    skipped = [n.name for n in model.graph.node if n.op_type == "MatMul" and n.name != wanted]
    quantizer = MatMulNBitsQuantizer(model, nodes_to_exclude=skipped, algo_config=config)
    quantizer.process()
    return quantizer.model.model


def quantized(model):
    i8, u8, i4, u4 = TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4
    forms = {
        "0.self_attn.q_proj": dict(dtype=i8, symmetric=True),
        "0.self_attn.k_proj": dict(dtype=u8, axis=1),
        "0.self_attn.v_proj": dict(dtype=i8, axis=0),
        "0.self_attn.o_proj": dict(dtype=i4, axis=0, block_size=32, symmetric=True),
        "0.mlp.gate_proj": dict(dtype=u4, axis=0, block_size=16),
        "0.mlp.up_proj": dict(dtype=u4, axis=1, block_size=16, turned=True),
        "1.self_attn.qkv_proj": dict(dtype=i8, axis=1, symmetric=True),
        "1.self_attn.o_proj": dict(dtype=u8, axis=0, turned=True),
        "1.mlp.gate_proj": dict(dtype=i8, axis=0, block_size=10),
        "1.mlp.up_proj": dict(dtype=i4, axis=1, block_size=64, turned=True, symmetric=True),
        "1.mlp.down_proj": dict(dtype=i4, axis=1),
        "2.self_attn.qkv_proj": dict(dtype=u4, axis=0, block_size=32),
        "2.self_attn.o_proj": dict(dtype=u8),
        "2.mlp.gate_proj": dict(dtype=u8, turned=True),
        "2.mlp.up_proj": dict(dtype=u8, axis=1, block_size=7, turned=True),
    }  # 0.mlp.down_proj is ONNX Runtime's, 2.mlp.down_proj as well
    for name, form in forms.items():
        dequantize_linear(model, f"model.layers.{name}.weight", **form)
    model = by_onnx_runtime(model, "model.layers.0.mlp.down_proj.weight", block_size=16, is_symmetric=True)
    return by_onnx_runtime(model, "model.layers.2.mlp.down_proj.weight", block_size=32, is_symmetric=False)


def dequantized(model):
    """Hugging Face names → f32 [out, in], by numpy from the operator's definition."""
    tensors = {t.name: t for t in model.graph.initializer}
    producers = {n.output[0]: n for n in model.graph.node}
    weights = {}
    for node in model.graph.node:
        if node.op_type != "MatMul":
            continue
        source = producers[node.input[1]]
        turned = source.op_type == "Transpose"
        source = producers[source.input[0]] if turned else source
        a = {x.name: helper.get_attribute_value(x) for x in source.attribute}
        codes, scale, *zero = (numpy_helper.to_array(tensors[i]).astype(np.float32) for i in source.input if i)
        zero = zero[0] if zero else np.zeros_like(scale)
        axis, size = a.get("axis", 1), a.get("block_size", 0)
        if size:
            scale, zero = (np.repeat(v, size, axis).take(np.arange(codes.shape[axis]), axis) for v in (scale, zero))
        elif scale.ndim == 1:
            scale, zero = (np.expand_dims(v, 1 - axis) for v in (scale, zero))
        weight = (codes - zero) * scale
        assert weight.dtype == np.float32
        weight = np.ascontiguousarray(weight if turned else weight.T)
        name = next(n for n in LINEARS if source.input[0].startswith(n))
        if "qkv" in name:
            for part, rows in zip("qkv", np.split(weight, [HEADS * DIM, (HEADS + KV) * DIM])):
                weights[name.replace("qkv", part)] = np.ascontiguousarray(rows)
        else:
            weights[name] = weight
    assert len(weights) == 7 * LAYERS
    return weights


LINEARS = [f"model.layers.{i}.{n}_proj.weight" for i in range(LAYERS)
           for n in ("self_attn.qkv", "self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down")]


def main():
    torch.set_num_threads(2)
    weights = load_file(FIXTURES / "tiny/model.safetensors")
    path = make_tiny.write_directory("tiny-opset23", CONFIG, make_tiny.make_tokenizer())
    (path / "onnx").mkdir()

    def save(model, name):
        onnx.checker.check_model(model, full_check=True)
        assert {o.domain for o in model.opset_import if any(n.domain == o.domain for n in model.graph.node)} == {""}
        onnx.save(model, path / "onnx" / name)
        return path / "onnx" / name

    model = Decoder(weights).build()
    goldens = [json.loads(line) for line in (GOLDENS / "tiny.jsonl").read_text().splitlines()]
    verify(save(model, "model.onnx"), goldens, 1e-5)

    model = quantized(model)
    changed = dequantized(model)
    reference = make_tiny.torch_model({k: torch.tensor(v) for k, v in {**weights, **changed}.items()})
    rng = np.random.default_rng(23)
    rows = [{"ids": ids, "hidden": numbers(last_hidden(reference, ids))}
            for ids in (rng.integers(0, CONFIG["vocab_size"], n).tolist() for n in LENGTHS)]
    file = save(model, "model_qdq.onnx")
    # Optimized, ONNX Runtime would quantize activations, too.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    run_onnx.sessions[file] = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    verify(file, rows, 1e-5)
    write_jsonl("tiny-opset23/model_qdq.jsonl", rows)
    write_jsonl("tiny-opset23/weights.jsonl", [
        {"file": "model_qdq.onnx", "layer": int(name.split(".")[2]), "linear": name.split(".")[4], "out_features": w.shape[0],
         "in_features": w.shape[1], "head": numbers(w[0, :4]), "fnv1a": fnv1a(w.tobytes())} for name, w in sorted(changed.items())])
    print(f"tiny-opset23: {sum(f.stat().st_size for f in path.glob('**/*') if f.is_file())} bytes")


if __name__ == "__main__":
    main()
