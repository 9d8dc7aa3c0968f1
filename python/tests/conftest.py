from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from clusters import adopt_orphans, command, processes

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


@pytest.fixture(scope="module")
def nothing_left() -> Iterator[None]:
    """Whatever the module's tests begin has ended when they have."""
    adopt_orphans()
    before = processes()
    yield
    # Ray's agents look for their raylet every few seconds, and end when it is gone for five times.
    end = time.monotonic() + 120
    while (left := set(processes()) - set(before)) and time.monotonic() < end:
        time.sleep(0.1)
    names = [command(process).strip()[:300] for process in left]
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert not names, "processes are left behind"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What couldn't be tested is said."""
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.write_line(f"SKIPPED: {report.nodeid}: {reason}")
