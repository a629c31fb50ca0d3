"""Which files a pretrained table consists of, and in which format they are: by their content."""

import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal, NamedTuple, cast

from models.errors import UnlearnableError

EmbeddingFormat = Literal["spacy", "text", "word2vec", "tokens"]
"""`text`: GloVe, and the text formats of word2vec and fastText. `word2vec`: its binary format.
`tokens`: safetensors with a `tokenizer.json`."""

TOKENIZER_FILE = "tokenizer.json"

_GZIP_MAGIC, _ZIP_MAGIC, _PICKLE_MAGIC = b"\x1f\x8b", b"PK\x03\x04", b"\x80"

_FASTTEXT_MAGIC = (793712314).to_bytes(4, "little")

_HEADER = re.compile(rb"^\d+ \d+\s*$")

_MAX_LINE_BYTES = 1 << 20

_SPACY_FILE = "meta.json"
"""In every saved pipeline of spaCy."""


class EmbeddingSource(NamedTuple):
    """A pretrained table on disk."""

    format: EmbeddingFormat
    files: tuple[Path, ...]
    """Every file that is read; of a pipeline, every file of its folder."""
    root: Path
    """The file, or the folder of several."""


def find_source(name: str) -> EmbeddingSource:
    """Find the files of a table, and recognize their format.

    Args:
        name: path of a file or a folder, or the name of an installed pipeline of spaCy.

    Raises:
        UnlearnableError: there is no such table, or its format is not read.
    """
    path = Path(name)
    if path.is_dir():
        return _find_in_folder(path, name)
    if path.is_file():
        try:
            return _recognize_file(path, name)
        except (OSError, EOFError) as error:
            raise UnlearnableError(
                f"pretrained_embeddings: '{name}' cannot be read: {error}; download it again"
            ) from error
    folder = _find_pipeline(name)
    return EmbeddingSource("spacy", _list_all_files(folder), folder)


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading, decompressed where it is gzip."""
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb")) if compressed else path.open("rb")


def has_header(line: bytes) -> bool:
    """Return whether the first line of a table says how many words and columns it has."""
    return _HEADER.match(line) is not None


def _find_in_folder(folder: Path, name: str) -> EmbeddingSource:
    """Find a token table or a pipeline in a folder.

    Raises:
        UnlearnableError: it has neither.
    """
    if (folder / TOKENIZER_FILE).is_file():
        tables = sorted(folder.glob("*.safetensors"))
        if not tables:
            raise UnlearnableError(
                f"pretrained_embeddings: '{name}' has a {TOKENIZER_FILE} but no .safetensors file; "
                "download the model's model.safetensors too, or convert its weights "
                "(safetensors.torch.save_file)"
            )
        return EmbeddingSource("tokens", (folder / TOKENIZER_FILE, *tables), folder)
    if (folder / _SPACY_FILE).is_file():
        return EmbeddingSource("spacy", _list_all_files(folder), folder)
    raise UnlearnableError(
        f"pretrained_embeddings: the folder '{name}' has neither a {TOKENIZER_FILE} beside a "
        f".safetensors file, nor a pipeline of spaCy ({_SPACY_FILE}); name the file with the "
        "vectors, such as glove.6B.100d.txt"
    )


def _recognize_file(path: Path, name: str) -> EmbeddingSource:
    """Recognize the format of a file by how it begins.

    Raises:
        UnlearnableError: the format is not read.
    """
    with open_binary(path) as file:
        start = file.read(16)
    if len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32:
        tokenizer = path.with_name(TOKENIZER_FILE)
        if not tokenizer.is_file():
            raise UnlearnableError(
                f"pretrained_embeddings: beside '{name}' there is no {TOKENIZER_FILE}, which says "
                "what its rows stand for; put it into the same folder"
            )
        return EmbeddingSource("tokens", (tokenizer, path), path)
    if reason := _find_refusal(start):
        raise UnlearnableError(f"pretrained_embeddings: '{name}' {reason}")
    return EmbeddingSource("word2vec" if _is_binary(path) else "text", (path,), path)


def _find_refusal(start: bytes) -> str | None:
    """Return why a file with this start is not read, and what to do; None if nothing is known."""
    if start.startswith(_ZIP_MAGIC):
        return "is a zip archive or a checkpoint of torch; unzip it, and name the file in it"
    if start.startswith(_FASTTEXT_MAGIC):
        return (
            "is a binary model of fastText; name its .vec file, which comes with it, or write one: "
            "with the package fasttext, f = fasttext.load_model(...), and one line a word of "
            "f.get_words() with f.get_word_vector(word)"
        )
    if start.startswith(_PICKLE_MAGIC):
        return (
            "is a pickle, which can run any code when it is read; write the vectors as text: with "
            "gensim, KeyedVectors.load(...).save_word2vec_format('vectors.txt')"
        )
    return None if start else "is empty; download it again"


def _is_binary(path: Path) -> bool:
    """Return whether the vectors behind a header are binary numbers, not text."""
    with open_binary(path) as file:
        first = file.readline(_MAX_LINE_BYTES)
        if not has_header(first):
            return False
        columns = int(first.split()[1])
        return not _are_numbers(file.readline(_MAX_LINE_BYTES).split()[-columns:], columns)


def _are_numbers(columns: Sequence[bytes], count: int) -> bool:
    """Return whether so many columns are numbers as text."""
    try:
        return len([float(column) for column in columns]) == count
    except ValueError:
        return False


def _list_all_files(folder: Path) -> tuple[Path, ...]:
    """List the files of a folder, byte code apart."""
    return tuple(
        sorted(
            path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )
    )


def _find_pipeline(name: str) -> Path:
    """Return the folder of an installed pipeline of spaCy.

    Raises:
        UnlearnableError: there is none of this name.
    """
    reason = f"'{name}' is neither a file, a folder, nor an installed pipeline of spaCy"
    try:
        from spacy.util import get_package_path, is_package
    except ImportError as error:
        raise UnlearnableError(
            f"pretrained_embeddings: {reason}, which is not installed itself; correct the path"
        ) from error
    if not is_package(name):
        raise UnlearnableError(
            f"pretrained_embeddings: {reason}; correct the path, which starts in the folder where "
            "the command runs, or install a pipeline with vectors, such as en_core_web_md "
            "(python -m spacy download en_core_web_md)"
        )
    return Path(get_package_path(name))
