"""The fitted way from a table's rows to sequences: the same in training and in serving.

Shapes: N steps, C channels, R rows of the table.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features import InputConfig, Layout, WindowConfig
from models.features.image import ImageShape, fit_shape, image_steps
from models.features.scaler import Scaler
from models.features.series import list_steps, window_steps
from models.features.split import TEST, SplitConfig, identities, split_by_hash
from models.features.steps import Steps
from models.features.target import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """How the rows that this model learned from were set apart."""

    config: SplitConfig
    by: str
    """`hash` or `time`."""
    columns: tuple[str, ...] = ()
    """Columns that were hashed."""
    test_from: float | None = None
    """The first point in time that was kept for the test, as the number behind its type."""
    time_type: str | None = None
    """The type of the time column; another type's numbers mean other times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Featurizer:
    """All that training fitted about the data."""

    layout: Layout
    scaler: Scaler
    target: Target
    split: Split
    shape: ImageShape | None = None

    @property
    def channels(self) -> int:
        """Numbers in one step of the network's input."""
        return self.scaler.channels

    def transform(self, frame: pl.DataFrame) -> Steps:
        """Turn rows into scaled sequences, one for each row or an error in its place.

        Raises:
            UnlearnableError: a column is missing or of the wrong type.
        """
        # What holds nothing but gaps has whatever type its writer guessed.
        frame = frame.with_columns(
            pl.Series(name, [None] * len(frame), dtype=pl.Null)
            for name in self.layout.input.columns
            if name in frame.columns and frame[name].null_count() == len(frame)
        )
        check_columns(frame, self.layout)
        steps = raw_steps(frame, self.layout, self.shape)
        return steps._replace(values_NC=self.scaler.transform(steps.values_NC))

    def never_learned(self, frame: pl.DataFrame, times: pl.Series | None) -> np.ndarray[Any, Any]:
        """Tell for each row whether this model's own split kept it for the test.

        Args:
            frame: the table.
            times: the point in time of each row's answer, where the split is by time.

        Raises:
            UnlearnableError: time is written in another type than it was.
        """
        if self.split.by == "hash":
            hashes = identities(frame, list(self.split.columns))
            return np.asarray(split_by_hash(hashes, self.split.config) == TEST)
        if times is None or self.split.test_from is None:
            return np.zeros(len(frame), bool)
        if str(times.dtype) != self.split.time_type:
            raise UnlearnableError(
                f"time was of type {self.split.time_type} and is {times.dtype} now, so nobody can "
                "tell which rows were learned from"
            )
        later = times.to_physical() >= self.split.test_from
        return np.asarray(later.fill_null(value=False).to_numpy())


def raw_steps(frame: pl.DataFrame, layout: Layout, shape: ImageShape | None) -> Steps:
    """Read the rows' steps, unscaled."""
    return READERS[layout.input.kind](frame, layout, shape)


def read_series(frame: pl.DataFrame, layout: Layout, _: ImageShape | None) -> Steps:
    """Read windows of a long table, or each row's lists."""
    if layout.window:
        return window_steps(frame, layout, layout.window)
    return list_steps(frame, layout.input.columns)


def read_image(frame: pl.DataFrame, layout: Layout, shape: ImageShape | None) -> Steps:
    """Read each row's image."""
    column = frame[layout.input.columns[0]]
    return image_steps(column, shape or fit_shape(column))


READERS: dict[str, Callable[[pl.DataFrame, Layout, ImageShape | None], Steps]] = {
    "series": read_series,
    "image": read_image,
}


def check_columns(frame: pl.DataFrame | pl.LazyFrame, layout: Layout) -> None:
    """Refuse a table whose columns cannot be read as this layout says.

    Raises:
        UnlearnableError: names the column and the mend.
    """
    schema = frame.collect_schema()
    for name in layout.raw_columns:
        if name not in schema:
            raise UnlearnableError(
                f"column '{name}' is missing; the table has: {', '.join(schema.names())}"
            )
    if layout.input.kind == "image":
        return
    for name in layout.input.columns:
        check_series_column(name, schema[name], layout)
    time = schema[layout.time] if layout.window and layout.time else None
    if time is not None and not (time.is_temporal() or time.is_numeric()):
        raise UnlearnableError(
            f"source.time: column '{layout.time}' holds {time}, expected dates, times or numbers; "
            "convert it upstream"
        )


def check_series_column(name: str, dtype: pl.DataType, layout: Layout) -> None:
    """Refuse a channel that holds no numbers, or lists where a window is asked for."""
    nested = isinstance(dtype, (pl.List, pl.Array))
    inner = pl.Series(
        [], dtype=dtype.inner if isinstance(dtype, (pl.List, pl.Array)) else dtype
    ).dtype
    # A table of nothing but gaps has no type; its rows say so one by one.
    if not (inner.is_numeric() or inner == pl.Null):
        raise UnlearnableError(f"column '{name}' holds {dtype}, expected numbers or lists of them")
    if nested and layout.window:
        raise UnlearnableError(
            f"column '{name}' holds a whole series in each row, so there is nothing to cut: "
            "remove `window` from the job"
        )
    if not nested and not layout.window and dtype != pl.Null:
        raise UnlearnableError(
            f"column '{name}' holds one step a row: give the job a window, such as "
            "window: {length: 28, horizon: 1}"
        )


def to_json(featurizer: Featurizer) -> dict[str, Any]:
    """Write the fitted state as plain JSON."""
    return asdict(featurizer)


def from_json(state: dict[str, Any]) -> Featurizer:
    """Read what `to_json` wrote."""
    layout, split, target = state["layout"], state["split"], state["target"]
    column = layout["input"]["column"]
    window, shape = layout["window"], state["shape"]
    return Featurizer(
        layout=Layout(
            input=InputConfig(
                column=column if isinstance(column, str) else tuple(column),
                kind=layout["input"]["kind"],
            ),
            window=WindowConfig(**window) if window else None,
            time=layout["time"],
            entity=layout["entity"],
        ),
        scaler=Scaler(**{name: tuple(values) for name, values in state["scaler"].items()}),
        target=Target(**{**target, "classes": tuple(target["classes"])}),
        split=Split(
            **{
                **split,
                "config": SplitConfig(**split["config"]),
                "columns": tuple(split["columns"]),
            }
        ),
        shape=ImageShape(**shape) if shape else None,
    )
