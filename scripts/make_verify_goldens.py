#!/usr/bin/env python3
"""The golden texts of `akidb-embed verify` for the built-in model: a few of the test suite's, which come from PyTorch.

Usage:  make_verify_goldens.py      writes crates/akidb-embed/src/commands/verify/akidb-mini.jsonl
"""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "crates" / "akidb-testing" / "goldens" / "akidb-mini.jsonl"  # of make_goldens.py
TARGET = ROOT / "crates" / "akidb-embed" / "src" / "commands" / "verify" / "akidb-mini.jsonl"
STARTS = ("Hello, world!", "The quick brown fox", "How do I resume", "Restart the service", "A checksum is a short",
          "fn main()", "SELECT u.name", "Der Größenunterschied", "机器学习")

with open(SOURCE, encoding="utf-8") as source, open(TARGET, "w", encoding="utf-8") as target:
    for line in source:
        row = json.loads(line)
        if row["text"].startswith(STARTS) and len(row["ids"]) <= 130:
            golden = {"text": row["text"], "vector": [float(f"{x:.7g}") for x in row["vector"]]}
            target.write(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")
