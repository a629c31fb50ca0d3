"""Which baseline serves while no network has beaten it, in one sentence."""

from typing import NamedTuple

from tasks.facts import ReportFacts
from tasks.records import Fallback, Version


class ServingBaseline(NamedTuple):
    """The baseline of a run, and the version that was made of it."""

    fallback: Fallback
    version: Version | None
    """None where none was registered in this run."""

    @property
    def is_new(self) -> bool:
        """Whether this run made the baseline, or scored it."""
        report = self.fallback.report
        return self.fallback.candidate.recomputed or (report is not None and report.recomputed)

    @property
    def version_number(self) -> str | None:
        """Number of the version that serves; None where none does."""
        if self.version and self.version.decision == "promote":
            return self.version.version
        champion = self.fallback.champion
        return champion.version if champion else None


def describe_serving(serving: ServingBaseline, network: ReportFacts) -> str:
    """Describe which baseline serves, as which version, and why.

    Args:
        serving: the baseline.
        network: the report about the network that was not promoted.
    """
    fallback, version = serving.fallback, serving.version
    facts, champion = fallback.candidate.facts.baseline, fallback.champion
    name = facts.name if facts else "a baseline"
    if version and version.decision == "promote":
        if champion:
            return (
                f"{name} as version {version.version}, instead of {champion.fallback} (version "
                f"{champion.version}), which it beats"
            )
        return f"{name} as version {version.version}, because {_describe_loss(name, network)}"
    if champion:
        return f"{champion.fallback} as version {champion.version}: no network has beaten it yet"
    if version:
        return (
            f"nothing; {name}, the best baseline, waits for approval: "
            f"ostinato approve {version.name} {version.version}"
        )
    reason = fallback.report.facts.reason if fallback.report else ""
    return f"nothing; {name}, the best baseline, is not promoted either: {reason}"


def _describe_loss(name: str, network: ReportFacts) -> str:
    """Describe why the network does not serve instead of the baseline."""
    if any(not each.passed for each in network.gate.guardrails):
        return "the network did not pass the gate"
    if name == network.best_baseline:
        return "the network did not beat it"
    return (
        f"the network did not beat the best baseline on the test rows, {network.best_baseline}; "
        f"{name} is the best that can serve by the rows of validation"
    )
