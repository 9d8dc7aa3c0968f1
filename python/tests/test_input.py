from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import TEXTS

from akidb_embedding import BackendError, Embedder, NotTextError, OptionError, TextError

COLUMNS: dict[str, Any] = {
    "tuple": tuple(TEXTS),
    "generator": lambda: (text for text in TEXTS),
    "deque": collections.deque(TEXTS),
    "numpy U": np.array(TEXTS),
    "numpy object": np.array(TEXTS, dtype=object),
    "numpy T": np.array(TEXTS, dtype=np.dtypes.StringDType()),
    "numpy strided": np.array([x for t in TEXTS for x in (t, "no")])[::2],
    "pandas": pd.Series(TEXTS),
    "pandas object": pd.Series(TEXTS, dtype=object),
    "pandas category": pd.Series(TEXTS, dtype="category"),
    "pandas index": pd.Index(TEXTS),
    "polars": pl.Series(TEXTS),
    "polars categorical": pl.Series(TEXTS, dtype=pl.Categorical),
    "arrow": pa.array(TEXTS),
    "arrow large": pa.array(TEXTS, pa.large_string()),
    "arrow view": pa.array(TEXTS, pa.string_view()),
    "arrow dictionary": pa.array(TEXTS).dictionary_encode(),
    "arrow sliced": pa.array(["no", *TEXTS, "no"])[1:-1],
    "arrow chunked": pa.chunked_array([TEXTS[:1], [], TEXTS[1:]]),
    "arrow column": pa.table({"t": TEXTS}).column("t"),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_any_column_of_texts_is_taken(embedder: Embedder, kind: str) -> None:
    column = COLUMNS[kind]
    column = column() if callable(column) else column
    np.testing.assert_array_equal(embedder.embed(column), embedder.embed(TEXTS))


def test_arrow_is_taken_without_objects_of_python(embedder: Embedder) -> None:
    class Column:
        """An array that can be had by Arrow's interface alone."""

        def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
            capsules: tuple[object, object] = pa.array(TEXTS).__arrow_c_array__()
            return capsules

    class Stream:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return pa.chunked_array([TEXTS]).__arrow_c_stream__()

    for column in (Column(), Stream()):
        np.testing.assert_array_equal(embedder.embed(column), embedder.embed(TEXTS))


def test_arrow_is_given_without_a_copy(embedder: Embedder) -> None:
    vectors = embedder.embed_arrow(pl.Series(TEXTS))
    array = pa.array(vectors)
    assert array.type == pa.list_(pa.field("item", pa.float32(), nullable=False), 256)
    np.testing.assert_array_equal(
        array.flatten().to_numpy(zero_copy_only=True).reshape(4, 256), embedder.embed(TEXTS)
    )
    again = pa.array(vectors)
    assert again.values.buffers()[1].address == array.values.buffers()[1].address
    assert pl.Series(vectors).shape == (4,)
    types = {"f16": pa.float16(), "int8": pa.int8(), "binary": pa.uint8()}
    for encoding, kind in types.items():
        array = pa.array(embedder.embed_arrow(TEXTS, encoding=encoding))  # type: ignore[arg-type]
        assert array.type.value_type == kind
        np.testing.assert_array_equal(
            array.flatten().to_numpy().reshape(4, -1),
            embedder.embed(TEXTS, encoding=encoding),  # type: ignore[arg-type]
        )


def test_columns_say_what_is_wrong_with_rows(embedder: Embedder) -> None:
    batch = pa.record_batch(embedder.embed_columns(pa.array(["a", None, "b " * 99]), max_tokens=9))
    assert batch.schema.names == ["embedding", "tokens", "truncated", "error"]
    rows = batch.to_pylist()
    assert rows[1] == {
        "embedding": None,
        "tokens": None,
        "truncated": None,
        "error": "the text at index 1 is null, not a str",
    }
    assert [row["truncated"] for row in rows] == [False, None, True]
    assert rows[2]["tokens"] == 9
    assert rows[0]["error"] is None
    np.testing.assert_array_equal(
        np.float32(rows[0]["embedding"]), embedder.embed(["a"], max_tokens=9)[0]
    )


NOT_TEXTS: dict[str, tuple[Any, str]] = {
    "a single str": ("text", "not str"),
    "bytes": (b"text", "not bytes"),
    "a number": (7, "not int"),
    "None": (None, "not NoneType"),
    "a dict": ({"a": 1}, "not dict"),
    "a 0-d array": (np.array("text"), "not ndarray"),
    "a frame of pandas": (pd.DataFrame({"a": TEXTS}), "not DataFrame: give one of its columns, a"),
    "a frame of Polars": (pl.DataFrame({"a": TEXTS}), "give one of its columns"),
    "an Arrow table": (pa.table({"a": TEXTS}), "give one of its columns"),
    "Arrow numbers": (pa.array([1, 2]), "not of Int64"),
    "Arrow bytes": (pa.array([b"x"]), "not of Binary"),
    "a series of numbers": (pl.Series([1.5]), "not of Float64"),
}


@pytest.mark.parametrize("kind", NOT_TEXTS)
def test_what_is_no_column_of_texts_is_refused(embedder: Embedder, kind: str) -> None:
    value, says = NOT_TEXTS[kind]
    for method in (embedder.embed, embedder.embed_each, embedder.embed_columns, embedder.tokenize):
        with pytest.raises(TypeError, match=says):
            method(value)


NOT_A_TEXT: dict[str, tuple[Any, str]] = {
    "None in a list": (["a", None], "index 1 is None"),
    "a number in a tuple": (("a", 2), "index 1 is of type int"),
    "a list in a list": ([["a"]], "index 0 is of type list"),
    "numbers of numpy": (np.arange(3), "index 0 is of type int"),
    "two dimensions": (np.array([["a", "b"]]), "index 0 is of type list"),
    "bytes of numpy": (np.array([b"a"]), "index 0 is of type bytes"),
    "objects of numpy": (np.array(["a", object()], dtype=object), "index 1 is of type object"),
    "NaN in an object array": (np.array(["a", np.nan], dtype=object), "index 1 is NaN"),
    "missing of pandas": (pd.Series(["a", None]), "index 1 is null"),
    "null of Polars": (pl.Series(["a", "b", None]), "index 2 is null"),
    "null of Arrow": (pa.chunked_array([["a"], ["b", None]]), "index 2 is null"),
    "nothing but nulls": (pa.nulls(2), "index 0 is null"),
}


@pytest.mark.parametrize("kind", NOT_A_TEXT)
def test_what_is_no_text_is_told_by_its_index(embedder: Embedder, kind: str) -> None:
    column, says = NOT_A_TEXT[kind]
    with pytest.raises(NotTextError, match=says) as caught:
        embedder.embed(column)
    assert isinstance(caught.value, TypeError)
    assert "hint: " in str(caught.value)


def test_texts_that_are_not_unicode(embedder: Embedder) -> None:
    with pytest.raises(TextError, match=r"index 1 isn't Unicode: .*surrogates not allowed"):
        embedder.embed(["a", "b\udc80c"])
    with pytest.raises(TextError, match=r"the query: .*surrogates not allowed"):
        embedder.embed_query("\ud800")
    with pytest.raises(OptionError, match=r"prompt: .*surrogates not allowed"):
        embedder.embed(["a"], prompt="\ud800")
    offsets, data = pa.py_buffer(np.int32([0, 1, 3])), pa.py_buffer(b"a\xff\xfe")
    broken = pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])
    with pytest.raises(TextError, match="index 1 isn't Unicode: invalid utf-8"):
        embedder.embed(broken)
    rows = pa.record_batch(embedder.embed_columns(broken)).column("error").to_pylist()
    assert rows[0] is None
    assert "invalid utf-8" in rows[1]


def test_arrow_arrays_that_lie_are_refused(embedder: Embedder) -> None:
    data = pa.py_buffer(b"abc")
    for offsets in ([0, 9, 3], [0, -5, 3], [2, 1, 3]):
        buffers = [None, pa.py_buffer(np.int32(offsets)), data]
        with pytest.raises((TypeError, ValueError), match=r"[Oo]ffset"):
            embedder.embed(pa.Array.from_buffers(pa.string(), 2, buffers))


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "dim": ({"dim": 0}, "dimension 0"),
    "dim above": ({"dim": 4096}, "dimension 4096"),
    "encoding": ({"encoding": "f64"}, "f32, f16, int8"),
    "role": ({"role": "passage"}, "document, query|query, document"),
    "on_long": ({"on_long": "no"}, "truncate"),
    "max_tokens": ({"max_tokens": 1_000_000}, "out of range"),
    "prompt_name": ({"prompt_name": "no"}, "no prompt"),
    "two prompts": ({"prompt": "a", "role": "query"}, "only one of"),
    "instruction of documents": ({"instruction": "a", "role": "document"}, "for queries"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_do_not_fit_are_told(embedder: Embedder, name: str) -> None:
    options, says = OPTIONS[name]
    for texts in (["a"], []):
        with pytest.raises(OptionError, match=says):
            embedder.embed(texts, **options)


@pytest.mark.parametrize(
    "options", [{"dim": "x"}, {"dim": -1}, {"normalize": "x"}, {"role": 3}, {"no_such": 1}]
)
def test_options_of_another_type_are_told(embedder: Embedder, options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, OptionError), match=next(iter(options))):
        embedder.embed(["a"], **options)


def test_models_that_cannot_be_loaded() -> None:
    from akidb_embedding import ModelNotFoundError

    with pytest.raises(ModelNotFoundError, match='no model "no-such-model"') as caught:
        Embedder("no-such-model")
    assert caught.value.hint is not None
    with pytest.raises(ModelNotFoundError, match="variant"):
        Embedder("akidb-mini", variant="q9")
    with pytest.raises(OptionError, match="precision"):
        Embedder(precision="f64")
    with pytest.raises(BackendError, match="0 threads"):
        Embedder(threads=0)
    with pytest.raises(TypeError, match="no_such"):
        Embedder(no_such=1)  # type: ignore[call-arg]


def test_errors_survive_pickle(embedder: Embedder) -> None:
    import pickle

    (error,) = embedder.embed_each([None])  # type: ignore[list-item]
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, NotTextError)
    assert (str(again), again.index, again.hint) == (str(error), error.index, error.hint)
