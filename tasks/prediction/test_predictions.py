"""What models and baselines answer to the test rows, in a form that can be scored.

Shapes: R test rows, K labels, T steps of a forecast.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.bundle import Bundle
from models.evaluation.metrics.forecast import judge_forecasts
from models.evaluation.metrics.text import judge_texts
from models.evaluation.predictions import (
    MOST_CHANCES,
    Answers,
    Floats,
    Judged,
    Mined,
    Steps,
    Tags,
)
from models.features.config import MINED
from models.features.featurizer import Featurizer
from models.features.target import to_numbers
from tasks.dataset.labels import TestRows, held_labels
from tasks.dataset.rowset import RowSet
from tasks.prediction.naive_forecast import naive_error, past_of

QUANTILE = "quantile_"


def answered_by(bundle: Bundle, rows: RowSet, test: TestRows) -> pl.DataFrame:
    """Let a model answer the raw test rows, the way it serves."""
    layout = bundle.featurizer.layout
    if layout.window:
        frame = rows.scan().select(layout.raw_columns).collect(engine="streaming")
        return bundle.predict(frame, test.rows_R)
    parts, seen = [], 0
    for frame in rows.frames(layout.raw_columns):
        here = test.rows_R[(test.rows_R >= seen) & (test.rows_R < seen + len(frame))] - seen
        if len(here):
            parts.append(bundle.predict(frame[here]))
        seen += len(frame)
    return pl.concat(parts)


def judged(
    answered: pl.DataFrame, test: TestRows, featurizer: Featurizer, scale_R: Floats
) -> Judged:
    """Put a model's table beside the truth.

    Args:
        answered: the model's answers to the test rows.
        test: with the truth.
        featurizer: of the model that answered.
        scale_R: of forecasts, what `naive_scale` says.
    """
    kind = featurizer.target.kind
    if kind == "category":
        return classes(answered, test, featurizer)
    if kind == "number":
        missing = np.full(len(test.truth), np.nan)
        return Answers(test.truth, to_numbers(answered["prediction"]), missing, 0)
    if kind == "tags":
        said = answered["prediction"]
        return Tags(test.truth, held_labels(said, featurizer.target))
    if kind == "text":
        return judge_texts(test.truth.to_list(), answered["prediction"].to_list())
    if kind in MINED:
        return Mined(to_numbers(answered["prediction"]), to_numbers(answered["usual_error"]))
    return judge_forecasts(steps_of(answered, test.truth), scale_R)


def classes(answered: pl.DataFrame, test: TestRows, featurizer: Featurizer) -> Answers:
    """Turn a table of classes into codes, and the probability of the true one."""
    codes = featurizer.target.encode(answered["prediction"]).astype(np.float64)
    true_code = pl.Series(np.maximum(test.truth, 0).astype(np.int64))
    table = answered.with_columns(code=true_code)
    chance = table.select(pl.col("probabilities").list.get(pl.col("code"))).to_series()
    chances = np.where(test.truth < 0, 0.0, to_numbers(chance))
    count = len(featurizer.target.classes)
    few = len(codes) * count <= MOST_CHANCES
    every = numbers_of(answered["probabilities"], count) if few else None
    return Answers(test.truth, codes, chances, count, every)


def steps_of(answered: pl.DataFrame, truth_RT: Floats) -> Steps:
    """Read lists of forecasts, and of their quantiles."""
    ahead = truth_RT.shape[1]
    names = [name for name in answered.columns if name.startswith(QUANTILE)]
    return Steps(
        truth_RT,
        numbers_of(answered["prediction"], ahead),
        tuple(numbers_of(answered[name], ahead) for name in names),
        tuple(float(name.removeprefix(QUANTILE)) for name in names),
    )


def numbers_of(lists: pl.Series, width: int) -> NDArray[np.float64]:
    """Read lists of so many numbers as [R, width]; NaN where a row has none."""
    told = np.full((len(lists), width), np.nan)
    flat = lists.drop_nulls().explode().cast(pl.Float64).to_numpy()
    told[lists.is_not_null().to_numpy()] = flat.reshape(-1, width)
    return told


def naive_scale(
    rows: RowSet, table: pl.DataFrame, featurizer: Featurizer, *, season: int
) -> Floats:
    """Tell what the (seasonal) naive forecast errs by in each row's past; of forecasts alone."""
    if featurizer.target.kind != "forecast":
        return np.empty(0)
    return naive_error(past_of(rows, table, featurizer), season=season)


def same_question(ours: Featurizer, theirs: Featurizer) -> bool:
    """Tell whether two models answer the same, so that their answers can be compared."""
    one, other = ours.target, theirs.target
    if (one.kind, one.column, one.classes) != (other.kind, other.column, other.classes):
        return False
    if one.kind != "forecast":
        return True
    steps = [read.layout.window.horizon if read.layout.window else 0 for read in (ours, theirs)]
    return steps[0] == steps[1]
