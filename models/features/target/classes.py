"""Answers that are classes: one of several, or any number of them at once.

Shapes: R rows, M labels of all rows.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.steps import Floats, Integers

Class = str | int | bool

UNSEEN = -1.0
"""Code of a class that training never showed."""

MAX_CLASSES = 10_000


def str_of(value: Class) -> str:
    """Write a class as Polars writes it when it casts to text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def codes_of(answers: pl.Series, classes: tuple[Class, ...]) -> Floats:
    """Turn classes into codes; NaN where one is missing."""
    texts = answers.cast(pl.String)
    codes = texts.replace_strict(
        [str_of(value) for value in classes],
        range(len(classes)),
        default=UNSEEN,
        return_dtype=pl.Float32,
    )
    coded = pl.select(pl.when(texts.is_null()).then(float("nan")).otherwise(codes)).to_series()
    return np.array(coded.to_numpy(), np.float32)


def tag_codes(lists: pl.Series, classes: tuple[Class, ...]) -> tuple[Floats, Integers]:
    """Turn lists of labels into codes, each label once a row, and tell how many each row has."""
    each = lists.list.drop_nulls().list.unique(maintain_order=True)
    lengths_R = each.list.len().fill_null(0).to_numpy().astype(np.int64)
    return codes_of(each.explode(empty_as_null=False).drop_nulls(), classes), lengths_R


def fit_classes(answers: Iterable[pl.Series], name: str) -> tuple[Class, ...]:
    """Collect the classes of the training rows.

    Raises:
        UnlearnableError: one class only, or too many.
    """
    classes = distinct(answers, name)
    if len(classes) < 2:
        raise UnlearnableError(
            f"target '{name}' has one class only in the training split: {classes}; "
            "there is nothing to tell apart; check the source, or split.by"
        )
    return tuple(classes)


def fit_tags(answers: Iterable[pl.Series], name: str) -> tuple[Class, ...]:
    """Collect the labels of the training rows.

    Raises:
        UnlearnableError: no row has a label, or there are too many.
    """
    labels = distinct((lists.explode().drop_nulls() for lists in answers), name)
    if not labels:
        raise UnlearnableError(
            f"target '{name}' has no tag in any training row; check the source, or split.by"
        )
    return tuple(labels)


def distinct(answers: Iterable[pl.Series], name: str) -> list[Class]:
    """Collect distinct values, sorted.

    Raises:
        UnlearnableError: there are too many.
    """
    held: pl.Series | None = None
    for piece in answers:
        own_order = isinstance(piece.dtype, (pl.Categorical, pl.Enum))
        values = (piece.cast(pl.String) if own_order else piece).unique()
        held = values if held is None else held.append(values).unique()
        if len(held) > MAX_CLASSES:
            raise UnlearnableError(
                f"target '{name}' has more than {MAX_CLASSES} classes in training; "
                "is it an identifier? Choose another target, or target.kind: number"
            )
    return [] if held is None else held.sort().to_list()
