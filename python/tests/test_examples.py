from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).parent.parent.joinpath("examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_finds_what_is_meant(example: Path) -> None:
    needs = re.search(r"Needs: (\w+)\.", example.read_text())
    assert needs is not None
    if importlib.util.find_spec(needs.group(1)) is None:
        pytest.skip(f"{needs.group(1)} is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", example],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["continue an interrupted transfer"], done.stderr


DOCS = Path(__file__).parents[2] / "docs/python.md"


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL))
def test_a_block_of_the_documentation_runs(block: str, tmp_path: Path) -> None:
    tmp_path.joinpath("docs").mkdir()
    row = {"url": "a", "title": "transfers", "body": "continue an interrupted transfer"}
    tmp_path.joinpath("docs/a.jsonl").write_text(json.dumps(row) + "\n")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_there_is_an_example_of_each() -> None:
    assert len(EXAMPLES) >= 7
