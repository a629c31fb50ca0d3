"""Choose the columns of a long table that are forecast: one, or several together."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from flows.commands.drafting.column_kinds import MAX_CLASSES, is_key
from flows.commands.drafting.draft import DraftOptions
from flows.commands.drafting.targets import (
    TARGET_NAMES,
    choose_target,
    is_number,
    is_series_number,
)
from tasks.errors import DataError

_MAX_COLUMNS = 50
"""Columns of numbers up to which all are forecast together where none stands out."""


def split_target_names(options: DraftOptions, columns: Sequence[str]) -> DraftOptions:
    """Return the options with the targets as names of columns, also where a comma lists them.

    Args:
        options: what is told of the data.
        columns: of the table; a name with a comma in it is one of them.
    """
    names: list[str] = []
    for text in options.targets or ([options.target] if options.target else []):
        parts = [text] if text in columns else [part.strip() for part in text.split(",")]
        names += [name for name in parts if name]
    unique = tuple(dict.fromkeys(names))
    several = unique if len(unique) > 1 else ()
    return replace(options, target=unique[-1] if unique else None, targets=several)


def choose_targets(
    frame: pl.DataFrame, names: Sequence[str], options: DraftOptions, *, entity: str | None
) -> list[str]:
    """Choose the targets: the given ones, a column that stands out, else all columns of numbers.

    Several columns are forecast together where the table is wide: it has no entity, no column is
    named like a target and none has classes.

    Args:
        frame: the table.
        names: columns that may be a target.
        options: what is told of the data.
        entity: the column that identifies the series, if there is one.

    Raises:
        DataError: several columns are named, and one has no numbers; or no column is left.
    """
    if options.targets:
        _check_numbers(frame, options.targets)
        return list(options.targets)
    chosen = choose_target(frame, names, options)
    if options.target or entity:
        return [chosen]
    stands_out = chosen.lower() in TARGET_NAMES or not is_number(frame[chosen])
    amounts = [name for name in names if _is_amount(frame[name])]
    return [chosen] if stands_out or len(amounts) > _MAX_COLUMNS else amounts or [chosen]


def _is_amount(column: pl.Series) -> bool:
    """Check whether a column has amounts, rather than a count of classes such as the weekday."""
    is_code = column.dtype.is_integer() and column.n_unique() <= MAX_CLASSES
    return is_series_number(column) and not is_code and not is_key(column)


def _check_numbers(frame: pl.DataFrame, names: Sequence[str]) -> None:
    """Check that columns that are forecast together have numbers.

    Raises:
        DataError: names those that have none.
    """
    if others := [name for name in names if not is_number(frame[name])]:
        raise DataError.of(
            f"--target: {', '.join(map(repr, others))} cannot be forecast together with others",
            found=", ".join(f"{name} ({frame.schema[name]})" for name in others),
            hint="name columns of numbers, or one column alone",
        )
