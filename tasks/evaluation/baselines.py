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
from models.evaluation.baselines.single import SplitRows, predict_baselines
from models.evaluation.metrics.forecast import summarize_forecasts
from models.evaluation.metrics.text import compare_texts
from models.evaluation.predictions import (
    Floats,
    ForecastScale,
    ForecastSteps,
    Predictions,
    SelfSupervisedErrors,
    TagPredictions,
)
from models.features.feature_spec import Numbers, Tokens, Trees
from models.features.featurizer import Featurizer
from models.features.splitting.split import TEST, TRAINING
from models.features.target import read_numbers
from tasks.dataset.feature_files import map_steps, read_sequences, read_static_covariates
from tasks.dataset.labels import TestRows, find_target_scales, load_targets, read_scaled_targets
from tasks.dataset.rowset import RowSet
from tasks.prediction.naive_forecast import forecast_naive, load_target_history, predict_naive

_MAX_ONE_HOT_VALUES = 200
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
        self, predictions: pl.DataFrame, test: TestRows, scale: ForecastScale
    ) -> dict[str, Predictions]:
        """Predict the test rows with every baseline that fits the kind of target.

        Args:
            predictions: the candidate's; of a self-supervised target with the naive errors.
            test: the rows.
            scale: of forecasts, the naive error in each row's past.
        """
        kind = self.featurizer.target.kind
        if kind in {"category", "number"}:
            return self._predict_single()
        if kind == "tags":
            training, test_rows = self.load_split(TRAINING), self.load_split(TEST)
            label_predictions = predict_tags(training, test_rows)
            return {
                name: TagPredictions(test.targets, each) for name, each in label_predictions.items()
            }
        if kind == "text":
            return self._predict_texts(test)
        if kind == "forecast":
            return self._predict_forecasts(test, scale)
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
        signal = self.featurizer.feature_spec
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
        num_classes, window = len(self.featurizer.target.classes), self.featurizer.layout.window
        past: dict[str, Floats] = {}
        if window is not None and window.horizon > 0:
            history = load_target_history(self.rows, self.test, self.featurizer)
            past = predict_naive(history, horizon=window.horizon, season=self.season)
        if num_classes:
            past = {name: np.nan_to_num(values, nan=-1.0) for name, values in past.items()}
        predictions = predict_baselines(
            self.load_split(TRAINING), self.load_split(TEST), num_classes=num_classes, past=past
        )
        return dict(predictions)

    def _predict_forecasts(self, test: TestRows, scale: ForecastScale) -> dict[str, Predictions]:
        """Predict by naive forecasts, and by regressions on scaled windows; column by column."""
        table = read_sequences(self.folder, TRAINING, known_only=True)
        indexes = np.linspace(0, len(table) - 1, min(len(table), 2 * FORECAST_ROWS)).round()
        table = table[indexes.astype(np.int64)]
        training_windows, test_windows = (
            self.build_rows(each, read_scaled_targets(each, self.folder, self.featurizer))
            for each in (table, self.test)
        )
        columns, forecasts = self.featurizer.list_by_column(), []
        for index, own in enumerate(columns):
            channels = _list_channels(own, self.featurizer)
            windows = [
                _select_column(each, channels, numbers=slice(index, None, len(columns)))
                for each in (training_windows, test_windows)
            ]
            forecasts.append(self._forecast_column(own, *windows, channels=channels))
        names = [name for name in forecasts[0] if all(name in each for each in forecasts)]
        joined = {
            name: np.stack([each[name] for each in forecasts], axis=2).reshape(len(self.test), -1)
            for name in names
        }
        return {
            name: summarize_forecasts(ForecastSteps(test.targets, forecast_RT, (), ()), scale)
            for name, forecast_RT in joined.items()
        }

    def _forecast_column(
        self, featurizer: Featurizer, training: SplitRows, test: SplitRows, *, channels: list[int]
    ) -> dict[str, Floats]:
        """Forecast one column by every baseline, in its unit, [S, T] by name.

        Args:
            featurizer: with that column as its target.
            training: windows to fit on.
            test: windows to predict.
            channels: of these windows, by their index among all.
        """
        history = load_target_history(self.rows, self.test, featurizer)
        horizon = test.target_S.shape[1]
        forecasts = forecast_naive(history, horizon=horizon, season=self.season)
        means_R, stds_R = find_target_scales(self.test, self.rows, featurizer)
        own = featurizer.target_channels
        channel = channels.index(own[0]) if own else -1
        for name, forecast_RT in predict_forecasts(training, test, channel=channel).items():
            forecasts[name] = forecast_RT * stds_R[:, None] + means_R[:, None]
        return forecasts

    def _predict_texts(self, test: TestRows) -> dict[str, Predictions]:
        """Predict texts of the training rows."""
        table = read_sequences(self.folder, TRAINING, known_only=True)
        nothing: NDArray[np.float64] = np.zeros(len(table))
        training = self.build_rows(table, nothing)
        test_rows = self.build_rows(self.test, np.zeros(len(self.test)))
        predictions = predict_texts(training, test_rows, table["target"].cast(pl.String).to_list())
        targets = test.targets.to_list()
        return {name: compare_texts(targets, texts) for name, texts in predictions.items()}


def _list_channels(own: Featurizer, whole: Featurizer) -> list[int]:
    """List the channels that the regression of one column reads: all but other columns' past."""
    others = set(whole.target_channels) - set(own.target_channels)
    spec = whole.feature_spec
    count = spec.channels if isinstance(spec, Numbers) else 1
    return [channel for channel in range(count) if channel not in others]


def _select_column(rows: SplitRows, channels: list[int], *, numbers: slice) -> SplitRows:
    """Return the windows of one column: its targets, and the channels that it reads."""
    rows = rows._replace(target_S=rows.target_S[:, numbers])
    if len(channels) == rows.values_NC.shape[1]:
        return rows
    return rows._replace(values_NC=rows.values_NC[:, channels])


def _read_self_supervised(predictions: pl.DataFrame) -> dict[str, Predictions]:
    """Read the errors of the two naive baselines: the mean, and the previous step."""
    mean_error_R = read_numbers(predictions["mean_error"])
    lag1_error_R = read_numbers(predictions["lag1_error"])
    baselines: dict[str, Predictions] = {"mean": SelfSupervisedErrors(mean_error_R, mean_error_R)}
    if not np.isnan(lag1_error_R).all():
        baselines["last step"] = SelfSupervisedErrors(lag1_error_R, mean_error_R)
    return baselines


def _encode_static_covariates(table: pl.DataFrame, featurizer: Featurizer) -> NDArray[np.float64]:
    """Encode static covariates as numbers [S, F], a category one-hot."""
    codes_RK, numbers_RF = read_static_covariates(table)
    parts = [numbers_RF.astype(np.float64)]
    for column, size in enumerate(featurizer.static_state.sizes):
        if size <= _MAX_ONE_HOT_VALUES:
            parts.append(np.eye(size)[codes_RK[:, column]])
    return np.concatenate(parts, axis=1)
