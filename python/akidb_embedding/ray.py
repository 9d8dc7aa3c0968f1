"""Ray Data: texts of a dataset to vectors, on all machines of a cluster.

>>> ds = ds.map_batches(  # doctest: +SKIP
...     EmbedTexts,
...     batch_format="pyarrow",
...     fn_constructor_kwargs={"model": "akidb-mini", "text": "body"},
...     num_cpus=2,
...     concurrency=4,
... )
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray

from . import _cluster
from ._options import split

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["EmbedTexts", "embed"]


class EmbedTexts:
    """Adds the columns `embedding`, `tokens`, `truncated` and `error` to batches of pyarrow.

    One model a process; its threads follow `num_cpus`. Where a text can't be embedded, the row has
    the reason in `error` and nulls in the others; the job goes on.
    """

    def __init__(
        self,
        *,
        text: str = "text",
        model: str | None = "akidb-mini",
        driver: _cluster.Fingerprint | None = None,
        **options: Any,
    ) -> None:
        """Load the model.

        `text` names the column, `options` are those of `Embedder` and of its `embed`, `driver` is
        the wheel that the driver has, where it is to be the same here.
        """
        _cluster.check_fingerprint(driver)
        self.text = text
        load, self.options = split(options)
        load.setdefault("threads", _assigned_cpus())
        self.embedder = _cluster.embedder(model, load)
        self.embedder.provenance(**self.options)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Add the columns to a batch."""
        return _cluster.add_columns(batch, self.text, self.embedder, self.options)


def _assigned_cpus() -> int | None:
    """Cores that Ray gave this worker, None outside of one."""
    if not ray.is_initialized():
        return None
    cpus = ray.get_runtime_context().get_assigned_resources().get("CPU")
    return None if cpus is None else max(1, int(cpus))


def embed(
    dataset: Dataset,
    *,
    text: str = "text",
    model: str | None = "akidb-mini",
    num_cpus: float = 1,
    concurrency: int | tuple[int, int] | None = None,
    batch_size: int | None = 1024,
    ray_remote_args: dict[str, Any] | None = None,
    **options: Any,
) -> Dataset:
    """Add the columns `embedding`, `tokens`, `truncated` and `error` to a dataset.

    `concurrency` is the number of models, or the least and the most of them; each has `num_cpus`
    threads. Workers whose wheel is another than the driver's are refused.
    """
    split(options)
    names = dataset.columns()
    if names:
        _cluster.check_columns(names, text)
    arguments = {"text": text, "model": model, "driver": _cluster.fingerprint(), **options}
    return dataset.map_batches(
        EmbedTexts,
        batch_format="pyarrow",
        batch_size=batch_size,
        fn_constructor_kwargs=arguments,
        num_cpus=num_cpus,
        concurrency=concurrency,
        zero_copy_batch=True,
        **(ray_remote_args or {}),
    )
