"""From a head's numbers to the table that a user reads: one function for each kind of answer.

Shapes: S rows, O numbers that the head gives of each, K classes or labels, T steps of a forecast,
R parts of each step, Q quantiles, P numbers of a vector.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from models.calibration import Calibration, bounds_of, edges_of, softmax
from models.features.config import MINED, Answer
from models.features.featurizer import Featurizer
from models.features.target import Target
from models.networks.heads.config import SPREADING, HeadConfig
from models.networks.heads.ctc import NOTHING

Columns = dict[str, pl.Series]
Doubles = NDArray[np.float64]

LIKELY = 0.5
"""Probability from which on a label is an answer."""

BOUND = "interval_"

PARTS = {"gaussian_nll": 2, "student_t": 3, "negative_binomial": 2}


class Beside(NamedTuple):
    """What stands beside the outputs."""

    entities: pl.Series | None = None
    """Whose they are, where answers are scaled one by one."""
    calibration: Calibration | None = None


def answer_columns(
    outputs_SO: NDArray[np.float32],
    featurizer: Featurizer,
    head: HeadConfig,
    *,
    beside: Beside,
) -> Columns:
    """Write the answers of rows as columns, `prediction` first.

    Args:
        outputs_SO: what the head gave.
        featurizer: with the target.
        head: how answers were made.
        beside: whose they are, and how sure they may be.
    """
    target = featurizer.target
    if not len(outputs_SO):
        # No row has columns of the same types.
        blank = np.zeros((1, blank_width(featurizer, head)), np.float32)
        told = KINDS[target.kind](blank, target, head, Beside(None, beside.calibration))
        return {name: column.clear() for name, column in told.items()}
    return KINDS[target.kind](outputs_SO, target, head, beside)


def blank_width(featurizer: Featurizer, head: HeadConfig) -> int:
    """Tell how many numbers make a row of answers, at least."""
    window, kind = featurizer.layout.window, featurizer.target.kind
    if kind in MINED:
        return 3
    steps = window.horizon if window and kind == "forecast" else 1
    return max(len(featurizer.target.classes), steps * parts_count(head))


def parts_count(head: HeadConfig) -> int:
    """Count the numbers that tell of one step."""
    return len(head.quantiles) if head.loss == "quantile" else PARTS.get(head.loss, 1)


def parts_of(outputs_SO: NDArray[np.float32], head: HeadConfig) -> Doubles:
    """Cut the outputs of numbers and forecasts into the parts of their steps, [S, T, R]."""
    return outputs_SO.reshape(len(outputs_SO), -1, parts_count(head)).astype(np.float64)


def classes(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: Beside
) -> Columns:
    """Write the likeliest class, how likely each is, and the set that holds the right one."""
    del head
    calibration = beside.calibration
    # Of the outputs as they are: no temperature changes which is the largest.
    best_S = outputs_SO.argmax(axis=1)
    rows_S = np.arange(len(best_S))
    chances_SK = softmax(outputs_SO, calibration.temperature if calibration else 1.0)
    columns = {
        "prediction": target.decode(best_S),
        "probability": pl.Series(chances_SK[rows_S, best_S]),
        "probabilities": lists(chances_SK),
    }
    if calibration and calibration.least_chance is not None:
        inside_SK = chances_SK >= calibration.least_chance
        inside_SK[rows_S, best_S] = True
        columns["prediction_set"] = named(inside_SK, target)
    return columns


def labels(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: Beside
) -> Columns:
    """Write the labels that are likelier than not, and how likely each is."""
    del head, beside
    probabilities_SK = 1 / (1 + np.exp(-outputs_SO.astype(np.float64)))
    return {
        "prediction": named(probabilities_SK >= LIKELY, target),
        "probabilities": lists(probabilities_SK),
    }


def named(chosen_SK: NDArray[np.bool_], target: Target) -> pl.Series:
    """Write the chosen classes of each row as lists, in the order of the classes."""
    names = pl.Series(list(target.classes)).gather(np.nonzero(chosen_SK)[1])
    offsets = np.concatenate([[0], chosen_SK.sum(axis=1).cumsum()])
    return pl.Series(pa.LargeListArray.from_arrays(offsets, names.to_arrow()))


def numbers(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: Beside
) -> Columns:
    """Write numbers in the target's unit, with what is uncertain about them."""
    told = told_of(parts_of(outputs_SO, head), target, head, beside)
    return {name: pl.Series(values_ST[:, 0]) for name, values_ST in told.items()}


def forecasts(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: Beside
) -> Columns:
    """Write the steps ahead as lists, with what is uncertain about them."""
    told = told_of(parts_of(outputs_SO, head), target, head, beside)
    return {name: lists(values_ST, gaps=name.startswith(BOUND)) for name, values_ST in told.items()}


def told_of(parts: Doubles, target: Target, head: HeadConfig, beside: Beside) -> dict[str, Doubles]:
    """Tell what the parts say, and the intervals around it, in the target's unit, [S, T] each."""
    means_S, spreads_S = target.scales(len(parts), beside.entities)
    told = said(parts, head, means_S, spreads_S)
    margins = beside.calibration.margins if beside.calibration else ()
    if all(margin is None for margin in margins):
        return told
    edges = edges_of(parts, head, mean=target.mean, spread=target.spread)
    low_ST, high_ST = bounds_of(edges, parts[:, :, point_place(head)], margins)
    counted = head.loss == "negative_binomial"
    low_ST = low_ST * spreads_S[:, None] + means_S[:, None]
    told[f"{BOUND}low"] = np.maximum(low_ST, 0.0) if counted else low_ST
    told[f"{BOUND}high"] = high_ST * spreads_S[:, None] + means_S[:, None]
    return told


def said(
    parts_STR: NDArray[Any], head: HeadConfig, means_S: Doubles, spreads_S: Doubles
) -> dict[str, Doubles]:
    """Tell what the parts of a form say, in the target's unit, [S, T] each."""
    parts = parts_STR.astype(np.float64)
    mean_S1, spread_S1 = means_S[:, None], spreads_S[:, None]
    told = {"prediction": parts[:, :, point_place(head)] * spread_S1 + mean_S1}
    if head.loss == "gaussian_nll":
        told["spread"] = parts[:, :, 1] * spread_S1
    if head.loss in SPREADING:
        for number, level in enumerate(head.quantiles):
            scaled_ST = quantile_of(parts, head, number, mean=means_S, spread=spreads_S)
            told[f"quantile_{level:g}"] = scaled_ST * spread_S1 + mean_S1
    return told


def point_place(head: HeadConfig) -> int:
    """Tell which of the parts is the answer itself."""
    return head.quantiles.index(0.5) if head.loss == "quantile" else 0


def quantile_of(
    parts_STR: Doubles, head: HeadConfig, number: int, *, mean: Doubles, spread: Doubles
) -> Doubles:
    """Find one of the job's quantiles, still scaled, [S, T]."""
    from scipy import special, stats

    level = head.quantiles[number]
    if head.loss == "quantile":
        return parts_STR[:, :, number]
    if head.loss == "gaussian_nll":
        return np.asarray(parts_STR[:, :, 0] + parts_STR[:, :, 1] * special.ndtri(level))
    if head.loss == "student_t":
        off = special.stdtrit(parts_STR[:, :, 2], level)
        return np.asarray(parts_STR[:, :, 0] + parts_STR[:, :, 1] * off)
    counts_ST = np.maximum(parts_STR[:, :, 0] * spread[:, None] + mean[:, None], 1e-6)
    dispersion_ST = parts_STR[:, :, 1]
    found = stats.nbinom.ppf(level, 1 / dispersion_ST, 1 / (1 + dispersion_ST * counts_ST))
    return np.asarray((found - mean[:, None]) / spread[:, None])


def texts(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: Beside
) -> Columns:
    """Write texts, and how likely their symbols are in the (geometric) mean."""
    del head, beside
    ids = outputs_SO[:, 1:].astype(np.int64)
    written = [target.write(row[row != int(NOTHING)]) for row in ids]
    return {
        "prediction": pl.Series(written, dtype=pl.String),
        "probability": pl.Series(np.exp(outputs_SO[:, 0].astype(np.float64))),
    }


def mined(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, beside: Beside
) -> Columns:
    """Write the error of each sequence, what naive answers would cost, and its vector."""
    del target, head, beside
    error_S, usual_S, before_S = outputs_SO[:, :3].astype(np.float64).T
    return {
        "prediction": pl.Series(error_S),
        "usual_error": pl.Series(usual_S),
        "step_before_error": pl.Series(before_S),
        "vector": lists(outputs_SO[:, 3:].astype(np.float64)),
    }


def lists(values: Doubles, *, gaps: bool = False) -> pl.Series:
    """Write rows of numbers as lists; what is not a number may be a gap."""
    column = pl.Series(np.ascontiguousarray(values)).cast(pl.List(pl.Float64))
    return column.list.eval(pl.element().fill_nan(None)) if gaps else column


Writer = Callable[[NDArray[np.float32], Target, HeadConfig, Beside], Columns]

KINDS: dict[Answer, Writer] = {
    "category": classes,
    "number": numbers,
    "tags": labels,
    "forecast": forecasts,
    "text": texts,
    "next_step": mined,
    "reconstruction": mined,
}
