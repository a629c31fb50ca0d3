"""The lineage of a report's model: the artifacts that it was made from, with their settings."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from data_contracts.suite import Finding
from models.features.config import Layout, TargetConfig
from models.features.featurizer import load_featurizer
from models.features.splitting.split import SplitConfig
from models.learning.config import TrainingConfig
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tasks.dataset.rowset import find_snapshot
from tasks.environment import describe_code
from tasks.records import Accepted, Candidate, Choice, Features, Snapshot
from tasks.storage.artifacts import load_manifest, local_dir, parse_record
from tasks.storage.store import Store


class ReportInputs(NamedTuple):
    """The artifacts behind a report."""

    candidate: Candidate
    features: Features
    accepted: Accepted
    choice: Choice | None = None
    """Of `model: auto`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """The settings that a candidate was trained with; a baseline has those of the head alone."""

    head: HeadConfig
    model: ModelConfig | None = None
    training: TrainingConfig | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """Everything that a model was made from, stage by stage."""

    name: str
    """The job's, which is the registered model's too."""
    code_version: str
    """Of Ostinato: its version and the hash of its content."""
    snapshot: Snapshot
    accepted: Accepted
    findings: Sequence[Finding]
    """One for each expectation of the contract."""
    features: Features
    layout: Layout
    target: TargetConfig
    split: SplitConfig
    candidate: Candidate
    settings: TrainingSettings


def collect_lineage(inputs: ReportInputs, store: Store) -> Lineage:
    """Collect the artifacts and the settings that a candidate was made from.

    Raises:
        StoreError: an artifact is missing or damaged, or another version of this program wrote it.
    """
    accepted, features, candidate = inputs.accepted, inputs.features, inputs.candidate
    contract = load_manifest(store, accepted).recipe.config
    featurize = load_manifest(store, features).recipe.config
    train = load_manifest(store, candidate).recipe.config
    return Lineage(
        name=contract["name"],
        code_version=describe_code(),
        snapshot=find_snapshot(store, accepted),
        accepted=accepted,
        findings=_read_findings(store, accepted),
        features=features,
        layout=load_featurizer(local_dir(store, features)).layout,
        target=parse_record(TargetConfig, featurize["target"], f"featurize/{features.key}"),
        split=parse_record(SplitConfig, featurize["split"], f"featurize/{features.key}"),
        candidate=candidate,
        settings=parse_record(TrainingSettings, train, f"train/{candidate.key}"),
    )


def _read_findings(store: Store, accepted: Accepted) -> list[Finding]:
    """Read what the contract's expectations found in the snapshot."""
    path = local_dir(store, accepted) / "validation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    return parse_record(list[Finding], content, str(path))
