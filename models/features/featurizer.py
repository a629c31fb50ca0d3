"""The fitted way from a table's rows to sequences: the same in training and in serving.

Shapes: N steps, C channels, R rows of the table.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import Layout, WindowConfig
from models.features.feature_spec import FeatureSpec
from models.features.kinds import KINDS, InputConfig
from models.features.serialization import as_record, read_state, write_state
from models.features.series import (
    ROW,
    SeriesState,
    bins_of_rows,
    channel_scale,
    get_series_input,
    is_resampled,
    resample,
)
from models.features.splitting.unseen_rows import Split, mark_unseen_rows
from models.features.static_covariates import (
    StaticCovariates,
    StaticInput,
    StaticState,
    check_static_covariates,
    transform_static_covariates,
)
from models.features.steps import Steps
from models.features.target import Target


class Sample(NamedTuple):
    """A table's rows as a network reads them."""

    steps: Steps
    statics: StaticCovariates


@dataclass(frozen=True, kw_only=True, slots=True)
class Featurizer:
    """All that training fitted about the data."""

    layout: Layout
    state: Any
    """Of the sequence's kind."""
    statics: StaticState
    target: Target
    split: Split

    @property
    def signal(self) -> FeatureSpec:
        """What a network is told about the steps."""
        return KINDS[self.layout.input.kind].signal(self.layout, self.state)

    @property
    def rows_at_once(self) -> int:
        """How many rows fit in memory, transformed."""
        return KINDS[self.layout.input.kind].rows_at_once(self.state)

    @property
    def own_channel(self) -> int:
        """Which channel is a forecast's own past, on the scale of its answers; -1 for none."""
        if self.target.kind != "forecast" or not isinstance(self.state, SeriesState):
            return -1
        if channel_scale(self.layout, self.state, self.target.column) is None:
            return -1
        return get_series_input(self.layout).observed.index(self.target.column)

    def transform(self, frame: pl.DataFrame) -> Sample:
        """Turn raw rows into sequences, one for each row or an error in its place.

        Raises:
            UnlearnableError: a column is missing or of the wrong type.
        """
        # What holds nothing but gaps has whatever type its writer guessed.
        frame = frame.with_columns(
            pl.Series(name, [None] * len(frame), dtype=pl.Null)
            for name in self.layout.input.columns
            if name in frame.columns and frame[name].null_count() == len(frame)
        )
        check_columns(frame.schema, self.layout)
        if not is_resampled(self.layout):
            return self.transform_gridded(frame)
        table = resample(frame.with_row_index(ROW), self.layout, target=None)
        sample = self.transform_gridded(table)
        return picked(sample, bins_of_rows(frame, table, self.layout).to_numpy())

    def transform_gridded(self, frame: pl.DataFrame) -> Sample:
        """Turn rows into sequences that stand on their grid already, where there is one."""
        steps = KINDS[self.layout.input.kind].transform(frame, self.layout, self.state)
        return Sample(steps, transform_static_covariates(frame, self.layout.statics, self.statics))

    def entities(self, frame: pl.DataFrame, rows: NDArray[np.int64]) -> pl.Series | None:
        """Name the entities of these rows, where answers are scaled by them."""
        if not self.target.entities or self.layout.entity is None:
            return None
        return frame[self.layout.entity].gather(rows)

    def mark_unseen_rows(self, frame: pl.DataFrame, times: pl.Series | None) -> NDArray[np.bool_]:
        """Tell for each row whether this model's own split kept it for the test.

        Args:
            frame: the table.
            times: the point in time of each row's answer, where the split is by time.

        Raises:
            UnlearnableError: nobody can tell any more.
        """
        return mark_unseen_rows(frame, self.split, times)


def picked(sample: Sample, places: NDArray[np.int64]) -> Sample:
    """Return each raw row the sequence of its bin."""
    steps = sample.steps
    errors = [steps.errors_R[place] for place in places]
    chosen = Steps(steps.values_NC, steps.starts_R[places], steps.stops_R[places], errors)
    return Sample(chosen, sample.statics.select(places))


def check_columns(schema: pl.Schema, layout: Layout) -> None:
    """Refuse a table whose columns cannot be read as this layout says.

    Raises:
        UnlearnableError: names the column and the mend.
    """
    for name in layout.raw_columns:
        if name not in schema:
            raise UnlearnableError(
                f"column '{name}' is missing; the table has: {', '.join(schema.names())}"
            )
    KINDS[layout.input.kind].check(schema, layout)
    check_static_covariates(schema, layout.statics)


def save_featurizer(featurizer: Featurizer, folder: Path) -> None:
    """Write `featurizer.json`, and `featurizer.safetensors` where there are arrays."""
    write_state(featurizer, folder / "featurizer")


def load_featurizer(folder: Path) -> Featurizer:
    """Read what `save_featurizer` wrote."""
    held = read_state(folder / "featurizer")
    layout, window = held["layout"], held["layout"]["window"]
    read: Any = as_record(InputConfig, layout["input"])
    return Featurizer(
        layout=Layout(
            input=read,
            window=WindowConfig(**window) if window else None,
            time=layout["time"],
            entity=layout["entity"],
            statics=as_record(tuple[StaticInput, ...], layout["statics"]),
        ),
        state=as_record(KINDS[read.kind].state, held["state"]),
        statics=as_record(StaticState, held["statics"]),
        target=as_record(Target, held["target"]),
        split=as_record(Split, held["split"]),
    )
