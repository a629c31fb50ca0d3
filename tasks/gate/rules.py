"""The rules by which the gate decides on measured evidence, and the sentence that explains it."""

from collections.abc import Sequence
from typing import NamedTuple

from tasks.gate.comparison import Gain, GateConfig
from tasks.gate_record import Decision


class Verdict(NamedTuple):
    """The decision and the sentence that explains it."""

    decision: Decision
    reason: str


class Guardrail(NamedTuple):
    """One thing that must not get worse, whatever the gain."""

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
    incomparable: str | None = None
    """Why challenger and champion cannot be compared."""
    blocked: str | None = None
    """What else speaks against a promotion, until a person has approved it."""
    is_perfect: bool = False
    """Whether the challenger makes no error, so that no model can be better."""


def apply_rules(evidence: Evidence, gate: GateConfig, metric: str) -> Verdict:
    """Decide. Every reason against a promotion is looked at before a reason for it."""
    if evidence.incomparable:
        return Verdict("not-comparable", evidence.incomparable)
    if shortage := _describe_row_shortage(evidence, gate):
        return Verdict("needs-approval", shortage)
    gain = _format_gain(evidence.over_champion or evidence.over_baseline, gate, metric)
    if shortfall := _describe_shortfall(evidence, gate):
        return Verdict("keep", f"{shortfall}: {gain}")
    if evidence.blocked:
        return Verdict("needs-approval", f"{evidence.blocked}; otherwise it would serve: {gain}")
    if evidence.champion is None:
        claim = f"no champion yet, and {_describe_first_version(evidence)}"
    elif gate.mode == "superiority":
        claim = f"better with {gate.confidence:.0%} confidence"
    else:
        claim = "not worse by more than the margin"
    return Verdict("promote", f"{claim}: {gain}")


def _describe_row_shortage(evidence: Evidence, gate: GateConfig) -> str | None:
    """Describe that the champion leaves too few rows to compare on; None where it does not."""
    if evidence.champion is None or evidence.rows >= gate.min_rows:
        return None
    return (
        f"only {evidence.rows} rows to compare on, and gate.min_rows asks for {gate.min_rows}: "
        f"{evidence.champion} was trained on {evidence.excluded_rows} of the test's "
        f"{evidence.rows + evidence.excluded_rows} rows"
    )


def _describe_shortfall(evidence: Evidence, gate: GateConfig) -> str | None:
    """Describe what the challenger did not show; None where it showed all that is required."""
    baseline, champion = evidence.over_baseline, evidence.over_champion
    # Each condition is a negated "shown", so that NaN never counts as shown.
    equal = evidence.is_perfect and baseline.gain == 0
    if gate.require_baseline and not (equal or baseline.gain > 0):
        return (
            f"the challenger does not beat the {baseline.name} baseline ({baseline.gain:+.4f} on "
            f"{baseline.rows} rows)"
        )
    if evidence.champion is not None and not (champion and champion.low > gate.bound):
        if gate.mode == "superiority":
            return f"not better with {gate.confidence:.0%} confidence"
        return "possibly worse by more than the margin"
    failed = [guardrail for guardrail in evidence.guardrails if not guardrail.passed]
    if failed:
        values = ", ".join(f"{e.name} {e.value:.4g} (at most {e.limit:g})" for e in failed)
        return f"a guardrail fails: {values}"
    return None


def _describe_first_version(evidence: Evidence) -> str:
    """Describe how a first version compares with the baselines."""
    if evidence.over_baseline.gain > 0:
        return "better than every baseline"
    return "without any error" if evidence.is_perfect else "the job does not require a better one"


def _format_gain(gain: Gain, gate: GateConfig, metric: str) -> str:
    """Format a gain with its interval, and with the bound where it is over a champion."""
    text = (
        f"{metric} gain over {gain.name} {gain.gain:+.4f}, {gate.confidence:.0%} interval "
        f"{gain.low:+.4f} to {gain.high:+.4f} on {gain.rows} rows"
    )
    return f"{text}, bound {gate.bound:+g}" if gain.is_champion and gate.bound else text
