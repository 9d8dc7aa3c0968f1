"""Programs that others embed with: each function gives the beginning of a Python program, as the package's
documentation has it, which defines `embed(texts)`, an array of their vectors.
"""


def sentence_transformers(model, threads=None):
    """sentence-transformers in batches of 32; on all cores without `threads`."""
    on_threads = f"import torch\ntorch.set_num_threads({threads})\n" if threads else ""
    return f"""{on_threads}from sentence_transformers import SentenceTransformer
encoder = SentenceTransformer({str(model)!r}, device="cpu")
embed = lambda texts: encoder.encode(texts, batch_size=32, show_progress_bar=False)
"""


def fastembed(model, threads=None, batch_size=256):
    """fastembed on a directory with onnx/model.onnx; in batches of 256 unless told otherwise, as it does itself."""
    return f"""import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
# Nothing looks at `dim`.
TextEmbedding.add_custom_model(model="local", pooling=PoolingType.MEAN, normalization=True, dim=1,
    sources=ModelSource(hf="none/none"), model_file="onnx/model.onnx")
encoder = TextEmbedding("local", specific_model_path={str(model)!r}, threads={threads})
embed = lambda texts: np.array(list(encoder.embed(texts, batch_size={batch_size})), np.float32)
"""
