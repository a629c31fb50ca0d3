"""Predict test rows, and pair the predictions with their targets so that metrics apply.

Shapes: R test rows, K labels or columns, T numbers of a forecast (its steps, of several columns by
step and then by column).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.bundle import Bundle
from models.evaluation.metrics.forecast import summarize_forecasts
from models.evaluation.metrics.text import compare_texts
from models.evaluation.predictions import (
    MAX_PROBABILITIES,
    ColumnScales,
    Floats,
    ForecastScale,
    ForecastSteps,
    Predictions,
    SelfSupervisedErrors,
    SinglePredictions,
    TagPredictions,
)
from models.features.config import SELF_SUPERVISED
from models.features.featurizer import Featurizer
from models.features.target import Target, read_numbers
from tasks.dataset.labels import TestRows, encode_tags, read_scaled_entities
from tasks.dataset.rowset import RowSet
from tasks.prediction.naive_forecast import compute_naive_error, load_target_history

_Predicted = TypeVar("_Predicted")

_QUANTILE_PREFIX = "quantile_"


def predict_test_rows(bundle: Bundle, rows: RowSet, test: TestRows) -> pl.DataFrame:
    """Predict the raw test rows with a model, in the same way as it serves; R rows."""
    return pl.concat(_map_test_rows(bundle.predict, bundle, rows, test))


def predict_test_parts(
    bundle: Bundle, rows: RowSet, test: TestRows
) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """Predict the raw test rows with a model, and with each of its parts alone, by their names."""
    found = _map_test_rows(bundle.predict_parts, bundle, rows, test)
    tables = {name: pl.concat(each[name] for each in found) for name in found[0]}
    return tables.pop(""), tables


def _map_test_rows(
    predict: Callable[[pl.DataFrame, Any], _Predicted],
    bundle: Bundle,
    rows: RowSet,
    test: TestRows,
) -> list[_Predicted]:
    """Return what a function returns for the raw test rows, some thousands at a time."""
    layout = bundle.featurizer.layout
    if layout.window:
        frame = rows.scan().select(layout.raw_columns).collect(engine="streaming")
        return [predict(frame, test.rows_R)]
    parts, start = [], 0
    for frame in rows.iter_frames(layout.raw_columns):
        stop = start + len(frame)
        indices = test.rows_R[(test.rows_R >= start) & (test.rows_R < stop)] - start
        if len(indices):
            parts.append(predict(frame[indices], None))
        start = stop
    return parts


def pair_with_targets(
    predictions: pl.DataFrame, test: TestRows, featurizer: Featurizer, scale: ForecastScale
) -> Predictions:
    """Pair a model's predictions with the targets, by the kind of the target.

    Args:
        predictions: of the test rows, as the model returns them.
        test: the rows with their targets.
        featurizer: of the model.
        scale: for forecasts, see `compute_naive_scale`.
    """
    kind = featurizer.target.kind
    if kind == "category":
        return _pair_classes(predictions, test, featurizer)
    if kind == "number":
        missing = np.full(len(test.targets), np.nan)
        return SinglePredictions(test.targets, read_numbers(predictions["prediction"]), missing, 0)
    if kind == "tags":
        labels_RK = encode_tags(predictions["prediction"], featurizer.target)
        return TagPredictions(test.targets, labels_RK)
    if kind == "text":
        return compare_texts(test.targets.to_list(), predictions["prediction"].to_list())
    if kind in SELF_SUPERVISED:
        return SelfSupervisedErrors(
            read_numbers(predictions["prediction"]), read_numbers(predictions["mean_error"])
        )
    steps = _read_forecasts(predictions, test.targets, featurizer.target)
    return summarize_forecasts(steps, scale)


def read_number_lists(lists: pl.Series, width: int) -> NDArray[np.float64]:
    """Read lists of `width` numbers each as [R, width]; NaN where a row is null."""
    values = np.full((len(lists), width), np.nan)
    flat = lists.drop_nulls().explode().cast(pl.Float64).to_numpy()
    values[lists.is_not_null().to_numpy()] = flat.reshape(-1, width)
    return values


def compute_naive_scale(
    rows: RowSet, table: pl.DataFrame, featurizer: Featurizer, *, season: int
) -> ForecastScale:
    """Return `compute_naive_error` of each row's series, [R]; empty where nothing is forecast.

    Of several columns the same of each, with its standard deviation.
    """
    if featurizer.target.kind != "forecast":
        return np.empty(0)
    errors = [
        compute_naive_error(load_target_history(rows, table, each), season=season)
        for each in featurizer.list_by_column()
    ]
    if not featurizer.target.parts:
        return errors[0]
    entities = read_scaled_entities(rows, table, featurizer)
    return build_column_scales(featurizer.target, entities, np.stack(errors, axis=1))


def build_column_scales(
    target: Target, entities: pl.Series | None, naive_error_RK: Floats
) -> ColumnScales:
    """Build the scales of several columns.

    Args:
        target: with the columns.
        entities: of the rows, where the target is scaled per entity.
        naive_error_RK: mean error of the seasonal naive forecast on each row's past.
    """
    _, stds_RK = target.get_step_scales(len(naive_error_RK), entities, 1)
    return ColumnScales(target.columns, stds_RK, naive_error_RK)


def have_same_target(ours: Featurizer, theirs: Featurizer) -> bool:
    """Check whether two models predict the same target, so that they can be compared."""
    one, other = ours.target, theirs.target
    if (one.kind, one.columns, one.classes) != (other.kind, other.columns, other.classes):
        return False
    if one.kind != "forecast":
        return True
    windows = [ours.layout.window, theirs.layout.window]
    horizons = [window.horizon if window else 0 for window in windows]
    return horizons[0] == horizons[1]


def _pair_classes(
    predictions: pl.DataFrame, test: TestRows, featurizer: Featurizer
) -> SinglePredictions:
    """Pair predicted class codes and the probability of the true class with the targets."""
    codes = featurizer.target.encode(predictions["prediction"]).astype(np.float64)
    true_code = pl.Series(np.maximum(test.targets, 0).astype(np.int64))
    table = predictions.with_columns(code=true_code)
    true_probability = table.select(pl.col("probabilities").list.get(pl.col("code"))).to_series()
    probabilities = np.where(test.targets < 0, 0.0, read_numbers(true_probability))
    count = len(featurizer.target.classes)
    fits = len(codes) * count <= MAX_PROBABILITIES
    all_RK = read_number_lists(predictions["probabilities"], count) if fits else None
    return SinglePredictions(test.targets, codes, probabilities, count, all_RK)


def read_forecast_lists(
    table: pl.DataFrame, name: str, target: Target, numbers: int
) -> NDArray[np.float64]:
    """Read one quantity of forecasts, such as `prediction`, [R, T]; NaN where a row is null.

    Args:
        table: of predictions or targets.
        name: of the quantity; of several columns each has its own, see `list_output_names`.
        target: of the model.
        numbers: T.
    """
    names = target.list_output_names(name)
    lists = [read_number_lists(table[each], numbers // len(names)) for each in names]
    return np.stack(lists, axis=2).reshape(len(table), -1)


def _read_forecasts(predictions: pl.DataFrame, targets_RT: Floats, target: Target) -> ForecastSteps:
    """Read forecasts and their quantiles, [R, T] each."""
    numbers, suffix = targets_RT.shape[1], f"_{target.columns[0]}" if target.parts else ""
    levels = [
        name.removeprefix(_QUANTILE_PREFIX).removesuffix(suffix)
        for name in predictions.columns
        if name.startswith(_QUANTILE_PREFIX) and name.endswith(suffix)
    ]
    return ForecastSteps(
        targets_RT,
        read_forecast_lists(predictions, "prediction", target, numbers),
        tuple(
            read_forecast_lists(predictions, f"{_QUANTILE_PREFIX}{level}", target, numbers)
            for level in levels
        ),
        tuple(float(level) for level in levels),
    )
