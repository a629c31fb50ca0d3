"""Rows of a table to sequences, with fitted state: the same in training and in prediction.

Shapes: N steps, C channels, R rows of the table.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import Layout, WindowConfig
from models.features.feature_spec import FeatureSpec
from models.features.kinds import KINDS, InputConfig
from models.features.row_bounds import clear_rows, find_oversized_rows
from models.features.serialization import parse_record, read_state, write_state
from models.features.series import (
    ROW_COLUMN,
    SeriesState,
    find_channel_scale,
    find_label_channels,
    find_resampled_rows,
    get_series_input,
    is_resampled,
    resample_series,
)
from models.features.splitting.unseen_rows import SplitRecord, mark_unseen_rows
from models.features.static_covariates import (
    StaticCovariates,
    StaticInput,
    StaticState,
    check_static_covariates,
    transform_static_covariates,
)
from models.features.steps import Steps
from models.features.target import Target
from models.features.text_columns import parse_text_columns


class EncodedRows(NamedTuple):
    """The rows of a table as a network reads them."""

    steps: Steps
    static_covariates: StaticCovariates


@dataclass(frozen=True, kw_only=True, slots=True)
class Featurizer:
    """All that was fitted on the training rows, and how they were split."""

    layout: Layout
    state: Any
    """Of the class that the kind of input names in `kinds`."""
    static_state: StaticState
    target: Target
    split: SplitRecord

    @property
    def feature_spec(self) -> FeatureSpec:
        """What a network has to know about the steps."""
        return KINDS[self.layout.input.kind].build_spec(self.layout, self.state)

    @property
    def max_rows(self) -> int:
        """How many rows may be transformed at once, so that they fit in memory."""
        return KINDS[self.layout.input.kind].compute_max_rows(self.state)

    @property
    def target_channels(self) -> tuple[int, ...]:
        """Indices of the channels with the own past of each column of a forecast, on its scale.

        Empty unless the past of all of them is an input.
        """
        if self.target.kind != "forecast" or not isinstance(self.state, SeriesState):
            return ()
        columns, observed = self.target.columns, get_series_input(self.layout).observed
        if any(find_channel_scale(self.layout, self.state, name) is None for name in columns):
            return ()
        return tuple(observed.index(name) for name in columns)

    def list_by_column(self) -> "list[Featurizer]":
        """List one featurizer for each column of the target, with that column as its target."""
        return [replace(self, target=part) for part in self.target.list_parts()]

    @property
    def label_channels(self) -> tuple[int, ...]:
        """Indices of the channels with the past labels of a target of classes; empty for none."""
        if self.target.kind != "category" or not isinstance(self.state, SeriesState):
            return ()
        return find_label_channels(self.layout, self.state, self.target.column)

    def transform(self, frame: pl.DataFrame) -> EncodedRows:
        """Return one sequence, or one error, for each raw row.

        Raises:
            UnlearnableError: a column is missing or of the wrong type.
        """
        frame = parse_text_columns(frame, self.layout.parse)
        # A column of nulls has whatever type its writer guessed.
        frame = frame.with_columns(
            pl.Series(name, [None] * len(frame), dtype=pl.Null)
            for name in self.layout.input.columns
            if name in frame.columns and frame[name].null_count() == len(frame)
        )
        check_columns(frame.schema, self.layout)
        if not is_resampled(self.layout):
            return self.transform_resampled(frame)
        grid = resample_series(frame.with_row_index(ROW_COLUMN), self.layout, averaged=())
        resampled = self.transform_resampled(grid)
        return _repeat_sequences(
            resampled, find_resampled_rows(frame, grid, self.layout).to_numpy()
        )

    def transform_resampled(self, frame: pl.DataFrame) -> EncodedRows:
        """Return the sequences of rows that are already resampled, if the layout resamples."""
        oversized = (
            {} if self.layout.window else find_oversized_rows(frame, self.layout.raw_columns)
        )
        if oversized:
            frame = clear_rows(frame, oversized, self.layout.input.columns)
        steps = KINDS[self.layout.input.kind].transform(frame, self.layout, self.state)
        if oversized:
            errors_R = [oversized.get(row, error) for row, error in enumerate(steps.errors_R)]
            steps = steps._replace(errors_R=errors_R)
        return EncodedRows(
            steps, transform_static_covariates(frame, self.layout.static_inputs, self.static_state)
        )

    def select_entities(self, frame: pl.DataFrame, rows: NDArray[np.int64]) -> pl.Series | None:
        """Return the entities of these rows; None unless the target is scaled per entity."""
        if not self.target.is_scaled_per_entity or self.layout.entity is None:
            return None
        return frame[self.layout.entity].gather(rows)

    def mark_unseen_rows(self, frame: pl.DataFrame, times: pl.Series | None) -> NDArray[np.bool_]:
        """Return for each row whether this model's own split put it into the test.

        Args:
            frame: the table.
            times: the time of each row's target, where the split is by time.

        Raises:
            UnlearnableError: a column has another type than in training.
        """
        return mark_unseen_rows(frame, self.split, times)


def check_columns(schema: pl.Schema, layout: Layout) -> None:
    """Check that a table has the columns of the layout, with types that can be read.

    Raises:
        UnlearnableError: names the column and how to fix it.
    """
    for name in layout.raw_columns:
        if name not in schema:
            raise UnlearnableError(
                f"column '{name}' is missing; the table has: {', '.join(schema.names())}"
            )
    KINDS[layout.input.kind].check(schema, layout)
    check_static_covariates(schema, layout.static_inputs)


def save_featurizer(featurizer: Featurizer, folder: Path) -> None:
    """Write `featurizer.json`, and `featurizer.safetensors` if the state has arrays."""
    write_state(featurizer, folder / "featurizer")


def load_featurizer(folder: Path) -> Featurizer:
    """Return the featurizer that `save_featurizer` wrote."""
    record = read_state(folder / "featurizer")
    layout, window = record["layout"], record["layout"]["window"]
    sequence: Any = parse_record(InputConfig, layout["input"])
    return Featurizer(
        layout=Layout(
            input=sequence,
            window=WindowConfig(**window) if window else None,
            time=layout["time"],
            entity=layout["entity"],
            static_inputs=parse_record(tuple[StaticInput, ...], layout["static_inputs"]),
            parse=layout["parse"],
        ),
        state=parse_record(KINDS[sequence.kind].state, record["state"]),
        static_state=parse_record(StaticState, record["static_state"]),
        target=parse_record(Target, record["target"]),
        split=parse_record(SplitRecord, record["split"]),
    )


def _repeat_sequences(resampled: EncodedRows, indices: NDArray[np.int64]) -> EncodedRows:
    """Return for each raw row the sequence of its step in the resampled table."""
    steps = resampled.steps
    errors = [steps.errors_R[index] for index in indices]
    repeated = Steps(steps.values_NC, steps.starts_R[indices], steps.stops_R[indices], errors)
    return EncodedRows(repeated, resampled.static_covariates.select(indices))
