"""Files to vectors, exactly once. Needs: pyarrow."""

import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from akidb_embedding import Embedder, run

with tempfile.TemporaryDirectory() as folder:
    docs = Path(folder, "docs.txt")
    docs.write_text("continue an interrupted transfer\nbake a chocolate cake\n")
    manifest = run(docs, Path(folder, "vectors"))
    assert (manifest["rows_in"], manifest["rows_out"]) == (2, 2)
    table = pq.read_table(Path(folder, "vectors"))
    query = Embedder().embed_query("how do I resume a download")
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(2, -1)
    print(docs.read_text().splitlines()[(vectors @ query).argmax()])
