from __future__ import annotations

import json
import pickle
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXTS

import akidb_embedding
from akidb_embedding import Embedder, Embedding, TextError, TooLongError

COMMAND = Path(sys.executable).with_name("akidb-embed")


def command_line(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        [COMMAND, *arguments], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_vectors_are_those_of_the_command_line_bit_for_bit(embedder: Embedder) -> None:
    lines = [text for text in TEXTS if text]
    answers = command_line("embed", "--format", "jsonl", text="\n".join(lines))
    expected = [json.loads(line) for line in answers.splitlines()]
    vectors = np.array([row["embedding"] for row in expected], dtype=np.float32)
    ours = embedder.embed(lines)
    assert ours.dtype == np.float32
    assert ours.shape == (3, 256)
    np.testing.assert_array_equal(ours, vectors)


def test_the_version_is_that_of_the_workspace() -> None:
    from importlib.metadata import version

    assert akidb_embedding.__version__ == version("akidb-embedding")
    assert command_line("--version").split() == ["akidb-embed", akidb_embedding.__version__]


def test_the_command_line_says_how_it_ended() -> None:
    for arguments, status in [(["--help"], 0), (["embed", "--no-such"], 2), (["inspect", "no"], 2)]:
        done = subprocess.run([COMMAND, *arguments], capture_output=True, check=False)
        assert done.returncode == status, done


def test_a_query_has_its_prompt_and_one_dimension(embedder: Embedder) -> None:
    query = embedder.embed_query("resume a download")
    assert query.shape == (256,)
    np.testing.assert_array_equal(query, embedder.embed(["resume a download"], role="query")[0])
    prompted = embedder.embed_query("resume a download", prompt="> ")
    np.testing.assert_array_equal(prompted, embedder.embed(["> resume a download"], prompt="")[0])


def test_encodings_have_their_types(embedder: Embedder) -> None:
    whole = embedder.embed(TEXTS)
    half = embedder.embed(TEXTS, encoding="f16")
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, whole.astype(np.float16))
    bits = embedder.embed(TEXTS, encoding="binary")
    assert bits.dtype == np.uint8
    np.testing.assert_array_equal(bits, np.packbits(whole > 0, axis=1))
    codes = embedder.embed(TEXTS, encoding="int8")
    assert codes.dtype == np.int8
    assert np.abs(codes).max(axis=1).tolist() == [127] * len(TEXTS)
    for row, each in zip(codes, embedder.embed_each(TEXTS, encoding="int8"), strict=True):
        assert isinstance(each, Embedding)
        np.testing.assert_array_equal(row, each.vector)
        assert each.scale is not None
        assert each.scale > 0


def test_options_cut_and_scale(embedder: Embedder) -> None:
    raw = embedder.embed(TEXTS, normalize=False)
    cut = embedder.embed(TEXTS, dim=64)
    assert cut.shape == (4, 64)
    np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1, rtol=1e-5)
    lengths = np.linalg.norm(raw[:, :64], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, raw[:, :64] / lengths, rtol=1e-4, atol=1e-6)


def test_no_texts_are_an_empty_array(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, 256)
    assert embedder.embed([], encoding="binary", dim=12).shape == (0, 2)
    assert embedder.embed_each([]) == []
    assert embedder.tokenize([]) == []


def test_each_text_has_its_answer_or_its_error(embedder: Embedder) -> None:
    answers = embedder.embed_each(["a", None, "b" * 9, 7, "\ud800"])  # type: ignore[list-item]
    kinds = [type(answer).__name__ for answer in answers]
    assert kinds == ["Embedding", "NotTextError", "Embedding", "NotTextError", "TextError"]
    assert [answer.index for answer in answers if isinstance(answer, TextError)] == [1, 3, 4]
    first = answers[0]
    assert isinstance(first, Embedding)
    np.testing.assert_array_equal(first.vector, embedder.embed(["a"])[0])
    assert (first.tokens, first.truncated, first.scale) == (
        len(embedder.tokenize(["a"])[0]),
        False,
        None,
    )


def test_long_texts_are_cut_or_refused(embedder: Embedder) -> None:
    texts = ["short", "word " * 100]
    cut = embedder.embed_each(texts, max_tokens=8)
    assert [each.truncated for each in cut if isinstance(each, Embedding)] == [False, True]
    with pytest.raises(TooLongError, match="index 1 is longer than 8 tokens") as caught:
        embedder.embed(texts, max_tokens=8, on_long="error")
    assert caught.value.index == 1
    assert 'on_long="truncate"' in str(caught.value)
    # A text that is tokenized a slice at a time is as one that isn't, and counted as one.
    huge = "a word and another, " * 20_000
    np.testing.assert_array_equal(
        embedder.embed(["x", huge])[1], embedder.embed([huge[: len(huge) // 10]])[0]
    )
    with pytest.raises(TooLongError, match="index 1"):
        embedder.embed(["x", huge], on_long="error")


def test_many_texts_take_several_passes_and_keep_their_order(embedder: Embedder) -> None:
    texts = [f"text number {n} of many" for n in range(2200)]
    vectors = embedder.embed(texts)
    assert vectors.shape == (2200, 256)
    some = [0, 1, 127, 1500, 2199]
    np.testing.assert_array_equal(vectors[some], embedder.embed([texts[n] for n in some]))
    mixed = [None if n % 1000 == 7 else text for n, text in enumerate(texts)]
    answers = embedder.embed_each(mixed)  # type: ignore[arg-type]
    failed = [n for n, answer in enumerate(answers) if isinstance(answer, TextError)]
    assert failed == [7, 1007, 2007]
    last = answers[2199]
    assert isinstance(last, Embedding)
    np.testing.assert_array_equal(last.vector, vectors[2199])


def test_tokens_are_the_models(embedder: Embedder) -> None:
    one, two = embedder.tokenize(["a cake", "a cake and more"])
    assert one[:-1] == two[: len(one) - 1]
    assert all(isinstance(token, int) for token in two)


def test_info_says_where_vectors_come_from(embedder: Embedder) -> None:
    info = embedder.info
    assert (info["model"], info["dimension"], info["backend"]) == ("akidb-mini", 256, "native")
    assert info["max_tokens"] > 100
    cut = embedder.provenance(dim=64, encoding="int8")
    assert (cut["dimension"], cut["encoding"]) == (64, "int8")


def test_a_model_is_an_argument_of_any_kind(tmp_path: Path) -> None:
    assert "akidb-mini" in repr(Embedder(None, threads=1, backend="native"))
    with pytest.raises(akidb_embedding.ModelFilesError):
        Embedder(tmp_path)


def test_a_closed_embedder_says_so() -> None:
    with Embedder() as embedder:
        embedder.embed(["a"])
    with pytest.raises(akidb_embedding.ClosedError, match="closed"):
        embedder.embed(["a"])
    with pytest.raises(ValueError, match="closed"):
        _ = embedder.info
    embedder.close()
    assert "closed" in repr(embedder)


def test_an_embedder_is_pickled_as_it_was_made(embedder: Embedder) -> None:
    made = Embedder("akidb-mini", threads=1, precision="f32")
    again = pickle.loads(pickle.dumps(made))
    assert again.info == made.info
    np.testing.assert_array_equal(again.embed(["a"]), made.embed(["a"]))


def test_its_memory_is_given_back() -> None:
    embedder = Embedder()
    dropped = weakref.ref(embedder)
    del embedder
    assert dropped() is None
