"""Tables of words in files, read as a stream: the text formats, and word2vec's binary one.

Text: one line a word with its numbers, separated by spaces (GloVe; Pennington et al. 2014), after
an optional line with the numbers of words and of columns (word2vec and fastText). Binary: that
line, then for each word its bytes, a space, and float32 numbers, little-endian (word2vec; Mikolov
et al. 2013). Of a table of any size only the rows that are asked for are held.

Shapes: F words that were found, D numbers of a vector.
"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.embeddings.sources import EmbeddingSource, has_header, open_binary

_CHUNK_BYTES = 1 << 20

_MAX_WORD_BYTES = 1 << 12
"""A longer word of a binary file means that the file is damaged."""


class WordVectors(NamedTuple):
    """The words of a table that were asked for, in its order, and their vectors."""

    words: list[str]
    vectors_FD: NDArray[np.float32]


class _Entry(NamedTuple):
    """One word of a file, its numbers not parsed yet."""

    position: str
    """Where it stands, for errors."""
    word: bytes
    numbers: bytes
    binary: bool

    def parse(self, path: Path) -> NDArray[np.float32]:
        """Return its numbers.

        Raises:
            UnlearnableError: one is no number, or not finite.
        """
        try:
            vector_D = (
                np.frombuffer(self.numbers, "<f4")
                if self.binary
                else np.array(self.numbers.split(), np.float32)
            )
        except ValueError as error:
            raise _build_error(path, self.position, f"{error}") from error
        if not np.isfinite(vector_D).all():
            raise _build_error(path, self.position, "a number is not finite")
        return vector_D.astype(np.float32)


def read_word_vectors(
    source: EmbeddingSource, wanted: Collection[str], *, first: int
) -> WordVectors:
    """Read the vectors of some words; of a word that stands there twice, the first.

    Args:
        source: a file of one of these formats.
        wanted: words whose vectors are read.
        first: how many words from the start of the file, mostly its most frequent ones, are
            read whether they are wanted or not.

    Raises:
        UnlearnableError: the file is damaged; names it and the line.
    """
    (path,) = source.files
    encoded = {word.encode() for word in wanted}
    iterate = _iterate_binary if source.format == "word2vec" else _iterate_lines
    try:
        with open_binary(path) as file:
            rows = _parse_rows(iterate(file, path), path, encoded, first=first)
    except (OSError, EOFError) as error:
        raise UnlearnableError(
            f"pretrained_embeddings: {path} cannot be read: {error}; download it again"
        ) from error
    words = [word.decode(errors="replace") for word in rows]
    return WordVectors(words, np.stack([*rows.values()]) if rows else np.empty((0, 1), np.float32))


def _parse_rows(
    entries: Iterable[_Entry], path: Path, wanted: Collection[bytes], *, first: int
) -> dict[bytes, NDArray[np.float32]]:
    """Return the vectors of the first words, and of those that are wanted.

    Raises:
        UnlearnableError: one of them is damaged.
    """
    rows: dict[bytes, NDArray[np.float32]] = {}
    for index, entry in enumerate(entries):
        if entry.word not in rows and (index < first or entry.word in wanted):
            rows[entry.word] = entry.parse(path)
    return rows


def _iterate_lines(file: IO[bytes], path: Path) -> Iterator[_Entry]:
    """Yield the words of a text file; all lines have as many columns as the first.

    Raises:
        UnlearnableError: a line has fewer.
    """
    columns = 0
    for number, line in enumerate(file, 1):
        content = line.rstrip()
        if number == 1 and has_header(line):
            columns = int(content.split()[1])
            continue
        columns = columns or content.count(b" ")
        spaces = content.count(b" ")
        if not columns or spaces < columns:
            if not content:
                continue
            raise _build_error(
                path, f"line {number}", f"{spaces + 1} columns, expected a word and {columns or 1}"
            )
        # Some words of GloVe contain spaces themselves.
        word, *_ = content.split(b" ", 1) if spaces == columns else content.rsplit(b" ", columns)
        yield _Entry(f"line {number}", word, content[len(word) + 1 :], binary=False)


def _iterate_binary(file: IO[bytes], path: Path) -> Iterator[_Entry]:
    """Yield the words of a binary file.

    Raises:
        UnlearnableError: it ends too early, or a word is too long to be one.
    """
    count, columns = map(int, file.readline().split())
    buffer, start, size = b"", 0, 4 * columns
    for number in range(1, count + 1):
        if len(buffer) - start < size + _MAX_WORD_BYTES:
            buffer, start = buffer[start:] + file.read(max(_CHUNK_BYTES, 2 * size)), 0
        stop = buffer.find(b" ", start, start + _MAX_WORD_BYTES)
        if stop < 0 or stop + 1 + size > len(buffer):
            at_end = len(buffer) - start < size + _MAX_WORD_BYTES
            reason = "the file ends there" if at_end else "no word, so the file is damaged"
            raise _build_error(path, f"word {number} of {count}", reason)
        word = buffer[start:stop].lstrip(b"\n")
        yield _Entry(f"word {number}", word, buffer[stop + 1 : stop + 1 + size], binary=True)
        start = stop + 1 + size


def _build_error(path: Path, position: str, reason: str) -> UnlearnableError:
    """Build the error for a damaged file."""
    return UnlearnableError(
        f"pretrained_embeddings: {path}, {position}: {reason}; download the file again, or correct "
        "it"
    )
