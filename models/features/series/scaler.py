"""Scales of the channels of a series, fitted on training steps alone, in one pass over chunks.

Means, standard deviations and extremes are exact; medians and quartiles are exact up to the size
of a sample (see `quantile_sample`), and estimated from that sample for more steps.
Shapes: C channels, N steps, S series, E rows of a table: all entities together, then each.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.log_units import LogRange, to_log_units
from models.features.series.config import SeriesInput
from models.features.series.quantile_sample import QuantileSample
from models.features.series.statistics import (
    NO_ENTITY,
    ChannelStatistics,
    StatisticsStream,
    compute_statistics,
    concatenate_statistics,
    merge_statistics,
)
from models.features.steps import Doubles, Integers

MIN_STEPS = 8
"""Training steps that an entity's channel needs for a scale of its own."""

_FLAT = 1e-12
"""A channel is constant if its spread is at most this part of its level, which is rounding."""

_NORMAL_QUARTILES = 1.349
"""Interquartile range of a normal distribution in standard deviations."""

_FIRST = np.zeros(1, np.int64)
"""Beginning of a single run."""


class Chunk(NamedTuple):
    """Training steps, sorted by series."""

    values_CN: Doubles
    series_N: Integers
    """Number of the series of each step, ascending."""
    entities_S: pl.Series | None
    """The entity of each series; None unless each entity has its own scale."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scaler:
    """Center and spread of each channel: row 0 for all, then a row for each entity."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    centre_EC: Doubles
    spread_EC: Doubles
    """1 where a channel is constant."""
    typical_EC: Doubles
    """What replaces a missing value."""
    entities: tuple[str, ...] = ()
    """Names of the rows from row 1 on."""
    gaps: tuple[int, ...] = ()
    """Channels with a flag channel, which is 1 where the value is missing."""
    log_ranges: tuple[LogRange | None, ...] = ()
    """Of each channel that is scaled by its logarithms, the range of its training values."""

    @property
    def channels(self) -> int:
        """Number of channels after scaling, with flags."""
        return int(self.centre_EC.shape[1]) + len(self.gaps)

    def to_units(self, values_CN: Doubles) -> Doubles:
        """Return the values, logarithms of them in channels that are scaled by these."""
        if not any(self.log_ranges):
            return values_CN
        return np.stack(
            [
                row_N if limits is None else to_log_units(row_N, limits)
                for row_N, limits in zip(values_CN, self.log_ranges, strict=True)
            ]
        )

    def find_rows(self, entities_S: pl.Series | None) -> Integers | None:
        """Return the row of each entity, 0 for unknown ones; None where all share one scale."""
        if entities_S is None or not self.entities:
            return None
        known = pl.DataFrame({"name": self.entities}).with_row_index("row", offset=1)
        names = pl.DataFrame({"name": _format_entities(entities_S)})
        rows = names.join(known, on="name", how="left", maintain_order="left")["row"]
        return rows.fill_null(0).to_numpy().astype(np.int64)


def fit_scaler(chunks: Iterable[Chunk], config: SeriesInput) -> Scaler:
    """Fit on the training steps.

    Args:
        chunks: of any size, which changes sums in their last bits only.
        config: the settings of the series.

    Raises:
        UnlearnableError: there are no steps, or a channel has no finite value.
    """
    is_log = config.scaler == "log"
    fitted = _ScalerFit(config)
    for chunk in chunks:
        fitted.add(_add_logarithms(chunk) if is_log else chunk)
    if not fitted.stream.names:
        raise UnlearnableError("the training split has no steps")
    names, by_name = fitted.stream.merge()
    overall = merge_statistics(by_name, np.zeros(len(names), np.int64), 1)
    for channel in np.flatnonzero(overall.count_GC[0, : len(config.channel_names)] == 0):
        name = config.channel_names[channel]
        raise UnlearnableError(f"column '{name}' has no finite value in training")
    ranges = _find_log_ranges(overall, config) if is_log else ()
    overall, by_name = (_select_units(each, ranges) for each in (overall, by_name))
    scale = _apply_fallbacks(
        _compute_scale(
            concatenate_statistics([overall, by_name]), fitted.compute_quartiles(), config
        )
    )
    # A series without an entity counts for row 0 only.
    rows = np.append(0, np.flatnonzero((names != NO_ENTITY).to_numpy()) + 1)
    return Scaler(
        centre_EC=scale.center_EC[rows],
        spread_EC=scale.spread_EC[rows],
        typical_EC=_compute_fill_values(scale.typical_EC[rows], config),
        entities=tuple(names.filter(names != NO_ENTITY).to_list()),
        gaps=_list_flagged_channels(fitted.missing_C[: len(config.channel_names)], config),
        log_ranges=ranges,
    )


def _add_logarithms(chunk: Chunk) -> Chunk:
    """Add the logarithm of every channel, NaN where a value has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs_CN = np.log(chunk.values_CN)
    logs_CN[~np.isfinite(logs_CN)] = np.nan
    return chunk._replace(values_CN=np.concatenate([chunk.values_CN, logs_CN]))


def _find_log_ranges(
    overall: ChannelStatistics, config: SeriesInput
) -> tuple[LogRange | None, ...]:
    """Return the range of each channel that is scaled by logarithms: observed and above 0."""
    channels, observed = len(config.channel_names), len(config.observed)
    count_C, low_C, high_C = (
        part[0] for part in (overall.count_GC, overall.low_GC, overall.high_GC)
    )
    return tuple(
        LogRange(float(low_C[channel]), float(high_C[channel]))
        if channel < observed and count_C[channel] == count_C[channels + channel]
        else None
        for channel in range(channels)
    )


def _select_units(
    statistics: ChannelStatistics, ranges: tuple[LogRange | None, ...]
) -> ChannelStatistics:
    """Return the statistics of the logarithms where a channel is scaled by them, else its own."""
    if not ranges:
        return statistics
    chosen = [index + (len(ranges) if limits else 0) for index, limits in enumerate(ranges)]
    return ChannelStatistics(
        *(getattr(statistics, each.name)[:, chosen] for each in fields(statistics))
    )


class _ScalerFit:
    """Statistics and samples of the training steps that were read so far."""

    def __init__(self, config: SeriesInput) -> None:
        channels = len(config.channel_names) * (2 if config.scaler == "log" else 1)
        self.stream = StatisticsStream()
        self.missing_C = np.zeros(channels, np.int64)
        self.has_entities = False
        needs_quartiles = config.scaler in {"robust", "arcsinh"}
        self.sample = QuantileSample(channels) if needs_quartiles else None
        self.entity_samples = QuantileSample(channels) if needs_quartiles else None

    def add(self, chunk: Chunk) -> None:
        """Add the next steps."""
        if not len(chunk.series_N):
            return
        self.has_entities = chunk.entities_S is not None
        begins = (
            np.flatnonzero(np.diff(chunk.series_N, prepend=-1)) if self.has_entities else _FIRST
        )
        names = _list_series_entities(chunk, begins)
        self.stream.add(names, compute_statistics(chunk.values_CN, begins))
        self.missing_C += np.isnan(chunk.values_CN).sum(axis=1)
        if self.sample is not None:
            self.sample.add(chunk.values_CN, None)
        if self.entity_samples is not None and self.has_entities:
            lengths = np.diff(np.append(begins, len(chunk.series_N)))
            self.entity_samples.add(
                chunk.values_CN, names.gather(np.repeat(np.arange(len(names)), lengths))
            )

    def compute_quartiles(self) -> dict[str, Doubles]:
        """Return the quartiles of all, then of each name; empty where the scaler needs none."""
        if self.sample is None or self.entity_samples is None:
            return {}
        overall = self.sample.compute_quartiles()
        by_name = self.entity_samples.compute_quartiles() if self.has_entities else overall
        return {name: np.concatenate([overall[name], by_name[name]]) for name in overall}


class _Scale(NamedTuple):
    """Scale of each row: all, then each entity."""

    count_EC: Doubles
    center_EC: Doubles
    spread_EC: Doubles
    typical_EC: Doubles


def _format_entities(entities: pl.Series) -> pl.Series:
    """Return entities as text; whole numbers give the same text as integers and as floats."""
    if entities.dtype.is_float() and (entities.drop_nulls() % 1 == 0).all():
        entities = entities.fill_nan(None).cast(pl.Int64)
    return entities.cast(pl.String)


def _list_series_entities(chunk: Chunk, begins: Integers) -> pl.Series:
    """Return the entity of each series of a chunk; one for all where entities share a scale."""
    if chunk.entities_S is None:
        return pl.Series([NO_ENTITY])
    return _format_entities(chunk.entities_S.gather(chunk.series_N[begins])).fill_null(NO_ENTITY)


def _compute_scale(
    statistics: ChannelStatistics, quartiles: dict[str, Doubles], config: SeriesInput
) -> _Scale:
    """Return the scale that the settings ask for from the statistics of each row."""
    count, mean = statistics.count_GC, statistics.mean_GC
    deviation = np.sqrt(statistics.squares_GC / np.maximum(count, 1.0))
    if config.scaler == "none":
        return _Scale(count, np.zeros_like(mean), np.ones_like(mean), mean)
    if config.scaler == "minmax":
        low = np.where(count > 0, statistics.low_GC, 0.0)
        high = np.where(count > 0, statistics.high_GC, 0.0)
        return _Scale(count, low, high - low, mean)
    if config.scaler in {"standard", "log"}:
        return _Scale(count, mean, deviation, mean)
    median = np.where(np.isnan(quartiles["median"]), mean, quartiles["median"])
    spread = (quartiles["upper"] - quartiles["lower"]) / _NORMAL_QUARTILES
    # If most values are equal, the interquartile range is 0; the standard deviation is not.
    is_constant = ~(spread > _FLAT * np.abs(median))
    return _Scale(count, median, np.where(is_constant, deviation, spread), median)


def _apply_fallbacks(scale: _Scale) -> _Scale:
    """Return the scale in which rows with few steps have that of all, constant rows its spread."""
    is_constant = scale.spread_EC <= _FLAT * np.abs(scale.center_EC)
    spread = np.where(
        is_constant, np.where(is_constant[0], 1.0, scale.spread_EC[0]), scale.spread_EC
    )
    has_few_steps = scale.count_EC < MIN_STEPS
    parts = (scale.center_EC, spread, scale.typical_EC)
    return _Scale(scale.count_EC, *(np.where(has_few_steps, part[0], part) for part in parts))


def _compute_fill_values(typical_EC: Doubles, config: SeriesInput) -> Doubles:
    """Return what replaces missing values; for the time since the previous step always its mean."""
    if config.impute != "zero":
        return typical_EC
    zeros = np.zeros_like(typical_EC)
    if config.time_delta:
        zeros[:, -1] = typical_EC[:, -1]
    return zeros


def _list_flagged_channels(missing_C: Integers, config: SeriesInput) -> tuple[int, ...]:
    """Return the channels whose missing values are flagged; never the time since the last step."""
    flagged = {
        "auto": missing_C > 0,
        "always": np.ones(len(missing_C), bool),
        "never": np.zeros(len(missing_C), bool),
    }[config.missing_indicator]
    return tuple(np.flatnonzero(flagged[: len(config.numbers)]).tolist())
