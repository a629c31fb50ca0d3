"""Targets that are classes: one of several, or any number of tags.

Shapes: R rows, M tags of all rows.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.steps import Floats, Integers

ClassLabel = str | int | bool

UNSEEN_CODE = -1.0
"""Code of a class that is not in the training rows."""

MAX_CLASSES = 10_000


def format_class(value: ClassLabel) -> str:
    """Return a class as the text that Polars casts it to."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def encode_classes(targets: pl.Series, classes: tuple[ClassLabel, ...]) -> Floats:
    """Return the code of each class as a float; NaN where it is missing."""
    texts = targets.cast(pl.String)
    codes = texts.replace_strict(
        [format_class(value) for value in classes],
        range(len(classes)),
        default=UNSEEN_CODE,
        return_dtype=pl.Float32,
    )
    codes_with_gaps = pl.select(
        pl.when(texts.is_null()).then(float("nan")).otherwise(codes)
    ).to_series()
    return np.array(codes_with_gaps.to_numpy(), np.float32)


def encode_tags(lists: pl.Series, classes: tuple[ClassLabel, ...]) -> tuple[Floats, Integers]:
    """Return the codes of the distinct tags of each row, and their count."""
    tags = lists.list.drop_nulls().list.unique(maintain_order=True)
    lengths_R = tags.list.len().fill_null(0).to_numpy().astype(np.int64)
    return encode_classes(tags.explode(empty_as_null=False).drop_nulls(), classes), lengths_R


def fit_classes(targets: Iterable[pl.Series], name: str) -> tuple[ClassLabel, ...]:
    """Return the sorted classes of the training rows.

    Raises:
        UnlearnableError: there is one class only, or too many.
    """
    classes = _list_distinct(targets, name)
    if len(classes) < 2:
        raise UnlearnableError(
            f"target '{name}' has one class only in the training split: {classes}; "
            "there is nothing to predict; check the source, or split.by"
        )
    return tuple(classes)


def fit_tags(targets: Iterable[pl.Series], name: str) -> tuple[ClassLabel, ...]:
    """Return the sorted tags of the training rows.

    Raises:
        UnlearnableError: no row has a tag, or there are too many.
    """
    tags = _list_distinct((lists.explode().drop_nulls() for lists in targets), name)
    if not tags:
        raise UnlearnableError(
            f"target '{name}' has no tag in any training row; check the source, or split.by"
        )
    return tuple(tags)


def _list_distinct(targets: Iterable[pl.Series], name: str) -> list[ClassLabel]:
    """Return the sorted distinct values.

    Raises:
        UnlearnableError: there are too many.
    """
    classes: pl.Series | None = None
    for chunk in targets:
        has_own_order = isinstance(chunk.dtype, (pl.Categorical, pl.Enum))
        values = (chunk.cast(pl.String) if has_own_order else chunk).unique()
        classes = values if classes is None else classes.append(values).unique()
        if len(classes) > MAX_CLASSES:
            raise UnlearnableError(
                f"target '{name}' has more than {MAX_CLASSES} classes in training; "
                "is it an identifier? Choose another target, or target.kind: number"
            )
    return [] if classes is None else classes.sort().to_list()
