#!/usr/bin/env python3
"""Writes the f32 ONNX file of all-MiniLM-L6-v2 out of its safetensors file, in plain operators of opset 17.

No published package has this file, and exporting it needs all of PyTorch; the graph is that of transformers' BertModel.

Needs:  pip install numpy onnx safetensors
Usage:  make_minilm_onnx.py MODEL_DIR      reads config.json and model.safetensors, writes onnx/model.onnx
"""

import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


class Graph:
    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], {}

    def constant(self, name, values, dtype):
        self.constants.setdefault(name, np.array(values, dtype))
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name], np.float32)

    def op(self, kind, *inputs, **attributes):
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def linear(self, x, name):
        self.constant(f"{name}.weight.T", self.weights[f"{name}.weight"].T, np.float32)
        return self.op("Add", self.op("MatMul", x, f"{name}.weight.T"), self.weight(f"{name}.bias"))

    def norm(self, x, name, epsilon):
        return self.op("LayerNormalization", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), epsilon=epsilon)

    def gelu(self, x):
        scaled = self.op("Mul", x, self.constant("sqrt_half", 0.5**0.5, np.float32))
        erf = self.op("Add", self.op("Erf", scaled), self.constant("one", 1, np.float32))
        return self.op("Mul", self.op("Mul", x, erf), self.constant("half", 0.5, np.float32))


def bert(config, weights):
    g = Graph(weights)
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head_dim, epsilon = hidden // heads, config["layer_norm_eps"]

    length = g.op("Gather", g.op("Shape", "input_ids"), g.constant("1", [1], np.int64))
    zero = g.constant("0", [0], np.int64)
    positions = g.op("Slice", g.weight("embeddings.position_embeddings.weight"), zero, length, zero)
    words = g.op("Gather", g.weight("embeddings.word_embeddings.weight"), "input_ids")
    segments = g.op("Gather", g.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    x = g.norm(g.op("Add", g.op("Add", words, segments), positions), "embeddings.LayerNorm", epsilon)

    hidden_by = g.op("Sub", g.constant("one", 1, np.float32), g.op("Cast", "attention_mask", to=TensorProto.FLOAT))
    mask = g.op("Mul", hidden_by, g.constant("lowest", np.finfo(np.float32).min, np.float32))
    mask = g.op("Unsqueeze", mask, g.constant("1 2", [1, 2], np.int64))

    split = g.constant("split", [0, 0, heads, head_dim], np.int64)
    join = g.constant("join", [0, 0, hidden], np.int64)
    scale = g.constant("scale", head_dim**-0.5, np.float32)
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        attention = f"{layer}.attention"
        q, k, v = (g.op("Reshape", g.linear(x, f"{attention}.self.{n}"), split) for n in ("query", "key", "value"))
        q, k, v = g.op("Transpose", q, perm=[0, 2, 1, 3]), g.op("Transpose", k, perm=[0, 2, 3, 1]), g.op("Transpose", v, perm=[0, 2, 1, 3])
        scores = g.op("Softmax", g.op("Add", g.op("Mul", g.op("MatMul", q, k), scale), mask), axis=-1)
        context = g.op("Reshape", g.op("Transpose", g.op("MatMul", scores, v), perm=[0, 2, 1, 3]), join)
        x = g.norm(g.op("Add", g.linear(context, f"{attention}.output.dense"), x), f"{attention}.output.LayerNorm", epsilon)
        inner = g.gelu(g.linear(x, f"{layer}.intermediate.dense"))
        x = g.norm(g.op("Add", g.linear(inner, f"{layer}.output.dense"), x), f"{layer}.output.LayerNorm", epsilon)
    g.nodes[-1].output[0] = "last_hidden_state"

    tokens = ["batch", "sequence"]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, tokens) for n in ("input_ids", "attention_mask", "token_type_ids")]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*tokens, hidden])
    constants = [numpy_helper.from_array(value, name) for name, value in g.constants.items()]
    graph = helper.make_graph(g.nodes, "bert", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main():
    directory = pathlib.Path(sys.argv[1])
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    model = bert(config, load_file(directory / "model.safetensors"))
    onnx.checker.check_model(model)
    (directory / "onnx").mkdir(exist_ok=True)
    # Renamed into place, so that a reader never sees half a file.
    part = directory / "onnx/model.onnx.part"
    onnx.save(model, part)
    part.rename(directory / "onnx/model.onnx")


if __name__ == "__main__":
    main()
