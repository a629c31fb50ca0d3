"""Predict raw rows with a registered version, frame by frame, and build the output table.

Memory does not grow with the rows. A row that cannot be predicted stays, with the reason as status.
Shapes: R rows of a frame.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.featurizer import Featurizer, load_featurizer
from models.features.splitting.training_rows import (
    TrainingRows,
    load_training_rows,
    match_training_rows,
)
from tasks.dataset.rowset import RowSet
from tasks.dataset.series_positions import ROW, RowNumbers
from tasks.errors import SourceError
from tasks.serving.model_package import PredictFunction, open_package

OK = "ok"

TARGET, IN_TRAINING, VERSION = "target", "in_training", "version"
"""Columns of the output in addition to the passthrough columns and the model's predictions."""

FORECAST_COLUMNS = ("step", "forecast_time")
"""Further columns of forecasts: number and time of a step."""

_MAX_BATCH_VALUES = 4_000_000
"""Most values that one call of the model returns."""

LazyPredictions = Callable[[], pl.DataFrame]
"""Computes a table of predictions when it is called, so that tables can be skipped."""


RowFilter = Callable[[pl.DataFrame], NDArray[np.bool_]]
"""Marks the rows of a frame to predict."""


class Scorer(NamedTuple):
    """A version that predicts."""

    predict: PredictFunction
    featurizer: Featurizer
    schema: Mapping[str, pl.DataType]
    """Of its predictions."""
    training_rows: TrainingRows | None
    """Record of its training rows; None where it has none."""
    version: str


class PredictionRequest(NamedTuple):
    """Which rows to predict with which version, and which columns to output."""

    scorer: Scorer
    rows: RowSet
    passthrough_columns: tuple[str, ...] = ()
    """Columns of the source that are copied to the output."""
    row_filter: RowFilter | None = None
    """Marks the rows to predict; None predicts all."""
    filter_columns: tuple[str, ...] = ()
    """Columns that `row_filter` reads."""

    def choose_output_name(self, column: str) -> str:
        """Return the output name of a passthrough column: with a prefix where it would collide."""
        targets = self.target_columns or [TARGET]
        reserved = {*self.scorer.schema, ROW, *targets, IN_TRAINING, VERSION, *FORECAST_COLUMNS}
        return f"source_{column}" if column in reserved else column

    @property
    def target_columns(self) -> dict[str, str]:
        """The columns of the output with targets, each with its column of the source.

        Empty where the rows lack one of these, or the task is self-supervised.
        """
        target = self.scorer.featurizer.target
        if not all(name in self.rows.schema for name in target.columns):
            return {}
        names = target.list_output_names(TARGET) if target.columns else ()
        return dict(zip(names, target.columns, strict=True))

    @property
    def membership_columns(self) -> list[str]:
        """Columns that identify a training row; none where the rows lack one of them."""
        training_rows = self.scorer.training_rows
        names = training_rows.keys.required_columns if training_rows else []
        return names if all(name in self.rows.schema for name in names) else []

    @property
    def columns(self) -> list[str]:
        """All columns to read."""
        names = [
            *self.scorer.featurizer.layout.raw_columns,
            *self.passthrough_columns,
            *self.target_columns.values(),
            *self.membership_columns,
        ]
        return list(dict.fromkeys([*names, *self.filter_columns]))

    @property
    def batch_rows(self) -> int:
        """Rows of one call of the model, so that they and their predictions fit in memory."""
        featurizer = self.scorer.featurizer
        window = featurizer.layout.window
        steps = (window.horizon if window else 1) * len(featurizer.target.list_parts())
        width = max(len(featurizer.target.classes), steps, 1)
        return max(1, min(featurizer.max_rows, _MAX_BATCH_VALUES // width))


def open_scorer(folder: Path, version: str) -> Scorer:
    """Load a version's model, featurizer, prediction schema and record of training rows.

    Args:
        folder: the version's files, as MLflow stores them.
        version: its number.
    """
    bundle = folder / "artifacts" / "bundle"
    schema = pl.read_parquet_schema(folder / "golden_predictions.parquet")
    training_rows = load_training_rows(bundle)
    return Scorer(open_package(folder), load_featurizer(bundle), schema, training_rows, version)


def check_columns(request: PredictionRequest) -> None:
    """Check that the rows have the columns that the model reads.

    Raises:
        SourceError: they do not; the message names the missing columns.
    """
    needed = request.scorer.featurizer.layout.raw_columns
    if missing := [name for name in needed if name not in request.rows.schema]:
        raise SourceError.of(
            f"version {request.scorer.version} reads columns that the rows do not have: "
            f"{', '.join(missing)}",
            found=f"Columns: {', '.join(request.rows.schema.names())}",
            hint="use a source that has them, or rename its columns",
        )


def predict_rows(request: PredictionRequest) -> Iterator[LazyPredictions]:
    """Predict rows that are one sequence each, in their order."""
    start = 0
    for frame in request.rows.iter_frames(request.columns):
        for piece in frame.iter_slices(request.batch_rows):
            numbers_R = np.arange(start, start + len(piece))
            start += len(piece)
            if request.row_filter:
                selected = request.row_filter(piece)
                piece, numbers_R = piece.filter(selected), numbers_R[selected]  # noqa: PLW2901 - fewer
            if len(piece):
                yield _predict_later(request, piece, numbers_R)


def predict_frame(request: PredictionRequest, frame: pl.DataFrame) -> pl.DataFrame:
    """Predict a frame, and cast the predictions to the version's schema.

    Raises:
        SourceError: a column has a type that the model cannot read.
    """
    scorer = request.scorer
    try:
        predictions = scorer.predict(frame.select(scorer.featurizer.layout.raw_columns))
    except UnlearnableError as error:
        raise SourceError.of(
            f"version {scorer.version} cannot read these rows: {error}",
            hint="cast the source's columns to the types that they had in training",
        ) from error
    return predictions.select(pl.col(name).cast(dtype) for name, dtype in scorer.schema.items())


def flag_training_rows(request: PredictionRequest, frame: pl.DataFrame) -> pl.Series:
    """Mark rows of the version's training or validation, [R]; null where that is unknown."""
    scorer = request.scorer
    if scorer.training_rows is None or not request.membership_columns:
        return pl.Series([None] * len(frame), dtype=pl.Boolean)
    try:
        return pl.Series(match_training_rows(frame, scorer.training_rows))
    except UnlearnableError:
        # A column has another type than in training, so that equal values have other hashes.
        return pl.Series([None] * len(frame), dtype=pl.Boolean)


def build_output(
    request: PredictionRequest,
    frame: pl.DataFrame,
    rows_R: RowNumbers,
    predictions: pl.DataFrame,
    *,
    targets: Sequence[pl.Series],
    in_training: pl.Series,
) -> pl.DataFrame:
    """Join row numbers, passthrough columns, predictions, targets and version into one table.

    Args:
        request: whose columns are copied.
        frame: the rows.
        rows_R: their numbers in the source.
        predictions: of the rows, in their order.
        targets: of the rows, one for each column with targets; none where they are unknown.
        in_training: whether a row was in the version's training or validation; null: unknown.
    """
    columns = [
        pl.Series(ROW, rows_R, dtype=pl.Int64),
        *(
            frame[name].rename(request.choose_output_name(name))
            for name in request.passthrough_columns
        ),
        *predictions.get_columns(),
    ]
    columns += [
        values.rename(name) for name, values in zip(request.target_columns, targets, strict=False)
    ]
    columns.append(in_training.rename(IN_TRAINING))
    version = pl.lit(request.scorer.version).alias(VERSION)
    return pl.DataFrame(columns).with_columns(version)


def _predict_later(
    request: PredictionRequest, frame: pl.DataFrame, rows_R: RowNumbers
) -> LazyPredictions:
    """Return the function that predicts these rows."""

    def predict() -> pl.DataFrame:
        return build_output(
            request,
            frame,
            rows_R,
            predict_frame(request, frame),
            targets=[frame[name] for name in request.target_columns.values()],
            in_training=flag_training_rows(request, frame),
        )

    return predict
