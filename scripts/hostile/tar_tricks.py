"""Row: bundles that try to write where they shouldn't, or to be taken for what they aren't."""

import io
import json
import os
import struct
import tarfile

from .bundles import ID, bundle, entry, left_behind, manifest, tiny, vector
from .harness import row

BLOCK = 512


def block(name, data=b"", kind=b"0", size=None, link="", prefix=""):
    """A header and its data, past every check of a library. `size` may be bytes for the field."""
    size = f"{len(data):011o}\0".encode() if size is None else size
    name = name.encode() if isinstance(name, str) else name
    fields = [name.ljust(100, b"\0")[:100], b"0000644\0", b"0000000\0", b"0000000\0", size, b"00000000000\0"]
    head = b"".join(fields) + b" " * 8 + kind + link.encode().ljust(100, b"\0") + b"ustar\0" + b"00"
    head = (head.ljust(345, b"\0") + prefix.encode()).ljust(BLOCK, b"\0")
    head = head[:148] + b"%06o\0 " % sum(head) + head[156:]
    return head + data + b"\0" * (-len(data) % BLOCK)


def base256(value):
    return b"\x80" + value.to_bytes(11, "big", signed=False)


def pax(**fields):
    lines = b""
    for name, value in fields.items():
        line = f" {name}={value}\n".encode()
        length = len(line) + 1
        while len(str(length)) + len(line) != length:
            length += 1
        lines += str(length).encode() + line
    return lines


class Made:
    """Archives that begin as a sound one does."""

    def __init__(self, outside):
        self.files = tiny()
        self.outside = outside
        self.config = self.files["config.json"]

    def archive(self, *blocks, files=None, described=None):
        """The manifest, these blocks, then the model's files."""
        files = self.files if files is None else files
        described = json.dumps(described or manifest(self.files)).encode()
        parts = [block("akidb-model.json", described), *blocks]
        parts += [block(name, data) for name, data in files.items()]
        return b"".join(parts) + b"\0" * 2 * BLOCK

    def renamed(self, name, described=True):
        """config.json under another name, which the manifest says or doesn't."""
        files = {name if old == "config.json" else old: data for old, data in self.files.items()}
        return self.archive(files=files, described=manifest(files) if described else None)

    def beside(self, name, data=b"evil"):
        """Another file, which the manifest names."""
        return self.archive(block(name, data), described=manifest({**self.files, name: data}))

    def said(self, **fields):
        return self.archive(described={**manifest(self.files), **fields})

    def entry_said(self, **fields):
        described = manifest(self.files)
        described["files"][0].update(fields)
        return self.archive(described=described)


def tricks(made):
    evil = made.outside / "evil"
    weights = made.files["model.safetensors"]
    sound = bundle(made.files)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        header, data = entry("akidb-model.json", b"{}")
        archive.addfile(header, io.BytesIO(data))
    without = {name: data for name, data in made.files.items() if name != "config.json"}
    return {
        "a name with ..": made.beside("../../../../evil"),
        "a name with .. in the middle": made.beside("onnx/../../../../../evil"),
        "an absolute name": made.beside(str(evil)),
        "a name with backslashes": made.beside("..\\..\\evil"),
        "a name with a drive": made.beside("C:/evil"),
        "a name with NUL in it": made.archive(block(b"config.json\0/../../evil", b"evil")),
        "a name with a newline": made.beside("con\nfig"),
        "the prefix field leaves": made.archive(block("evil", b"evil", prefix="../../../..")),
        "a hidden name": made.beside(".partial/evil"),
        "the manifest's own name": made.beside("akidb-model.json", b"{}"),
        "./ before a name": made.renamed("./config.json", described=False),
        "a trailing slash": made.renamed("config.json/", described=False),
        "a name of 100 directories": made.beside("/".join("d" * 100)),
        "other Unicode form of a name": made.renamed("cönfig.json".replace("ö", "o\u0308"), described=False),
        "another case of a name": made.beside("CONFIG.JSON", made.config),
        "a symbolic link out": made.archive(block("onnx", kind=b"2", link=str(made.outside))),
        "a file through a symbolic link": made.archive(
            block("onnx", kind=b"2", link=str(made.outside)), block("onnx/evil", b"evil")
        ),
        "a hard link out": made.archive(
            block("config.json", kind=b"1", link=str(made.outside / "canary")), files=without
        ),
        "a hard link inside": made.archive(block("config.json", kind=b"1", link="tokenizer.json"), files=without),
        "a character device": made.archive(block("config.json", kind=b"3"), files=without),
        "a block device": made.archive(block("config.json", kind=b"4"), files=without),
        "a FIFO": made.archive(block("config.json", kind=b"6"), files=without),
        "a directory of a file's name": made.archive(block("config.json", kind=b"5"), files=without),
        "a sparse file": made.archive(block("config.json", made.config, kind=b"S"), files=without),
        "a type that nobody knows": made.archive(block("config.json", made.config, kind=b"Z"), files=without),
        "pax renames the next file": made.archive(block("x", pax(path="../../../../evil"), kind=b"x")),
        "pax sizes the next file": made.archive(block("x", pax(size=2**40), kind=b"x")),
        "a global pax header": made.archive(block("x", pax(path="../evil"), kind=b"g")),
        "GNU's long name leaves": made.archive(block("././@LongLink", b"../../../evil\0", kind=b"L")),
        "GNU's long name of 8 GB": made.archive(block("././@LongLink", kind=b"L", size=b"77777777777\0")),
        "a size of 2^63": made.archive(block("config.json", made.config, size=base256(2**63)), files=without),
        "a size below 0": made.archive(block("config.json", made.config, size=b"\xff" * 12), files=without),
        "the same name twice": made.archive(block("config.json", made.config.swapcase())),
        "the manifest comes last": sound[sound.index(b"config.json") :],
        "the manifest contradicts a size": made.entry_said(size=len(made.config) + 1),
        "the manifest promises 2^64 bytes": made.entry_said(size=2**64 - 1),
        "the manifest's id leaves": made.said(id="../../evil"),
        "the built-in model's name": made.said(id="akidb-mini"),
        "a variant of a file that isn't there": made.said(variants=[{"name": "f32", "files": ["onnx/model.onnx"]}]),
        "a manifest of 64 MB": made.archive(described={**manifest(made.files), "x": "x" * 64_000_000}),
        "the same name twice in the manifest": made.said(files=manifest(made.files)["files"] * 2),
        "a wrong checksum of a header": made.archive(block("onnx/x", b"x")[:148] + b"0000000\0" + b"\0" * 868),
        "cut off in the weights": sound[: sound.index(weights[:64]) + 1000],
        "compressed": buffer.getvalue(),
        "a disk image's worth of zeros": struct.pack("1048576x"),
    }


def listed(directory):
    return sorted((str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in directory.rglob("*"))


@row("37 tar tricks and more", "refused with an error, or the sound model; nothing outside, nothing left", seconds=90)
def tar_tricks(setup):
    outside = setup.directory / "outside"
    outside.mkdir()
    (outside / "canary").write_text("untouched")
    known = None
    harmed = []
    cases = {"sound": bundle(tiny()), **tricks(Made(outside))}
    for i, (name, data) in enumerate(cases.items()):
        home = setup.directory / f"in/a/deep/place/{i}"
        path = setup.directory / "bundle.tar"
        path.write_bytes(data)
        before = listed(outside)
        done = setup.akidb("models", "import", path, timeout=10, AKIDB_HOME=home)
        wrong = []
        if done.returncode == 0:
            made, error = vector(setup, home)
            known = known or made
            if made is None or made != known:
                wrong.append(f"taken, and then {error or 'other vectors'}")
        elif done.returncode not in (1, 2) or b"error:" not in done.stderr:
            wrong.append(f"status {done.returncode}")
        elif left_behind(home):
            wrong.append(f"leaves {left_behind(home)[0].name}")
        elif ID in setup.akidb("models", "list", AKIDB_HOME=home).stdout.decode():
            wrong.append("refused and listed")
        escaped = [f for f in setup.directory.rglob("*evil*") if home not in f.parents]
        if listed(outside) != before or escaped or os.path.lexists("/evil"):
            wrong.append("written outside")
        harmed += [f"{name}: {', '.join(wrong)}"] if wrong else []
        path.unlink()
    setup.check(f"{len(cases) - 1} tricks", "; ".join(harmed) or "none harms", not harmed and known)
