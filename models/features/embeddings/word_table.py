"""The part of a table of words that a job needs: words of its training texts, and frequent ones.

A word that the table does not have gets the vector of its lower-case form, if that is there.

Shapes: V ids, D numbers of a vector.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.embeddings.projection import Block, compress_vectors
from models.features.embeddings.sources import EmbeddingSource, find_source
from models.features.embeddings.spacy_vectors import read_spacy_vectors
from models.features.embeddings.summary import EmbeddingSummary, summarize_table
from models.features.embeddings.word_files import WordVectors, read_word_vectors

MAX_FURTHER_WORDS = 50_000
"""Words of the table that are kept although training did not learn them: their vectors say what
they mean, so the model can read them in new texts."""


class WordTable(NamedTuple):
    """Words with ids, and their vectors."""

    words: tuple[str, ...]
    """The word of each id from 1 on: first those that training learns."""
    vectors_VD: NDArray[np.float16]
    """The vector of each id; zeros for id 0 and for words that the table does not have."""
    summary: EmbeddingSummary


def load_word_table(
    name: str, counts: Sequence[tuple[str, int]], *, learned: int, max_dim: int, further: int
) -> WordTable:
    """Load the vectors of the words of a job.

    Args:
        name: of the table, as in the job file.
        counts: the words of the training texts, the most frequent first, with their counts.
        learned: how many of them have an id in any case; of the others, those with a vector have.
        max_dim: dimensions above which the vectors are projected.
        further: how many other words may have an id.

    Raises:
        UnlearnableError: there is no such table, it is damaged, or it has none of the words.
    """
    source = find_source(name)
    if source.format == "tokens":
        raise UnlearnableError(
            f"pretrained_embeddings: '{name}' has vectors of its own tokenizer's tokens, not of "
            "words; leave inputs.tokenizer out, or name a table of words"
        )
    found = _read(source, name, counts, further)
    row_by_word = {word: row for row, word in enumerate(found.words)}
    row_by_count = [_find_row(word, row_by_word) for word, _ in counts]
    if all(row is None for row in row_by_count):
        raise UnlearnableError(
            f"pretrained_embeddings: '{name}' has no vector for any of the {len(counts)} "
            "words of training; "
            "name a table of their language, or remove pretrained_embeddings"
        )
    words, rows = _choose_words(counts, row_by_count, found.words, learned=learned, most=further)
    has_vector = rows >= 0
    blocks = [Block(np.arange(int(has_vector.sum())), found.vectors_FD[rows[has_vector]])]
    vectors = compress_vectors(lambda: blocks, len(blocks[0].rows_B), max_dim)
    vectors_VD = np.zeros((len(words) + 1, vectors.shape[1]), np.float16)
    vectors_VD[1:][has_vector] = vectors
    summary = summarize_table(
        name,
        source.format,
        counts,
        [row is not None for row in row_by_count],
        shape=vectors.shape,
        dim=found.vectors_FD.shape[1],
    )
    return WordTable(words, vectors_VD, summary)


def _read(
    source: EmbeddingSource, name: str, counts: Sequence[tuple[str, int]], further: int
) -> WordVectors:
    """Read the vectors of the words, of their lower-case forms, and of further words."""
    wanted = {form for word, _ in counts for form in (word, word.lower())}
    if source.format == "spacy":
        return read_spacy_vectors(name, wanted)
    return read_word_vectors(source, wanted, first=further)


def _find_row(word: str, row_by_word: Mapping[str, int]) -> int | None:
    """Return the row of a word, or of its lower-case form."""
    row = row_by_word.get(word)
    return row_by_word.get(word.lower()) if row is None else row


def _choose_words(
    counts: Sequence[tuple[str, int]],
    row_by_count: Sequence[int | None],
    table_words: Sequence[str],
    *,
    learned: int,
    most: int,
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the words that get ids, and the row of each in the table; -1 for none."""
    row_by_word = {
        word: -1 if row is None else row
        for (word, _), row in zip(counts[:learned], row_by_count, strict=False)
    }
    rare = zip(counts[learned:], row_by_count[learned:], strict=True)
    candidates = [(word, row) for (word, _), row in rare if row is not None]
    candidates += [(word, row) for row, word in enumerate(table_words)]
    limit = len(row_by_word) + most
    for word, row in candidates:
        if len(row_by_word) >= limit:
            break
        row_by_word.setdefault(word, row)
    return tuple(row_by_word), np.array([*row_by_word.values()], np.int64)
