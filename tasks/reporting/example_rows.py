"""Which test rows are explained: some that were answered right and some wrong, of each class.

The choice depends on the answers alone, so equal answers are explained by equal rows.
Shapes: R test rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.predictions import Answers, Floats, Forecasts, Judged, Mined, Tags, Texts

MOST_ROWS = 20

EACH = 3
"""Rows of one class that are right, and as many that are wrong, at most."""


class Chosen(NamedTuple):
    """A row to explain."""

    place: int
    """Among the test rows."""
    right: bool | None
    """Whether it was answered right; None where nobody can tell. Of numbers, whether the error is
    no larger than half of the others are."""


def choose(judged: Judged) -> list[Chosen]:
    """Choose at most `MOST_ROWS` rows."""
    if isinstance(judged, Answers) and judged.classes:
        return of_classes(judged)
    if isinstance(judged, Tags):
        same_R = (judged.truth_RK == judged.answer_RK).all(axis=1)
        return of_two(same_R)
    if isinstance(judged, Texts):
        return of_two(judged.same_R)
    if isinstance(judged, Mined):
        return [Chosen(place, None) for place, _ in of_errors(judged.error_R)]
    return of_errors(errors_of(judged))


def errors_of(judged: Judged) -> Floats:
    """Give the error of each number, or the mean error of each forecast; NaN for none."""
    if isinstance(judged, Answers):
        return np.abs(judged.truth_R - judged.answer_R)
    assert isinstance(judged, Forecasts)  # noqa: S101 - all other kinds are chosen above
    with np.errstate(invalid="ignore", divide="ignore"):
        error_R: Floats = judged.absolute_R / judged.count_R
    error_R[np.isnan(judged.steps.answer_RT).any(axis=1)] = np.nan
    return error_R


def of_classes(judged: Answers) -> list[Chosen]:
    """Take of each class what is typical among the right rows, and the worst of the wrong ones."""
    truth_R, right_R = judged.truth_R, judged.truth_R == judged.answer_R
    answered_R = ~np.isnan(judged.answer_R)
    codes, counts = np.unique(truth_R[answered_R], return_counts=True)
    common = codes[np.argsort(-counts, kind="stable")][: MOST_ROWS // 2]
    each = min(EACH, max(1, MOST_ROWS // (2 * max(1, len(common)))))
    chosen = []
    for code in sorted(common.tolist()):
        own_R = answered_R & (truth_R == code)
        right, wrong = np.flatnonzero(own_R & right_R), np.flatnonzero(own_R & ~right_R)
        sure = right[np.argsort(judged.chance_R[right], kind="stable")]
        worst = wrong[np.argsort(judged.chance_R[wrong], kind="stable")]
        chosen += [Chosen(int(place), True) for place in middle(sure, each)]
        chosen += [Chosen(int(place), False) for place in worst[:each]]
    return chosen


def of_two(right_R: NDArray[np.bool_]) -> list[Chosen]:
    """Take some of the right rows and some of the wrong ones, spread evenly."""
    chosen = []
    for right in (True, False):
        places = spread(np.flatnonzero(right_R == right), 2 * EACH)
        chosen += [Chosen(int(place), right) for place in places]
    return chosen


def of_errors(error_R: Floats) -> list[Chosen]:
    """Take rows of small, of ordinary and of the largest errors."""
    known = np.flatnonzero(np.isfinite(error_R))
    ordered = known[np.argsort(error_R[known], kind="stable")]
    half = len(ordered) // 2
    places = [*spread(ordered[:half], EACH), *ordered[max(half, len(ordered) - 2 * EACH) :]]
    usual = float(np.median(error_R[known])) if len(known) else 0.0
    return [Chosen(int(place), bool(error_R[place] <= usual)) for place in places]


def middle(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Take so many from the middle."""
    begin = max(0, (len(places) - count) // 2)
    return places[begin : begin + count]


def spread(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Take so many, spread evenly."""
    if len(places) <= count:
        return places
    return places[np.linspace(0, len(places) - 1, count).round().astype(np.int64)]
