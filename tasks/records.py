"""The records that the stages hand on: where an artifact lies and what it holds, never the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tasks.facts import (
    AcceptedFacts,
    CandidateFacts,
    ChoiceFacts,
    FeatureFacts,
    PartFacts,
    ReportFacts,
    SnapshotFacts,
    StudyFacts,
)
from tasks.gate_record import Decision
from tasks.pretraining_record import PretrainingFacts

Facts_co = TypeVar("Facts_co", covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact(Generic[Facts_co]):
    """One stage's published output: a folder of files under a key of its origin."""

    stage: str
    """The stage that made it."""
    key: str
    """Hash of the stage, its version, its section of the job, and its inputs' keys."""
    content_hash: str
    """Hash of the files: equal for equal bytes, whatever they were made from."""
    facts: Facts_co
    """Counts, schema, scores: what one may want to know without reading the files."""
    recomputed: bool = True
    """False when the store had it already and nothing was done."""


Part = Artifact[PartFacts]
"""Some of the source's rows, shared by snapshots: `rows.parquet`."""

Snapshot = Artifact[SnapshotFacts]
"""An immutable copy of the source: a list of parts, and the time up to which their rows count."""

Accepted = Artifact[AcceptedFacts]
"""The rows that keep their contract: `validation.json`, `quarantine.parquet`, `data_docs.html`."""

Features = Artifact[FeatureFacts]
"""Jagged sequences and their splits: `steps.npy`, `steps.parquet`, `sequences.parquet`."""

Pretrained = Artifact[PretrainingFacts]
"""The weights that networks start from: `weights.safetensors`."""

Candidate = Artifact[CandidateFacts]
"""A trained model: `bundle/`, `history.json`."""

Report = Artifact[ReportFacts]
"""Scores, the gate's decision and its evidence, plots: `report.json`, `gate.json`, `*.svg`."""

Study = Artifact[StudyFacts]
"""The result of a search for better settings: `trials.json` and plots."""

Choice = Artifact[ChoiceFacts]
"""The network that `model: auto` chose: `networks.json`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """The version that serves now."""

    name: str
    version: str
    model_key: str
    """Key of the artifact that it was trained as."""
    report_key: str
    """Key of the report that it was registered with."""
    accepted_key: str
    """Key of the rows that it was trained on."""
    source_uri: str
    """Where MLflow keeps the model's files."""
    fallback: str | None = None
    """The baseline that it is; None for networks."""
    fallback_for: str | None = None
    """Key of the report of the network beside which this baseline became the champion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fallback:
    """The baseline that is to serve where no network has beaten it."""

    candidate: Candidate
    report: Report | None
    """Its evaluation; None where it serves already."""
    champion: Champion | None
    """The baseline that serves so far; None where nothing does."""

    @property
    def is_registered(self) -> bool:
        """Whether it becomes a version: to replace the champion, or where there is none."""
        if self.report is None:
            return False
        decision = self.report.facts.decision
        return decision == "promote" or (decision == "needs-approval" and self.champion is None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What the registry made of a candidate."""

    name: str
    version: str
    decision: Decision
    reason: str
    run_id: str
    experiment_id: str
    recomputed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a retrain run came to; the last line of `ostinato run --json`."""

    job: str
    version: str
    decision: Decision
    reason: str
    metrics: Mapping[str, float]
    """The challenger's scores on the test rows."""
    baseline: Mapping[str, float | str]
    """The best baseline's name and its score on the same rows by the gate's metric."""
    recomputed: list[str]
    """The stages that were not taken from the store."""
    seconds: float
    links: Mapping[str, str]
    headline: str = ""
    """Whether the network is worth more than the best baseline."""
    warnings: list[str] = field(default_factory=list)
    """What makes one doubt the scores."""
    test_rows: int = 0
    """Rows of these scores. Of the headline and the reason it may be fewer: the champion cannot be
    compared on rows that it was trained on."""
    advice: list[str] = field(default_factory=list)
    """What to look at and to try after a lost comparison."""
    serving: str = ""
    """Which baseline serves, as which version and why, in one sentence; empty where none does."""
    serving_version: str | None = None
    """Number of that version."""
