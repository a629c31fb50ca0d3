"""The rules by which the gate decides on measured evidence, and the sentence that explains it."""

from collections.abc import Sequence
from typing import NamedTuple

from tasks.gate.comparison import Gain, GateConfig
from tasks.gate.standing import Standing, format_margin, format_row_count, rate_challenger
from tasks.gate_record import Decision

_TIES: tuple[Standing, ...] = ("tie", "slightly worse")


class Verdict(NamedTuple):
    """The decision and the sentence that explains it."""

    decision: Decision
    reason: str
    is_tie: bool = False
    """Whether a first version is promoted that is not significantly better than the best baseline,
    but as good within `gate.baseline_margin`."""


class Guardrail(NamedTuple):
    """One quantity that must not get worse, whatever the gain."""

    name: str
    value: float
    limit: float
    """The highest allowed value."""
    passed: bool


class Evidence(NamedTuple):
    """All that is known when the gate decides."""

    over_baseline: Gain
    over_champion: Gain | None
    """None where there is no champion yet, or none of its rows can be used."""
    champion: str | None
    """The champion's name and version; None where there is none yet."""
    rows: int
    """Test rows that the champion was not trained on."""
    excluded_rows: int
    """Test rows that it was trained on."""
    guardrails: Sequence[Guardrail] = ()
    incomparable_reason: str | None = None
    """Why challenger and champion cannot be compared."""
    block_reason: str | None = None
    """What else speaks against a promotion, until a person has approved it."""
    is_perfect: bool = False
    """Whether the challenger makes no error, so that no model can be better."""
    fallback: str | None = None
    """The baseline that the challenger is; None for networks."""


def apply_rules(evidence: Evidence, gate: GateConfig, metric: str) -> Verdict:
    """Decide. Every reason against a promotion is checked before any reason for it."""
    if evidence.incomparable_reason:
        return Verdict("not-comparable", evidence.incomparable_reason)
    if shortage := _describe_row_shortage(evidence, gate):
        return Verdict("needs-approval", shortage)
    gain = _format_gain(evidence, gate, metric)
    if shortfall := _describe_shortfall(evidence, gate, metric):
        return Verdict("keep", f"{shortfall}: {gain}")
    if evidence.block_reason:
        return Verdict(
            "needs-approval", f"{evidence.block_reason}; otherwise it would be promoted: {gain}"
        )
    if evidence.champion is None:
        return _promote_first(evidence, gate, metric)
    if gate.mode == "superiority":
        claim = f"better with {gate.confidence:.0%} confidence"
    else:
        claim = "not worse by more than the margin"
    return Verdict("promote", f"{claim}: {gain}")


def _promote_first(evidence: Evidence, gate: GateConfig, metric: str) -> Verdict:
    """Promote a first version, or the baseline that no network has beaten."""
    if evidence.fallback:
        return Verdict("promote", _describe_fallback(evidence, metric))
    claim = f"no champion yet, and {_describe_first_version(evidence, gate, metric)}"
    gain = _format_gain(evidence, gate, metric)
    return Verdict("promote", f"{claim}: {gain}", _rate(evidence, gate, metric) in _TIES)


def _describe_row_shortage(evidence: Evidence, gate: GateConfig) -> str | None:
    """Describe that the champion leaves too few rows to compare on; None where it does not."""
    if evidence.champion is None or evidence.rows >= gate.min_rows:
        return None
    return (
        f"only {evidence.rows} rows to compare on, and gate.min_rows asks for {gate.min_rows}: "
        f"{evidence.champion} was trained on {evidence.excluded_rows} of the test's "
        f"{evidence.rows + evidence.excluded_rows} rows"
    )


def _describe_shortfall(evidence: Evidence, gate: GateConfig, metric: str) -> str | None:
    """Describe what the challenger did not show; None where it showed all that is required."""
    champion = evidence.over_champion
    # Each condition is a negated "shown", so that NaN never counts as shown.
    is_compared = gate.require_baseline and evidence.fallback is None
    if is_compared and (behind := _describe_baseline_shortfall(evidence, gate, metric)):
        return behind
    if evidence.champion is not None and not (champion and champion.low > gate.bound):
        if gate.mode == "superiority":
            return f"not better with {gate.confidence:.0%} confidence"
        return "possibly worse by more than the margin"
    failed = [guardrail for guardrail in evidence.guardrails if not guardrail.passed]
    if failed:
        values = ", ".join(f"{e.name} {e.value:.4g} (at most {e.limit:g})" for e in failed)
        return f"a guardrail fails: {values}"
    return None


def _describe_baseline_shortfall(evidence: Evidence, gate: GateConfig, metric: str) -> str | None:
    """Describe that the challenger is not good enough beside the best baseline; None where it is.

    A first version is held to the baseline by its interval, as later ones are to the champion. A
    later version, which has to beat the champion too, only has to score better than the baseline,
    or as well within the margin by its interval.
    """
    gain = evidence.over_baseline
    if evidence.champion is None:
        return _describe_first_shortfall(evidence, gate, metric)
    if gain.gain > 0 or _rate(evidence, gate, metric) in _TIES:
        return None
    return (
        f"the challenger does not beat the {gain.name} baseline ({gain.gain:+.4f} on "
        f"{gain.rows} rows), and may be worse by {format_margin(gain, gate, metric)} or more"
    )


def _describe_first_shortfall(evidence: Evidence, gate: GateConfig, metric: str) -> str | None:
    """Describe that a first version is neither better than the best baseline nor as good."""
    gain, standing = evidence.over_baseline, _rate(evidence, gate, metric)
    is_tie = standing in _TIES
    if standing == "better" or (is_tie and (gain.rows >= gate.min_rows or evidence.is_perfect)):
        return None
    if is_tie:
        return (
            f"the challenger seems as good as the {gain.name} baseline, but a tie needs "
            f"{gate.min_rows} test rows (gate.min_rows)"
        )
    if standing == "behind" and gain.high < 0:
        return f"the challenger is worse than the {gain.name} baseline"
    claim, doubt = "does not beat", ""
    if standing == "ahead":
        claim, doubt = "is ahead of", ", but not significantly"
    if gate.baseline_margin:
        doubt = f", but may be worse by {format_margin(gain, gate, metric)} or more"
    return f"the challenger {claim} the {gain.name} baseline{doubt}"


def _rate(evidence: Evidence, gate: GateConfig, metric: str) -> Standing:
    """Rate the challenger beside the best baseline."""
    return rate_challenger(
        evidence.over_baseline, gate, metric=metric, is_perfect=evidence.is_perfect
    )


def _describe_first_version(evidence: Evidence, gate: GateConfig, metric: str) -> str:
    """Describe how a first version that is promoted compares with the best baseline."""
    gain, standing = evidence.over_baseline, _rate(evidence, gate, metric)
    margin = format_margin(gain, gate, metric)
    if standing == "better":
        return "better than every baseline"
    if evidence.is_perfect and standing == "tie":
        return "a tie with the best baseline, but without any error"
    if standing == "tie":
        return f"a tie: as good as the best baseline within {margin}"
    if standing == "slightly worse":
        return f"worse than the best baseline, but by less than {margin}"
    return "the job does not require that it beats the baselines"


def _describe_fallback(evidence: Evidence, metric: str) -> str:
    """Describe that a baseline is the first version to serve."""
    gain = evidence.over_baseline
    return (
        f"no champion yet, and no network has beaten the baselines: {evidence.fallback}, "
        f"{metric} {gain.score:.4f} on {gain.rows} test rows, serves until one does"
    )


def _format_gain(evidence: Evidence, gate: GateConfig, metric: str) -> str:
    """Format the gain that decides with its interval, and the bound where it is over a champion."""
    gain = evidence.over_champion or evidence.over_baseline
    all_rows = evidence.rows + evidence.excluded_rows
    text = (
        f"{metric} gain over {gain.name} {gain.gain:+.4f}, {gate.confidence:.0%} interval "
        f"{gain.low:+.4f} to {gain.high:+.4f} on {format_row_count(gain.rows, all_rows)}"
    )
    return f"{text}, bound {gate.bound:+g}" if gain.is_champion and gate.bound else text
