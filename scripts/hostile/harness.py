"""What the rows share: how a row is declared and what it says, and a server whose memory is watched."""

import contextlib
import http.client
import importlib.util
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from serving import Serving

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TINY = ROOT / "crates/akidb-testing/fixtures/tiny"
MINI = ROOT / "models/akidb-mini"
# Beside what the settings bound: stacks, the allocator's slack, a pass's workspace.
SLACK_MB = 64
# What may stay after an attack, in MB.
IDLE_MB = 100


class Row(NamedTuple):
    name: str
    attack: str
    must: str
    seconds: int
    needs_model: bool
    packages: tuple
    run: Callable


ROWS: dict[str, Row] = {}


def row(attack, must, seconds=60, needs_model=False, packages=()):
    """Declares a row: it is given a Setup, has so many seconds, and its packages are there."""

    def declare(run):
        name = run.__name__.replace("_", "-")
        ROWS[name] = Row(name, attack, must, seconds, needs_model, packages, run)
        return run

    return declare


class Skipped(Exception):
    """The row can't run here."""


class Setup(NamedTuple):
    """What a row has: the program, an empty directory, a full-size model, and how often to kill."""

    program: str
    directory: pathlib.Path
    model: str | None
    kills: int
    most_mb: int

    def note(self, text):
        say(note=text)

    def check(self, what, shown, holds, idle=False):
        say(what=what, shown=str(shown), holds=bool(holds), idle=idle)

    def tell(self, what, shown):
        """A figure that has no bound."""
        say(what=what, shown=str(shown), holds=None, idle=False)

    def serve(self, *flags, **options):
        return Attacked(self, *flags, **options)

    def akidb(self, *arguments, timeout=30, **variables):
        """Runs the command line; its status is None where it had to be killed."""
        command = [self.program, *map(str, arguments)]
        environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        try:
            return subprocess.run(
                command,
                capture_output=True,
                check=False,
                env=environment,
                stdin=subprocess.DEVNULL,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            return subprocess.CompletedProcess(command, None, error.stdout or b"", error.stderr or b"")


def say(**fields):
    print(json.dumps(fields), file=SAYS[-1], flush=True)


# Where rows are listened to.
SAYS = [sys.stdout]


def run_inside(name, setup):
    """Runs one row in this process; what it says goes to standard output, a line each."""
    row = ROWS[name]
    # Whatever becomes of the process that waits for the row: it ends, with all that it started.
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(row.seconds + 20)
    # What servers print is no figure, and their ends of the pipe must not keep it open.
    SAYS.append(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)
    os.environ.update(
        AKIDB_HOME=str(setup.directory / "home"),
        AKIDB_CACHE_DIR="",
        HF_HUB_CACHE=str(setup.directory / "no-hub-cache"),
        NO_PROXY="127.0.0.1",
    )
    missing = [package for package in row.packages if importlib.util.find_spec(package) is None]
    try:
        if missing:
            raise Skipped(f"{', '.join(missing)} not installed")
        if row.needs_model and not setup.model:
            raise Skipped("needs --qwen DIR")
        row.run(setup)
    except Skipped as why:
        say(skipped=str(why))
    # A row that breaks is a row that fails.
    except Exception as error:  # noqa: BLE001
        import traceback

        traceback.print_exc(file=sys.stderr)
        setup.check("the row itself", f"{type(error).__name__}: {error}", False)


class Attacked(Serving):
    """A server that is killed, and the row told so, when it takes more memory than the machine can lend."""

    def __init__(self, setup, *flags, models=("--model", "akidb-mini"), program=None, path="health/ready"):
        self.setup = setup
        self.killed = False
        self.log_file = setup.directory / f"server-{time.monotonic_ns()}.log"
        with open(self.log_file, "wb") as log:
            super().__init__(str(program or setup.program), *models, *flags, path=path, stderr=log)
        self.pid = self.process.pid
        self.before = self.rss()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while self.alive():
            if self.rss() > self.setup.most_mb:
                self.killed = True
                self.process.kill()
                return
            time.sleep(0.03)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def alive(self):
        return self.process.poll() is None

    def _status(self, field):
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith(field):
                    return int(line.split()[1]) / 1000
        return 0.0

    def rss(self):
        return self._status("VmRSS:")

    def descriptors(self):
        with contextlib.suppress(OSError):
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        return 0

    def log(self):
        return self.log_file.read_text(errors="replace")

    def warm(self, texts=64, words=250):
        """Has done what it does all day: its workspace is there."""
        text = " ".join(["river small"] * (words // 2))
        post(self, "/v1/embeddings", {"input": [f"{i} {text}" for i in range(texts)]}, timeout=90)

    @contextlib.contextmanager
    def memory(self, most_mb, what="memory"):
        """What the block adds to the resident memory, at most and when all is quiet again."""
        self.before = self.rss()
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/clear_refs", "w") as file:
            # The peak is that of now on (proc(5)).
            file.write("5")
        yield
        added = self._status("VmHWM:") - self.before
        shown = f"{self.before:.0f} MB, +{added:.0f} MB at most"
        self.check(f"{what} (≤ +{most_mb:.0f} MB)", shown, added <= most_mb)

    def idle(self, what="10 s later"):
        """What has stayed ten seconds after everybody went."""
        time.sleep(10)
        added = self.rss() - self.before
        self.check(f"{what} (≤ +{IDLE_MB} MB)", f"+{added:.0f} MB", added <= IDLE_MB, idle=True)

    def check(self, what, shown, holds, idle=False):
        """As the row's own; a server that is no more holds nothing."""
        if self.killed:
            shown = f"killed by this script beyond {self.setup.most_mb} MB"
        elif not self.alive():
            shown = f"the server is gone (status {self.process.returncode})"
        self.setup.check(what, shown, holds and self.alive() and not self.killed, idle)

    def still_answers(self, what="an ordinary request afterwards"):
        answer = post(self, "/v1/embeddings", {"input": "red shoes", "model": "akidb-mini"}, timeout=10)
        self.check(what, f"{answer.status or answer.error}, {answer.seconds:.2f} s", answer.status == 200)


class Answer(NamedTuple):
    status: int | None
    body: bytes
    seconds: float
    error: str = ""


def post(server, path, body, timeout=30, source="127.0.0.1", headers=None):
    """One request over a connection of its own; an error is an answer without a status."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    headers = {"content-type": "application/json", **(headers or {})}
    start = time.monotonic()
    host, port = server.address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout, source_address=(source, 0))
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), time.monotonic() - start)
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, b"", time.monotonic() - start, type(error).__name__)
    finally:
        connection.close()


def message(answer):
    """What an answer of the OpenAI routes says is wrong."""
    if answer.status in (None, 200):
        return ""
    try:
        return json.loads(answer.body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return answer.body.decode(errors="replace")


def get(server, path, timeout=5, headers=None):
    """The status of a GET; None where there is no answer in time."""
    host, port = server.address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout)
    try:
        connection.request("GET", path, headers=headers or {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def together(clients, work):
    """`work(i)` in a thread for each client; what they gave, in order."""
    results = [None] * clients

    def one(i):
        results[i] = work(i)

    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def wait_until(done, seconds, every=0.1):
    """Seconds until `done()`, None where it isn't in time."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if done():
            return time.monotonic() - start
        time.sleep(every)
    return None


def counted(values):
    values = list(values)
    return ", ".join(f"{values.count(v)} × {v}" for v in sorted(set(values), key=str))


class Bystander:
    """Somebody with another address who asks for a short text's vector all the time."""

    def __init__(self, server, body=None, source="127.0.0.9", timeout=20):
        self.server, self.source, self.timeout = server, source, timeout
        self.body = body or {"input": "red shoes", "model": "akidb-mini"}
        self.times, self.failed = [], []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self):
        # However short the attack: a median needs some.
        while not self.stopped.is_set() or 0 < len(self.times) < 5:
            answer = post(self.server, "/v1/embeddings", self.body, self.timeout, self.source)
            self.times.append(answer.seconds)
            if answer.status != 200:
                self.failed.append(answer.status or answer.error)
            time.sleep(0.05)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stopped.set()
        self.thread.join(2 * self.timeout)

    def check(self, most_seconds):
        median = statistics.median(self.times) if self.times else float("inf")
        shown = f"{len(self.times)} requests, p50 {median:.3f} s, {len(self.failed)} failed"
        holds = self.times and median <= most_seconds and not self.failed
        self.server.check(f"somebody else beside it (p50 ≤ {most_seconds:g} s)", shown, holds)
