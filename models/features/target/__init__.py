"""Targets: what is predicted, as the numbers that a network is compared with.

Classes and labels become codes, texts the ids of their symbols, and numbers lie on the scale that
a network likes. Shapes: R rows, M numbers of all answers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.config import TargetConfig, TargetKind, Unit
from models.features.steps import Floats, Integers
from models.features.target.checks import check_target, check_targets
from models.features.target.classes import (
    MAX_CLASSES,
    UNSEEN,
    Class,
    codes_of,
    fit_classes,
    fit_tags,
    str_of,
    tag_codes,
)
from models.features.target.scale import fit_scale, to_numbers
from models.features.target.symbols import fit_symbols, reading, symbol_ids, written
from models.features.text import TextState

__all__ = [
    "MAX_CLASSES",
    "UNSEEN",
    "Lists",
    "Target",
    "check_target",
    "check_targets",
    "fit_target",
    "str_of",
    "to_numbers",
]


class Lists(NamedTuple):
    """The answers of rows, end to end."""

    values_M: Floats
    lengths_R: Integers
    """How many numbers each row's answer is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What training fitted about the answer."""

    column: str
    kind: TargetKind
    classes: tuple[Class, ...] = ()
    """The classes or labels of the training rows, sorted; empty for other kinds."""
    mean: float = 0.0
    std: float = 1.0
    entities: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Mean and spread of each entity's own answers, where series are scaled one by one."""
    tokenizer: Unit = "character"
    vocab_size: int = 8_000
    symbols: TextState | None = None
    """The symbols of texts."""
    longest: int = 0
    """Symbols of the longest text of training."""

    @property
    def size(self) -> int:
        """How many codes there are: of classes, or of symbols, the unknown included."""
        return len(self.symbols.tokens) + 1 if self.symbols else len(self.classes)

    def encode(self, column: pl.Series, entities: pl.Series | None = None) -> Floats:
        """Turn answers of one value into codes or scaled numbers; NaN where one is missing."""
        if self.kind == "category":
            return codes_of(column, self.classes)
        mean, spread = self.scales(len(column), entities)
        return ((to_numbers(column) - mean) / spread).astype(np.float32)

    def encode_lists(self, column: pl.Series, entities: pl.Series | None = None) -> Lists:
        """Turn the answers of rows into numbers, as many as each row has."""
        if self.kind == "tags":
            return Lists(*tag_codes(column, self.classes))
        if self.symbols is not None:
            read = reading(self.column, self.tokenizer, self.vocab_size)
            return Lists(*symbol_ids(column, read, self.symbols))
        return Lists(self.encode(column, entities), np.ones(len(column), np.int64))

    def decode(self, outputs: NDArray[Any], entities: pl.Series | None = None) -> pl.Series:
        """Turn codes into classes, or scaled numbers into numbers."""
        if self.kind == "category":
            return pl.Series(list(self.classes)).gather(outputs.astype(np.int64))
        mean, spread = self.scales(len(outputs), entities)
        return pl.Series(outputs.astype(np.float64) * spread + mean)

    def write(self, ids: Iterable[int]) -> str:
        """Turn ids of symbols into a text."""
        assert self.symbols is not None  # noqa: S101 - asked of texts alone
        return written(list(ids), self.tokenizer, self.symbols)

    def scales(
        self, rows: int, entities: pl.Series | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Find the mean and spread of each row: its entity's own, or those of all."""
        means, spreads = np.full(rows, self.mean), np.full(rows, self.std)
        if entities is None or not self.entities:
            return means, spreads
        known = pl.DataFrame(
            {
                "entity": list(self.entities),
                "mean": [mean for mean, _ in self.entities.values()],
                "spread": [spread for _, spread in self.entities.values()],
            }
        )
        names = pl.DataFrame({"entity": entities.cast(pl.String)})
        found = names.join(known, on="entity", how="left", maintain_order="left")
        own = found["mean"].is_not_null().to_numpy()
        means[own] = found["mean"].drop_nulls().to_numpy()
        spreads[own] = found["spread"].drop_nulls().to_numpy()
        return means, spreads


def fit_target(
    targets: Iterable[tuple[pl.Series, pl.Series | None]], config: TargetConfig
) -> Target:
    """Fit on the targets of the training rows, in one pass over pieces of them.

    Args:
        targets: pieces of the column, each with its rows' entities where they are scaled apart.
        config: the section of the job.

    Raises:
        UnlearnableError: one class only, too many classes, or a number that never changes.
    """
    name = config.column
    plain = (column for column, _ in targets)
    if config.kind == "category":
        return Target(column=name, kind="category", classes=fit_classes(plain, name))
    if config.kind == "tags":
        return Target(column=name, kind="tags", classes=fit_tags(plain, name))
    if config.kind == "text":
        symbols, longest = fit_symbols(plain, config)
        return Target(
            column=name,
            kind="text",
            tokenizer=config.tokenizer,
            vocab_size=config.vocab_size,
            symbols=symbols,
            longest=longest,
        )
    mean, spread, entities = fit_scale(targets, name)
    return Target(column=name, kind=config.kind, mean=mean, std=spread, entities=entities)
