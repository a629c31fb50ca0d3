"""From a head's numbers to the table that a user reads: one function for each kind of answer.

Shapes: S rows, O numbers that the head gives of each, K classes or labels, T steps of a forecast,
R parts of each step, Q quantiles, P numbers of a vector.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.features import MINED, Answer
from models.features.featurizer import Featurizer
from models.features.target import Target
from models.networks.heads import SPREADING, HeadConfig
from models.networks.heads.ctc import NOTHING

Columns = dict[str, pl.Series]
Doubles = NDArray[np.float64]

LIKELY = 0.5
"""Probability from which on a label is an answer."""


def answer_columns(
    outputs_SO: NDArray[np.float32],
    featurizer: Featurizer,
    head: HeadConfig,
    *,
    entities: pl.Series | None,
) -> Columns:
    """Write the answers of rows as columns, `prediction` first.

    Args:
        outputs_SO: what the head gave.
        featurizer: with the target.
        head: how answers were made.
        entities: whose they are, where answers are scaled one by one.
    """
    target = featurizer.target
    if not len(outputs_SO):
        # No row has columns of the same types.
        blank = np.zeros((1, blank_width(featurizer, head)), np.float32)
        return {
            name: column.clear()
            for name, column in KINDS[target.kind](blank, target, head, None).items()
        }
    return KINDS[target.kind](outputs_SO, target, head, entities)


def blank_width(featurizer: Featurizer, head: HeadConfig) -> int:
    """Tell how many numbers make a row of answers, at least."""
    parts = {"gaussian": 2, "quantile": len(head.quantiles), "student": 3, "negative_binomial": 2}
    window, kind = featurizer.layout.window, featurizer.target.kind
    if kind in MINED:
        return 3
    steps = window.horizon if window and kind == "forecast" else 1
    return max(len(featurizer.target.classes), steps * parts.get(head.error, 1))


def classes(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, entities: pl.Series | None
) -> Columns:
    """Write the likeliest class, and how likely each is."""
    del head, entities
    shifted_SK = outputs_SO.astype(np.float64)
    shifted_SK -= shifted_SK.max(axis=1, keepdims=True)
    odds_SK = np.exp(shifted_SK)
    probabilities_SK = odds_SK / odds_SK.sum(axis=1, keepdims=True)
    best_S = probabilities_SK.argmax(axis=1)
    return {
        "prediction": target.decode(best_S),
        "probability": pl.Series(probabilities_SK[np.arange(len(best_S)), best_S]),
        "probabilities": lists(probabilities_SK),
    }


def labels(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, entities: pl.Series | None
) -> Columns:
    """Write the labels that are likelier than not, and how likely each is."""
    del head, entities
    probabilities_SK = 1 / (1 + np.exp(-outputs_SO.astype(np.float64)))
    likely_SK = probabilities_SK >= LIKELY
    code_M = np.nonzero(likely_SK)[1]
    names = pl.Series("label", list(target.classes))
    counts_S = likely_SK.sum(axis=1)
    stops_S = np.cumsum(counts_S)
    chosen = names.gather(code_M)
    said = [chosen[stop - count : stop] for stop, count in zip(stops_S, counts_S, strict=True)]
    return {
        "prediction": pl.Series(said, dtype=pl.List(names.dtype)),
        "probabilities": lists(probabilities_SK),
    }


def numbers(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, entities: pl.Series | None
) -> Columns:
    """Write numbers in the target's unit, with what is uncertain about them."""
    means_S, spreads_S = target.scales(len(outputs_SO), entities)
    told = said(outputs_SO[:, None, :], head, means_S, spreads_S)
    return {name: pl.Series(values_ST[:, 0]) for name, values_ST in told.items()}


def forecasts(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, entities: pl.Series | None
) -> Columns:
    """Write the steps ahead as lists, with what is uncertain about them."""
    means_S, spreads_S = target.scales(len(outputs_SO), entities)
    raw = {"gaussian": 2, "quantile": len(head.quantiles), "student": 3, "negative_binomial": 2}
    parts_STR = outputs_SO.reshape(len(outputs_SO), -1, raw.get(head.error, 1))
    told = said(parts_STR, head, means_S, spreads_S)
    return {name: lists(values_ST) for name, values_ST in told.items()}


def said(
    parts_STR: NDArray[np.float32], head: HeadConfig, means_S: Doubles, spreads_S: Doubles
) -> dict[str, Doubles]:
    """Tell what the parts of a form say, in the target's unit, [S, T] each."""
    parts = parts_STR.astype(np.float64)
    mean_S1, spread_S1 = means_S[:, None], spreads_S[:, None]
    place = head.quantiles.index(0.5) if head.error == "quantile" else 0
    told = {"prediction": parts[:, :, place] * spread_S1 + mean_S1}
    if head.error == "gaussian":
        told["spread"] = parts[:, :, 1] * spread_S1
    if head.error in SPREADING:
        for number, level in enumerate(head.quantiles):
            scaled_ST = quantile_of(parts, head, number, mean=means_S, spread=spreads_S)
            told[f"quantile_{level:g}"] = scaled_ST * spread_S1 + mean_S1
    return told


def quantile_of(
    parts_STR: Doubles, head: HeadConfig, number: int, *, mean: Doubles, spread: Doubles
) -> Doubles:
    """Find one of the job's quantiles, still scaled, [S, T]."""
    from scipy import special, stats

    level = head.quantiles[number]
    if head.error == "quantile":
        return parts_STR[:, :, number]
    if head.error == "gaussian":
        return np.asarray(parts_STR[:, :, 0] + parts_STR[:, :, 1] * special.ndtri(level))
    if head.error == "student":
        off = special.stdtrit(parts_STR[:, :, 2], level)
        return np.asarray(parts_STR[:, :, 0] + parts_STR[:, :, 1] * off)
    counts_ST = np.maximum(parts_STR[:, :, 0] * spread[:, None] + mean[:, None], 1e-6)
    dispersion_ST = parts_STR[:, :, 1]
    found = stats.nbinom.ppf(level, 1 / dispersion_ST, 1 / (1 + dispersion_ST * counts_ST))
    return np.asarray((found - mean[:, None]) / spread[:, None])


def texts(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, entities: pl.Series | None
) -> Columns:
    """Write texts, and how likely their symbols are in the (geometric) mean."""
    del head, entities
    ids = outputs_SO[:, 1:].astype(np.int64)
    written = [target.write(row[row != int(NOTHING)]) for row in ids]
    return {
        "prediction": pl.Series(written, dtype=pl.String),
        "probability": pl.Series(np.exp(outputs_SO[:, 0].astype(np.float64))),
    }


def mined(
    outputs_SO: NDArray[np.float32], target: Target, head: HeadConfig, entities: pl.Series | None
) -> Columns:
    """Write the error of each sequence, what naive answers would cost, and its vector."""
    del target, head, entities
    error_S, usual_S, before_S = outputs_SO[:, :3].astype(np.float64).T
    return {
        "prediction": pl.Series(error_S),
        "usual_error": pl.Series(usual_S),
        "step_before_error": pl.Series(before_S),
        "vector": lists(outputs_SO[:, 3:].astype(np.float64)),
    }


def lists(values: Doubles) -> pl.Series:
    """Write rows of numbers as lists."""
    return pl.Series(np.ascontiguousarray(values)).cast(pl.List(pl.Float64))


Writer = Callable[[NDArray[np.float32], Target, HeadConfig, pl.Series | None], Columns]

KINDS: dict[Answer, Writer] = {
    "category": classes,
    "number": numbers,
    "tags": labels,
    "forecast": forecasts,
    "text": texts,
    "next_step": mined,
    "reconstruction": mined,
}
