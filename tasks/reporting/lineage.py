"""The lineage of a report's model: facts and settings of the other stages, from their manifests."""

import json
from dataclasses import asdict
from importlib.metadata import version as installed_version
from typing import Any, NamedTuple

from tasks.dataset.rowset import find_snapshot
from tasks.records import Accepted, Candidate, Choice, Features
from tasks.storage.artifacts import local_dir, read_manifest
from tasks.storage.store import Store

Lineage = dict[str, Any]


class ReportInputs(NamedTuple):
    """The artifacts behind a report."""

    candidate: Candidate
    features: Features
    accepted: Accepted
    choice: Choice | None = None
    """Of `model: auto`."""


def collect_lineage(inputs: ReportInputs, store: Store) -> Lineage:
    """Collect facts and settings of snapshot, contract, features and training."""
    candidate, features, accepted, _ = inputs
    snapshot = find_snapshot(store, accepted)
    contract = _read_config(store, "validate", accepted.key)
    read = _read_config(store, "featurize", features.key)
    trained = _read_config(store, "train", candidate.key)
    findings = (local_dir(store, accepted) / "validation.json").read_text(encoding="utf-8")
    return {
        "name": contract.get("name", ""),
        "code_version": installed_version("ostinato"),
        "snapshot": {"facts": _drop_origins(asdict(snapshot.facts)), "hash": snapshot.content_hash},
        "contract": {"facts": asdict(accepted.facts), "findings": json.loads(findings)},
        "features": {"facts": asdict(features.facts), **read},
        "training": {"facts": asdict(candidate.facts), **trained},
        "keys": {
            "snapshot": snapshot.key,
            "accepted rows": accepted.key,
            "features": features.key,
            "model": candidate.key,
        },
        "model_hash": candidate.content_hash,
    }


def _read_config(store: Store, stage: str, key: str) -> dict[str, Any]:
    """Read a stage's section of the job, as its manifest holds it."""
    manifest = read_manifest(store, stage, key)
    config: dict[str, Any] = manifest.recipe.config if manifest else {}
    return config


def _drop_origins(facts: Any) -> Lineage:  # noqa: ANN401 - any mapping
    """Leave out which file each row came from, which may be long."""
    return {name: value for name, value in facts.items() if name != "origins"}
