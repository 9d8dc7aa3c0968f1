#!/usr/bin/env python3
"""What `akidb-embed run` and `embed` write is read by pyarrow, DuckDB and NumPy as it is, and what pyarrow writes is
input.

  scripts/bulk_read.py target/debug/akidb-embed

Needs pyarrow, duckdb and numpy.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import duckdb
import numpy
import pyarrow
import pyarrow.dataset
import pyarrow.parquet

TEXTS = ["continue an interrupted transfer", "bake a chocolate cake", None, "how do I resume a download", ""]


def run(binary, *arguments):
    subprocess.run([binary, "run", *map(str, arguments), "--quiet"], check=True)


def check(name, condition):
    if not condition:
        sys.exit(f"FAILED: {name}")


def table():
    texts = pyarrow.array(TEXTS).dictionary_encode()
    return pyarrow.table({
        "key": pyarrow.array([11, 12, 13, 14, 15], pyarrow.uint16()),
        "body": texts,
        "when": pyarrow.array([1, 2, None, 4, 5], pyarrow.timestamp("ms", "UTC")),
        "tags": pyarrow.array([["a"], [], None, ["b", None], ["c"]]),
        "meta": pyarrow.array([{"x": 1}, {"x": None}, None, {"x": 4}, {"x": 5}]),
        "long": pyarrow.array(["a", "b", None, "d", "e"], pyarrow.large_string()),
    })


def as_arrays(binary, folder, encoding, table):
    """--format npy has what Parquet has: vectors in arrays, the rest as JSON Lines."""
    out = folder / f"{encoding}-npy"
    run(binary, folder / "in.parquet", "--text", "body", "--id", "key", "--keep", "all", "--out", out,
        "--unit-rows", 2, "--encoding", encoding, "--max-error-rate", "50%", "--format", "npy")
    arrays = sorted(out.glob("*.npy"))
    check(f"{encoding}: units", len(arrays) == 3 and not list((out / "_run").glob("*.tmp")))
    lines = [json.loads(line) for path in arrays for line in path.with_suffix(".jsonl").read_text().splitlines()]
    vectors = numpy.concatenate([numpy.load(path) for path in arrays])
    check(f"{encoding}: as many lines as vectors", len(lines) == len(vectors) == 5)
    for line, vector, row in zip(lines, vectors, table.to_pylist(), strict=True):
        expected = row.pop("embedding")
        if expected is None:
            empty = not vector.any() if encoding in ("int8", "binary") else numpy.isnan(vector).all()
            check(f"{encoding}: an empty vector", empty and line["error"])
        else:
            expected = list(expected) if encoding == "binary" else expected
            check(f"{encoding}: a vector", numpy.array_equal(vector, numpy.array(expected, vector.dtype)))
        check(f"{encoding}: names {line.keys()}", line.keys() == row.keys())
        for name in row.keys() - {"when", "scale"}:
            check(f"{encoding}: {name} is {line[name]}, not {row[name]}", line[name] == row[name])
    abouts = [json.loads(path.with_suffix(".json").read_text()) for path in arrays]
    check(f"{encoding}: provenance", all(about["provenance"]["model"] == "akidb-mini" for about in abouts))
    check(f"{encoding}: rows in all", sum(about["unit"]["rows"] for about in abouts) == 5)
    manifest = json.loads((out / "_manifest.json").read_text())
    check(f"{encoding}: manifest", (manifest["rows_in"], manifest["rows_out"], manifest["errors"]) == (5, 4, 1))


def main():
    binary = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        written = table()
        pyarrow.parquet.write_table(written, folder / "in.parquet", row_group_size=2)
        texts = folder / "texts.txt"
        texts.write_text("\n".join(text for text in TEXTS if text is not None))
        vectors = folder / "vectors.npy"
        with texts.open() as lines:
            subprocess.run([binary, "embed", "-o", str(vectors), "--quiet"], stdin=lines, check=True)
        # The last line is empty, and so is none.
        expected = numpy.load(vectors)
        dimension = expected.shape[1]
        one = folder / "vectors.parquet"
        with texts.open() as lines:
            subprocess.run([binary, "embed", "-o", str(one), "--quiet"], stdin=lines, check=True)
        column = pyarrow.parquet.read_table(one)["embedding"].combine_chunks()
        same = numpy.array_equal(column.flatten().to_numpy().reshape(-1, dimension), expected)
        check("embed's Parquet has the vectors of its npy", same)
        for encoding in ("f32", "f16", "int8", "binary"):
            out = folder / encoding
            run(binary, folder / "in.parquet", "--text", "body", "--id", "key", "--keep", "all", "--out", out,
                "--unit-rows", 2, "--encoding", encoding, "--max-error-rate", "50%")
            read = pyarrow.dataset.dataset(out).to_table().sort_by("source_row")
            check(f"{encoding}: rows", read["source_row"].to_pylist() == [0, 1, 2, 3, 4])
            for column in ("key", "when", "tags", "meta", "long"):
                check(f"{encoding}: {column}", read[column].to_pylist() == written[column].to_pylist())
                check(f"{encoding}: type of {column}", read[column].type == written[column].type)
            rows = read["embedding"].to_pylist()
            check(f"{encoding}: null where there is no text", [row is None for row in rows] == [False, False, True, False, False])
            error = read["error"].to_pylist()
            check(f"{encoding}: the error says why", "null" in error[2] and error.count(None) == 4)
            well = [row for row in rows if row is not None][:3]
            if encoding == "binary":
                bits = numpy.unpackbits(numpy.array([list(row) for row in well], numpy.uint8), axis=1)[:, :dimension]
                check("binary: bits", (bits == (expected[:3] > 0)).all())
            else:
                values = numpy.array(well, numpy.float32)
                if encoding == "int8":
                    scales = [s for s in read["scale"].to_pylist() if s is not None][:3]
                    values *= numpy.array(scales, numpy.float32)[:, None]
                difference = numpy.abs(values - expected[:3]).max()
                most = {"f32": 0.0, "f16": 1e-3, "int8": 5e-3}[encoding]
                check(f"{encoding}: values differ by {difference}", difference <= most)
            found = duckdb.sql(
                f"SELECT key, embedding, tokens, error FROM '{out}/*.parquet' ORDER BY source_row").fetchall()
            check(f"{encoding}: DuckDB's rows", [row[0] for row in found] == [11, 12, 13, 14, 15])
            if encoding == "f32":
                values = numpy.array([row[1] for row in found if row[1] is not None][:3], numpy.float32)
                check("DuckDB's values", (values == expected[:3]).all())
            metadata = pyarrow.parquet.read_metadata(next(out.glob("*.parquet"))).metadata
            check(f"{encoding}: provenance", b"akidb-mini" in metadata[b"akidb.provenance"])
            as_arrays(binary, folder, encoding, read)
    print(f"pyarrow {pyarrow.__version__} and DuckDB {duckdb.__version__} and NumPy {numpy.__version__} read what is written")


if __name__ == "__main__":
    main()
