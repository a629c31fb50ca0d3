"""A column to normalized texts; only texts that need a change are processed."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.text.config import NormalizationStep, TextInput

_SPACE = r"[\s\x1c-\x1f]"
"""The characters of Python's `str.isspace`: spaces of Unicode and four separators."""

UNEVEN_SPACES = rf"^{_SPACE}|{_SPACE}$|{_SPACE}{_SPACE}|[^\S ]|[\x1c-\x1f]"
"""Any space but a single U+0020 between two words."""

_WHITESPACE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
"""All such characters."""

_TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum)

_BLOCK_BYTES = 1 << 23
"""Bytes of text that are processed at a time, which bounds temporary memory."""


def read_texts(frame: pl.DataFrame, column: str) -> pl.Series:
    """Return the column as text, null where it is missing; a column of nulls may have any type.

    Raises:
        UnlearnableError: the column is missing or holds no text.
    """
    if column in frame.columns and frame[column].null_count() == len(frame):
        return pl.Series(column, [None] * len(frame), dtype=pl.String)
    _check_text_column(frame.schema, column)
    return frame[column].cast(pl.String)


def find_blocks(columns: Sequence[pl.Series]) -> Iterator[slice]:
    """Yield ranges of rows with texts of some megabytes; a longer row is a range of its own."""
    rows = len(columns[0])
    if not rows:
        return
    lengths_R = sum(texts.str.len_bytes().fill_null(0).cast(pl.Int64) for texts in columns)
    ends_R = np.cumsum(np.asarray(lengths_R, np.int64))
    starts = np.flatnonzero(np.diff(ends_R // _BLOCK_BYTES, prepend=-1)).tolist()
    yield from itertools.starmap(slice, itertools.pairwise([*starts, rows]))


def split_blocks(texts: pl.Series) -> Iterator[pl.Series]:
    """Yield blocks of texts of some megabytes."""
    return (texts[block] for block in find_blocks([texts]))


def normalize_texts(texts: pl.Series, config: TextInput) -> pl.Series:
    """Return texts after the steps of the config; a text of spaces alone becomes empty."""
    for step in config.normalize:
        texts = _apply_step(texts, _mark_affected(texts, step), step)
    blank = texts.str.strip_chars(_WHITESPACE) == ""
    return texts.set(blank, "") if blank.any() else texts


def _check_text_column(schema: pl.Schema, column: str) -> None:
    """Check that a column is there and has texts.

    Raises:
        UnlearnableError: names the column and how to fix it.
    """
    if column not in schema:
        raise UnlearnableError(
            f"column '{column}' is missing; the table has: {', '.join(schema.names())}"
        )
    if schema[column].base_type() not in _TEXT_TYPES:
        raise UnlearnableError(
            f"column '{column}' holds {schema[column]}, expected text; "
            "convert it upstream, or choose another kind of input"
        )


def _mark_affected(texts: pl.Series, step: NormalizationStep) -> pl.Series:
    """Return which texts a step can change."""
    if step == "lowercase":
        return texts.is_not_null()
    if step == "collapse_spaces":
        return texts.str.contains(UNEVEN_SPACES)
    return texts.str.len_bytes() != texts.str.len_chars()


def _apply_step(texts: pl.Series, mask: pl.Series, step: NormalizationStep) -> pl.Series:
    """Return texts after a step that is applied to the marked ones only."""
    rows = mask.arg_true()
    if len(rows) == 0:
        return texts
    if len(rows) == len(texts):
        return _STEPS[step](texts)
    return texts.clone().scatter(rows, _STEPS[step](texts.filter(mask)))


def _strip_accents(texts: pl.Series) -> pl.Series:
    """Return texts without accents."""
    stripped = texts.str.normalize("NFD").str.replace_all(r"\p{Mn}+", "")
    return stripped.str.normalize("NFC")


def _collapse_spaces(texts: pl.Series) -> pl.Series:
    """Return texts with one U+0020 between words, and none at the ends."""
    return texts.str.replace_all(f"{_SPACE}+", " ").str.strip_chars(" ")


_STEPS: dict[NormalizationStep, Callable[[pl.Series], pl.Series]] = {
    "nfc": lambda texts: texts.str.normalize("NFC"),
    "nfkc": lambda texts: texts.str.normalize("NFKC"),
    "lowercase": lambda texts: texts.str.to_lowercase(),
    "strip_accents": _strip_accents,
    "collapse_spaces": _collapse_spaces,
}
