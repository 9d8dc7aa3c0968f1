"""A table of LanceDB's that embeds what is put in. Needs: lancedb."""

import tempfile

import lancedb
from lancedb.embeddings import get_registry
from lancedb.pydantic import LanceModel, Vector

import akidb_embedding.integrations.lancedb  # noqa: F401 (it registers "akidb")

akidb = get_registry().get("akidb").create(name="akidb-mini")


class Row(LanceModel):
    text: str = akidb.SourceField()
    vector: Vector(akidb.ndims()) = akidb.VectorField()  # type: ignore[valid-type]


table = lancedb.connect(tempfile.mkdtemp()).create_table("texts", schema=Row)
table.add([{"text": "continue an interrupted transfer"}, {"text": "bake a chocolate cake"}])
print(table.search("how do I resume a download").limit(1).to_pydantic(Row)[0].text)
