"""What training fits about a series, and the same steps from it in training and in serving."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from models.features.config import Layout
from models.features.feature_spec import Numbers
from models.features.series.channels import raw_steps
from models.features.series.config import get_series_input
from models.features.series.scaler import Chunk, Scaler, fit_scaler
from models.features.series.scaling import scaled_steps
from models.features.steps import Integers, Steps


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeriesState:
    """What training fitted about a series."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    scaler: Scaler


def fit(frames: Iterable[pl.DataFrame], layout: Layout) -> SeriesState:
    """Fit on training rows that are series of their own.

    Raises:
        UnlearnableError: nothing is there to learn a scale from.
    """
    raw = (raw_steps(frame, layout) for frame in frames)
    chunks = (Chunk(steps.values_CN, steps.series_N, steps.entities_S) for steps in raw)
    return SeriesState(scaler=fit_scaler(chunks, get_series_input(layout)))


def fit_windows(parts: Iterable[tuple[pl.DataFrame, Integers]], layout: Layout) -> SeriesState:
    """Fit on the training rows of a lined up table.

    Args:
        parts: slices, lined up and with their context, and which of their rows are for training.
        layout: how they make series.

    Raises:
        UnlearnableError: nothing is there to learn a scale from.
    """

    def chunks() -> Iterator[Chunk]:
        for frame, rows in parts:
            steps = raw_steps(frame, layout)
            yield Chunk(steps.values_CN[:, rows], steps.series_N[rows], steps.entities_S)

    return SeriesState(scaler=fit_scaler(chunks(), get_series_input(layout)))


def transform(frame: pl.DataFrame, layout: Layout, state: SeriesState) -> Steps:
    """Scale the steps of a frame; a long table has been brought to its grid before."""
    raw = raw_steps(frame, layout)
    steps_NC = scaled_steps(raw, layout, state.scaler)
    return Steps(steps_NC, raw.starts_R, raw.stops_R, raw.errors_R)


def signal(layout: Layout, state: SeriesState) -> Numbers:
    """Return how many channels a step has."""
    return Numbers(channels=state.scaler.channels + 2 * len(get_series_input(layout).calendar))


Straight = tuple[float, float]
"""What is taken away from a value, and by what it is then divided."""


def channel_scale(
    layout: Layout, state: SeriesState, name: str
) -> tuple[Straight, dict[str, Straight]] | None:
    """Return the scale of a channel that is observed, of all and of each entity.

    None where the column is no such channel, or its scale is bent or there is none.
    """
    read, scaler = get_series_input(layout), state.scaler
    if name not in read.observed or read.scaler in {"arcsinh", "none"}:
        return None
    place = read.observed.index(name)
    scales = zip(
        scaler.centre_EC[:, place].tolist(), scaler.spread_EC[:, place].tolist(), strict=True
    )
    every, *own = scales
    return every, dict(zip(scaler.entities, own, strict=True))
