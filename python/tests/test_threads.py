from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import TEXTS

from akidb_embedding import Embedder, ForkedError

Run = Callable[..., subprocess.CompletedProcess[str]]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


def test_threads_share_a_model_and_have_their_own_answers(embedder: Embedder) -> None:
    texts = [[f"thread {t} text {n}" for n in range(1 + t * 7 % 60)] for t in range(32)]
    expected = [embedder.embed(some) for some in texts]
    with ThreadPoolExecutor(32) as pool:
        for _ in range(2):
            for ours, alone in zip(pool.map(embedder.embed, texts), expected, strict=True):
                np.testing.assert_array_equal(ours, alone)


def test_python_goes_on_meanwhile(embedder: Embedder) -> None:
    counted = 0
    done = threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.wait(0.001):
            counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    embedder.embed([f"{n} words " * 40 for n in range(60)])
    done.set()
    thread.join()
    assert counted > 3


def test_a_model_is_closed_while_others_use_it() -> None:
    embedder = Embedder()
    texts = [f"{n} words" for n in range(800)]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(embedder.embed, texts)
        time.sleep(0.05)
        embedder.close()
        try:
            assert call.result().shape == (800, 256)
        except ValueError as error:
            # It was closed before the call began.
            assert "closed" in str(error)  # noqa: PT017


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize(
    "work",
    [
        "embedder.embed(['some words ' * 60 + str(n) for n in range(100_000)])",
        "embedder.embed_each(['some words ' * 2000] * 20_000)",
        "embedder.tokenize(['some words ' * 2000] * 20_000)",
    ],
)
def test_an_interrupt_ends_the_work(work: str) -> None:
    program = f"""
import sys, time
from akidb_embedding import Embedder
embedder = Embedder()
print("ready", flush=True)
try:
    {work}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    print(embedder.embed(["a"]).shape, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert rest.split("\n")[:2] == ["interrupted", "(1, 256)"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_an_interrupt_ends_the_command_line() -> None:
    from test_embed import COMMAND

    process = subprocess.Popen(
        [COMMAND, "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "127.0.0.1" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode is not None


def in_child(work: Callable[[], object]) -> str:
    """What a forked process says of its work."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = repr(work())
        except BaseException as error:
            said = type(error).__name__ + ": " + str(error)
        os.write(write, said.encode()[:4000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_the_models_process_is_named(embedder: Embedder) -> None:
    embedder.embed(TEXTS)
    said = in_child(lambda: embedder.embed(TEXTS))
    assert said.startswith(ForkedError.__name__)
    assert "spawn" in said
    assert in_child(embedder.close) == "None"
    assert in_child(lambda: Embedder().embed(TEXTS).shape) == "(4, 256)"
    assert embedder.embed(TEXTS).shape == (4, 256)


@needs_fork
def test_a_fork_after_the_import_is_safe(python: Run) -> None:
    done = python(
        """
import multiprocessing, akidb_embedding
def shape(n):
    return akidb_embedding.Embedder().embed(["a"] * n).shape
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(shape, [1, 2]))
"""
    )
    assert done.stdout == "[(1, 256), (2, 256)]\n", done.stderr


def _shape(embedder: Embedder) -> tuple[int, ...]:
    return embedder.embed(TEXTS).shape


def test_a_spawned_process_gets_the_embedder_by_pickle(embedder: Embedder) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_shape, (embedder,)) == (4, 256)


def test_import_makes_no_threads_and_loads_no_other_library(python: Run) -> None:
    done = python(
        """
import sys, threading, akidb_embedding
print(sorted({m.split(".")[0] for m in sys.modules} & {"pyarrow", "pandas", "torch", "ray"}))
import os
print(len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 1)
""",
        env={"OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.stdout == "[]\n1\n", done.stderr


def test_a_build_without_a_lock_stays_without(python: Run) -> None:
    if not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled():
        pytest.skip("this Python has a global lock: a free-threaded one is python3.13t or later")
    assert python("import sys, akidb_embedding; print(sys._is_gil_enabled())").stdout == "False\n"
