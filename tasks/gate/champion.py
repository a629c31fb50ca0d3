"""The current champion's predictions of today's test rows, and the rows on which they count.

Shapes: R test rows, F test rows that the champion was not trained on.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.bundle import Bundle, load_bundle
from models.errors import BundleError, UnlearnableError
from models.evaluation.predictions import ForecastScale, Predictions
from models.features.featurizer import Featurizer
from models.features.splitting.training_rows import load_training_rows
from tasks.dataset.labels import TestRows
from tasks.dataset.rowset import RowSet
from tasks.dataset.training_membership import list_target_rows, mark_training_sequences
from tasks.prediction.test_predictions import have_same_target, pair_with_targets, predict_test_rows
from tasks.records import Champion


class EvaluationSet(NamedTuple):
    """The rows that every model predicts, and what their errors are measured with."""

    rows: RowSet
    test: TestRows
    featurizer: Featurizer
    scale_R: ForecastScale
    """Of forecasts, the naive forecast's error in each row's past; of several columns their
    scales."""


class ChampionPredictions(NamedTuple):
    """What the champion predicts, or why it cannot be compared."""

    name: str
    unseen_F: NDArray[np.int64]
    """Indexes of the test rows that it was not trained on."""
    predictions: Predictions | None
    """Of these rows; None where it cannot be compared."""
    incomparable_reason: str | None = None
    """Why it cannot be compared."""


def predict_with_champion(
    champion: Champion, bundle_dir: Path, test_set: EvaluationSet
) -> ChampionPredictions:
    """Let the champion predict the test rows; an error makes it incomparable, never worse."""
    name, no_rows = _format_name(champion), np.empty(0, np.int64)
    try:
        bundle = load_bundle(bundle_dir)
    except BundleError as error:
        return ChampionPredictions(name, no_rows, None, f"{name} cannot be loaded: {error}")
    if not have_same_target(test_set.featurizer, bundle.featurizer):
        reason = f"{name} predicts another target or other classes"
        return ChampionPredictions(name, no_rows, None, reason)
    try:
        table = predict_test_rows(bundle, test_set.rows, test_set.test)
        predictions = pair_with_targets(table, test_set.test, bundle.featurizer, test_set.scale_R)
        unseen_F = np.flatnonzero(_mark_unseen_rows(bundle, bundle_dir, test_set))
    except (BundleError, UnlearnableError, pl.exceptions.PolarsError) as error:
        return ChampionPredictions(name, no_rows, None, f"{name} cannot read today's rows: {error}")
    return ChampionPredictions(name, unseen_F, predictions.select(unseen_F))


def describe_damaged_champion(champion: Champion, damage: str) -> ChampionPredictions:
    """Return that a champion cannot be compared whose files are not those that were registered."""
    return ChampionPredictions(_format_name(champion), np.empty(0, np.int64), None, damage)


def _format_name(champion: Champion) -> str:
    """Format what the champion is called in the decision."""
    return f"champion {champion.name} v{champion.version}"


def _mark_unseen_rows(
    bundle: Bundle, bundle_dir: Path, test_set: EvaluationSet
) -> NDArray[np.bool_]:
    """Mark the test rows [R] that a model was not trained on, by the rows that its bundle names.

    For a bundle without a record of them, its split is computed again.

    Raises:
        UnlearnableError: the split cannot be computed again.
        BundleError: the bundle is damaged.
    """
    rows, test, training_rows = test_set.rows, test_set.test, load_training_rows(bundle_dir)
    if training_rows is not None:
        table = pl.DataFrame({"row": test.rows_R, "target_row": test.target_rows_R})
        target_rows = list_target_rows(table, test_set.featurizer)
        return ~mark_training_sequences(rows, training_rows, target_rows)
    frame = _read_split_columns(rows, bundle.featurizer.split.required_columns, test)
    return bundle.featurizer.mark_unseen_rows(frame, test.times)


def _read_split_columns(rows: RowSet, columns: list[str], test: TestRows) -> pl.DataFrame:
    """Read the columns that a split is made by, of the rows of the targets."""
    if not columns:
        return pl.DataFrame(height=len(test.target_rows_R))
    return rows.scan().select(columns).collect(engine="streaming")[test.target_rows_R]
