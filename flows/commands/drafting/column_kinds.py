"""What the values of a column are: images, sounds, lists, trees, texts, splits or numbers."""

import re

import polars as pl

from models.features.splitting.column_split import SPLIT_CODES
from models.features.text_columns import DECIMAL_COMMA, MISSING_MARKS, NUMBER, parse_text

MAX_CLASSES = 50
"""Distinct values up to which a column of whole numbers or texts is taken as classes."""

_IMAGE_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff")

_AUDIO_SIGNATURES = (b"RIFF", b"fLaC", b"OggS")

_GROUP_NAMES = {
    "author", "client", "customer", "group", "household", "participant", "patient", "person",
    "session", "speaker", "student", "subject", "user", "writer",
}  # fmt: skip

_SPLIT_NAMES = ("split", "fold", "subset")

_TEXT_WORDS = 3
"""Median words from which a column is a text even in a table with times."""


def is_image(column: pl.Series) -> bool:
    """Check whether a column has image files, or rows of pixels."""
    first = column.drop_nulls().head(1)
    if column.dtype == pl.Binary:
        return bool(len(first)) and first[0].startswith(_IMAGE_SIGNATURES)
    inner = column.dtype.inner if isinstance(column.dtype, pl.List | pl.Array) else None
    return isinstance(inner, pl.List | pl.Array)


def is_audio(column: pl.Series) -> bool:
    """Check whether a column has audio files."""
    first = column.drop_nulls().head(1)
    return column.dtype == pl.Binary and bool(len(first)) and first[0].startswith(_AUDIO_SIGNATURES)


def is_list(column: pl.Series) -> bool:
    """Check whether a column has lists of numbers."""
    dtype = column.dtype
    if not isinstance(dtype, pl.List | pl.Array):
        return False
    return pl.Series([], dtype=dtype.inner).dtype.is_numeric()


def is_tree(column: pl.Series) -> bool:
    """Check whether a column has bracketed trees."""
    if column.dtype != pl.String:
        return False
    texts = column.drop_nulls().head(100).str.strip_chars()
    closed = texts.str.starts_with("(") & texts.str.ends_with(")")
    return bool(len(texts)) and bool(closed.all())


def is_text(column: pl.Series) -> bool:
    """Check whether a column has texts rather than names of classes or numbers."""
    if column.dtype != pl.String:
        return False
    texts = column.drop_nulls()
    distinct = texts.n_unique()
    is_varied = len(texts) > 0 and distinct > max(MAX_CLASSES, len(texts) // 5)
    # A small table has few texts; sentences that hardly repeat are no names of classes.
    is_varied = is_varied or (distinct > len(texts) // 2 and _count_words(texts) >= _TEXT_WORDS)
    return is_varied and not is_number_text(column)


def is_prose(column: pl.Series) -> bool:
    """Check whether a column has texts of several words."""
    return is_text(column) and _count_words(column.drop_nulls()) >= _TEXT_WORDS


def _count_words(texts: pl.Series) -> float:
    """Return the median number of words."""
    median = texts.str.count_matches(r"\S+").median()
    return float(median) if isinstance(median, int | float) else 0.0


def is_number_text(column: pl.Series) -> bool:
    """Check whether a column has numbers in texts, and too many different ones for classes."""
    return find_number_format(column) is not None


def find_number_format(column: pl.Series) -> str | None:
    """Return the format of a column with numbers in texts; None where it has none, or too few.

    Some of the texts may stand for missing numbers, such as `n/a`.
    """
    if column.dtype != pl.String:
        return None
    texts = column.str.strip_chars()
    numbers = texts.filter(~texts.str.to_lowercase().is_in(list(MISSING_MARKS)))
    if numbers.n_unique() <= MAX_CLASSES:
        return None
    frame = numbers.alias("text").to_frame()
    # 1,234 may be a thousand; 1,5 and 1,2345 are not.
    has_decimals = numbers.str.contains(r",(\d{1,2}|\d{4,})$").any()
    formats: tuple[str, ...] = (NUMBER, DECIMAL_COMMA) if has_decimals else (NUMBER,)
    for text_format in formats:
        if not frame.select(parse_text(pl.col("text"), text_format)).to_series().has_nulls():
            return text_format
    return None


def is_group(column: pl.Series) -> bool:
    """Check whether a column is named like what several rows may belong to, and values repeat."""
    if not (column.dtype == pl.String or column.dtype.is_integer()):
        return False
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.name).lower())
    named = bool(set(words) & _GROUP_NAMES) or (len(words) > 1 and words[-1] == "id")
    return named and 1 < column.n_unique() < len(column)


def is_row_number(column: pl.Series) -> bool:
    """Check whether a column counts the rows of the table, as an index that was written with it."""
    if not column.dtype.is_integer() or column.has_nulls() or len(column) < 3:
        return False
    steps = column.cast(pl.Int64).diff().drop_nulls()
    return bool((steps == 1).all())


def is_split(column: pl.Series) -> bool:
    """Check whether a column is named like a split and has only names of splits."""
    if column.dtype != pl.String or column.name.lower() not in _SPLIT_NAMES:
        return False
    names = column.drop_nulls().str.to_lowercase().unique()
    return bool(len(names)) and names.is_in(list(SPLIT_CODES)).all()


def is_key(column: pl.Series) -> bool:
    """Check whether a column identifies rows: whole numbers or texts, each of them once."""
    can_be_key = column.dtype.is_integer() or column.dtype == pl.String
    return can_be_key and len(column) > MAX_CLASSES and column.n_unique() == len(column)
