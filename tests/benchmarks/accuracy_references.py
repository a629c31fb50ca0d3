"""References for `accuracy.py`, computed on the very split of a job's run.

- texts: TF-IDF of words (1 and 2 grams) and logistic regression;
- forecasts: the last value, the seasonal naive forecast, and a ridge regression from the look-back,
  minus its last value, to the change after it.

What is fitted here uses the rows of training and validation, with settings that are the same for
all sets: nothing is chosen by test rows. For series in lists the reference is the report's own
"random convolutions".

Shapes: N rows in the order of entity and time, R windows, T steps ahead, L steps of look-back.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features.splitting.split import TEST, TRAINING, VALIDATION

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

LEARNED = (TRAINING, VALIDATION)

MAX_RIDGE_WINDOWS = 20_000
"""Windows that the ridge regression is fitted on, evenly spaced."""


class Windows(NamedTuple):
    """A series, and the windows of it that are forecast."""

    values_N: Floats
    """In the order of entity and time; gaps are filled with the value before."""
    entity_N: NDArray[np.int64]
    """Code of the entity of each row."""
    learned_R: Positions
    """The last row of the look-back of each window of training and validation."""
    test_R: Positions
    """The same of each test window."""
    lookback: int
    ahead_T: NDArray[np.int64]
    """The steps ahead that are forecast, from 1."""
    season: int
    """Steps of a season; 1 for none."""


def score_text_reference(rows: pl.DataFrame, *, text: str, target: str, analyzer: str) -> float:
    """Return the test accuracy of TF-IDF (1, 2 grams) and logistic regression.

    Args:
        rows: the texts and their classes, with `split_code`.
        text: column of the texts.
        target: column of the classes.
        analyzer: the parts that are counted: `word` or `char`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    learned = rows.filter(pl.col("split_code").is_in(LEARNED))
    test = rows.filter(pl.col("split_code") == TEST)
    vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=(1, 2))
    model = LogisticRegression(C=10.0, max_iter=1_000)
    model.fit(vectorizer.fit_transform(learned[text].to_list()), learned[target].to_list())
    predicted = model.predict(vectorizer.transform(test[text].to_list()))
    return float(np.mean(predicted == np.array(test[target].to_list())))


def score_forecast_references(windows: Windows) -> dict[str, dict[str, float]]:
    """Return the test errors of the references, by name and by metric."""
    target_RT = windows.values_N[windows.test_R[:, None] + windows.ahead_T]
    predictions = {"last value": forecast_naive(windows, season=1)}
    if windows.season > 1:
        predictions["seasonal naive"] = forecast_naive(windows, season=windows.season)
    if len(windows.learned_R):
        predictions["ridge on the look-back"] = forecast_by_ridge(windows)
    return {
        name: compute_forecast_errors(target_RT, prediction_RT)
        for name, prediction_RT in predictions.items()
    }


def forecast_naive(windows: Windows, *, season: int) -> Floats:
    """Forecast each step with the newest known value of the same place in the season [R, T].

    Where the entity does not reach back so far, its last value is the forecast.
    """
    seasons_T = -(-windows.ahead_T // season)
    source_RT = windows.test_R[:, None] + windows.ahead_T - season * seasons_T
    last_R1 = windows.test_R[:, None]
    is_known_RT = source_RT >= 0
    is_known_RT &= windows.entity_N[source_RT] == windows.entity_N[last_R1]
    return windows.values_N[np.where(is_known_RT, source_RT, last_R1)]


def forecast_by_ridge(windows: Windows) -> Floats:
    """Forecast the change since the last value by ridge regression [R, T].

    The strength of the penalty is chosen by leave-one-out errors of the learned windows. Each
    entity is scaled by the spread of its learned values.
    """
    from sklearn.linear_model import RidgeCV

    count = min(len(windows.learned_R), MAX_RIDGE_WINDOWS)
    indexes = np.linspace(0, len(windows.learned_R) - 1, count).round().astype(np.int64)
    learned_R = windows.learned_R[indexes]
    scale_E = measure_spreads(windows)
    model = RidgeCV(alphas=np.logspace(-3, 4, 15))
    target_RT = windows.values_N[learned_R[:, None] + windows.ahead_T]
    last_R1 = windows.values_N[learned_R][:, None]
    scale_R1 = scale_E[windows.entity_N[learned_R]][:, None]
    model.fit(gather_lookbacks(windows, learned_R) / scale_R1, (target_RT - last_R1) / scale_R1)
    scale_R1 = scale_E[windows.entity_N[windows.test_R]][:, None]
    change_RT = model.predict(gather_lookbacks(windows, windows.test_R) / scale_R1)
    change_RT = change_RT.reshape(len(windows.test_R), -1) * scale_R1
    forecast_RT: Floats = windows.values_N[windows.test_R][:, None] + change_RT
    return forecast_RT


def measure_spreads(windows: Windows) -> Floats:
    """Return the standard deviation of each entity's learned values, 1 where it is 0."""
    spreads = np.ones(int(windows.entity_N.max()) + 1)
    known = pl.DataFrame(
        {
            "entity": windows.entity_N[windows.learned_R],
            "value": windows.values_N[windows.learned_R],
        }
    )
    for entity, spread in known.group_by("entity").agg(pl.col("value").std()).iter_rows():
        spreads[entity] = spread or 1.0
    return spreads


def gather_lookbacks(windows: Windows, last_R: Positions) -> Floats:
    """Return the look-backs minus their last values [R, L]."""
    lookback_RL = windows.values_N[last_R[:, None] + np.arange(1 - windows.lookback, 1)]
    change_RL: Floats = lookback_RL - lookback_RL[:, -1:]
    return change_RL


def compute_forecast_errors(target_RT: Floats, prediction_RT: Floats) -> dict[str, float]:
    """Compute MAE, MSE and sMAPE (0 to 200) over all windows and steps."""
    error_RT = prediction_RT - target_RT
    size_RT = np.abs(target_RT) + np.abs(prediction_RT)
    share_RT = np.divide(
        2 * np.abs(error_RT), size_RT, out=np.zeros_like(size_RT), where=size_RT > 0
    )
    return {
        "mae": float(np.abs(error_RT).mean()),
        "mse": float((error_RT**2).mean()),
        "smape": float(100 * share_RT.mean()),
    }


def score_references(
    data: Path, features: Path, *, text: str | None, analyzer: str, season: int
) -> dict[str, dict[str, float]]:
    """Return the scores of the references that fit the job, by name and by metric.

    Args:
        data: the file of the job.
        features: the artifact of its sequences.
        text: column of the texts; None for none.
        analyzer: the parts of texts that are counted: `word` or `char`.
        season: steps of a season; 1 for none.
    """
    settings = json.loads((features / "featurizer.json").read_text(encoding="utf-8"))
    sequences = pl.read_parquet(features / "sequences.parquet")
    target, layout = settings["target"], settings["layout"]
    if layout["window"] and target["kind"] in {"number", "forecast"}:
        if target["parts"]:
            return score_column_references(data, sequences, settings, season=season)
        return score_forecast_references(read_windows(data, sequences, settings, season=season))
    if text and target["kind"] == "category":
        codes = sequences.select(row="target_row", split_code="split")
        rows = pl.read_parquet(data).with_row_index("row").cast({"row": pl.Int64})
        rows = rows.join(codes, on="row", maintain_order="left")
        accuracy = score_text_reference(rows, text=text, target=target["column"], analyzer=analyzer)
        return {f"TF-IDF ({analyzer} 1, 2) + LR": {"accuracy": accuracy}}
    return {}


def score_column_references(
    data: Path, sequences: pl.DataFrame, settings: dict[str, Any], *, season: int
) -> dict[str, dict[str, float]]:
    """Return the means of the references' errors over several columns, in standard deviations.

    Raises:
        ValueError: columns are scaled entity by entity.
    """
    parts = settings["target"]["parts"]
    if any(part["entities"] for part in parts):
        raise ValueError("no reference for several columns that are scaled by entity")
    scores = []
    for part in parts:
        windows = read_windows(data, sequences, settings | {"target": part}, season=season)
        scores.append(
            score_forecast_references(windows._replace(values_N=windows.values_N / part["std"]))
        )
    return {
        name: {
            metric: float(np.mean([each[name][metric] for each in scores])) for metric in metrics
        }
        for name, metrics in scores[0].items()
    }


def read_windows(
    data: Path, sequences: pl.DataFrame, settings: dict[str, Any], *, season: int
) -> Windows:
    """Read the target's series and the windows of a job.

    Raises:
        ValueError: the windows do not fit the file.
    """
    layout, target = settings["layout"], settings["target"]
    keys = [name for name in (layout["entity"], layout["time"]) if name]
    rows = pl.read_parquet(data).with_row_index("row").sort(keys, maintain_order=True)
    entity_N = rows[layout["entity"]].rank("dense").to_numpy() - 1 if layout["entity"] else None
    position = np.empty(len(rows), np.int64)
    position[rows["row"].to_numpy()] = np.arange(len(rows))
    horizon = layout["window"]["horizon"]
    windows = Windows(
        fill_gaps(rows[target["column"]]),
        np.zeros(len(rows), np.int64) if entity_N is None else entity_N.astype(np.int64),
        find_last_rows(sequences, LEARNED, position),
        find_last_rows(sequences, (TEST,), position),
        layout["window"]["lookback"],
        np.arange(1, horizon + 1) if target["kind"] == "forecast" else np.array([horizon]),
        season,
    )
    if target["kind"] == "number":
        check_targets(windows, sequences)
    return windows


def fill_gaps(values: pl.Series) -> Floats:
    """Return the numbers, each missing one replaced by the one before, else by the one after."""
    filled = values.cast(pl.Float64).fill_nan(None).forward_fill().backward_fill()
    numbers: Floats = filled.to_numpy()
    return numbers


def find_last_rows(
    sequences: pl.DataFrame, splits: Sequence[int], position: NDArray[np.int64]
) -> Positions:
    """Return the positions of the last rows of the look-backs of some splits."""
    last_R: Positions = position[sequences.filter(pl.col("split").is_in(splits))["row"].to_numpy()]
    return last_R


def check_targets(windows: Windows, sequences: pl.DataFrame) -> None:
    """Check that the job's test targets stand where they are expected in the file.

    Raises:
        ValueError: they do not.
    """
    expected = sequences.filter(pl.col("split") == TEST)["target"].to_numpy()
    if not np.allclose(windows.values_N[windows.test_R + windows.ahead_T[-1]], expected):
        raise ValueError("no reference: the job's windows are not those of the sorted file")
