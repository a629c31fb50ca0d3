"""Where a report's model comes from: what other stages told, read from their manifests."""

import json
from importlib.metadata import version as installed_version
from typing import Any, NamedTuple

from tasks.dataset.rowset import snapshot_of
from tasks.records import Accepted, Candidate, Choice, Features
from tasks.storage.artifacts import local_dir, read_manifest
from tasks.storage.store import Store

Told = dict[str, Any]


class Made(NamedTuple):
    """The artifacts behind a report."""

    candidate: Candidate
    features: Features
    accepted: Accepted
    choice: Choice | None = None
    """Of `model: auto`."""


def origin_of(made: Made, store: Store) -> Told:
    """Collect what was read, promised, split and trained."""
    candidate, features, accepted, _ = made
    snapshot = snapshot_of(store, accepted)
    contract = config_of(store, "validate", accepted.key)
    read = config_of(store, "featurize", features.key)
    learned = config_of(store, "train", candidate.key)
    findings = (local_dir(store, accepted) / "validation.json").read_text(encoding="utf-8")
    return {
        "name": contract.get("name", ""),
        "code_version": installed_version("ostinato"),
        "snapshot": {"facts": slim(snapshot.facts), "hash": snapshot.content_hash},
        "contract": {"facts": accepted.facts, "findings": json.loads(findings)},
        "features": {"facts": features.facts, **read},
        "training": {"facts": candidate.facts, **learned},
        "keys": {
            "snapshot": snapshot.key,
            "accepted rows": accepted.key,
            "features": features.key,
            "model": candidate.key,
        },
        "model_hash": candidate.content_hash,
    }


def config_of(store: Store, stage: str, key: str) -> Told:
    """Read a stage's section of the job, as its manifest holds it."""
    manifest = read_manifest(store, stage, key) or {}
    config: Told = manifest.get("recipe", {}).get("config", {})
    return config


def slim(facts: Any) -> Told:  # noqa: ANN401 - any mapping
    """Leave out which file each row came from, which would be long."""
    return {name: value for name, value in facts.items() if name != "origins"}
