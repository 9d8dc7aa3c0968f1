#!/usr/bin/env python3
"""Writes the built-in model in the eight forms that the published models have, for the tests of `akidb-embed verify`.

Needs:  onnx, onnx_ir, onnxruntime, sympy
Usage:  make_mini_variants.py [DIR]      DIR defaults to target/variants/akidb-mini

ONNX Runtime's own quantizers write the files, with the recipes of the published ones.
"""

import json
import logging
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

logging.disable(logging.WARNING)  # the quantizers name every node

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "models" / "akidb-mini"
TARGET = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "target" / "variants" / "akidb-mini"


def widen(tensor):
    """The tensor in f32 where it is in f16."""
    if tensor.data_type == TensorProto.FLOAT16:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def rotary_tables(positions):
    """cos and sin in f32: the file's own are rounded to f16."""
    config = json.loads((SOURCE / "config.json").read_text())
    half = config["head_dim"] // 2
    angles = np.outer(np.arange(positions), config["rope_theta"] ** (-np.arange(half) / half))
    return {"cos_cache": np.cos(angles), "sin_cache": np.sin(angles)}


def in_f32(model):
    graph = model.graph
    for tensor in graph.initializer:
        widen(tensor)
        if tensor.name in ("cos_cache", "sin_cache"):
            table = rotary_tables(tensor.dims[0])[tensor.name].astype(np.float32)
            assert np.abs(table - numpy_helper.to_array(tensor)).max() < 1e-3
            tensor.CopyFrom(numpy_helper.from_array(table, tensor.name))
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    return model


def dynamic(model, kind):
    wanted = [n.name for n in model.graph.node if n.op_type == "MatMul" or n.input[:1] == ["model.embed_tokens.weight"]]
    with tempfile.TemporaryDirectory() as tmp:
        onnx.save(model, f"{tmp}/in.onnx")
        quantize_dynamic(f"{tmp}/in.onnx", f"{tmp}/out.onnx", weight_type=kind, nodes_to_quantize=wanted,
                         extra_options=dict(EnableSubgraph=True, MatMulConstBOnly=True))
        return onnx.load(f"{tmp}/out.onnx")


def nbits(model):
    quantizer = MatMulNBitsQuantizer(model, algo_config=DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=True, bits=4))
    quantizer.process()
    return quantizer.model.model


def bnb4(model):
    quantizer = MatMulBnb4Quantizer(model, MatMulBnb4Quantizer.NF4, 64)
    quantizer.process()
    return quantizer.model.model


f16 = lambda: onnx.load(SOURCE / "onnx" / "model_fp16.onnx")
f32 = lambda: in_f32(f16())
VARIANTS = {
    "model": f32,
    "model_fp16": f16,
    "model_int8": lambda: dynamic(f32(), QuantType.QInt8),
    "model_quantized": lambda: dynamic(f32(), QuantType.QInt8),
    "model_uint8": lambda: dynamic(f32(), QuantType.QUInt8),
    "model_q4": lambda: nbits(f32()),
    "model_q4f16": lambda: nbits(f16()),
    "model_bnb4": lambda: bnb4(f32()),
}

shutil.copytree(SOURCE, TARGET, ignore=shutil.ignore_patterns("onnx"), dirs_exist_ok=True)
(TARGET / "onnx").mkdir(exist_ok=True)
for name, make in VARIANTS.items():
    onnx.save(make(), TARGET / "onnx" / f"{name}.onnx")
    print(f"{name}.onnx: {(TARGET / 'onnx' / f'{name}.onnx').stat().st_size / 1e6:.1f} MB")
