"""Row: a pack that another user has put where packs are looked for."""

import json
import os
import pathlib
import shutil
import struct

from .harness import MINI, row

PAGE = 4096
PREFIX = struct.Struct("<8sQ16s")
OTHER_USER = 65_534


def zeroed(pack):
    """A pack of the same model whose first weights are others, with checksums that agree."""
    import xxhash

    data = pack.read_bytes()
    magic, length, _ = PREFIX.unpack_from(data)
    header = json.loads(data[PREFIX.size : PREFIX.size + length])
    start = -(-(PREFIX.size + length) // PAGE) * PAGE
    body = bytearray(data[start:])
    for weight in header["weights"][:8]:
        for part in weight["parts"]:
            at, size = part["offset"], part["len"]
            body[at : at + size] = body[at + size // 2 : at + size] + body[at : at + size // 2]
            part["xxh3"] = xxhash.xxh3_128_intdigest(bytes(body[at : at + size]))
    text = json.dumps(header).encode()
    begin = PREFIX.pack(magic, len(text), xxhash.xxh3_128_intdigest(text).to_bytes(16, "little")) + text
    return begin.ljust(-(-len(begin) // PAGE) * PAGE, b"\0") + bytes(body)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b))


@row(
    "AKIDB_CACHE_DIR in a directory that others can write, with another user's packed weights",
    "not ours, or writable by others: not used, and said",
    seconds=60,
    packages=("xxhash",),
)
def cache_directory(setup):
    model = setup.directory / "model"
    shutil.copytree(MINI, model)
    # Less than 16 MiB isn't kept: f32 has more.
    command = ["embed", "red shoes", "--model", model, "--precision", "f32", "--format", "json"]
    vector = lambda done: json.loads(done.stdout)["data"][0]["embedding"]
    cases = {
        "a directory of mode 777": (0o777, 0o700, None),
        "packed/ of mode 777 in it": (0o700, 0o777, None),
        "a directory of another user": (0o755, 0o755, OTHER_USER),
    }
    for i, (what, (mode, packed_mode, owner)) in enumerate(cases.items()):
        if owner is not None and os.geteuid() != 0:
            setup.tell(what, "skipped: only root can give files away")
            continue
        directory = setup.directory / f"cache-{i}"
        honest = vector(setup.akidb(*command, AKIDB_CACHE_DIR=directory))
        packs = list(pathlib.Path(directory).rglob("*.akidbpack"))
        assert len(packs) == 1, packs
        packs[0].write_bytes(zeroed(packs[0]))
        for path, bits in [(directory, mode), (directory / "packed", packed_mode)]:
            path.chmod(bits)
        for path in [directory, directory / "packed", *packs] if owner else []:
            os.chown(path, owner, owner)
        done = setup.akidb(*command, AKIDB_CACHE_DIR=directory)
        made, said = vector(done), done.stderr.decode(errors="replace")
        near = cosine(honest, made)
        told = next((line for line in said.splitlines() if str(directory) in line), "nothing")
        told = told.replace(str(setup.directory), "…")
        setup.check(f"{what}: its weights", f"cosine {near:.2f}", near > 0.9999)
        setup.check(f"{what}: it says", told[:160], told != "nothing")
