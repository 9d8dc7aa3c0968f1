"""Rows: files that change while they are mapped, and weights that overflow."""

import json
import os
import shutil
import struct

from .clients import message, post
from .harness import MINI, TINY, row

# Tokens from all over the vocabulary.
TEXT = "red shoes, zygote 日本語 👍 naïve Übermut quixotic"


def ask(server, name="changed"):
    answer = post(server, "/v1/embeddings", {"input": TEXT, "model": name}, timeout=20)
    vector = json.loads(answer.body)["data"][0]["embedding"] if answer.status == 200 else None
    return answer, vector


def truncated(path):
    """As `cp` does for a moment: the file is there, and shorter."""
    os.truncate(path, 4096)


def overwritten(path):
    """As `cp` of another model of the same size: all in place."""
    with open(path, "r+b") as file:
        size = path.stat().st_size
        file.seek(size // 4)
        file.write(bytes(size // 2))


def renamed(path):
    """As it should be done."""
    new = path.with_suffix(".new")
    new.write_bytes(bytes(path.stat().st_size))
    new.rename(path)


def changed(setup, what, change, of_pack, must_name):
    """Serves a model, changes a file of it, and asks again."""
    directory = setup.directory / what.replace(" ", "-").replace(",", "")
    model = directory / "model"
    shutil.copytree(MINI, model)
    cache = directory / "cache"
    os.environ["AKIDB_CACHE_DIR"] = str(cache) if of_pack else ""
    models = ("--model", "akidb-mini", "--model", f"changed={model}", "--precision", "f32")
    if of_pack:
        # Made now, mapped by the server.
        setup.akidb("embed", TEXT, "--model", model, "--precision", "f32")
    with setup.serve(models=models) as server:
        _, before = ask(server)
        assert before, server.log()
        packs = sorted(cache.rglob("*.akidbpack"), key=lambda pack: pack.stat().st_mtime)
        file = packs[0] if of_pack else next(model.rglob("*.onnx"))
        change(file)
        answer, after = ask(server)
        why, same = message(answer), after == before
        shown = f"{answer.status or answer.error}{', the same vector' if same else ''} {why[:120]}"
        if after and not same:
            shown = f"{answer.status}, another vector"
        holds = same if not must_name else (same or (after is None and answer.status is not None))
        server.check(f"{what}", shown.replace(str(directory), "…"), holds)
        if must_name and not same:
            named = file.name in why or file.name in server.log()
            server.check(f"{what}: its name is said", "yes" if named else "no", named)
        other = ask(server, "akidb-mini")[0]
        server.check(f"{what}: another model", other.status or other.error, other.status == 200)


@row(
    "weights or pack truncated or overwritten while mapped",
    "a file that changes is noticed before a pass, and named; renaming over it is fine",
    seconds=120,
)
def truncated_files(setup):
    changed(setup, "weights truncated", truncated, False, True)
    changed(setup, "weights overwritten", overwritten, False, True)
    changed(setup, "weights renamed over", renamed, False, False)
    changed(setup, "pack truncated", truncated, True, True)
    changed(setup, "pack overwritten", overwritten, True, True)


def scaled(weights, tensor, factor):
    """safetensors whose f32 tensor is so many times as large."""
    length = struct.unpack_from("<Q", weights)[0]
    entry = json.loads(weights[8 : 8 + length])[tensor]
    assert entry["dtype"] == "F32"
    start, end = (8 + length + offset for offset in entry["data_offsets"])
    values = struct.unpack(f"<{(end - start) // 4}f", weights[start:end])
    return weights[:start] + struct.pack(f"<{len(values)}f", *(v * factor for v in values)) + weights[end:]


@row("overflowing weights give all-zero vectors with status 0", "refused as not finite", seconds=30)
def overflow(setup):
    weights = (TINY / "model.safetensors").read_bytes()
    for tensor, factor in [
        ("model.embed_tokens.weight", 1e28),
        ("model.layers.2.mlp.down_proj.weight", 1e30),
        ("model.norm.weight", 3e37),
    ]:
        model = setup.directory / tensor
        shutil.copytree(TINY, model, ignore=shutil.ignore_patterns("*.onnx", "*.safetensors"))
        (model / "model.safetensors").write_bytes(scaled(weights, tensor, factor))
        done = setup.akidb("embed", TEXT, "--model", model, "--format", "json")
        error = done.stderr.decode(errors="replace").strip().splitlines()
        shown = f"status {done.returncode}: {' '.join(error)[:140]}"
        holds = done.returncode == 1 and b"not finite" in done.stdout + done.stderr
        if done.returncode == 0:
            vector = json.loads(done.stdout)["data"][0]["embedding"]
            length = sum(x * x for x in vector) ** 0.5
            shown = f"status 0, a vector of length {length:.3f}"
            # Of numbers that didn't overflow a vector may well be made.
            holds = abs(length - 1) < 1e-3
        setup.check(f"{tensor} × {factor:g}", shown.replace(str(model), "…"), holds)
