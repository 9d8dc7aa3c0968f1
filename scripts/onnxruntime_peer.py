"""ONNX Runtime on a decoder's ONNX file: what the measuring scripts compare with."""

import json
import pathlib

import numpy as np
import onnxruntime

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def file_of(model_dir, variant):
    """The file of a variant as published repositories name it: "int8" is onnx/model_int8.onnx."""
    return pathlib.Path(model_dir) / "onnx" / ("model.onnx" if variant == "f32" else f"model_{variant}.onnx")


def read_config(model_dir):
    return json.loads((pathlib.Path(model_dir) / "config.json").read_text(encoding="utf-8"))


class Peer:
    """A session on the CPU. Only the hidden states are asked for, so that no key/value output is copied."""

    def __init__(self, model, config, threads, folder=None):
        """`model` is a path, or the bytes of a graph whose external data lies in `folder`."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        if folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        model = model if isinstance(model, bytes) else str(model)
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.output = self.session.get_outputs()[0].name
        self.head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]

    def feeds(self, texts):
        """The inputs for texts of token ids in one batch, padded on the right to the longest; no past."""
        lengths = np.array([len(ids) for ids in texts])
        width = int(lengths.max())
        ids = np.zeros((len(texts), width), np.int64)
        for row, text in zip(ids, texts):
            row[: len(text)] = text
        positions = np.arange(width, dtype=np.int64)
        feeds = {
            "input_ids": ids,
            "attention_mask": (positions[None] < lengths[:, None]).astype(np.int64),
            "position_ids": np.broadcast_to(positions, ids.shape).copy(),
        }
        feeds = {name: value for name, value in feeds.items() if name in self.inputs}
        for name, i in self.inputs.items():
            if name.startswith("past_key_values."):
                feeds[name] = np.zeros((len(texts), i.shape[1], 0, self.head_dim), DTYPES[i.type])
        return feeds

    def states(self, feeds):
        """The hidden states of every token, [texts, longest, hidden_size]."""
        return self.session.run([self.output], feeds)[0]

    def hidden(self, ids):
        """The hidden state of a text's last token, [hidden_size]; the text runs alone."""
        return self.states(self.feeds([ids]))[0, -1]


def with_eos(ids, eos):
    """Token ids that end with the end-of-text token, whether or not the tokenizer's revision adds it."""
    return ids if ids and ids[-1] == eos else [*ids, eos]
