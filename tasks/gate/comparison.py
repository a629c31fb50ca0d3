"""The comparison of a challenger with another model on the same rows, and its settings.

A champion is scored again now, on the rows that neither model was trained on, and the interval of
the gain has to lie above a bound. The bootstrap draws the same rows for both models (paired), so
that rows which are difficult for both do not widen it. Guardrails watch what a better average may
hide. A first version has to be better than the best baseline, or as good within a small margin.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics.by_kind import (
    DESCRIPTIVE_METRICS,
    METRICS,
    compute_metrics,
    get_metric_sign,
)
from models.evaluation.predictions import Predictions
from models.evaluation.statistics.block_length import choose_gain_block, choose_score_block
from models.evaluation.statistics.bootstrap import (
    Interval,
    compute_gain_interval,
    compute_score_intervals,
)
from models.features.config import TargetKind
from tasks.errors import JobError
from tasks.facts import ScoreInterval

MetricName = Literal[
    "auto", "accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "log_loss",
    "auroc", "average_precision", "top_3_accuracy", "mae", "rmse", "r2", "mape",
    "micro_f1", "exact_match", "hamming_loss", "smape", "mase", "pinball",
    "character_error_rate", "word_error_rate", "bleu", "unexplained_variance",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """What a challenger has to prove before it becomes champion."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    metric: MetricName = "auto"
    """Metric that decides; `auto` is macro_f1 for a category or tags, mae for a number or a
    forecast, character_error_rate for a text, unexplained_variance for a self-supervised target."""
    mode: Literal["superiority", "non-inferiority"] = "superiority"
    """`superiority`: the confidence interval of the gain over the champion has to lie above
    `min_improvement`. `non-inferiority`, for a routine refresh: it has to lie above minus
    `margin`; note that many refreshes may each lose a little."""
    min_improvement: float = 0.0
    """What the lower bound of the gain has to exceed, in the metric's unit; of mode superiority."""
    margin: float = 0.0
    """Largest tolerated loss, in the metric's unit; of mode non-inferiority, and above 0 there."""
    confidence: float = 0.95
    """Confidence level of all intervals, from 0.5 to below 1."""
    bootstrap_samples: int = 2000
    """Bootstrap samples. Above 50,000 test rows fewer are drawn: at least 1,000, or 200 for metrics
    that rank the rows."""
    min_rows: int = 50
    """Least number of test rows that the champion was not trained on; with fewer, a person has to
    approve the version. A first version that is only as good as the best baseline needs as many."""
    require_baseline: bool = True
    """Whether a challenger has to be compared with the best baseline too. A first version has to be
    better, or as good within `baseline_margin`; a later one has to score better."""
    baseline_margin: float = 0.01
    """How much worse than the best baseline a first version may be, at the low end of the interval
    of its gain: in points of a score (0.01 is one point of accuracy; of bleu, 1 of its 100), in
    nats of the log loss, and as a share of the baseline's for other errors (0.01 is 1 % of its
    mae). With 0 it has to be better."""
    fallback: Literal["baseline", "none"] = "baseline"
    """What serves while no network has beaten the best baseline. `baseline`: that baseline, chosen
    by the validation rows, is registered as a version and becomes the champion; a network has to
    beat it to take over. `none`: nothing."""
    max_slice_drop: float | None = 0.1
    """How much worse than the champion the challenger may be on one class, label or entity: in
    points of the metric (of a class, of its recall), or as a share of the champion's error. Only a
    significant drop counts. `null` switches this guardrail off."""
    min_slice_rows: int = 20
    """Least number of rows of a slice that is compared."""
    max_log_loss_increase: float | None = 0.1
    """How much the log loss of a category may increase, in nats; only a significant increase
    counts. `null` switches this guardrail off."""
    max_ece_increase: float | None = None
    """How much the expected calibration error (ECE) of a category may increase, from 0 to 1."""
    max_latency_ms: float | None = None
    """Largest latency of the prediction of a single row (95th percentile), on the machine of the
    run."""
    max_size_mb: float | None = None
    """Largest size of the model's files, in megabytes (10^6 bytes)."""
    max_holdout_reuse: int = 20
    """Evaluations on the same test rows above which the report warns: each one reveals a little of
    their targets."""
    season_length: int = 1
    """Steps after which a series repeats, such as 24 for hourly values; for the seasonal naive
    forecast."""

    def __post_init__(self) -> None:
        """Validate each setting, and that they fit together.

        Raises:
            ValueError: one is out of its range, or belongs to the other mode.
        """
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence: {self.confidence} is not between 0.5 and 1")
        for name, count, least in (
            ("bootstrap_samples", self.bootstrap_samples, 100),
            ("min_rows", self.min_rows, 2),
            ("min_slice_rows", self.min_slice_rows, 2),
            ("max_holdout_reuse", self.max_holdout_reuse, 1),
            ("season_length", self.season_length, 1),
        ):
            if count < least:
                raise ValueError(f"{name}: {count} is too small; give at least {least}")
        for name in (
            "max_slice_drop",
            "max_log_loss_increase",
            "max_ece_increase",
            "max_latency_ms",
            "max_size_mb",
        ):
            bound = getattr(self, name)
            if bound is not None and not bound >= 0:
                raise ValueError(f"{name}: {bound} is below 0; give 0 or more, or leave it out")
        if not 0 <= self.baseline_margin < 1:
            raise ValueError(f"baseline_margin: {self.baseline_margin} is not from 0 to below 1")
        self._validate_mode()

    def _validate_mode(self) -> None:
        """Validate the bound of the mode, and refuse that of the other mode."""
        if not self.min_improvement >= 0:
            raise ValueError(
                f"min_improvement: {self.min_improvement} is below 0; use mode: non-inferiority"
            )
        if self.mode == "superiority" and self.margin != 0:
            raise ValueError(
                f"margin: {self.margin} is of mode: non-inferiority; set that, or remove it"
            )
        if self.mode == "non-inferiority" and not self.margin > 0:
            raise ValueError(f"margin: {self.margin} tolerates no loss; give more than 0")
        if self.mode == "non-inferiority" and self.min_improvement:
            raise ValueError("min_improvement: it is of mode: superiority; remove it")

    @property
    def bound(self) -> float:
        """What the low end of the gain over the champion has to exceed."""
        return self.min_improvement if self.mode == "superiority" else -self.margin


class Comparison(NamedTuple):
    """The challenger's predictions and those of another model, on the same rows."""

    name: str
    is_champion: bool
    challenger: Predictions
    reference: Predictions
    """The other model's."""
    rows_F: NDArray[np.int64] | None = None
    """Indexes of these among the test rows; None for all of them."""


class Gain(NamedTuple):
    """The challenger's gain over another model, with its interval."""

    name: str
    is_champion: bool
    rows: int
    gain: float
    low: float
    high: float
    score: float
    """The challenger's, on these rows."""
    reference_score: float
    """The other model's, on the same rows."""


def choose_metric(gate: GateConfig, kind: TargetKind) -> str:
    """Choose the metric that decides.

    Raises:
        JobError: the job's metric does not fit this kind of target.
    """
    known = METRICS[kind]
    if gate.metric == "auto":
        return "macro_f1" if kind == "category" else next(iter(known))
    if gate.metric not in known:
        choices = [name for name in known if name not in DESCRIPTIVE_METRICS]
        raise JobError.of(
            f"gate.metric: '{gate.metric}' does not fit a target of kind '{kind}'",
            hint=f"choose one of {', '.join(choices)}",
        )
    return gate.metric


def require_metric(scores: Mapping[str, float], metric: str, model_name: str) -> None:
    """Check that the deciding metric was computed.

    Raises:
        JobError: it cannot be computed of these predictions.
    """
    if metric not in scores:
        raise JobError.of(
            f"gate.metric: {metric} cannot be computed of the predictions of '{model_name}'",
            found=f"can be computed: {', '.join(scores)}",
            hint="choose one of these",
        )


def find_best(scores: Mapping[str, Mapping[str, float]], metric: str) -> str:
    """Name the best of several models by the metric; a missing score is the worst."""
    sign = get_metric_sign(metric)
    return max(scores, key=lambda name: sign * scores[name].get(metric, -sign * float("inf")))


def measure_gain(comparison: Comparison, gate: GateConfig, *, metric: str, by_time: bool) -> Gain:
    """Measure the challenger's gain over the other model: sign * (challenger - other).

    Args:
        comparison: both models' predictions.
        gate: confidence and number of resamples.
        metric: that decides.
        by_time: whether neighbouring rows are correlated, so that blocks are resampled.
    """
    rows = len(comparison.reference)
    compute, sign = METRICS[comparison.reference.kind][metric], get_metric_sign(metric)
    interval: Interval = compute_gain_interval(
        compute,
        comparison.challenger,
        comparison.reference,
        sign=sign,
        confidence=gate.confidence,
        count=gate.bootstrap_samples,
        block=choose_gain_block(
            compute, comparison.challenger, comparison.reference, by_time=by_time
        ),
        seed=0,
    )
    score, other = compute(comparison.challenger), compute(comparison.reference)
    return Gain(
        comparison.name,
        comparison.is_champion,
        rows,
        gain=sign * (score - other),
        low=interval.low,
        high=interval.high,
        score=score,
        reference_score=other,
    )


def score_metrics(
    predictions: Predictions, gate: GateConfig, *, by_time: bool
) -> dict[str, ScoreInterval]:
    """Score one model by every metric that can be computed, with intervals."""
    scores = compute_metrics(predictions)
    metrics = {name: METRICS[predictions.kind][name] for name in scores}
    intervals = compute_score_intervals(
        metrics,
        predictions,
        confidence=gate.confidence,
        count=gate.bootstrap_samples,
        block=choose_score_block(metrics.values(), predictions, by_time=by_time),
        seed=0,
    )
    return {
        name: ScoreInterval(value=value, low=intervals[name].low, high=intervals[name].high)
        for name, value in scores.items()
    }
