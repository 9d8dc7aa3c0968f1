"""Row: tokenizer.json files that make much of little."""

import base64
import json
import shutil

from .attacked import SLACK_MB, Bystander
from .clients import message, post, together
from .harness import TINY, row

# Address space of the server, in kB: an allocation beyond it fails as it would on a full machine.
ADDRESS_SPACE = 8_000_000
# What a request for another model may take beside it, in seconds.
BESIDE = 0.5


def limited(setup):
    """The program with less address space than the machine has."""
    program = setup.directory / "limited"
    program.write_text(f'#!/bin/sh\nulimit -v {ADDRESS_SPACE}\nexec "{setup.program}" "$@"\n')
    program.chmod(0o755)
    return program


def tokenizers_of(text):
    """By name: what is changed in a tokenizer.json, and the text that it is given."""
    doubled = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    # A trie of 2^32 - 4 bytes is announced, of which 16 are there.
    charsmap = base64.b64encode(b"\xfc\xff\xff\xff" + b"\0" * 16).decode()
    # From each start it looks to the end of the text before it fails.
    regex = {"Regex": "(?=[a-z]*[0-9])x"}
    quadratic = {"type": "Split", "pattern": regex, "behavior": "Isolated", "invert": False}
    return {
        "40 × Replace a → aa": ({"normalizer": {"type": "Sequence", "normalizers": [doubled] * 40}}, "a" * 100),
        "a precompiled_charsmap of 8.6 GB": (
            {"normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap}},
            text,
        ),
        "Prepend of 60 MB": ({"normalizer": {"type": "Prepend", "prepend": "x" * 60_000_000}}, text),
        "one quadratic regex, 200 kB": (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [quadratic, byte_level()]}},
            "a" * 200_000,
        ),
    }


def byte_level():
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}


@row(
    "tokenizer.json: 40 × Replace a → aa; a precompiled_charsmap that asks for 8.6 GB; Prepend of 60 MB; a quadratic regex",
    "the model is refused at load, or its texts are bounded; other models go on",
    seconds=200,
)
def tokenizers(setup):
    program = limited(setup)
    for i, (what, (change, text)) in enumerate(tokenizers_of("a quick fox").items()):
        model = setup.directory / f"model-{i}"
        shutil.copytree(TINY, model)
        path = model / "tokenizer.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        models = ("--model", "akidb-mini", "--model", f"bad={model}")
        with setup.serve(models=models, program=program) as server:
            server.warm()
            ask_bad_model(server, what, text)


def ask_bad_model(server, what, text):
    body = {"input": text, "model": "bad"}
    with server.memory(512 + SLACK_MB, f"{what}: memory"), Bystander(server) as bystander:
        answers = together(4, lambda _: post(server, "/v1/embeddings", body, timeout=25))
    answer = max(answers, key=lambda answer: answer.seconds)
    shown = f"{answer.status or answer.error} after {answer.seconds:.1f} s {message(answer)[:100]}"
    holds = answer.seconds < 10 and all(a.status for a in answers)
    server.check(f"{what}: four are answered (≤ 10 s)", shown, holds)
    bystander.check(BESIDE)
