"""Choose the column to predict, and whether it is a class, a number or a text."""

from collections.abc import Sequence

import polars as pl

from flows.commands.drafting.column_kinds import (
    MAX_CLASSES,
    is_group,
    is_key,
    is_number_text,
    is_row_number,
    is_text,
)
from flows.commands.drafting.draft import DraftOptions
from tasks.errors import DataError

TARGET_NAMES = ("target", "label", "class", "y", "category", "answer")

_CLASS_NAMES = ("label", "class", "category")


def choose_target(frame: pl.DataFrame, names: Sequence[str], options: DraftOptions) -> str:
    """Choose the target: the given column, a typical name, the last class, else the last number.

    A text and a key are chosen only where nothing else is left.

    Args:
        frame: a sample of the table.
        names: columns that may be the target.
        options: what is told of the data.

    Raises:
        DataError: no column is left.
    """
    if options.target:
        return options.target
    texts = [name for name in names if is_text(frame[name])]
    found = find_plain_target(frame, names) or (texts[-1] if texts else None)
    if found is None and options.ask and names:
        return options.ask("Which column is to be predicted?", list(names))
    if found is None:
        raise DataError.of(
            "no column can be the target",
            found=f"Columns: {', '.join(names) or 'none'} besides the input",
            hint="name it with --target",
        )
    return found


def find_plain_target(frame: pl.DataFrame, names: Sequence[str]) -> str | None:
    """Find a typical name, the last class, else the last number; None where there is none.

    A group, such as a patient, and a number of the row are no targets.
    """
    if typical := [name for name in names if name.lower() in TARGET_NAMES]:
        return typical[0]
    names = [n for n in names if not (is_group(frame[n]) or is_row_number(frame[n]))]
    classes = [
        name
        for name in names
        if frame.schema[name] in {pl.String, pl.Boolean}
        and not (is_text(frame[name]) or is_key(frame[name]) or is_number_text(frame[name]))
    ]
    numbers = [name for name in names if is_number(frame[name]) and not is_key(frame[name])]
    return next(reversed([*(classes or numbers)]), None)


def guess_target_kind(column: pl.Series) -> str:
    """Return `number`, `text` or `category`, by type and number of distinct values."""
    if column.dtype.is_float() or is_number_text(column):
        return "number"
    if column.dtype.is_integer() and column.n_unique() > MAX_CLASSES:
        return "number"
    return "text" if is_text(column) else "category"


def is_series_number(column: pl.Series) -> bool:
    """Check whether the values of a long table's column are amounts rather than classes."""
    if not is_number(column):
        return False
    if not column.dtype.is_integer():
        return True
    is_class = column.name.lower() in _CLASS_NAMES and column.n_unique() <= MAX_CLASSES
    return column.n_unique() > 2 and not is_class


def is_number(column: pl.Series) -> bool:
    """Check whether a column has numbers, or texts that are numbers."""
    return column.dtype.is_numeric() or is_number_text(column)
