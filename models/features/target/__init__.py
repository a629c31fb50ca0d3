"""Targets: what is predicted, as the numbers that the outputs of a network are compared with.

Classes and tags become codes, texts the ids of their symbols, and numbers are standardized.
Shapes: R rows, M numbers of the targets of all rows, K columns, T numbers of a forecast.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.config import SymbolTokenizer, TargetConfig, TargetKind
from models.features.log_units import LogRange, from_log_units, to_log_units
from models.features.steps import Floats, Integers
from models.features.target.checks import (
    check_missing_targets,
    check_target_type,
    mark_missing_targets,
)
from models.features.target.classes import (
    MAX_CLASSES,
    UNSEEN_CODE,
    ClassLabel,
    encode_classes,
    encode_tags,
    fit_classes,
    fit_tags,
    format_class,
)
from models.features.target.scale import fit_scale, read_numbers
from models.features.target.symbols import (
    build_text_input,
    decode_symbols,
    encode_symbols,
    fit_symbols,
)
from models.features.text import TextState

__all__ = [
    "MAX_CLASSES",
    "UNSEEN_CODE",
    "Target",
    "TargetLists",
    "check_missing_targets",
    "check_target_type",
    "fit_target",
    "format_class",
    "join_targets",
    "mark_missing_targets",
    "read_numbers",
]


class TargetLists(NamedTuple):
    """Targets of several numbers each, concatenated."""

    values_M: Floats
    lengths_R: Integers
    """Count of numbers of each row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What was fitted about the target on the training rows."""

    column: str
    """Of several columns, their names in one text."""
    kind: TargetKind
    parts: "tuple[Target, ...]" = ()
    """Of several columns that are forecast together, the target of each; empty for one column."""
    classes: tuple[ClassLabel, ...] = ()
    """The classes or tags of the training rows, sorted; empty for other kinds."""
    mean: float = 0.0
    std: float = 1.0
    entities: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Mean and standard deviation of the targets of each entity that is scaled apart."""
    log_range: LogRange | None = None
    """Range of the training values, where the logarithms of the target are standardized."""
    tokenizer: SymbolTokenizer = "character"
    vocab_size: int = 8_000
    symbols: TextState | None = None
    """The symbols of texts."""
    max_length: int = 0
    """Symbols of the longest text in training."""

    def list_parts(self) -> "tuple[Target, ...]":
        """List the target of each column."""
        return self.parts or (self,)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns with the target; empty for self-supervised kinds."""
        return tuple(part.column for part in self.list_parts() if part.column)

    @property
    def is_scaled_per_entity(self) -> bool:
        """Whether some entities have a scale of their own."""
        return any(part.entities for part in self.list_parts())

    def list_output_names(self, name: str) -> tuple[str, ...]:
        """List the columns of the predictions that hold one quantity, such as `prediction`.

        Of several columns each has its own: `prediction_a`, `prediction_b`.
        """
        return tuple(f"{name}_{part.column}" for part in self.parts) or (name,)

    @property
    def num_codes(self) -> int:
        """Number of codes: of classes, or of symbols with the unknown one."""
        return len(self.symbols.tokens) + 1 if self.symbols else len(self.classes)

    def encode(self, column: pl.Series, entities: pl.Series | None = None) -> Floats:
        """Return targets of one value as codes or standardized numbers, NaN where missing."""
        if self.kind == "category":
            return encode_classes(column, self.classes)
        mean, std = self.get_scales(len(column), entities)
        return ((self.to_units(read_numbers(column)) - mean) / std).astype(np.float32)

    def encode_lists(self, column: pl.Series, entities: pl.Series | None = None) -> TargetLists:
        """Return targets as numbers, any count for each row."""
        if self.kind == "tags":
            return TargetLists(*encode_tags(column, self.classes))
        if self.symbols is not None:
            read = build_text_input(self.column, self.tokenizer, self.vocab_size)
            return TargetLists(*encode_symbols(column, read, self.symbols))
        return TargetLists(self.encode(column, entities), np.ones(len(column), np.int64))

    def decode(self, outputs: NDArray[Any], entities: pl.Series | None = None) -> pl.Series:
        """Return codes as classes, or standardized numbers in the unit of the target."""
        if self.kind == "category":
            return pl.Series(list(self.classes)).gather(outputs.astype(np.int64))
        mean, std = self.get_scales(len(outputs), entities)
        return pl.Series(self.from_units(outputs.astype(np.float64) * std + mean))

    def to_units(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return numbers in the unit that is standardized: themselves, or their logarithms."""
        return numbers if self.log_range is None else to_log_units(numbers, self.log_range)

    def from_units(self, units: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return numbers from the unit that is standardized: the inverse of `to_units`.

        Those of several columns are in turn, [R, T].
        """
        if self.parts:
            columns = [
                part.from_units(units[:, k :: len(self.parts)]) for k, part in enumerate(self.parts)
            ]
            return np.stack(columns, axis=2).reshape(units.shape)
        return units if self.log_range is None else from_log_units(units, self.log_range)

    def decode_text(self, ids: Iterable[int]) -> str:
        """Return the text of ids of symbols."""
        assert self.symbols is not None  # noqa: S101 - called for texts alone
        return decode_symbols(list(ids), self.tokenizer, self.symbols)

    def get_scales(
        self, rows: int, entities: pl.Series | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation for each row: of its entity, else of all."""
        means, stds = np.full(rows, self.mean), np.full(rows, self.std)
        if entities is None or not self.entities:
            return means, stds
        known = pl.DataFrame(
            {
                "entity": list(self.entities),
                "mean": [mean for mean, _ in self.entities.values()],
                "std": [std for _, std in self.entities.values()],
            }
        )
        names = pl.DataFrame({"entity": entities.cast(pl.String)})
        found = names.join(known, on="entity", how="left", maintain_order="left")
        is_known = found["mean"].is_not_null().to_numpy()
        means[is_known] = found["mean"].drop_nulls().to_numpy()
        stds[is_known] = found["std"].drop_nulls().to_numpy()
        return means, stds

    def get_step_scales(
        self, rows: int, entities: pl.Series | None, steps: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation for the numbers of each row's forecast.

        Args:
            rows: count of rows.
            entities: see `get_scales`.
            steps: ahead.

        Returns:
            [R, 1] each; of several columns [R, T], step by step and within a step by column.
        """
        scales = [part.get_scales(rows, entities) for part in self.list_parts()]
        means_RK, stds_RK = (np.stack(each, axis=1) for each in zip(*scales, strict=True))
        if not self.parts:
            return means_RK, stds_RK
        return np.tile(means_RK, (1, steps)), np.tile(stds_RK, (1, steps))


def join_targets(parts: "Iterable[Target]") -> Target:
    """Return the target of several columns that are forecast together; of one, it is that."""
    joined = tuple(parts)
    if len(joined) == 1:
        return joined[0]
    name = ", ".join(part.column for part in joined)
    return Target(column=name, kind="forecast", parts=joined)


def fit_target(
    targets: Iterable[tuple[pl.Series, pl.Series | None]], config: TargetConfig
) -> Target:
    """Fit on the targets of the training rows, in one pass over chunks of them.

    Args:
        targets: chunks of the column, each with its rows' entities where these are scaled apart.
        config: the settings of the target.

    Raises:
        UnlearnableError: there is one class only, or too many, or the number is constant.
    """
    name = config.name
    columns = (column for column, _ in targets)
    if config.kind == "category":
        return Target(column=name, kind="category", classes=fit_classes(columns, name))
    if config.kind == "tags":
        return Target(column=name, kind="tags", classes=fit_tags(columns, name))
    if config.kind == "text":
        symbols, max_length = fit_symbols(columns, config)
        return Target(
            column=name,
            kind="text",
            tokenizer=config.tokenizer,
            vocab_size=config.vocab_size,
            symbols=symbols,
            max_length=max_length,
        )
    mean, std, entities = fit_scale(targets, name)
    return Target(column=name, kind=config.kind, mean=mean, std=std, entities=entities)
