"""Ensembles: networks that differ in their seed alone, put into one bundle.

Each of them is a candidate of its own, so each is trained, kept and taken up again after a kill
as if it were alone, and a larger ensemble trains those alone that are new.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from models.bundle import Bundle, load, save
from models.features.splitting.split import VALIDATION
from models.learning.config import TrainingConfig
from models.networks.ensemble import Ensemble
from models.networks.network import Network
from tasks.records import Candidate, Facts
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import Store
from tasks.training.calibration import calibrated, divided
from tasks.training.data import load_split

SUMMED = ("parameters", "seconds")
"""Facts of the members that add up."""


def members_of(training: TrainingConfig) -> list[TrainingConfig]:
    """Say how each network of an ensemble learns: the first as if it were alone."""
    return [
        replace(training, ensemble=1, distill=False, seed=training.seed + place)
        for place in range(training.ensemble)
    ]


def make_ensemble(
    store: Store,
    recipe: Recipe,
    training: TrainingConfig,
    make_member: Callable[[int, TrainingConfig], Candidate],
    *,
    features_dir: Path,
) -> Candidate:
    """Return the ensemble, whose networks are made one after the other, each told its place."""
    members = [make_member(place, member) for place, member in enumerate(members_of(training))]
    folders = [local_dir(store, member) for member in members]

    def build(target: Path) -> Facts:
        return put_together(target, members, folders, features_dir=features_dir)

    return Candidate(produce(store, recipe, build))


def put_together(
    target: Path, members: Sequence[Candidate], folders: Sequence[Path], *, features_dir: Path
) -> Facts:
    """Write the bundle of all, and the history of the best; tell how each was trained."""
    bundles = [load(folder / "bundle") for folder in folders]
    networks = [bundle.network for bundle in bundles if isinstance(bundle.network, Network)]
    first = bundles[0]
    ensemble = Ensemble(networks, first.featurizer.target.kind, first.head)
    bundle = Bundle(first.featurizer, ensemble, first.model, first.head)
    streamed = members[0].facts["data"] == "streaming"
    validation = load_split(features_dir, VALIDATION, torch.device("cpu"), streamed=streamed)
    apart = divided(validation, first.featurizer).apart or validation
    save(calibrated(bundle, apart, features_dir), target / "bundle")
    losses = [float(member.facts["validation_loss"]) for member in members]
    best = losses.index(min(losses))
    history = json.loads((folders[best] / "history.json").read_text(encoding="utf-8"))
    (target / "history.json").write_text(json.dumps(history, indent=2), encoding="utf-8")
    summed = {name: sum(member.facts[name] for member in members) for name in SUMMED}
    return {
        **members[best].facts,
        **summed,
        "members": [member.key for member in members],
        "member_losses": losses,
        "plans": [plan for member in members for plan in member.facts["plans"]],
    }


def networks_in(store: Store, ensemble: Candidate | None) -> Ensemble | None:
    """Load the networks from which one learns, if it does from any."""
    if ensemble is None:
        return None
    found = load(local_dir(store, ensemble) / "bundle").network
    assert isinstance(found, Ensemble)  # noqa: S101 - it was made as one
    return found


def taught(facts: Facts, ensemble: Candidate) -> Facts:
    """Tell from which networks one has learned, and what it took to make them all."""
    names = ("members", "member_losses")
    seconds = round(facts["seconds"] + ensemble.facts["seconds"], 3)
    told = {name: ensemble.facts[name] for name in names}
    plans = ensemble.facts["plans"] + facts["plans"]
    return {**facts, **told, "ensemble": ensemble.key, "seconds": seconds, "plans": plans}
