"""The baselines' predictions of the test rows.

Shapes: S sequences, K labels, T steps of a forecast.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluation.baselines.multi import (
    FORECAST_ROWS,
    predict_forecasts,
    predict_tags,
    predict_texts,
)
from models.evaluation.baselines.single import SplitRows, predict_all
from models.evaluation.metrics.forecast import summarize_forecasts
from models.evaluation.metrics.text import compare_texts
from models.evaluation.predictions import (
    Floats,
    ForecastSteps,
    Predictions,
    SelfSupervisedErrors,
    TagPredictions,
)
from models.features.feature_spec import Tokens, Trees
from models.features.featurizer import Featurizer
from models.features.splitting.split import TEST, TRAINING
from models.features.target import to_numbers
from tasks.dataset.feature_files import map_steps, read_sequences, read_static_covariates
from tasks.dataset.labels import TestRows, find_target_scales, load_targets, read_scaled_targets
from tasks.dataset.rowset import RowSet
from tasks.prediction.naive_forecast import forecast_naive, load_target_history, predict_naive

MAX_ONE_HOT = 200
"""Values of a static category up to which a baseline has one column for each."""


class Baselines:
    """The training and test sequences, and the baselines that fit the target."""

    def __init__(
        self, rows: RowSet, features_dir: Path, featurizer: Featurizer, *, season: int
    ) -> None:
        self.rows, self.folder, self.featurizer = rows, features_dir, featurizer
        self.season = season
        self.test = read_sequences(features_dir, TEST)

    def predict(
        self, predictions: pl.DataFrame, test: TestRows, scale_R: Floats
    ) -> dict[str, Predictions]:
        """Predict the test rows with every baseline that fits the kind of target.

        Args:
            predictions: the candidate's; of a self-supervised target with the naive errors.
            test: the rows.
            scale_R: of forecasts, the naive error in each row's past.
        """
        kind = self.featurizer.target.kind
        if kind in {"category", "number"}:
            return self._predict_single()
        if kind == "tags":
            training, test_rows = self.load_split(TRAINING), self.load_split(TEST)
            said = predict_tags(training, test_rows)
            return {name: TagPredictions(test.targets, held) for name, held in said.items()}
        if kind == "text":
            return self._predict_texts(test)
        if kind == "forecast":
            return self._predict_forecasts(test, scale_R)
        return _read_self_supervised(predictions)

    def load_split(self, split: int) -> SplitRows:
        """Read the sequences of a split with their targets."""
        table = self.test if split == TEST else read_sequences(self.folder, split, known_only=True)
        return self.load_rows(table)

    def load_rows(self, table: pl.DataFrame) -> SplitRows:
        """Read the targets of these sequences, and arrange both for the baselines."""
        return self.build_rows(table, load_targets(table, self.folder, self.rows, self.featurizer))

    def build_rows(self, table: pl.DataFrame, targets: Any) -> SplitRows:  # noqa: ANN401 - by the kind
        """Arrange sequences and targets for the baselines."""
        signal = self.featurizer.signal
        return SplitRows(
            map_steps(self.folder),
            table["start"].to_numpy(),
            table["stop"].to_numpy(),
            targets,
            _encode_static_covariates(table, self.featurizer),
            signal.size if isinstance(signal, (Tokens, Trees)) else 0,
            isinstance(signal, Tokens),
        )

    def _predict_single(self) -> dict[str, Predictions]:
        """Predict one class or number a row."""
        classes, window = len(self.featurizer.target.classes), self.featurizer.layout.window
        past: dict[str, Floats] = {}
        if window is not None and window.horizon > 0:
            line = load_target_history(self.rows, self.test, self.featurizer)
            past = predict_naive(line, horizon=window.horizon, season=self.season)
        if classes:
            past = {name: np.nan_to_num(values, nan=-1.0) for name, values in past.items()}
        found = predict_all(
            self.load_split(TRAINING), self.load_split(TEST), classes=classes, past=past
        )
        return dict(found)

    def _predict_forecasts(self, test: TestRows, scale_R: Floats) -> dict[str, Predictions]:
        """Predict by naive forecasts, and by regressions on scaled windows."""
        horizon = test.targets.shape[1]
        line = load_target_history(self.rows, self.test, self.featurizer)
        found = forecast_naive(line, horizon=horizon, season=self.season)
        table = read_sequences(self.folder, TRAINING, known_only=True)
        indexes = np.linspace(0, len(table) - 1, min(len(table), 2 * FORECAST_ROWS)).round()
        table = table[indexes.astype(np.int64)]
        scaled = self.build_rows(table, read_scaled_targets(table, self.folder, self.featurizer))
        asked = self.build_rows(
            self.test, read_scaled_targets(self.test, self.folder, self.featurizer)
        )
        means_R, stds_R = find_target_scales(self.test, self.rows, self.featurizer)
        channel = self.featurizer.own_channel
        for name, said_RT in predict_forecasts(scaled, asked, channel=channel).items():
            found[name] = said_RT * stds_R[:, None] + means_R[:, None]
        return {
            name: summarize_forecasts(ForecastSteps(test.targets, said_RT, (), ()), scale_R)
            for name, said_RT in found.items()
        }

    def _predict_texts(self, test: TestRows) -> dict[str, Predictions]:
        """Predict texts of the training rows."""
        table = read_sequences(self.folder, TRAINING, known_only=True)
        nothing: NDArray[np.float64] = np.zeros(len(table))
        training = self.build_rows(table, nothing)
        asked = self.build_rows(self.test, np.zeros(len(self.test)))
        said = predict_texts(training, asked, table["target"].cast(pl.String).to_list())
        truth = test.targets.to_list()
        return {name: compare_texts(truth, texts) for name, texts in said.items()}


def _read_self_supervised(answered: pl.DataFrame) -> dict[str, Predictions]:
    """Read the errors of always predicting the mean, and the previous step."""
    usual_R = to_numbers(answered["mean_error"])
    before_R = to_numbers(answered["lag1_error"])
    found: dict[str, Predictions] = {"the usual": SelfSupervisedErrors(usual_R, usual_R)}
    if not np.isnan(before_R).all():
        found["the step before"] = SelfSupervisedErrors(before_R, usual_R)
    return found


def _encode_static_covariates(table: pl.DataFrame, featurizer: Featurizer) -> NDArray[np.float64]:
    """Encode static covariates as numbers [S, F], a category one-hot."""
    codes_RK, numbers_RF = read_static_covariates(table)
    parts = [numbers_RF.astype(np.float64)]
    for column, size in enumerate(featurizer.statics.sizes):
        if size <= MAX_ONE_HOT:
            parts.append(np.eye(size)[codes_RK[:, column]])
    return np.concatenate(parts, axis=1)
