from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from akidb_embedding import Embedder

TEXTS = ["continue an interrupted transfer", "bake a chocolate cake", "日本語の文章", ""]


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return Embedder("akidb-mini")


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program in a Python of its own."""

    def run(program: str, **keywords: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, **keywords.pop("env", {})},  # type: ignore[dict-item]
            **keywords,  # type: ignore[call-overload]
        )

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What couldn't be tested is said."""
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.write_line(f"SKIPPED: {report.nodeid}: {reason}")
