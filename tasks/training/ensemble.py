"""Ensembles: networks that differ in their seed alone, in one bundle.

Each member is a candidate of its own, so it is trained, stored and resumed after a kill like any
other, and a larger ensemble trains only the members that are new.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from models.bundle import Bundle, load_bundle, save_bundle
from models.learning.config import TrainingConfig
from models.networks.ensemble import Ensemble
from models.networks.network import Network
from models.trained_networks import AnyNetwork
from tasks.dataset.training_membership import copy_training_rows
from tasks.facts import CandidateFacts
from tasks.records import Candidate
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import Store
from tasks.training.calibration import calibrate_bundle, split_validation
from tasks.training.folds import build_folds


def _list_member_configs(training: TrainingConfig, folds: int) -> list[TrainingConfig]:
    """List the training of each member, equally many for each fold."""
    count = count_members(training, folds)
    shared = training.share_budget(count)
    return [
        replace(shared, ensemble=1, distill=False, seed=training.seed + index)
        for index in range(count)
    ]


def count_members(training: TrainingConfig, folds: int) -> int:
    """Count the networks of one recipe, equally many for each fold."""
    networks = 1 if training.ensemble == "auto" else training.ensemble
    return -(-networks // folds) * folds


def make_ensemble(
    store: Store,
    recipe: Recipe,
    training: TrainingConfig,
    make_member: Callable[[int, TrainingConfig], Candidate],
    *,
    features_dir: Path,
    folds: int,
) -> Candidate:
    """Return the ensemble, made of its members unless the store has it.

    Args:
        store: where candidates are.
        recipe: of the ensemble.
        training: of the ensemble.
        make_member: makes the member of an index, with its own training.
        features_dir: with the rows that calibrate the ensemble.
        folds: one, or the number of folds; member i is validated on fold i modulo their number.
    """
    configs = _list_member_configs(training, folds)
    members = [make_member(index, config) for index, config in enumerate(configs)]
    folders = [local_dir(store, member) for member in members]

    def build(target: Path) -> CandidateFacts:
        return _build_ensemble(target, members, folders, training, features_dir=features_dir)

    return produce(store, recipe, build, CandidateFacts)


def _build_ensemble(
    folder: Path,
    members: Sequence[Candidate],
    folders: Sequence[Path],
    training: TrainingConfig,
    *,
    features_dir: Path,
) -> CandidateFacts:
    """Write the bundle of all members and the history of the best one."""
    bundles = [load_bundle(folder / "bundle") for folder in folders]
    networks = [bundle.network for bundle in bundles if isinstance(bundle.network, Network)]
    first = bundles[0]
    ensemble = Ensemble(networks, first.featurizer.target.kind, first.head)
    bundle = Bundle(first.featurizer, ensemble, first.model, first.head)
    streaming = members[0].facts.data_loading == "streaming"
    device = torch.device("cpu")
    folds = build_folds(
        features_dir, first.featurizer, training, device=device, streaming=streaming
    )
    validation = folds.rows.select(folds.held_out_rows)
    if folds.count > 1:
        outputs_SO = folds.predict_out_of_fold(ensemble).numpy()
        bundle = calibrate_bundle(bundle, validation, features_dir, outputs_SO=outputs_SO)
    else:
        calibration_set = split_validation(validation, first.featurizer).calibration or validation
        bundle = calibrate_bundle(bundle, calibration_set, features_dir)
    save_bundle(bundle, folder / "bundle")
    copy_training_rows(features_dir, folder / "bundle")
    losses = [member.facts.validation_loss for member in members]
    best = losses.index(min(losses))
    history = json.loads((folders[best] / "history.json").read_text(encoding="utf-8"))
    (folder / "history.json").write_text(json.dumps(history, indent=2), encoding="utf-8")
    facts = [member.facts for member in members]
    return replace(
        facts[best],
        parameters=sum(each.parameters for each in facts),
        seconds=sum(each.seconds for each in facts),
        members=[member.key for member in members],
        member_losses=losses,
        folds=folds.count,
        plans=[plan for each in facts for plan in each.plans],
    )


def load_teacher(store: Store, teacher: Candidate | None) -> AnyNetwork | None:
    """Load the network, ensemble or blend of a candidate; None for None."""
    return None if teacher is None else load_bundle(local_dir(store, teacher) / "bundle").network


def add_teacher_facts(facts: CandidateFacts, ensemble: Candidate) -> CandidateFacts:
    """Add the teacher's members, plans and seconds to the facts of a distilled network."""
    made = ensemble.facts
    return replace(
        facts,
        members=made.members,
        member_losses=made.member_losses,
        plans=[*made.plans, *facts.plans],
        ensemble=ensemble.key,
        library=made.library,
        selection=made.selection,
        selection_losses=made.selection_losses,
        seconds=round(facts.seconds + made.seconds, 3),
    )
