"""The baselines' predictions of the test rows.

Shapes: S sequences, K labels, R test rows, T steps of a forecast, O outputs of a baseline.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluation.baselines.features import SplitRows
from models.evaluation.baselines.fitted import (
    ColumnwiseBaseline,
    ConstantBaseline,
    FittedBaseline,
    NaiveBaseline,
    Outputs,
)
from models.evaluation.baselines.multi import (
    FORECAST_ROWS,
    TextTargets,
    fit_forecasts,
    fit_tags,
    fit_texts,
)
from models.evaluation.baselines.naive_errors import NaiveErrors, NaivePrediction
from models.evaluation.baselines.served import build_pixel_front, describe_rows, encode_statics
from models.evaluation.baselines.single import (
    fit_baselines,
    predict_from_past,
    read_classes,
    wrap_numbers,
)
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
from models.features.config import SELF_SUPERVISED
from models.features.feature_spec import Numbers
from models.features.featurizer import Featurizer
from models.features.series import SeriesState, find_channel_scale, get_series_input
from models.features.splitting.split import TEST, TRAINING
from models.features.target import read_numbers
from tasks.dataset.feature_files import (
    map_steps,
    map_targets,
    read_sequences,
    read_static_covariates,
)
from tasks.dataset.labels import (
    TestRows,
    find_step_scales,
    find_target_scales,
    load_targets,
    read_scaled_targets,
)
from tasks.dataset.rowset import RowSet
from tasks.prediction.naive_forecast import forecast_naive, load_target_history, predict_naive

_WINDOW_KINDS = ("category", "number", "forecast")
"""Kinds of target that windows may predict from their own past."""

_NAIVE_ROWS = 10_000
"""Training rows of which the mean of self-supervised steps is taken."""


class SplitTables(NamedTuple):
    """The tables of the sequences to learn from, and of those to predict."""

    training: pl.DataFrame
    test: pl.DataFrame


class Baselines:
    """The sequences to learn from and those to predict, and the baselines that fit the target."""

    def __init__(
        self,
        rows: RowSet,
        features_dir: Path,
        featurizer: Featurizer,
        *,
        season: int,
        tables: SplitTables | None = None,
    ) -> None:
        """Take the rows.

        Args:
            rows: of the source.
            features_dir: with the sequences.
            featurizer: that made them.
            season: steps after which a series repeats.
            tables: the sequences; None for those of training and test.
        """
        self.rows, self.folder, self.featurizer = rows, features_dir, featurizer
        self.season = season
        self.training, self.test = tables or SplitTables(
            read_sequences(features_dir, TRAINING, known_only=True),
            read_sequences(features_dir, TEST),
        )

    def fit(self) -> dict[str, FittedBaseline]:
        """Fit every baseline that can serve, by its name.

        A naive forecast can where the target's own past is an input, and a window holds a season.
        """
        kind = self.featurizer.target.kind
        if kind in {"category", "number"}:
            training = self.build_rows(self.training, self._read_encoded_targets())
            fitted = fit_baselines(
                training,
                num_classes=len(self.featurizer.target.classes),
                test_steps=int((self.test["stop"] - self.test["start"]).sum()),
            )
            return fitted | self._build_naive(find_own_channel(self.featurizer))
        if kind == "tags":
            training = self.load_rows(self.training)
            # The last label stands for those that training does not have.
            return fit_tags(training._replace(target_S=training.target_S[:, :-1]))
        if kind == "text":
            return self._fit_texts()
        if kind == "forecast":
            return self._fit_forecasts()
        return self._fit_naive_errors()

    def predict(
        self, predictions: pl.DataFrame, test: TestRows, scale: ForecastScale
    ) -> dict[str, Predictions]:
        """Predict the test rows with every baseline that fits the kind of target.

        Args:
            predictions: the candidate's; of a self-supervised target with the naive errors.
            test: the rows.
            scale: of forecasts, the naive error in each row's past.
        """
        if self.featurizer.target.kind in SELF_SUPERVISED:
            return _read_self_supervised(predictions)
        return self.predict_fitted(self.fit(), test, scale) | self.predict_past(test, scale)

    def predict_fitted(
        self, fitted: Mapping[str, FittedBaseline], test: TestRows, scale: ForecastScale
    ) -> dict[str, Predictions]:
        """Predict the test rows with fitted baselines."""
        rows = self.build_rows(self.test, np.zeros(len(self.test)))
        outputs = {name: each.compute_outputs(rows) for name, each in fitted.items()}
        return {name: self._pair(each, test, scale) for name, each in outputs.items()}

    def load_rows(self, table: pl.DataFrame) -> SplitRows:
        """Read the targets of these sequences, and arrange both for the baselines."""
        return self.build_rows(table, load_targets(table, self.folder, self.rows, self.featurizer))

    def build_rows(self, table: pl.DataFrame, targets: Any) -> SplitRows:  # noqa: ANN401 - by the kind
        """Arrange sequences and targets for the baselines."""
        row_format = describe_rows(self.featurizer)
        codes_SK, numbers_SF = read_static_covariates(table)
        return SplitRows(
            map_steps(self.folder),
            table["start"].to_numpy(),
            table["stop"].to_numpy(),
            targets,
            encode_statics(codes_SK, numbers_SF, row_format.static_sizes),
            row_format.vocab_size,
            row_format.with_bigrams,
        )

    def _read_encoded_targets(self) -> NDArray[np.float64]:
        """Return the codes of classes, or the scaled numbers, that networks learn from too."""
        targets_M = map_targets(self.folder)
        return np.asarray(targets_M[self.training["target_start"].to_numpy()], np.float64)

    def _fit_forecasts(self) -> dict[str, FittedBaseline]:
        """Fit the regressions on scaled windows, and the naive forecasts; column by column."""
        count = min(len(self.training), 2 * FORECAST_ROWS)
        indexes = np.linspace(0, len(self.training) - 1, count).round().astype(np.int64)
        table = self.training[indexes]
        windows = self.build_rows(table, read_scaled_targets(table, self.folder, self.featurizer))
        columns, fitted, read = self.featurizer.list_by_column(), [], []
        for index, own in enumerate(columns):
            channels = _list_channels(own, self.featurizer)
            rows = _select_column(windows, channels, numbers=slice(index, None, len(columns)))
            channel = channels.index(own.target_channels[0]) if own.target_channels else -1
            naive = self._build_naive(OwnChannel(channel, 1.0, 0.0) if channel >= 0 else None)
            # Where no window knows all its steps, nothing can be fitted; zero is the mean.
            zeros = ConstantBaseline(np.zeros(rows.target_S.shape[1]))
            regressions = fit_forecasts(rows, channel=channel) or {"mean": zeros}
            fitted.append(regressions | naive)
            read.append(channels)
        if len(columns) == 1:
            return fitted[0]
        names = [name for name in fitted[0] if all(name in each for each in fitted)]
        return {name: ColumnwiseBaseline([each[name] for each in fitted], read) for name in names}

    def _fit_texts(self) -> dict[str, FittedBaseline]:
        """Fit those that repeat a text of training."""
        training = self.build_rows(self.training, np.zeros(len(self.training)))
        spans = (self.training[name].to_numpy() for name in ("target_start", "target_stop"))
        return fit_texts(training, TextTargets(map_targets(self.folder), *spans))

    def _fit_naive_errors(self) -> dict[str, FittedBaseline]:
        """Fit the naive predictions of a self-supervised target."""
        training = self.build_rows(self.training, np.zeros(len(self.training)))
        has_last_step = self.featurizer.target.kind == "next_step" and not training.vocab_size
        names: tuple[NaivePrediction, ...] = ("mean", "last step") if has_last_step else ("mean",)
        fitted: dict[str, FittedBaseline] = {}
        for name in names:
            naive = NaiveErrors(
                prediction=name,
                num_ids=training.vocab_size,
                has_last_step=has_last_step,
                front=build_pixel_front(self.featurizer),
            )
            naive.fit(training.subsample(_NAIVE_ROWS))
            fitted[name] = naive
        return fitted

    def _build_naive(self, own: "OwnChannel | None") -> dict[str, FittedBaseline]:
        """Build the naive forecasts that the input holds the values of."""
        window = self.featurizer.layout.window
        if window is None or own is None:
            return {}
        is_forecast = self.featurizer.target.kind == "forecast"
        ahead = np.arange(1, window.horizon + 1) if is_forecast else np.array([window.horizon])
        steps_back = {"last value": 0 * ahead}
        if 1 < self.season <= window.lookback:
            steps_back["seasonal naive"] = self.season * -(-ahead // self.season) - ahead
        return {
            name: NaiveBaseline(
                channel=own.channel,
                steps_back=steps.tolist(),
                slope=own.slope,
                intercept=own.intercept,
            )
            for name, steps in steps_back.items()
        }

    def predict_past(self, test: TestRows, scale: ForecastScale) -> dict[str, Predictions]:
        """Predict windows by the target's own past, as the source has it."""
        target, window = self.featurizer.target, self.featurizer.layout.window
        if window is None or window.horizon < 1 or target.kind not in _WINDOW_KINDS:
            return {}
        if target.kind == "forecast":
            forecasts = self._forecast_past(window.horizon)
            return {name: _pair_forecasts(each, test, scale) for name, each in forecasts.items()}
        history = load_target_history(self.rows, self.test, self.featurizer)
        past = predict_naive(history, horizon=window.horizon, season=self.season)
        rows = self.build_rows(self.test, test.targets)
        if target.kind == "number":
            return {name: wrap_numbers(values, rows) for name, values in past.items()}
        return {
            name: predict_from_past(np.nan_to_num(values, nan=-1.0), rows, len(target.classes))
            for name, values in past.items()
        }

    def _forecast_past(self, horizon: int) -> dict[str, Floats]:
        """Forecast every column by its own past, [R, T] by name; columns change fastest."""
        forecasts = [
            forecast_naive(
                load_target_history(self.rows, self.test, own), horizon=horizon, season=self.season
            )
            for own in self.featurizer.list_by_column()
        ]
        return {
            name: np.stack([each[name] for each in forecasts], axis=2).reshape(len(self.test), -1)
            for name in forecasts[0]
        }

    def _pair(self, outputs_SO: Outputs, test: TestRows, scale: ForecastScale) -> Predictions:
        """Pair the outputs of a baseline with the targets, as those of a network."""
        target, rows = self.featurizer.target, self.build_rows(self.test, test.targets)
        if target.kind == "category":
            return read_classes(outputs_SO, rows)
        if target.kind == "tags":
            unseen = np.zeros((len(outputs_SO), 1), bool)
            return TagPredictions(test.targets, np.concatenate([outputs_SO >= 0, unseen], axis=1))
        if target.kind == "text":
            ids = outputs_SO[:, 1:].astype(np.int64)
            texts = [target.decode_text(row[row >= 0]) for row in ids]
            return compare_texts(test.targets.to_list(), texts)
        if target.kind in SELF_SUPERVISED:
            own_S, mean_S = outputs_SO[:, :2].astype(np.float64).T
            return SelfSupervisedErrors(own_S, mean_S)
        numbers_ST = outputs_SO.astype(np.float64)
        if target.kind == "number":
            means_R, stds_R = find_target_scales(self.test, self.rows, self.featurizer)
            return wrap_numbers(numbers_ST[:, 0] * stds_R + means_R, rows)
        means_RT, stds_RT = find_step_scales(self.test, self.rows, self.featurizer)
        units_RT = numbers_ST * stds_RT + means_RT
        return _pair_forecasts(self.featurizer.target.from_units(units_RT), test, scale)


class OwnChannel(NamedTuple):
    """The channel with the target's own past, and how its values become scaled targets."""

    channel: int
    slope: float
    intercept: float


def find_own_channel(featurizer: Featurizer) -> OwnChannel | None:
    """Find the channel with the past of a windowed number; None where there is none.

    Nor is there one where target and channel have scales of their own for each entity.
    """
    target, layout, state = featurizer.target, featurizer.layout, featurizer.state
    if target.kind != "number" or layout.window is None or not isinstance(state, SeriesState):
        return None
    found = find_channel_scale(layout, state, target.column)
    if found is None or found[1] or target.entities:
        return None
    (center, spread), _ = found
    channel = get_series_input(layout).observed.index(target.column)
    return OwnChannel(channel, spread / target.std, (center - target.mean) / target.std)


def _pair_forecasts(forecast_RT: Floats, test: TestRows, scale: ForecastScale) -> Predictions:
    """Pair forecasts with the targets."""
    return summarize_forecasts(ForecastSteps(test.targets, forecast_RT, (), ()), scale)


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
