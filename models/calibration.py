"""Calibration of a model: temperature scaling, and conformal sets and intervals.

Temperature scaling (Guo et al. 2017) divides the logits by one number, so that the likeliest class
stays. Split conformal prediction (Vovk, Gammerman and Shafer 2005) turns errors on rows that the
network was not trained on into sets that contain the class with at least the nominal coverage
(Sadinle, Lei and Wasserman 2019), and into intervals around numbers: by the absolute error, by the
error over the predicted standard deviation, or by how far the target lies outside the predicted
quantiles (Romano, Patterson and Candes 2019). The guarantee needs exchangeable rows: rows in the
order of time are not, so for them the coverage is only measured.

Shapes: R calibration rows, S rows, K classes, T steps, P outputs of a step.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import BundleError
from models.features.steps import Doubles
from models.networks.heads.config import HeadConfig

_FILE = "calibration.json"

_MIN_ROWS = 100
"""Rows below which no temperature is fitted: fitted on 50 rows, one raised the calibration error
of the test rows from 0.02 to 0.07."""

_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.05, 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Temperature and conformal quantiles, fitted on rows that the network was not trained on."""

    coverage: float
    """Nominal share of rows whose set or interval contains the target."""
    rows: int
    is_independent: bool
    """Whether these rows were not used for early stopping either."""
    exchangeable: bool
    """Whether new rows come from the same distribution; not so for rows in the order of time."""
    temperature: float = 1.0
    probability_threshold: float | None = None
    """Lowest probability of a class in the set; None where there are too few rows."""
    conformal_quantiles: tuple[float | None, ...] = ()
    """Of each step, how far an interval extends beyond the prediction, or beyond its quantiles: on
    the network's scale, or in standard deviations; None where there are too few rows."""

    @property
    def description(self) -> str:
        """The rows that it was fitted on, as text for reports."""
        independent = "which were not used for early stopping"
        return f"{self.rows} validation rows, " + (
            independent if self.is_independent else "which were also used for early stopping"
        )


def compute_softmax(logits_SK: NDArray[np.float32], temperature: float) -> Doubles:
    """Return the probabilities of logits divided by the temperature, [S, K]."""
    scaled_SK = logits_SK.astype(np.float64) / temperature
    exp_SK = np.exp(scaled_SK - scaled_SK.max(axis=1, keepdims=True))
    return np.asarray(exp_SK / exp_SK.sum(axis=1, keepdims=True))


def fit_temperature(logits_RK: NDArray[np.float32], target_R: NDArray[np.int64]) -> float:
    """Return the temperature that minimizes the log loss of the targets.

    As in Platt (1999) the targets are smoothed, as if one row more had been classified wrongly:
    otherwise rows that are all classified correctly would drive the temperature to 0.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    rows, classes = logits_RK.shape
    if rows < _MIN_ROWS:
        return 1.0
    logits = logits_RK.astype(np.float64)
    smoothing = 1.0 / (rows + 2)
    own_R = logits[np.arange(rows), target_R]
    others_R = (logits.sum(axis=1) - own_R) / max(classes - 1, 1)
    target_logit = float(((1 - smoothing) * own_R + smoothing * others_R).mean())

    def compute_loss(log_temperature: float) -> float:
        inverse_temperature = math.exp(-log_temperature)
        return float(
            logsumexp(logits * inverse_temperature, axis=1).mean()
            - target_logit * inverse_temperature
        )

    limits = (math.log(_MIN_TEMPERATURE), math.log(_MAX_TEMPERATURE))
    result = minimize_scalar(compute_loss, bounds=limits, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(result.x))


def compute_conformal_rank(rows: int, coverage: float) -> int | None:
    """Return ceil((rows + 1) * coverage), the rank of the error that gives this coverage.

    None where there are too few rows for it.
    """
    rank = math.ceil((rows + 1) * coverage - 1e-9)
    return max(1, rank) if rank <= rows else None


def fit_probability_threshold(probability_R: Doubles, coverage: float) -> float | None:
    """Return the lowest probability with which a class belongs to the prediction set.

    Args:
        probability_R: predicted probability of the target class of each calibration row.
        coverage: nominal share of rows whose set contains the target.
    """
    rank = compute_conformal_rank(len(probability_R), coverage)
    return None if rank is None else float(np.sort(probability_R)[::-1][rank - 1])


def fit_conformal_quantile(error_R: Doubles, coverage: float) -> float | None:
    """Return how far intervals have to extend, in the errors' unit; NaN errors are left out."""
    known = np.sort(error_R[np.isfinite(error_R)])
    rank = compute_conformal_rank(len(known), coverage)
    return None if rank is None else float(known[rank - 1])


def compute_reference_bounds(
    outputs_STP: Doubles, head: HeadConfig, *, mean: float, std: float
) -> tuple[Doubles, Doubles, Doubles]:
    """Return lower and upper bound and the unit of the conformal quantile, [S, T] each.

    Args:
        outputs_STP: outputs of the network.
        head: with the loss, which says what the outputs mean.
        mean: of the training targets, by which counts were scaled.
        std: standard deviation of the training targets.
    """
    point_ST = outputs_STP[:, :, 0]
    if head.loss == "quantile":
        return outputs_STP[:, :, 0], outputs_STP[:, :, -1], np.ones_like(point_ST)
    if head.loss in {"gaussian_nll", "student_t"}:
        return point_ST, point_ST, outputs_STP[:, :, 1]
    if head.loss == "negative_binomial":
        counts_ST = np.maximum(point_ST * std + mean, 1e-6)
        variance_ST = counts_ST + outputs_STP[:, :, 1] * counts_ST**2
        return point_ST, point_ST, np.sqrt(variance_ST) / std
    return point_ST, point_ST, np.ones_like(point_ST)


def compute_nonconformity(
    target_ST: Doubles, reference: tuple[Doubles, Doubles, Doubles]
) -> Doubles:
    """Return how far targets lie outside the reference bounds, [S, T]; below 0 where inside."""
    low_ST, high_ST, unit_ST = reference
    return np.asarray(np.maximum(low_ST - target_ST, target_ST - high_ST) / unit_ST)


def compute_interval(
    reference: tuple[Doubles, Doubles, Doubles],
    point_ST: Doubles,
    conformal_quantiles: Iterable[float | None],
) -> tuple[Doubles, Doubles]:
    """Return the bounds of the intervals around the predictions, [S, T] each; NaN where unknown."""
    low_ST, high_ST, unit_ST = reference
    margin_T = np.array([np.nan if each is None else each for each in conformal_quantiles])
    low_bound_ST = np.minimum(low_ST - margin_T * unit_ST, point_ST)
    return low_bound_ST, np.maximum(high_ST + margin_T * unit_ST, point_ST)


def save_calibration(calibration: Calibration, folder: Path) -> None:
    """Write the calibration into the folder of a bundle."""
    text = json.dumps(asdict(calibration), indent=2)
    (folder / _FILE).write_text(text + "\n", encoding="utf-8")


def load_calibration(folder: Path) -> Calibration | None:
    """Return the calibration of a bundle; None where it has none.

    Raises:
        BundleError: it is damaged.
    """
    path = folder / _FILE
    if not path.exists():
        return None
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
        return Calibration(**{**spec, "conformal_quantiles": tuple(spec["conformal_quantiles"])})
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise BundleError(f"{folder} has a damaged {_FILE}: {error!r}") from error
