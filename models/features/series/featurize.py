"""Fitting of a series, and its steps from the fitted state, in training as in prediction."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
import polars as pl

from models.features.config import Layout
from models.features.feature_spec import Numbers
from models.features.log_units import LogRange
from models.features.series.categories import CategoryCounts, encode_labels
from models.features.series.channels import read_raw_steps
from models.features.series.config import get_series_input
from models.features.series.scaler import Chunk, Scaler, fit_scaler
from models.features.series.scaling import scale_steps
from models.features.steps import Integers, Steps

_LinearScale = tuple[float, float]
"""Center, which is subtracted from a value, and scale, by which it is then divided."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeriesState:
    """What was fitted about a series on the training rows."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    scaler: Scaler
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of each column of classes those that have a channel, in the order of the settings."""


def fit(frames: Iterable[pl.DataFrame], layout: Layout) -> SeriesState:
    """Fit on training rows of which each has whole series as lists.

    Raises:
        UnlearnableError: there are no steps, or a channel has no finite value.
    """
    raw = (read_raw_steps(frame, layout) for frame in frames)
    chunks = (Chunk(steps.values_CN, steps.series_N, steps.entities_S) for steps in raw)
    return SeriesState(scaler=fit_scaler(chunks, get_series_input(layout)))


def fit_windows(parts: Iterable[tuple[pl.DataFrame, Integers]], layout: Layout) -> SeriesState:
    """Fit on the training rows of a sorted table.

    Args:
        parts: sorted slices with their context, and the indices of their training rows.
        layout: which columns make the series.

    Raises:
        UnlearnableError: there are no steps, or a channel has no finite value.
    """
    counts = CategoryCounts(get_series_input(layout).categories)

    def chunks() -> Iterator[Chunk]:
        for frame, rows in parts:
            steps = read_raw_steps(frame, layout)
            counts.add(labels.gather(rows) for labels in steps.labels)
            yield Chunk(steps.values_CN[:, rows], steps.series_N[rows], steps.entities_S)

    scaler = fit_scaler(chunks(), get_series_input(layout))
    return SeriesState(scaler=scaler, classes=counts.list_classes())


def transform(frame: pl.DataFrame, layout: Layout, state: SeriesState) -> Steps:
    """Return the scaled steps of a frame; a long table has to be resampled before."""
    raw = read_raw_steps(frame, layout)
    steps_NC = scale_steps(raw, layout, state.scaler)
    if state.classes:
        one_hot_NK = encode_labels(raw.labels, state.classes.values())
        steps_NC = np.concatenate([steps_NC, one_hot_NK], axis=1)
    return Steps(steps_NC, raw.starts_R, raw.stops_R, raw.errors_R)


def build_spec(layout: Layout, state: SeriesState) -> Numbers:
    """Return the number of channels of a step."""
    return Numbers(channels=len(list_channels(layout, state)))


class Channel(NamedTuple):
    """What a channel holds."""

    column: str
    """The column that it is read from; of a part of the calendar, its name."""
    name: str
    """For reports."""


def list_channels(layout: Layout, state: SeriesState) -> list[Channel]:
    """List the channels of a step, in their order."""
    config = get_series_input(layout)
    channels = [Channel(name, name) for name in config.channel_names]
    flags = [
        Channel(channels[index].column, f"no {channels[index].name}") for index in state.scaler.gaps
    ]
    for part in config.calendar:
        channels += [Channel(part, f"{part} ({wave})") for wave in ("sine", "cosine")]
    return [
        *channels,
        *flags,
        *(
            Channel(name, f"{name}: {label}")
            for name, labels in state.classes.items()
            for label in labels
        ),
    ]


def find_label_channels(layout: Layout, state: SeriesState, name: str) -> tuple[int, ...]:
    """Return the indices of the channels of a column of classes; none where it is no such."""
    if name not in state.classes:
        return ()
    channels = list_channels(layout, state)
    stop = len(channels)
    for other in reversed(state.classes):
        start = stop - len(state.classes[other])
        if other == name:
            return tuple(range(start, stop))
        stop = start
    return ()


def find_channel_scale(
    layout: Layout, state: SeriesState, name: str
) -> tuple[_LinearScale, dict[str, _LinearScale]] | None:
    """Return the scale of an observed channel: of all entities together, and of each.

    None where the column is no such channel, is not scaled, or not linearly. Where the channel is
    scaled by logarithms, the scale is theirs.
    """
    config, scaler = get_series_input(layout), state.scaler
    if name not in config.observed or config.scaler in {"arcsinh", "none"}:
        return None
    index = config.observed.index(name)
    scales = zip(
        scaler.centre_EC[:, index].tolist(), scaler.spread_EC[:, index].tolist(), strict=True
    )
    overall, *by_entity = scales
    return overall, dict(zip(scaler.entities, by_entity, strict=True))


def find_log_range(layout: Layout, state: SeriesState, name: str) -> LogRange | None:
    """Return the range of an observed channel that is scaled by logarithms, else None."""
    observed, ranges = get_series_input(layout).observed, state.scaler.log_ranges
    return ranges[observed.index(name)] if ranges and name in observed else None
