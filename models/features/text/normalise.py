"""From a column to texts in one form; only the texts that need a change are touched."""

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.text.config import Normalisation, TextInput

SPACE = r"[\s\x1c-\x1f]"
"""What Python's `str.isspace` takes for a space: Unicode's own and four separators."""

UNEVEN = rf"^{SPACE}|{SPACE}$|{SPACE}{SPACE}|[^\S ]|[\x1c-\x1f]"
"""Any space but a single U+0020 between two words."""

WHITE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
"""Every such space."""

TEXTS = (pl.String, pl.Categorical, pl.Enum)

BLOCK_BYTES = 1 << 23
"""Text that is worked on at a time, so that memory follows the result and not the work."""


def check_column(schema: pl.Schema, column: str) -> None:
    """Refuse a column that is missing or holds no text.

    Raises:
        UnlearnableError: names the column and the mend.
    """
    if column not in schema:
        raise UnlearnableError(
            f"column '{column}' is missing; the table has: {', '.join(schema.names())}"
        )
    if schema[column].base_type() not in TEXTS:
        raise UnlearnableError(
            f"column '{column}' holds {schema[column]}, expected text; "
            "convert it upstream, or choose another kind of input"
        )


def read_texts(frame: pl.DataFrame, column: str) -> pl.Series:
    """Take the column as text, null where it is missing; all gaps have whatever type they like.

    Raises:
        UnlearnableError: the column is missing or holds no text.
    """
    if column in frame.columns and frame[column].null_count() == len(frame):
        return pl.Series(column, [None] * len(frame), dtype=pl.String)
    check_column(frame.schema, column)
    return frame[column].cast(pl.String)


def blocks(texts: pl.Series) -> Iterator[pl.Series]:
    """Cut texts into runs of some megabytes; a longer text is a run of its own."""
    if texts.is_empty():
        return
    ends_R = texts.str.len_bytes().fill_null(0).to_numpy().astype(np.int64).cumsum()
    starts = np.flatnonzero(np.diff(ends_R // BLOCK_BYTES, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(texts)], strict=True):
        yield texts[int(start) : int(stop)]


def normalise(texts: pl.Series, config: TextInput) -> pl.Series:
    """Bring texts to the form that the job asks for; one of nothing but spaces becomes empty."""
    for step in config.normalize:
        texts = apply_where(texts, needs(texts, step), step)
    blank = texts.str.strip_chars(WHITE) == ""
    return texts.set(blank, "") if blank.any() else texts


def needs(texts: pl.Series, step: Normalisation) -> pl.Series:
    """Return which texts a step may change."""
    if step == "lowercase":
        return texts.is_not_null()
    if step == "collapse_spaces":
        return texts.str.contains(UNEVEN)
    return texts.str.len_bytes() != texts.str.len_chars()


def apply_where(texts: pl.Series, mask: pl.Series, step: Normalisation) -> pl.Series:
    """Apply a step to the texts that need it."""
    rows = mask.arg_true()
    if len(rows) == 0:
        return texts
    if len(rows) == len(texts):
        return STEPS[step](texts)
    return texts.clone().scatter(rows, STEPS[step](texts.filter(mask)))


def strip_accents(texts: pl.Series) -> pl.Series:
    """Take the marks off their letters."""
    bare = texts.str.normalize("NFD").str.replace_all(r"\p{Mn}+", "")
    return bare.str.normalize("NFC")


def collapse_spaces(texts: pl.Series) -> pl.Series:
    """Leave one U+0020 between words, and none around the text."""
    return texts.str.replace_all(f"{SPACE}+", " ").str.strip_chars(" ")


STEPS: dict[Normalisation, Callable[[pl.Series], pl.Series]] = {
    "nfc": lambda texts: texts.str.normalize("NFC"),
    "nfkc": lambda texts: texts.str.normalize("NFKC"),
    "lowercase": lambda texts: texts.str.to_lowercase(),
    "strip_accents": strip_accents,
    "collapse_spaces": collapse_spaces,
}
