"""Fitting of a series, and its steps from the fitted state, in training as in prediction."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from models.features.config import Layout
from models.features.feature_spec import Numbers
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

    def chunks() -> Iterator[Chunk]:
        for frame, rows in parts:
            steps = read_raw_steps(frame, layout)
            yield Chunk(steps.values_CN[:, rows], steps.series_N[rows], steps.entities_S)

    return SeriesState(scaler=fit_scaler(chunks(), get_series_input(layout)))


def transform(frame: pl.DataFrame, layout: Layout, state: SeriesState) -> Steps:
    """Return the scaled steps of a frame; a long table has to be resampled before."""
    raw = read_raw_steps(frame, layout)
    steps_NC = scale_steps(raw, layout, state.scaler)
    return Steps(steps_NC, raw.starts_R, raw.stops_R, raw.errors_R)


def build_spec(layout: Layout, state: SeriesState) -> Numbers:
    """Return the number of channels of a step."""
    return Numbers(channels=state.scaler.channels + 2 * len(get_series_input(layout).calendar))


def find_channel_scale(
    layout: Layout, state: SeriesState, name: str
) -> tuple[_LinearScale, dict[str, _LinearScale]] | None:
    """Return the scale of an observed channel: of all entities together, and of each.

    None where the column is no such channel, is not scaled, or not linearly.
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
