"""Bundles that are sound, and rows: imports that are killed, or given what is no bundle."""

import array
import hashlib
import io
import json
import os
import random
import statistics
import subprocess
import tarfile
import time

from .harness import TINY, row

ID = "hostile/tiny"
FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "1_Pooling/config.json", "model.safetensors"]
TEXT = "the quick brown fox"
OLD, OTHER = "0" * 39 + "1", "0" * 39 + "2"


def tiny():
    """The files of a model that takes a moment to load."""
    return {name: (TINY / name).read_bytes() for name in FILES}


def altered(files):
    """The same names and sizes, other weights, other ids: whatever is mixed makes other vectors."""
    weights = files["model.safetensors"]
    start = 8 + int.from_bytes(weights[:8], "little")
    values = array.array("I", weights[start:])
    for i in range(0, len(values), 3):
        values[i] ^= 1 << 31
    tokenizer = json.loads(files["tokenizer.json"])
    vocab = tokenizer["model"]["vocab"]
    vocab["a"], vocab["e"] = vocab["e"], vocab["a"]
    vocab["o"], vocab["u"] = vocab["u"], vocab["o"]
    text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(text) <= len(files["tokenizer.json"])
    return {
        **files,
        "model.safetensors": weights[:start] + values.tobytes(),
        "tokenizer.json": text.ljust(len(files["tokenizer.json"])),
    }


def manifest(files, revision=OLD, model=ID):
    entries = [
        {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
    ]
    variants = [{"name": "safetensors", "files": ["model.safetensors"]}]
    now = int(time.time())
    about = {"format": 1, "id": model, "revision": revision, "license": None, "installed": now, "verified": now}
    return {**about, "files": entries, "variants": variants}


def entry(name, data, **fields):
    header = tarfile.TarInfo(name)
    header.size = len(data)
    for field, value in fields.items():
        setattr(header, field, value)
    return header, data


def bundle(files, revision=OLD, described=None):
    """As `models export` writes it."""
    described = json.dumps(described or manifest(files, revision)).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in [("akidb-model.json", described), *files.items()]:
            header, data = entry(name, data)
            archive.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def vector(setup, home, model=ID):
    """The text's vector, or None and the error; a crash is neither."""
    done = setup.akidb("embed", TEXT, "--model", model, "--format", "json", AKIDB_HOME=home)
    if done.returncode == 0:
        return json.loads(done.stdout)["data"][0]["embedding"], ""
    return None, f"status {done.returncode}: {done.stderr.decode(errors='replace').strip()}"


def left_behind(home):
    """Files under the store's home, without its locks and its notes of use."""
    found = (path for path in home.rglob("*") if path.is_file() or path.is_symlink())
    return [path for path in found if ".locks" not in path.parts and path.name != ".last-used"]


class Killed:
    """Runs a command and kills it at a random instant of the time that it usually takes."""

    def __init__(self, setup, seed=1):
        self.setup, self.random = setup, random.Random(seed)
        self.usual, self.landed = 0.05, 0

    def measure(self, *commands):
        times = []
        for command, home in commands:
            start = time.monotonic()
            done = self.setup.akidb(*command, AKIDB_HOME=home)
            times.append(time.monotonic() - start)
            assert done.returncode == 0, done.stderr.decode()
        self.usual = statistics.median(times)

    def run(self, *command, home, **variables):
        """Whether it was killed before its end."""
        environment = {**os.environ, "AKIDB_HOME": str(home), **variables}
        process = subprocess.Popen(
            [self.setup.program, *map(str, command)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(self.random.uniform(0, 1.1 * self.usual))
        process.kill()
        landed = process.wait() < 0
        self.landed += landed
        return landed


@row(
    "models import --replace killed midway, or a bundle with a file named as an installed directory",
    "a new directory, renamed; nothing mixed in 500 kills",
    seconds=60,
    per_kill=0.6,
)
def import_replace(setup):
    home = setup.directory / "home"
    old, new = tiny(), altered(tiny())
    # The third is the second as another revision.
    paths = [setup.directory / f"{i}.tar" for i in range(3)]
    for path, data in zip(paths, [bundle(old), bundle(new), bundle(new, OTHER)]):
        path.write_bytes(data)
    replace = lambda path: ("models", "import", path, "--replace")
    known = []
    for path in paths[:2]:
        done = setup.akidb(*replace(path), AKIDB_HOME=home)
        assert done.returncode == 0, done.stderr.decode()
        known.append(vector(setup, home)[0])
    assert known[0] and known[1] and known[0] != known[1]

    named_as_directory = {**new, "1_Pooling": b"a file"}
    del named_as_directory["1_Pooling/config.json"]
    odd = setup.directory / "odd.tar"
    odd.write_bytes(bundle(named_as_directory))
    setup.akidb(*replace(paths[0]), AKIDB_HOME=home)
    done = setup.akidb(*replace(odd), AKIDB_HOME=home)
    made, error = vector(setup, home)
    mixed = made is not None and made not in known
    shown = "another model's vectors" if mixed else f"import: status {done.returncode}; then {error or 'sound vectors'}"
    setup.check("a file named as an installed directory", shown, not mixed and done.returncode is not None)

    killed = Killed(setup)
    killed.measure(*[(replace(paths[i % 3]), home) for i in range(9)])
    outcomes = {"sound": 0, "told": 0, "mixed": 0, "unclear": 0}
    unlisted, tries = 0, 0
    while killed.landed < setup.kills and tries < 3 * setup.kills:
        tries += 1
        if not killed.run(*replace(paths[tries % 3]), home=home):
            continue
        made, error = vector(setup, home)
        if made is not None:
            outcomes["sound" if made in known else "mixed"] += 1
        else:
            outcomes["told" if "error:" in error and "status 1" in error else "unclear"] += 1
        if killed.landed % 10 == 0:
            unlisted += setup.akidb("models", "list", AKIDB_HOME=home).returncode != 0
        if killed.landed % 100 == 0:
            setup.note(f"{killed.landed} kills, {outcomes}")
    shown = f"{outcomes['mixed']} of {killed.landed} kills mixed ({outcomes['sound']} sound, {outcomes['told']} told)"
    setup.check("killed imports", shown, killed.landed >= setup.kills and not outcomes["mixed"])
    setup.check("no crash, no other status", outcomes["unclear"], not outcomes["unclear"])
    setup.check("models list fails", unlisted, not unlisted)
    done = setup.akidb(*replace(paths[0]), AKIDB_HOME=home)
    whole = vector(setup, home)[0] == known[0]
    setup.check("an import afterwards", f"status {done.returncode}", done.returncode == 0 and whole)
    validated = setup.akidb("validate", ID, AKIDB_HOME=home).returncode
    setup.check("validate afterwards", f"status {validated}", validated == 0)


@row("kill -9 of import", "seen and removed; the next import uses or replaces what it left", seconds=120)
def import_killed(setup):
    path = setup.directory / "bundle.tar"
    path.write_bytes(bundle(tiny()))
    command = ("models", "import", path)
    killed = Killed(setup)
    killed.measure(*[(command, setup.directory / f"measured-{i}") for i in range(3)])
    left = unseen = stays = failed = 0
    for i in range(120):
        home = setup.directory / f"home-{i}"
        if not killed.run(*command, home=home) or not left_behind(home):
            continue
        installed = (home / "models" / ID / "akidb-model.json").exists()
        left += 1
        listed = setup.akidb("models", "list", AKIDB_HOME=home).stdout.decode()
        unseen += ID not in listed
        if i % 2:
            failed += setup.akidb(*command, AKIDB_HOME=home).returncode != 0 or vector(setup, home)[0] is None
        if not installed or i % 2:
            which = [ID] if i % 2 else ["--unfinished"]
            setup.akidb("models", "remove", *which, "--yes", AKIDB_HOME=home)
            stays += bool(left_behind(home))
        if left == 60:
            break
    setup.check("kills that left something", left, left >= 10)
    setup.check("not seen by models list", f"{unseen} of {left}", not unseen)
    setup.check("still there after models remove", f"{stays} of {left}", not stays)
    setup.check("the next import fails", f"{failed} of {left // 2}", not failed)


@row("models import FIFO", "named, no hang", seconds=40)
def import_fifo(setup):
    fifo = setup.directory / "fifo.tar"
    os.mkfifo(fifo)
    for name in ["fifo.tar", "/dev/zero"]:
        done = setup.akidb("models", "import", setup.directory / name, timeout=8)
        error = done.stderr.decode(errors="replace").strip().splitlines()
        named = any(name in line for line in error) and any("error:" in line for line in error)
        shown = "it hangs" if done.returncode is None else f"status {done.returncode}: {' '.join(error)[:150]}"
        setup.check(f"import {name}", shown.replace(str(setup.directory), "…"), named and done.returncode in (1, 2))
