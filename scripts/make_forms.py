"""Models of 8 columns, each in a form that some published model has: crates/akidb-testing/fixtures/forms.

Goldens are ONNX Runtime's: crates/akidb-testing/goldens/forms.jsonl. Weights are seeded; needs numpy,
onnx, onnxruntime, tokenizers. As transformers does, a text is tokenized by tokenizer.json, its blanks
kept.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

ROOT = Path(__file__).parent.parent / "crates/akidb-testing"
FORMS = ROOT / "fixtures/forms"
W = 8
WORDS = "how do i resume a download continue an interrupted transfer bake chocolate cake the".split()
TEXTS = ["bake a cake", "how do I resume an interrupted download", "the", "Bake  the CAKE "]

INT, FLOAT = T.INT64, T.FLOAT
IDS = ("input_ids", INT, ["b", "s"])
MASK = ("attention_mask", INT, ["b", "s"])
H3, H2 = ["b", "s", W], ["b", W]


def node(op, inputs, output, **attributes):
    return h.make_node(op, inputs, [output], **attributes)


def constant(name, values, dtype=np.float32):
    return nh.from_array(np.array(values, dtype), name)


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def tokenizer(path, special=True, extra=(), cased=False):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + WORDS
    vocab = {word: i for i, word in enumerate(words)}
    t = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if special:
        ends = [("[CLS]", 2), ("[SEP]", 3)]
        t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    t.add_special_tokens(words[:4])
    t.add_special_tokens(list(extra))
    t.save(str(path))
    return t, len(vocab)


def write(directory, name, value, encoding="utf-8"):
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value) + "\n", encoding)


def hidden(mask_type=INT):
    """hidden[b, s, w] = table[ids] · mask"""
    cast = [node("Cast", ["attention_mask"], "mf", to=FLOAT)]
    mask = "attention_mask" if mask_type == FLOAT else "mf"
    return ([] if mask_type == FLOAT else cast) + [
        node("Gather", ["table", "input_ids"], "e"),
        node("Unsqueeze", [mask, "ax2"], "m3"),
        node("Mul", ["e", "m3"], "hidden"),
    ]


MEAN = [
    node("ReduceSum", ["hidden", "ax1"], "hs", keepdims=0),
    node("ReduceSum", ["m3", "ax1"], "ms", keepdims=0),
    node("Div", ["hs", "ms"], "mean"),
]
DENSE = node("MatMul", ["mean", "dense"], "sentence_embedding")


def graph(directory, rows, nodes, outputs, inputs=(IDS, MASK), constants=()):
    value = h.make_tensor_value_info
    axes = [constant("ax1", [1], np.int64), constant("ax2", [2], np.int64)]
    weights = [nh.from_array(random(1, rows, W), "table"), *axes, *constants]
    used = {name for n in nodes for name in n.input}
    g = h.make_graph(
        nodes,
        "g",
        [value(*i) for i in inputs],
        [value(*o) for o in outputs],
        [w for w in weights if w.name in used],
    )
    model = h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    (directory / "onnx").mkdir()
    onnx.save(model, directory / "onnx/model.onnx")


GOLDENS = []


class Form:
    """One model directory, and what ONNX Runtime makes of it."""

    def __init__(self, name, pooling="mean", config=None, special=True, extra=(), cased=False):
        self.name, self.pooling = name, pooling
        self.directory = FORMS / name
        self.directory.mkdir(parents=True)
        self.tokenizer, self.rows = tokenizer(
            self.directory / "tokenizer.json", special, extra, cased
        )
        base = {"model_type": "bert", "hidden_size": W, "vocab_size": self.rows, "pad_token_id": 0}
        write(self.directory, "config.json", base | {"max_position_embeddings": 64} | (config or {}))
        if pooling and special:
            write(self.directory, "1_Pooling/config.json", {"pooling_mode": pooling})

    def write(self, name, value):
        write(self.directory, name, value)

    def graph(self, nodes, outputs, **rest):
        graph(self.directory, self.rows, nodes, outputs, **rest)

    def golden(self, texts=TEXTS, output=None, prompt="", lower=False, numbers=None, **inputs):
        """`inputs` are functions of the ids; `numbers` makes numbers of the output."""
        path = self.directory / "onnx/model.onnx"
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        wanted = {i.name for i in session.get_inputs()}
        output = output or session.get_outputs()[0].name
        for text in texts:
            full = prompt + text
            ids = np.array([self.tokenizer.encode(full.lower() if lower else full).ids], np.int64)
            feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            feeds |= {name: make(ids) for name, make in inputs.items()}
            feeds = {name: value for name, value in feeds.items() if name in wanted}
            (state,) = session.run([output], feeds)
            state = numbers(state) if numbers else state
            if state.ndim == 3:
                state = state[:, : ids.shape[1]]
                state = {
                    "mean": lambda: state.mean(1),
                    "cls": lambda: state[:, 0],
                    "lasttoken": lambda: state[:, -1],
                }[self.pooling]()
            vector = [float(f"{x:.9g}") for x in state.astype(np.float32)[0]]
            line = {"form": self.name, "prompt": prompt, "text": text}
            GOLDENS.append(line | {"ids": ids[0].tolist(), "vector": vector})


def main():
    shutil.rmtree(FORMS, ignore_errors=True)
    states = ("last_hidden_state", FLOAT, H3)
    plain = hidden() + [node("Identity", ["hidden"], "last_hidden_state")]
    dense = nh.from_array(random(7, W, W), "dense")

    # A token more than the model has rows (EmbeddingGemma's image token).
    form = Form("extra-token", extra=["<image>"])
    form.graph(plain, [states])
    form.golden()

    # Dense modules that are in the graph's pooled output already.
    form = Form("dense-in-graph")
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_N", "Normalize")]
    form.write(
        "modules.json",
        [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds],
    )
    form.write("2_Dense/config.json", {"in_features": W, "out_features": W})
    form.graph(plain + MEAN + [DENSE], [states, ("sentence_embedding", FLOAT, H2)], constants=[dense])
    form.golden(output="sentence_embedding")

    # A Constant node's tensor in a file of its own, without offset and length (bge-m3).
    form = Form("constant-file", pooling="cls")
    values = constant("c", np.linspace(0.5, 1.5, W))
    tensor = onnx.TensorProto(name="c", data_type=FLOAT, dims=[W], data_location=T.EXTERNAL)
    tensor.external_data.add(key="location", value="Constant_7_attr__value")
    scaled = node("Mul", ["hidden", "cv"], "last_hidden_state")
    form.graph(hidden() + [node("Constant", [], "cv", value=tensor), scaled], [states])
    (form.directory / "onnx/Constant_7_attr__value").write_bytes(values.raw_data)
    form.golden()

    # No file says how it is pooled.
    form = Form("no-pooling", pooling=None)
    form.graph(plain, [states])
    for form.pooling in ["mean", "cls", "lasttoken"]:
        form.name = f"no-pooling {form.pooling}"
        form.golden()

    # Pooled in the graph, under a name of its own.
    form = Form("pooled-name")
    form.graph(hidden() + MEAN + [node("Identity", ["mean"], "embeddings")], [("embeddings", FLOAT, H2)])
    form.golden()

    # Two pooled outputs.
    form = Form("two-outputs", pooling=None)
    outputs = [("text", FLOAT, H2), ("query", FLOAT, H2)]
    two = [node("Identity", ["mean"], "text"), node("MatMul", ["mean", "dense"], "query")]
    form.graph(hidden() + MEAN + two, outputs, constants=[dense])
    form.golden(output="query")

    # Quantized to 8 bits.
    form = Form("uint8-output")
    codes = "sentence_embedding_quantized"
    quantize = node("QuantizeLinear", ["mean", "qs", "qz"], codes)
    scale = [constant("qs", 0.02), constant("qz", 128, np.uint8)]
    form.graph(hidden() + MEAN + [quantize], [(codes, T.UINT8, H2)], constants=scale)
    form.golden(numbers=lambda codes: (codes.astype(np.float32) - 128) * np.float32(0.02))

    # The number of an adaptation as a scalar (jina-embeddings-v3).
    names = ["separation", "retrieval.passage", "retrieval.query"]
    form = Form("task-id", config={"lora_adaptations": names})
    prompts = {"retrieval.query": "the ", "retrieval.passage": "a ", "separation": ""}
    form.write("config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})
    adapt = [node("Gather", ["adaptations", "task_id"], "t"), node("Add", ["hidden", "t"], "text_embeds")]
    form.graph(
        hidden() + adapt,
        [("text_embeds", FLOAT, H3)],
        inputs=[IDS, MASK, ("task_id", INT, [])],
        constants=[nh.from_array(random(5, 3, W), "adaptations")],
    )
    for name, prompt in prompts.items():
        task = names.index(name)
        form.name = f"task-id {name}"
        form.golden(prompt=prompt, task_id=lambda _, task=task: np.array(task, np.int64))

    # A bag of tokens: ids end to end and where each text begins (model2vec).
    form = Form("static", special=False)
    bag = [
        node("Gather", ["table", "input_ids"], "e"),
        node("Shape", ["input_ids"], "n"),
        node("Shape", ["offsets"], "texts"),
        node("Squeeze", ["n"], "total"),
        node("Range", ["zero", "total", "one"], "places"),
        node("Unsqueeze", ["places", "ax0"], "row"),
        node("Unsqueeze", ["offsets", "ax1"], "begin"),
        node("Slice", ["offsets", "ax1", "far", "ax0"], "later"),
        node("Concat", ["later", "n"], "ends", axis=0),
        node("Unsqueeze", ["ends", "ax1"], "end"),
        node("GreaterOrEqual", ["row", "begin"], "after"),
        node("Less", ["row", "end"], "before"),
        node("And", ["after", "before"], "inside"),
        node("Cast", ["inside"], "weights", to=FLOAT),
        node("MatMul", ["weights", "e"], "sums"),
        node("ReduceSum", ["weights", "ax1"], "counts", keepdims=1),
        node("Div", ["sums", "counts"], "embeddings"),
    ]
    form.graph(
        bag,
        [("embeddings", FLOAT, H2)],
        inputs=[("input_ids", INT, ["n"]), ("offsets", INT, ["b"])],
        constants=[
            constant("zero", 0, np.int64),
            constant("one", 1, np.int64),
            constant("ax0", [0], np.int64),
            constant("far", [1 << 40], np.int64),
        ],
    )
    form.golden(input_ids=lambda ids: ids[0], offsets=lambda _: np.zeros(1, np.int64))

    # One text of 16 tokens, and nothing else.
    form = Form("fixed-length", pooling="lasttoken")
    fixed = [node("Reshape", ["hidden", "fix"], "r"), node("Reshape", ["r", "fix3"], "lhs")]
    form.graph(
        hidden() + fixed,
        [("lhs", FLOAT, [1, 16, W])],
        inputs=[("input_ids", INT, [1, 16]), ("attention_mask", INT, [1, 16])],
        constants=[constant("fix", [16, W], np.int64), constant("fix3", [1, 16, W], np.int64)],
    )

    def pad(value):
        return lambda ids: np.pad(value(ids), ((0, 0), (0, 16 - ids.shape[1])))

    form.golden(input_ids=pad(lambda ids: ids), attention_mask=pad(np.ones_like))

    # sentence_bert_config.json wants lower case, which the tokenizer doesn't make.
    form = Form("lower-case", cased=True)
    form.write("sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": True})
    form.graph(plain, [states])
    form.golden(lower=True)

    # Masks of other types.
    for name, kind, dtype in [
        ("float", FLOAT, np.float32),
        ("half", T.FLOAT16, np.float16),
        ("bool", T.BOOL, np.bool_),
        ("int32", T.INT32, np.int32),
    ]:
        form = Form(f"mask-{name}")
        out = node("Identity", ["hidden"], "last_hidden_state")
        mask = ("attention_mask", kind, ["b", "s"])
        form.graph(hidden(kind) + [out], [states], inputs=[IDS, mask])
        form.golden(attention_mask=lambda ids, dtype=dtype: np.ones(ids.shape, dtype))

    # Every JSON file begins with a byte order mark.
    form = Form("bom")
    form.write("config_sentence_transformers.json", {"prompts": {"search_query": "how "}})
    form.graph(plain, [states])
    for path in form.directory.rglob("*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    form.golden()
    form.golden(prompt="how ")

    with open(ROOT / "goldens/forms.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in GOLDENS)


main()
