"""Channels of classes: each class of the training rows is a channel of 0 and 1.

A value that is missing, or is none of these classes, has zeros in all of them.
Shapes: N steps, K classes of all columns together.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.static_covariates import format_categories
from models.features.steps import Floats

MAX_CATEGORIES = 100
"""Classes of a column that have a channel, the most frequent ones."""

_MAX_VALUES = 10_000
"""Distinct values from which on a column must be an identifier."""


class CategoryCounts:
    """Counts of the values of each column in the training steps."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        """Count the values of these columns."""
        self._counts = dict.fromkeys(columns, pl.DataFrame(schema={"value": str, "count": int}))

    def add(self, labels: Iterable[pl.Series]) -> None:
        """Add the next steps, a series of texts for each column.

        Raises:
            UnlearnableError: a column has too many different values.
        """
        for name, texts in zip(self._counts, labels, strict=True):
            new_counts = texts.drop_nulls().rename("value").value_counts(name="count")
            counts = pl.concat([self._counts[name], new_counts.cast({"count": pl.Int64})])
            self._counts[name] = counts.group_by("value").agg(pl.col("count").sum())
            if len(self._counts[name]) > _MAX_VALUES:
                raise UnlearnableError(
                    f"inputs.categories: column '{name}' has more than {_MAX_VALUES} values in "
                    "training; is it an identifier? Leave it out"
                )

    def list_classes(self) -> dict[str, tuple[str, ...]]:
        """List the classes of each column, sorted.

        Raises:
            UnlearnableError: a column has no value.
        """
        classes = {}
        for name, counts in self._counts.items():
            if not len(counts):
                raise UnlearnableError(f"inputs.categories: column '{name}' has no value")
            ordered = counts.sort(["count", "value"], descending=[True, False])
            classes[name] = tuple(ordered["value"].head(MAX_CATEGORIES).sort().to_list())
        return classes


def read_labels(column: pl.Series) -> pl.Series:
    """Return the values of a column as text, null where one is missing."""
    return format_categories(column)


def encode_labels(labels: Iterable[pl.Series], classes: Iterable[tuple[str, ...]]) -> Floats:
    """Return a channel of 0 and 1 for each class of each column, [N, K].

    Args:
        labels: the values of each column as text.
        classes: of each column.
    """
    parts = []
    for texts, known in zip(labels, classes, strict=True):
        codes = texts.replace_strict(
            list(known), range(len(known)), default=None, return_dtype=pl.Int64
        )
        steps = np.flatnonzero(codes.is_not_null().to_numpy())
        one_hot_NK = np.zeros((len(texts), len(known)), np.float32)
        one_hot_NK[steps, codes.drop_nulls().to_numpy()] = 1.0
        parts.append(one_hot_NK)
    return np.concatenate(parts, axis=1)
