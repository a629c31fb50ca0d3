"""What the gate decides on measured evidence, and the sentence that explains it."""

from collections.abc import Sequence
from typing import NamedTuple

from tasks.gate.comparison import Gain, GateConfig
from tasks.records import Decision


class Verdict(NamedTuple):
    """The decision and the sentence that explains it."""

    decision: Decision
    reason: str


class Guard(NamedTuple):
    """One thing that must not get worse, whatever the gain."""

    name: str
    value: float
    bound: float
    held: bool


class Evidence(NamedTuple):
    """All that is known when the gate decides."""

    over_baseline: Gain
    over_champion: Gain | None
    """None where no champion serves yet, or none of its rows can be used."""
    champion: str | None
    """The champion's name and version; None where none serves yet."""
    rows: int
    """Test rows that the champion has not learned from."""
    excluded_rows: int
    """Test rows that it has learned from."""
    guards: Sequence[Guard] = ()
    incomparable: str | None = None
    """Why challenger and champion cannot be compared."""
    blocked: str | None = None
    """What else speaks against a promotion, until a person has looked at it."""
    flawless: bool = False
    """Whether the challenger is right everywhere, which no other can beat."""


def judge(evidence: Evidence, gate: GateConfig, metric: str) -> Verdict:
    """Decide: what cannot be compared, doubts, what it lacks, what blocks it, and only then yes."""
    if evidence.incomparable:
        return Verdict("not-comparable", evidence.incomparable)
    if few := too_few(evidence, gate):
        return Verdict("needs-approval", few)
    over = evidence.over_champion or evidence.over_baseline
    shown = words(over, gate, metric)
    if lacking := what_lacks(evidence, gate):
        return Verdict("keep", f"{lacking}: {shown}")
    if evidence.blocked:
        return Verdict("needs-approval", f"{evidence.blocked}; otherwise it would serve: {shown}")
    if evidence.champion is None:
        return Verdict("promote", f"no champion yet, and {first_words(evidence)}: {shown}")
    better = "better beyond doubt" if gate.mode == "superiority" else "not worse beyond the margin"
    return Verdict("promote", f"{better}: {shown}")


def too_few(evidence: Evidence, gate: GateConfig) -> str | None:
    """Say that the champion left too few rows to decide on, if it did."""
    if evidence.champion is None or evidence.rows >= gate.min_rows:
        return None
    left = (
        f"{evidence.champion} has learned from {evidence.excluded_rows} of the test's "
        f"{evidence.rows + evidence.excluded_rows} rows"
    )
    return (
        f"only {evidence.rows} rows to compare on, and gate.min_rows asks for "
        f"{gate.min_rows}: {left}"
    )


def what_lacks(evidence: Evidence, gate: GateConfig) -> str | None:
    """Say what the challenger did not show; None where it showed all that is asked for."""
    behind, over = evidence.over_baseline, evidence.over_champion
    # Asked the other way round, so that what cannot be told is never enough.
    equal = evidence.flawless and behind.gain == 0
    if gate.require_baseline and not (equal or behind.gain > 0):
        return (
            f"the challenger does not beat the {behind.name} baseline ({behind.gain:+.4f} on "
            f"{behind.rows} rows)"
        )
    if evidence.champion is not None and not (over and over.low > gate.bound):
        return "not better beyond doubt" if gate.mode == "superiority" else "perhaps worse"
    broken = [guard for guard in evidence.guards if not guard.held]
    if broken:
        told = ", ".join(
            f"{each.name} {each.value:.4g} (at most {each.bound:g})" for each in broken
        )
        return f"a guard is broken: {told}"
    return None


def first_words(evidence: Evidence) -> str:
    """Say how a first version stands to the baselines."""
    if evidence.over_baseline.gain > 0:
        return "better than every baseline"
    return "right everywhere" if evidence.flawless else "the job asks for no better one"


def words(over: Gain, gate: GateConfig, metric: str) -> str:
    """Tell a gain with its interval, and the bound where there is a champion."""
    told = (
        f"{metric} gain over {over.name} {over.gain:+.4f}, {gate.confidence:.0%} interval "
        f"{over.low:+.4f} to {over.high:+.4f} on {over.rows} rows"
    )
    return f"{told}, bound {gate.bound:+g}" if over.champion and gate.bound else told
