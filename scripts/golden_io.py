"""What the golden scripts share: where goldens go, how numbers are written, how a reference vector is computed."""

import json
import pathlib

import numpy as np
import torch

CRATE = pathlib.Path(__file__).resolve().parent.parent / "crates" / "akidb-testing"
GOLDENS = CRATE / "goldens"
FIXTURES = CRATE / "fixtures"


def numbers(values):
    """f32 values with 9 significant digits, which give back exactly the same f32."""
    out = [float(f"{v:.9g}") for v in np.asarray(values, np.float32).tolist()]
    assert np.array_equal(np.float32(out), np.asarray(values, np.float32))
    return out


def write_jsonl(name, rows):
    path = GOLDENS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(rows)} lines, {path.stat().st_size} bytes")


@torch.inference_mode()
def last_hidden(model, ids):
    """The last token's hidden state after the final norm; one text alone, no padding."""
    batch = torch.tensor([ids])
    return model(input_ids=batch, attention_mask=torch.ones_like(batch), use_cache=False).last_hidden_state[0, -1]


def unit(vector):
    """L2-normalised, computed in f64, as f32."""
    v = vector.double()
    return (v / v.norm()).float()
