"""Row: small ONNX files whose tensors are huge."""

import shutil

from .attacked import SLACK_MB, Bystander
from .clients import message, post
from .harness import TINY, row
from .tokenizers import BESIDE, limited

WIDTH, VOCABULARY = 28, 300
# 2^32 elements: 17 GB of f32.
SIDE = 65_536


def graph(operator, computed):
    """Token ids to hidden states, with a huge tensor on the way; its shape is a constant, or is computed."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], {}

    def constant(name, values, dtype=np.int64):
        constants[name] = np.array(values, dtype)
        return name

    def op(kind, *inputs, **attributes):
        output = f"{kind}_{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    table = np.linspace(-1, 1, VOCABULARY * WIDTH, dtype=np.float32).reshape(VOCABULARY, WIDTH)
    hidden = op("Gather", constant("table", table, np.float32), "input_ids")
    shape = constant("shape", [SIDE, SIDE])
    count = constant("count", SIDE * SIDE)
    if computed:
        # 1 for the batch of one text, times the sides.
        batch = op("Gather", op("Shape", "input_ids"), constant("first", 0))
        shape, count = op("Mul", shape, batch), op("Mul", count, batch)
    if operator == "ConstantOfShape":
        huge = op("ConstantOfShape", shape)
    elif operator == "Expand":
        huge = op("Expand", constant("small", [[1.0]], np.float32), shape)
    elif operator == "Tile":
        huge = op("Tile", constant("small", [[1.0]], np.float32), shape)
    else:
        numbers = op("Range", constant("from", 0), count, constant("step", 1))
        huge = op("Unsqueeze", op("Cast", numbers, to=TensorProto.FLOAT), constant("axis", [0]))
    total = op("ReduceSum", huge, keepdims=0)
    nodes.append(helper.make_node("Add", [hidden, total], ["last_hidden_state"], name="sum"))
    tokens = ["batch", "sequence"]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, tokens) for n in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*tokens, WIDTH])
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "huge", inputs, [output], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@row(
    "ONNX of 35 kB on RTen: ConstantOfShape, Expand, Range, Tile of a huge shape",
    "shapes are evaluated against the memory budget before running; others go on",
    seconds=200,
    packages=("onnx", "numpy"),
)
def onnx_shapes(setup):
    program = limited(setup)
    for operator in ["ConstantOfShape", "Expand", "Range", "Tile"]:
        for computed in [False, True]:
            what = f"{operator}, {'computed' if computed else 'constant'}"
            model = setup.directory / f"{operator}-{computed}"
            shutil.copytree(TINY, model, ignore=shutil.ignore_patterns("*.safetensors", "*.onnx"))
            path = model / "onnx/model.onnx"
            path.write_bytes(graph(operator, computed).SerializeToString())
            assert path.stat().st_size < 40_000
            config = setup.directory / "settings.toml"
            config.write_text(
                '[[model]]\nname = "akidb-mini"\nmodel = "akidb-mini"\n'
                f'[[model]]\nname = "bad"\nmodel = "{model}"\nbackend = "rten"\n'
            )
            with setup.serve("--config", str(config), models=(), program=program) as server:
                with server.memory(512 + SLACK_MB, f"{what}: memory"), Bystander(server) as bystander:
                    answer = post(server, "/v1/embeddings", {"input": "a quick fox", "model": "bad"}, timeout=20)
                shown = f"{answer.status or answer.error} after {answer.seconds:.1f} s {message(answer)[:100]}"
                server.check(f"{what}: refused", shown, answer.status in (400, 424, 500, 501))
                bystander.check(BESIDE)
