"""Runs every command of docs/server.md against a server and compares the answers, or writes them.

usage: server_docs.py AKIDB_EMBED [--write]

A block of a curl command is followed by the block of its answer. Long lists of numbers are shown
in part. Compared are statuses, names, texts and the shape: what depends on the machine and the
clock isn't.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

from serving import Serving

DOCUMENT = Path(__file__).parent.parent / "docs/server.md"
BLOCKS = re.compile(r"```sh\n(curl [^`]+?)```\n\n```(json|text)\n(.*?)```\n", re.S)
SHOWN = 3
# Of the machine, the clock or the request.
VARIES = {"device", "id", "model_dtype", "precision", "x-request-id", "created", "modified_at", "date", "digest"}


def shortened(value):
    if isinstance(value, dict):
        return {name: shortened(child) for name, child in value.items()}
    if isinstance(value, list):
        if len(value) > SHOWN and all(isinstance(child, (int, float)) for child in value):
            return [*value[:SHOWN], "…"]
        return [shortened(child) for child in value]
    if isinstance(value, str) and len(value) > 60 and re.fullmatch(r"[A-Za-z0-9+/=]+", value):
        return value[:24] + "…"
    return value


def written(value, indent=0):
    """JSON, objects and lists in one line where they fit."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= 96 or not isinstance(value, (dict, list)):
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, list):
        lines = [pad + written(child, indent + 2) for child in value]
        return "[\n" + ",\n".join(lines) + "\n" + " " * indent + "]"
    lines = [
        f"{pad}{json.dumps(name)}: {written(child, indent + 2)}"
        for name, child in value.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"


def answer_of(command, address):
    run = subprocess.run(
        ["bash", "-c", command.replace("localhost:8080", address)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, (command, run.stderr)
    return run.stdout.replace("\r", "")


def block_of(answer):
    """The answer as the document shows it, and the kind of its block."""
    try:
        return "json", written(shortened(json.loads(answer))) + "\n"
    except json.JSONDecodeError:
        return "text", answer if answer.endswith("\n") else answer + "\n"


def shape(value, name=""):
    if name in VARIES or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return None
    if isinstance(value, dict):
        return {key: shape(child, key) for key, child in value.items()}
    if isinstance(value, list):
        return [shape(child, name) for child in value]
    # Numbers within texts, base64.
    return "…" if value is not None and "…" in str(value) else re.sub(r"\d+", "0", str(value))


def same(kind, shown, found):
    if kind == "json":
        return shape(json.loads(shown)) == shape(json.loads(found))
    # Of plain text, the lines that the document shows must be there, up to their numbers.
    plain = lambda text: [re.sub(r"[\d.]+(e-?\d+)?", "0", line).strip() for line in text.splitlines()]
    there = plain(found)
    return all(line in there for line in plain(shown) if line != "…")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the akidb-embed binary")
    parser.add_argument("--write", action="store_true", help="write the answers into the document")
    arguments = parser.parse_args()

    with Serving(arguments.program, "--model", "akidb-mini") as server:
        text = DOCUMENT.read_text()
        wrong = []

        def run(match):
            command, _, shown = match.groups()
            kind, found = block_of(answer_of(command, server.address))
            if not arguments.write:
                if not same(kind, shown, found):
                    wrong.append(f"{command}\nshown:\n{shown}\nfound:\n{found}")
                return match.group(0)
            # Of long plain answers, the chosen lines stay.
            block = shown if kind == "text" and "…" in shown else found
            return f"```sh\n{command}```\n\n```{kind}\n{block}```\n"

        new, commands = BLOCKS.subn(run, text)
    if arguments.write:
        DOCUMENT.write_text(new)
    if wrong or commands < 10:
        sys.exit("\n".join(wrong) or f"only {commands} commands were found")
    print(f"{commands} commands answer as docs/server.md says")


if __name__ == "__main__":
    main()
