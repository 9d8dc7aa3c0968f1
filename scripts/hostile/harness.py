"""How a row is declared, what it has and what it says."""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

from .attacked import Attacked

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TINY = ROOT / "crates/akidb-testing/fixtures/tiny"
MINI = ROOT / "models/akidb-mini"


class Row(NamedTuple):
    name: str
    attack: str
    must: str
    seconds: int
    needs_model: bool
    packages: tuple
    run: Callable
    per_kill: float = 0

    def limit(self, kills):
        """Seconds that it has."""
        return int(self.seconds + self.per_kill * kills)


ROWS: dict[str, Row] = {}


def row(attack, must, seconds=60, needs_model=False, packages=(), per_kill=0):
    """Declares a row: it is given a Setup, has so many seconds (and more for each of --kills), and its packages are
    there."""

    def declare(run):
        name = run.__name__.replace("_", "-")
        ROWS[name] = Row(name, attack, must, seconds, needs_model, packages, run, per_kill)
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
    signal.alarm(row.limit(setup.kills) + 20)
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
