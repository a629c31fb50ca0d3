"""The records that the stages hand on: where an artifact lies and what it holds, never the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

Facts = Mapping[str, Any]
"""What a stage tells of its output: counts, schema, scores. JSON, so that it is kept as it is."""

Decision = Literal["promote", "keep", "not-comparable", "needs-approval"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """One stage's published output: a folder of files under a key of its origin."""

    stage: str
    key: str
    """Hash of the stage, its version, its section of the job, and its inputs' keys."""
    content_hash: str
    """Hash of the files: equal for equal bytes, whatever they were made from."""
    facts: Facts = field(default_factory=dict)
    recomputed: bool = True
    """False when the store had it already and nothing was done."""


Snapshot = NewType("Snapshot", Artifact)
"""An immutable copy of the source: a list of parts, each `rows.parquet`, and a time to cut at."""

Accepted = NewType("Accepted", Artifact)
"""The rows that keep their contract: `validation.json`, `quarantine.parquet`, `data_docs.html`."""

Features = NewType("Features", Artifact)
"""Jagged sequences and their splits: `steps.npy`, `steps.parquet`, `sequences.parquet`."""

Candidate = NewType("Candidate", Artifact)
"""A trained model: `bundle/`, `history.json`."""

Report = NewType("Report", Artifact)
"""Scores, the gate's decision and its evidence, pictures: `report.json`, `gate.json`, `*.png`."""

Study = NewType("Study", Artifact)
"""What a search for settings came to: `trials.json`, pictures."""

Choice = NewType("Choice", Artifact)
"""Which network `model: auto` came to: `networks.json`."""


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
