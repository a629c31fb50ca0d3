"""How a challenger stands beside the best baseline: better, as good within a margin, or behind."""

from typing import Literal

from models.evaluation.metrics.by_kind import get_best_score, get_metric_sign
from tasks.gate.comparison import Gain, GateConfig

Standing = Literal["better", "tie", "slightly worse", "ahead", "behind"]
"""By the interval of the gain: above 0; above minus the margin; the same, but below 0. Where it
reaches further down, by the gain itself: above 0, or not."""

_CLAIMS: dict[Standing, str] = {
    "better": "The network beats",
    "tie": "A tie: the network is as good, within {margin}, as",
    "slightly worse": "The network is worse, by less than {margin}, than",
    "ahead": "The network is ahead of, but not significantly,",
    "behind": "The network does not beat",
}


def rate_challenger(gain: Gain, gate: GateConfig, *, metric: str, is_perfect: bool) -> Standing:
    """Rate a challenger by its gain over the best baseline; an unknown gain is `behind`.

    Args:
        gain: over that baseline.
        gate: with the margin within which they are equally good.
        metric: that decides.
        is_perfect: whether it makes no error, so that it cannot be worse.
    """
    # Each condition is a positive "shown", so that NaN never counts as shown.
    if gain.low > 0:
        return "better"
    if is_perfect and gain.gain >= 0:
        return "tie"
    if gain.low > -compute_margin(gain, gate, metric):
        return "tie" if gain.high >= 0 else "slightly worse"
    return "ahead" if gain.gain > 0 else "behind"


def compute_margin(gain: Gain, gate: GateConfig, metric: str) -> float:
    """Compute how much worse than the best baseline is still as good, in the metric's unit.

    A score has a highest value, of which the margin is a part. An error has none: the margin is a
    share of the baseline's. The log loss is an error too, but a good one is close to 0, and a
    difference has a meaning of its own: by 0.01 nats, true classes get a 1 % lower probability.
    """
    if metric == "log_loss":
        return gate.baseline_margin
    if get_metric_sign(metric) < 0:
        return gate.baseline_margin * abs(gain.reference_score)
    return gate.baseline_margin * get_best_score(metric)


def format_margin(gain: Gain, gate: GateConfig, metric: str) -> str:
    """Format that margin, such as `0.01`, or `0.0213 (1 % of its mae)`."""
    margin = f"{compute_margin(gain, gate, metric):.3g}"
    if metric == "log_loss" or get_metric_sign(metric) > 0:
        return margin
    return f"{margin} ({100 * gate.baseline_margin:g} % of its {metric})"


def format_row_count(rows: int, all_rows: int) -> str:
    """Format how many test rows were compared, and what became of the others.

    Args:
        rows: on which the challenger was compared with another model.
        all_rows: all test rows.
    """
    if rows == all_rows:
        return f"{rows} test rows"
    left = all_rows - rows
    return f"{rows} of {all_rows} test rows (the champion was trained on the other {left})"


def format_fallback_headline(name: str, gain: Gain, metric: str) -> str:
    """Format in one sentence that a baseline is the model."""
    return (
        f"A baseline, {name}: {metric} {gain.score:.4f} on {gain.rows} test rows; it serves until "
        "a network beats it"
    )


def format_headline(
    gain: Gain, gate: GateConfig, *, metric: str, test_rows: int, is_perfect: bool
) -> str:
    """Format in one sentence whether the network is better than the best baseline.

    Args:
        gain: over that baseline.
        gate: with the margin within which they are equally good.
        metric: that decides.
        test_rows: all, including those that the champion was trained on.
        is_perfect: whether the network makes no error.
    """
    if is_perfect and gain.gain == 0:
        claim = "The network makes no error, and neither does"
    else:
        standing = rate_challenger(gain, gate, metric=metric, is_perfect=is_perfect)
        claim = _CLAIMS[standing].format(margin=format_margin(gain, gate, metric))
    return (
        f"{claim} the best baseline, {gain.name}: {metric} {gain.score:.4f} against "
        f"{gain.reference_score:.4f} on {format_row_count(gain.rows, test_rows)}"
    )
