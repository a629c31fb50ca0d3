"""The gate: may the challenger serve? Every doubt keeps what is.

With a champion, it is scored now on the same rows, those that neither has learned from, and the
paired interval of the gain has to lie above zero: challenger and champion are resampled together.
Without one there is nothing to protect: the first version has to beat the best baseline.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from models.evaluation.bootstrap import block_length, gain_interval, score_intervals
from models.evaluation.judged import Judged
from models.evaluation.metrics import METRICS, TOLD_ALONE, score, sign_of
from models.features import Answer
from tasks.artifacts import Decision
from tasks.errors import JobError

MetricName = Literal[
    "auto", "accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "matthews", "log_loss",
    "auroc", "auprc", "top_3_accuracy", "mae", "rmse", "r2", "mape",
    "micro_f1", "exact_match", "hamming_loss", "smape", "mase", "pinball",
    "character_error_rate", "word_error_rate", "bleu", "unexplained",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """What a challenger has to show before it serves."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    metric: MetricName = "auto"
    """What decides; `auto` is macro_f1 for a category or tags, mae for a number or a forecast,
    character_error_rate for a text, unexplained where there is no answer."""
    confidence: float = 0.95
    """Of the interval of the gain, which has to lie above 0."""
    resamples: int = 2000
    """Of the bootstrap."""
    minimum_rows: int = 50
    """Test rows below which no champion is replaced."""
    season: int = 1
    """Steps after which a series repeats itself, such as 24 for hours: for the naive forecast."""

    def __post_init__(self) -> None:
        """Refuse settings that decide nothing."""
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence: {self.confidence} is not between 0.5 and 1")
        for name, count, least in (
            ("resamples", self.resamples, 100),
            ("minimum_rows", self.minimum_rows, 2),
            ("season", self.season, 1),
        ):
            if count < least:
                raise ValueError(f"{name}: {count} is too small; give at least {least}")


class Verdict(NamedTuple):
    """The decision and the sentence that explains it."""

    decision: Decision
    reason: str


class Rival(NamedTuple):
    """Whom the challenger is compared with, on which rows."""

    name: str
    is_champion: bool
    challenger: Judged
    answers: Judged


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


def best_of(scores: Mapping[str, Mapping[str, float]], metric: str) -> str:
    """Name the best of several by the metric."""
    return max(scores, key=lambda name: sign_of(metric) * scores[name][metric])


def gain_over(rival: Rival, gate: GateConfig, *, metric: str, by_time: bool) -> dict[str, Any]:
    """Measure the challenger's gain over the rival, with its interval."""
    rows = len(rival.answers)
    compute = METRICS[rival.answers.kind][metric]
    interval = gain_interval(
        compute,
        rival.challenger,
        rival.answers,
        sign=sign_of(metric),
        confidence=gate.confidence,
        count=gate.resamples,
        block=block_length(rows, by_time=by_time),
        seed=0,
    )
    gain = sign_of(metric) * (compute(rival.challenger) - compute(rival.answers))
    return {
        "over": rival.name,
        "champion": rival.is_champion,
        "rows": rows,
        "gain": gain,
        **interval._asdict(),
    }


def judge(
    gain: Mapping[str, Any], *, gate: GateConfig, metric: str, behind_baseline: str | None
) -> Verdict:
    """Decide on a measured gain.

    Args:
        gain: from `gain_over`.
        gate: the section of the job.
        metric: that decides.
        behind_baseline: name of a baseline that scores better than the challenger, if one does.
    """
    shown = (
        f"{metric} gain over {gain['over']} {gain['gain']:+.4f}, {gate.confidence:.0%} interval "
        f"{gain['low']:+.4f} to {gain['high']:+.4f} on {gain['rows']} rows"
    )
    if gain["champion"] and gain["rows"] < gate.minimum_rows:
        return Verdict("keep", f"too few rows to replace a champion: {shown}")
    if behind_baseline:
        return Verdict(
            "keep", f"the challenger does not beat the {behind_baseline} baseline: {shown}"
        )
    if gain["low"] > 0:
        return Verdict("promote", f"better beyond doubt: {shown}")
    if not gain["champion"]:
        return Verdict("promote", f"first version, better than every baseline: {shown}")
    return Verdict("keep", f"not better beyond doubt: {shown}")


def score_card(answers: Judged, gate: GateConfig, *, by_time: bool) -> dict[str, dict[str, float]]:
    """Score one model by every metric, with intervals."""
    scores = score(answers)
    intervals = score_intervals(
        {name: METRICS[answers.kind][name] for name in scores},
        answers,
        confidence=gate.confidence,
        count=gate.resamples,
        block=block_length(len(answers), by_time=by_time),
        seed=0,
    )
    return {name: {"value": value, **intervals[name]._asdict()} for name, value in scores.items()}
