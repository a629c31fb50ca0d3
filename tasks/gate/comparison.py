"""The gate: may the challenger serve? Every doubt keeps what is.

With a champion, it is scored now on the same rows, those that neither has learned from, and the
paired interval of the gain has to lie above a bound: challenger and champion are resampled
together. What a better average may hide is guarded beside it. Without a champion there is nothing
to protect: the first version has to beat the best baseline.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics.by_kind import METRICS, TOLD_ALONE, score, sign_of
from models.evaluation.predictions import Judged
from models.evaluation.statistics.block_length import block_of_gain, block_of_score
from models.evaluation.statistics.bootstrap import Interval, gain_interval, score_intervals
from models.features.config import Answer
from tasks.errors import JobError

MetricName = Literal[
    "auto", "accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "log_loss",
    "auroc", "average_precision", "top_3_accuracy", "mae", "rmse", "r2", "mape",
    "micro_f1", "exact_match", "hamming_loss", "smape", "mase", "pinball",
    "character_error_rate", "word_error_rate", "bleu", "unexplained_variance",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """What a challenger has to show before it serves."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    metric: MetricName = "auto"
    """What decides; `auto` is macro_f1 for a category or tags, mae for a number or a forecast,
    character_error_rate for a text, unexplained_variance where there is no answer."""
    mode: Literal["superiority", "non-inferiority"] = "superiority"
    """`superiority`: the gain over the champion has to be real. `non-inferiority`: for a routine refresh, the
    loss has to be smaller than `margin`; many refreshes may each lose a little."""
    min_improvement: float = 0.0
    """What the gain has to exceed beyond doubt, in the metric's unit; of mode superiority."""
    margin: float = 0.0
    """The loss that is put up with, in the metric's unit; of mode non-inferiority, and above 0 there."""
    confidence: float = 0.95
    """Of the interval of the gain, which has to lie above the bound."""
    bootstrap_samples: int = 2000
    """Of the bootstrap; of more than 50,000 test rows it draws fewer, but 1,000 at least, and of
    metrics that rank them 200."""
    min_rows: int = 50
    """Test rows that the champion has not learned from, below which a person has to decide."""
    require_baseline: bool = True
    """Whether a challenger has to score better than the best baseline before it may serve."""
    max_slice_drop: float | None = 0.1
    """How far the challenger may fall behind the champion on one class, label or entity: in points
    of the metric (of a class, of the share that is right), or as a share of the champion's error.
    Only a fall beyond doubt counts. Without a value nobody looks."""
    min_slice_rows: int = 20
    """Rows below which a slice tells nothing."""
    max_log_loss_increase: float | None = 0.1
    """How much the log loss of a category may rise beyond doubt, in nats. Without a value nobody
    looks."""
    max_ece_increase: float | None = None
    """How much the expected calibration error of a category may rise, 0 to 1."""
    max_latency_ms: float | None = None
    """Longest time for one row alone, at the 95th percentile, on the machine of the run."""
    max_size_mb: float | None = None
    """Most that the model's files may take, in 10^6 bytes."""
    max_holdout_reuse: int = 20
    """Evaluations on the same test rows after which the report warns: each one that is looked at
    tells a little of the answers."""
    season_length: int = 1
    """Steps after which a series repeats itself, such as 24 for hours: for the naive forecast."""

    def __post_init__(self) -> None:
        """Refuse settings that decide nothing."""
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
        self.refuse_other_mode()

    def refuse_other_mode(self) -> None:
        """Refuse a bound that the mode does not look at."""
        if not self.min_improvement >= 0:
            raise ValueError(
                f"min_improvement: {self.min_improvement} is below 0; use mode: non-inferiority"
            )
        if self.mode == "superiority" and self.margin != 0:
            raise ValueError(
                f"margin: {self.margin} is of mode: non-inferiority; set that, or remove it"
            )
        if self.mode == "non-inferiority" and not self.margin > 0:
            raise ValueError(f"margin: {self.margin} puts up with no loss; give more")
        if self.mode == "non-inferiority" and self.min_improvement:
            raise ValueError("min_improvement: it is of mode: superiority; remove it")

    @property
    def bound(self) -> float:
        """What the low end of the gain over the champion has to exceed."""
        return self.min_improvement if self.mode == "superiority" else -self.margin


class Rival(NamedTuple):
    """Whom the challenger is compared with, on which rows."""

    name: str
    is_champion: bool
    challenger: Judged
    answers: Judged
    rows_F: NDArray[np.int64] | None = None
    """Which of the test rows these are; all of them where left out."""


class Gain(NamedTuple):
    """The challenger's gain over a rival, with its interval."""

    name: str
    champion: bool
    rows: int
    gain: float
    low: float
    high: float


def metric_name(gate: GateConfig, kind: Answer) -> str:
    """Name the metric that decides.

    Raises:
        JobError: it is not one of this target's kind.
    """
    known = METRICS[kind]
    if gate.metric == "auto":
        return "macro_f1" if kind == "category" else next(iter(known))
    if gate.metric not in known:
        raise JobError.of(
            f"gate.metric: '{gate.metric}' does not fit a target of kind '{kind}'",
            mend=f"choose one of {', '.join(name for name in known if name not in TOLD_ALONE)}",
        )
    return gate.metric


def require_told(scores: Mapping[str, float], metric: str, who: str) -> None:
    """Refuse a metric that cannot be computed of these answers.

    Raises:
        JobError: another metric has to decide.
    """
    if metric not in scores:
        raise JobError.of(
            f"gate.metric: {metric} cannot be told of what '{who}' answered to the test rows",
            found=f"told are {', '.join(scores)}",
            mend="choose one of these",
        )


def best_of(scores: Mapping[str, Mapping[str, float]], metric: str) -> str:
    """Name the best of several by the metric; what cannot be told is no better than anything."""
    sign = sign_of(metric)
    return max(scores, key=lambda name: sign * scores[name].get(metric, -sign * float("inf")))


def gain_over(rival: Rival, gate: GateConfig, *, metric: str, by_time: bool) -> Gain:
    """Measure the challenger's gain over the rival, with its interval."""
    rows = len(rival.answers)
    compute, sign = METRICS[rival.answers.kind][metric], sign_of(metric)
    found: Interval = gain_interval(
        compute,
        rival.challenger,
        rival.answers,
        sign=sign,
        confidence=gate.confidence,
        count=gate.bootstrap_samples,
        block=block_of_gain(compute, rival.challenger, rival.answers, by_time=by_time),
        seed=0,
    )
    gain = sign * (compute(rival.challenger) - compute(rival.answers))
    return Gain(rival.name, rival.is_champion, rows, gain, found.low, found.high)


def headline(gain: Gain, *, metric: str, own: float, rival: float, flawless: bool) -> str:
    """Say in one sentence whether the network is worth more than the best of the baselines.

    Args:
        gain: over it.
        metric: that decides.
        own: the network's score.
        rival: the baseline's.
        flawless: whether the network leaves nothing to be better at.
    """
    if flawless and gain.gain == 0:
        said = "The network is right everywhere, and so is"
    elif not gain.gain > 0:
        said = "The network does not beat"
    elif not gain.low > 0:
        said = "The network is ahead of, but not beyond doubt,"
    else:
        said = "The network beats"
    return (
        f"{said} the best baseline, {gain.name}: {metric} {own:.4f} against {rival:.4f} "
        f"on {gain.rows} rows"
    )


def score_card(answers: Judged, gate: GateConfig, *, by_time: bool) -> dict[str, dict[str, float]]:
    """Score one model by every metric, with intervals."""
    scores = score(answers)
    metrics = {name: METRICS[answers.kind][name] for name in scores}
    intervals = score_intervals(
        metrics,
        answers,
        confidence=gate.confidence,
        count=gate.bootstrap_samples,
        block=block_of_score(metrics.values(), answers, by_time=by_time),
        seed=0,
    )
    return {name: {"value": value, **intervals[name]._asdict()} for name, value in scores.items()}
