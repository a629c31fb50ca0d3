"""What the values of a column are: images, sounds, lists, trees, texts, splits or numbers."""

import polars as pl

from models.features.splitting.column_split import SPLIT_CODES

MAX_CLASSES = 50
"""Distinct values up to which a column of whole numbers or texts is taken as classes."""

_IMAGE_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff")

_AUDIO_SIGNATURES = (b"RIFF", b"fLaC", b"OggS")

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
    is_varied = len(texts) > 0 and texts.n_unique() > max(MAX_CLASSES, len(texts) // 5)
    return is_varied and not is_number_text(column)


def is_prose(column: pl.Series) -> bool:
    """Check whether a column has texts of several words."""
    words = column.drop_nulls().str.count_matches(r"\S+").median() if is_text(column) else 0
    return isinstance(words, int | float) and words >= _TEXT_WORDS


def is_number_text(column: pl.Series) -> bool:
    """Check whether a column has numbers in texts, and too many different ones for classes."""
    if column.dtype != pl.String:
        return False
    texts = column.str.strip_chars().replace("", None).drop_nulls()
    return texts.n_unique() > MAX_CLASSES and not texts.cast(pl.Float64, strict=False).has_nulls()


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
