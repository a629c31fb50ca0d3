"""How sure a model may say it is: one temperature, and sets and intervals that keep a promise.

Temperature scaling (Guo et al. 2017) divides a network's logits by one number, so that the
likeliest class stays. Split conformal prediction (Vovk, Gammerman and Shafer 2005) turns errors on
rows that training did not learn from into sets that hold the class with at least the asked
confidence (Sadinle, Lei and Wasserman 2019), and into intervals around numbers: of the absolute
error, of the error over the spread that the network tells, or of how far the truth lies outside its
quantiles (Romano, Patterson and Candes 2019). The promise is for rows that are like those: rows in
the order of time are not, so of them it is measured and no more.

Shapes: R rows that are calibrated on, S rows, K classes, T steps, P parts of a step.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import BundleError
from models.networks.heads.config import HeadConfig

Doubles = NDArray[np.float64]

FILE = "calibration.json"

FEWEST = 100
"""Rows below which no temperature is fitted: of 50 rows one made the
calibration error of the test rows 0.07 where it had been 0.02."""

COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What was fitted on rows that training did not learn from."""

    confidence: float
    """Share of rows whose set or interval is to hold the truth."""
    rows: int
    apart: bool
    """Whether these rows had no say in when training stopped."""
    exchangeable: bool
    """Whether new rows are like these; not so where rows follow each other in time."""
    temperature: float = 1.0
    least_chance: float | None = None
    """Probability from which on a class is in the set; None where there are too few rows."""
    margins: tuple[float | None, ...] = ()
    """Of each step, what an interval reaches beyond the answer, or beyond its quantiles, on the
    network's scale or in spreads; None where there are too few rows."""

    @property
    def words(self) -> str:
        """Say which rows these were."""
        say = "which had no say in when training stopped"
        return f"{self.rows} validation rows, " + (
            say if self.apart else "which also decided when training stopped"
        )


def softmax(logits_SK: NDArray[np.float32], temperature: float) -> Doubles:
    """Turn logits into probabilities, [S, K]."""
    scaled_SK = logits_SK.astype(np.float64) / temperature
    odds_SK = np.exp(scaled_SK - scaled_SK.max(axis=1, keepdims=True))
    return np.asarray(odds_SK / odds_SK.sum(axis=1, keepdims=True))


def fit_temperature(logits_RK: NDArray[np.float32], truth_R: NDArray[np.int64]) -> float:
    """Find the temperature under which the truth is likeliest.

    As in Platt (1999) the truth is taken for a little less than certain, as if one row more had
    been answered otherwise: else rows that are all answered right would ask for no doubt at all.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    rows, classes = logits_RK.shape
    if rows < FEWEST:
        return 1.0
    logits = logits_RK.astype(np.float64)
    doubt = 1.0 / (rows + 2)
    own_R = logits[np.arange(rows), truth_R]
    others_R = (logits.sum(axis=1) - own_R) / max(classes - 1, 1)
    wanted = float(((1 - doubt) * own_R + doubt * others_R).mean())

    def cost(log_temperature: float) -> float:
        cold = math.exp(-log_temperature)
        return float(logsumexp(logits * cold, axis=1).mean() - wanted * cold)

    limits = (math.log(COLDEST), math.log(HOTTEST))
    found = minimize_scalar(cost, bounds=limits, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))


def rank_of(rows: int, confidence: float) -> int | None:
    """Tell which of the sorted errors keeps the promise; None where no row has one so large."""
    rank = math.ceil((rows + 1) * confidence - 1e-9)
    return max(1, rank) if rank <= rows else None


def fit_least_chance(chance_R: Doubles, confidence: float) -> float | None:
    """Find the probability from which on a class is in the set; of unseen classes it is 0."""
    rank = rank_of(len(chance_R), confidence)
    return None if rank is None else float(np.sort(chance_R)[::-1][rank - 1])


def fit_margin(error_R: Doubles, confidence: float) -> float | None:
    """Find what intervals have to reach beyond; rows whose truth is not known are left out."""
    known = np.sort(error_R[np.isfinite(error_R)])
    rank = rank_of(len(known), confidence)
    return None if rank is None else float(known[rank - 1])


def edges_of(
    parts_STP: Doubles, head: HeadConfig, *, mean: float, spread: float
) -> tuple[Doubles, Doubles, Doubles]:
    """Tell from where margins count, below and above, and what one of them is worth, [S, T] each.

    Args:
        parts_STP: what the network gave.
        head: what its parts mean.
        mean: of the training answers; what counts were scaled by.
        spread: of the training answers.
    """
    point_ST = parts_STP[:, :, 0]
    if head.loss == "quantile":
        return parts_STP[:, :, 0], parts_STP[:, :, -1], np.ones_like(point_ST)
    if head.loss in {"gaussian_nll", "student_t"}:
        return point_ST, point_ST, parts_STP[:, :, 1]
    if head.loss == "negative_binomial":
        counts_ST = np.maximum(point_ST * spread + mean, 1e-6)
        variance_ST = counts_ST + parts_STP[:, :, 1] * counts_ST**2
        return point_ST, point_ST, np.sqrt(variance_ST) / spread
    return point_ST, point_ST, np.ones_like(point_ST)


def errors_of(truth_ST: Doubles, edges: tuple[Doubles, Doubles, Doubles]) -> Doubles:
    """Measure how far the truth lies beyond the edges, [S, T]; below 0 where between them."""
    low_ST, high_ST, worth_ST = edges
    return np.asarray(np.maximum(low_ST - truth_ST, truth_ST - high_ST) / worth_ST)


def bounds_of(
    edges: tuple[Doubles, Doubles, Doubles], point_ST: Doubles, margins: Iterable[float | None]
) -> tuple[Doubles, Doubles]:
    """Give the ends of the intervals, [S, T] each, around the answers; NaN where not known."""
    low_ST, high_ST, worth_ST = edges
    margin_T = np.array([np.nan if each is None else each for each in margins])
    lowest = np.minimum(low_ST - margin_T * worth_ST, point_ST)
    return lowest, np.maximum(high_ST + margin_T * worth_ST, point_ST)


def write(calibration: Calibration, folder: Path) -> None:
    """Write it beside a network."""
    text = json.dumps(asdict(calibration), indent=2)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Calibration | None:
    """Read what lies beside a network; None where nothing does.

    Raises:
        BundleError: it is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
        return Calibration(**{**spec, "margins": tuple(spec["margins"])})
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise BundleError(f"{folder} has a damaged {FILE}: {error!r}") from error
