"""Tables of words: every format gives the same vectors, and what is damaged is named."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from models.errors import UnlearnableError
from models.features.embeddings.sources import find_source
from models.features.embeddings.word_files import WordVectors, read_word_vectors
from tests.support.embedding_tables import draw_vectors, write_binary, write_text

WORDS = ["the", ",", "na\u00efve", "\u6211", "New York", "last"]
VECTORS = draw_vectors(WORDS)

WRITERS = {
    "glove": lambda path: write_text(path / "glove.txt", VECTORS),
    "word2vec text": lambda path: write_text(path / "w2v.txt", VECTORS, header=True),
    "gzip": lambda path: write_text(path / "cc.vec.gz", VECTORS, header=True),
    "word2vec binary": lambda path: write_binary(path / "w2v.bin", VECTORS),
    "binary with line ends": lambda path: write_binary(path / "w2v", VECTORS, line_ends=True),
}


def read(path: Path, wanted: set[str], first: int = 0) -> WordVectors:
    return read_word_vectors(find_source(str(path)), wanted, first=first)


@pytest.mark.parametrize("written", WRITERS)
def test_every_format_gives_the_same_vectors(written: str, tmp_path: Path) -> None:
    path = WRITERS[written](tmp_path)
    # In a binary file a space ends a word.
    names = [word for word in WORDS if " " not in word or find_source(str(path)).format == "text"]
    if find_source(str(path)).format == "word2vec":
        path = write_binary(path, {word: VECTORS[word] for word in names})

    found = read(path, set(names))

    assert found.words == names
    np.testing.assert_allclose(found.vectors_FD, [VECTORS[word] for word in names], atol=1e-6)


@pytest.mark.parametrize("written", ["glove", "gzip"])
def test_only_wanted_and_the_first_words_are_read(written: str, tmp_path: Path) -> None:
    path = WRITERS[written](tmp_path)

    assert read(path, {"last", "none"}).words == ["last"]
    assert read(path, {"last"}, first=2).words == ["the", ",", "last"]


def test_of_a_word_that_stands_there_twice_the_first_counts(tmp_path: Path) -> None:
    path = tmp_path / "twice.txt"
    path.write_text("a 1 2\nb 3 4\na 5 6\n")

    assert read(path, {"a"}).vectors_FD.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a 1 2\nb 3\n", r"table.txt, line 2: 2 columns, expected a word and 2"),
        ("2 2\na 1 2\nb 3\n", r"table.txt, line 3: 2 columns, expected a word and 2"),
        ("a 1 2\nb 3 nan\n", r"line 2: a number is not finite"),
        ("a 1 2\nb 3 inf\n", r"line 2: a number is not finite"),
        ("a 1 2\nb 3 x\n", r"line 2: could not convert"),
    ],
)
def test_a_bad_line_is_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text(content)

    with pytest.raises(UnlearnableError, match=message):
        read(path, {"a", "b"})


@pytest.mark.parametrize("written", ["gzip", "word2vec binary"])
def test_a_file_that_was_cut_off_is_named(written: str, tmp_path: Path) -> None:
    path = WRITERS[written](tmp_path)
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(UnlearnableError, match=path.name):
        read(path, set(WORDS))


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"PK\x03\x04rest", "unzip it"),
        ((793712314).to_bytes(4, "little") + b"\x0c\0\0\0", r"name its \.vec file"),
        (b"\x80\x04rest", "save_word2vec_format"),
        (b"", "is empty"),
        ((10).to_bytes(8, "little") + b'{"a": 1}  ', "there is no tokenizer.json"),
    ],
)
def test_what_is_not_read_is_refused_with_a_hint(content: bytes, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(content)

    with pytest.raises(UnlearnableError, match=hint):
        find_source(str(path))


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnlearnableError, match=r"neither a tokenizer\.json .* nor a pipeline"):
        find_source(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UnlearnableError, match=r"no \.safetensors file"):
        find_source(str(tmp_path))


@pytest.mark.parametrize("binary", [False, True])
def test_a_large_file_is_not_held_in_memory(*, binary: bool, tmp_path: Path) -> None:
    vectors = draw_vectors([f"w{index}" for index in range(20_000)], dim=200)
    write = write_binary if binary else write_text
    path = write(tmp_path / "large", vectors)
    assert path.stat().st_size > 16_000_000
    del vectors

    tracemalloc.start()
    found = read(path, {"w19999"})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found.words == ["w19999"]
    assert peak < 10_000_000
