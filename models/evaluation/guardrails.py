"""What a better average may hide: parts of the rows that lose, and answers that are too sure.

Shapes: R rows, K classes or labels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluation.metrics.additive import Metric
from models.evaluation.metrics.by_kind import METRICS, accuracy, sign_of
from models.evaluation.metrics.calibration import reliability
from models.evaluation.predictions import Answers, Judged, Tags
from models.evaluation.statistics.bootstrap import Interval, gain_interval

MOST_SLICES = 50
"""Slices that are looked at, the largest ones."""

Places = NDArray[np.int64]


class Slice(NamedTuple):
    """Some of the rows."""

    name: str
    rows: Places
    one_class: bool
    """All of one true class, so that the share that is right is all there is to measure."""


class Fall(NamedTuple):
    """How much worse the challenger is on one slice."""

    slice: str
    rows: int
    fall: float
    """Positive where it lost: in points of the metric, of an error as a share of the rival's."""
    gain: Interval
    """Of the gain, in the metric's unit."""

    @property
    def beyond_doubt(self) -> bool:
        """Whether chance alone would hardly show such a loss."""
        return self.gain.high < 0


def slices_by_answer(truth: Judged, classes: tuple[Any, ...]) -> list[Slice]:
    """Name the rows of each class, or those that hold each label."""
    if isinstance(truth, Answers) and truth.classes:
        rows = [np.flatnonzero(truth.truth_R == code) for code in range(len(classes))]
        return [Slice(f"class {name}", r, True) for name, r in zip(classes, rows, strict=True)]
    if isinstance(truth, Tags):
        rows = [np.flatnonzero(truth.truth_RK[:, code]) for code in range(len(classes))]
        return [Slice(f"label {name}", r, False) for name, r in zip(classes, rows, strict=True)]
    return []


def slices_by_name(column: pl.Series) -> list[Slice]:
    """Name the rows of each entity."""
    table = pl.DataFrame({"name": column.cast(pl.String), "row": np.arange(len(column))})
    grouped = table.drop_nulls("name").group_by("name", maintain_order=True).agg("row")
    return [
        Slice(f"{column.name} {name}", rows.to_numpy().astype(np.int64), False)
        for name, rows in zip(grouped["name"], grouped["row"], strict=True)
    ]


def falls(
    challenger: Judged,
    rival: Judged,
    slices: Sequence[Slice],
    *,
    metric: str,
    confidence: float,
    count: int,
    least: int,
) -> list[Fall]:
    """Measure how much worse the challenger is than a rival on each slice, the worst first.

    Slices of a class are measured by the share that is right. So many questions are asked that
    one would be answered wrongly by chance, so each interval is wider (Bonferroni).

    Args:
        challenger: its answers.
        rival: the other's, to the same rows.
        slices: rows of each.
        metric: measures all other slices.
        confidence: that no slice of equal models is said to have fallen.
        count: of resamples.
        least: rows below which a slice tells nothing.
    """
    large = [each for each in slices if len(each.rows) >= least]
    chosen = sorted(large, key=lambda each: -len(each.rows))[:MOST_SLICES]
    found = []
    for name, rows, one_class in chosen:
        compute: Metric = accuracy if one_class else METRICS[challenger.kind][metric]
        sign = 1.0 if one_class else sign_of(metric)
        ours, theirs = challenger.pick(rows), rival.pick(rows)
        gain = gain_interval(
            compute,
            ours,
            theirs,
            sign=sign,
            confidence=1 - (1 - confidence) / len(chosen),
            count=count,
            block=1,
            seed=0,
        )
        fall = fall_of(compute(ours), compute(theirs), sign=sign)
        found.append(Fall(name, len(rows), fall, gain))
    return sorted(found, key=lambda each: -np.nan_to_num(each.fall, nan=-np.inf))


def fall_of(ours: float, theirs: float, *, sign: float) -> float:
    """Give a loss in points, and that of an error as a share of the rival's."""
    lost = sign * (theirs - ours)
    if sign > 0 or lost <= 0:
        return lost
    return lost / abs(theirs) if theirs else float("inf")


def calibration_error(answers: Answers) -> float | None:
    """Measure how far sureness and correctness are apart; None where probabilities are unknown."""
    if answers.chances_RK is None:
        return None
    sure_R = np.nan_to_num(answers.chances_RK).max(axis=1)
    found: float = reliability(sure_R, answers.truth_R == answers.answer_R)["ece"]
    return found
