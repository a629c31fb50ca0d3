"""Select networks of several recipes, and join them with the branches in closed form.

Each recipe of the library is a candidate of its own, trained on the same folds, so it is stored and
resumed after a kill like any other. Its time is planned from what the earlier ones took, as their
records say: the first recipe, the surest, may take half of the time, and what it leaves moves on to
the next; a recipe is not begun where there is not half the time that the others needed.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from models.bundle import Bundle, load_bundle, save_bundle
from models.features.featurizer import Featurizer
from models.learning.config import TrainingConfig
from models.learning.plan import TrainingPlan, estimate_epochs
from models.networks.blend import Blend
from models.networks.config import ModelConfig
from models.networks.ensemble import Ensemble
from models.networks.network import Network
from models.networks.selected_ensemble import PartSettings, SelectedEnsemble
from models.selection import Selection, join_outputs, select_parts
from tasks.dataset.training_membership import copy_training_rows
from tasks.errors import DataError, TrainingError
from tasks.facts import CandidateFacts, Scalar
from tasks.library_record import LibraryPart
from tasks.records import Candidate
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import Store
from tasks.task_options import logger
from tasks.training.blend import FittedBranch, fit_branches, load_held_out
from tasks.training.calibration import calibrate_bundle
from tasks.training.folds import RowSizes, read_targets
from tasks.training.library import Recipe as LibraryRecipe

_Value = TypeVar("_Value")

_FIRST_SHARE = 0.5
"""Share of the time that the first recipe may take."""

_MIN_SHARE = 0.5
"""Share of the mean time of the recipes so far that has to be left for another one."""

_BRANCH_SHARE = 0.15
"""Share of the budget that is kept for the branches and the selection."""

EPOCHS = 2
"""Epochs of each network, in multiples of those of a single one by default."""

_NO_PLAN: dict[str, Scalar] = {
    "epochs": 0,
    "steps": 0,
    "peak_learning_rate": 0.0,
    "is_streaming": False,
    "batch_size": 1,
    "precision": "fp32",
}
"""Stands for the plan of a network that could not be trained, so that it is not tried again where
the model is reproduced."""


class LibraryResult(NamedTuple):
    """A recipe that was tried."""

    recipe: LibraryRecipe
    candidate: Candidate | None
    """None where it could not be trained."""
    reason: str = ""


def train_library(
    library: Sequence[LibraryRecipe],
    make: Callable[..., Candidate],
    training: TrainingConfig,
    *,
    folds: int,
    sizes: RowSizes,
    plans: Sequence[TrainingPlan],
) -> list[LibraryResult]:
    """Train the recipes one after the other, until the budget ends.

    Args:
        library: the recipes, the surest first.
        make: trains a model by its settings.
        training: of the whole selection.
        folds: on which each recipe is trained; 1 for a validation split.
        sizes: of the rows.
        plans: of a selection that is reproduced, for each network of each recipe that was tried.

    Raises:
        DataError: the job's own network cannot learn these targets.
        TrainingError: its loss stopped being finite.
    """
    own = _build_training(training, folds, sizes)
    results: list[LibraryResult] = []
    for index, recipe in enumerate(library):
        own_plans = plans[index * folds : (index + 1) * folds]
        seconds = [each.candidate.facts.seconds for each in results if each.candidate]
        budget = _plan_budget(own.budget, seconds, remaining=len(library) - index)
        if (plans and not own_plans) or (not plans and budget == 0):
            break
        if own_plans and not own_plans[0].epochs:
            results.append(LibraryResult(recipe, None, "could not be trained"))
            continue
        settings = replace(own, budget=budget or None)
        # Pretrained weights fit the job's own network alone.
        fresh = {"start": None, "training": replace(settings, pretrain="none")} if index else {}
        try:
            candidate = make(
                model=recipe.model,
                plans=own_plans,
                name=f"{recipe.name}/",
                **{"training": settings, **fresh},
            )
        except (DataError, TrainingError, torch.OutOfMemoryError) as error:
            if not index:
                raise
            logger().warning("ensemble auto: %s is left out: %s", recipe.name, error)
            results.append(LibraryResult(recipe, None, str(error)))
        else:
            logger().info("ensemble auto: %s trained", recipe.name)
            results.append(LibraryResult(recipe, candidate))
    return results


def _build_training(training: TrainingConfig, folds: int, sizes: RowSizes) -> TrainingConfig:
    """Return the training of each recipe, with the time of all of them."""
    epochs = training.epochs
    if epochs == "auto":
        epochs = EPOCHS * estimate_epochs(training, max(1, sizes.num_rows * (folds - 1) // folds))
        epochs = epochs if folds > 1 else EPOCHS * estimate_epochs(training, sizes.num_rows)
    budget = training.budget
    if budget is not None:
        budget *= 1 - _BRANCH_SHARE
    return replace(training, ensemble=1, distill=False, folds=folds, epochs=epochs, budget=budget)


def _plan_budget(budget: float | None, seconds: Sequence[float], *, remaining: int) -> float | None:
    """Return the time of the next recipe; 0 where too little is left, None without a budget.

    Args:
        budget: of all recipes.
        seconds: that each of the earlier ones took.
        remaining: recipes that were not tried yet, this one included.
    """
    if budget is None:
        return None
    if not seconds:
        return round(budget * _FIRST_SHARE, 3)
    left, mean = budget - sum(seconds), sum(seconds) / len(seconds)
    if left < _MIN_SHARE * mean:
        return 0
    return round(min(left, max(left / remaining, mean)), 3)


def make_selection(
    store: Store,
    recipe: Recipe,
    results: Sequence[LibraryResult],
    *,
    features_dir: Path,
    model: ModelConfig,
    training: TrainingConfig,
) -> Candidate:
    """Return the model that is selected from trained recipes, made unless the store has it.

    Args:
        store: where the recipes' candidates are.
        recipe: of the selected model.
        results: the recipes that were tried.
        features_dir: with the rows of training and validation.
        model: the job's own network, with its branches.
        training: of the whole selection, with the number of folds.
    """

    def build(target: Path) -> CandidateFacts:
        trained = [_load_part(store, each) for each in results if each.candidate]
        first = replace(trained[0].bundle, model=model)
        streaming = trained[0].facts.data_loading == "streaming"
        rows = load_held_out(features_dir, first, training, streaming=streaming)
        targets = torch.from_numpy(read_targets(rows.rows, first.featurizer)[rows.held_out_rows])
        networks = [rows.predict_out_of_fold(part.network) for part in trained]
        fitted = fit_branches(first, rows)
        branches = [each.outputs_SO for each in fitted]
        kind = first.featurizer.target.kind
        selection = select_parts(networks, branches, targets, kind=kind, head=first.head)
        outputs_SO = join_outputs(networks, branches, selection, kind).float().numpy()
        bundle = replace(first, network=_combine(trained, fitted, selection, first.featurizer))
        held_out = rows.rows.select(rows.held_out_rows)
        bundle = calibrate_bundle(bundle, held_out, features_dir, outputs_SO=outputs_SO)
        save_bundle(bundle, target / "bundle")
        copy_training_rows(features_dir, target / "bundle")
        best = _find_best(selection, len(trained))
        shutil.copyfile(trained[best].folder / "history.json", target / "history.json")
        return _build_facts(results, selection, bundle, fitted, folds=rows.count)

    return produce(store, recipe, build, CandidateFacts)


class _Part(NamedTuple):
    """A trained recipe, loaded."""

    recipe: LibraryRecipe
    facts: CandidateFacts
    folder: Path
    bundle: Bundle

    @property
    def network(self) -> Network | Ensemble:
        """Its network, or those of its folds."""
        found = self.bundle.network
        assert isinstance(found, (Network, Ensemble))  # noqa: S101 - trained without branches
        return found


def _load_part(store: Store, result: LibraryResult) -> _Part:
    """Load a trained recipe."""
    assert result.candidate is not None  # noqa: S101 - the caller leaves out the others
    folder = local_dir(store, result.candidate)
    return _Part(result.recipe, result.candidate.facts, folder, load_bundle(folder / "bundle"))


def _combine(
    trained: Sequence[_Part],
    fitted: Sequence[FittedBranch],
    selection: Selection,
    featurizer: Featurizer,
) -> Network | Ensemble | SelectedEnsemble | Blend:
    """Combine the parts that have a weight; the others are left out."""
    kind, mix = featurizer.target.kind, selection.mix
    recurrent = _combine_networks(trained, selection, featurizer)
    used = [index for index, weight in enumerate(mix.weights[1:]) if weight]
    if not used:
        return recurrent
    return Blend(
        recurrent,
        [fitted[index].branch for index in used],
        replace(
            mix,
            weights=_take(mix.weights, [0, *(1 + index for index in used)]),
            temperatures=_take(mix.temperatures, [0, *(1 + index for index in used)]),
            offsets=_take(mix.offsets, used),
        ),
        kind,
        settings=[fitted[index].settings for index in used],
    ).eval()


def _take(values: tuple[_Value, ...], indices: Sequence[int]) -> tuple[_Value, ...]:
    """Return the values at some indices; none where there are none."""
    return tuple(values[index] for index in indices) if values else ()


def _combine_networks(
    trained: Sequence[_Part], selection: Selection, featurizer: Featurizer
) -> Network | Ensemble | SelectedEnsemble:
    """Combine the networks that have a weight."""
    weights = selection.network_weights
    used = [index for index, weight in enumerate(weights) if weight]
    temperatures = selection.temperatures or (1.0,) * len(weights)
    settings = [
        PartSettings(
            name=trained[index].recipe.name,
            model=trained[index].bundle.model,
            networks=_count_networks(trained[index].network),
            weight=weights[index],
            temperature=temperatures[index],
        )
        for index in used
    ]
    parts = [trained[index].network for index in used]
    return SelectedEnsemble(parts, featurizer.target.kind, settings=settings).eval()


def _count_networks(network: Network | Ensemble) -> int:
    """Count the networks of a part."""
    return len(network.members) if isinstance(network, Ensemble) else 1


def _find_best(selection: Selection, count: int) -> int:
    """Return the network with the largest weight, of equal ones the one with the least loss."""
    weights = selection.network_weights
    return max(range(count), key=lambda index: (weights[index], -selection.part_losses[index]))


def _build_facts(
    results: Sequence[LibraryResult],
    selection: Selection,
    bundle: Bundle,
    fitted: Sequence[FittedBranch],
    *,
    folds: int,
) -> CandidateFacts:
    """Build the facts of a selection: of its heaviest network, with the times and plans of all."""
    candidates = [each.candidate for each in results if each.candidate]
    best = candidates[_find_best(selection, len(candidates))].facts
    blend = bundle.network if isinstance(bundle.network, Blend) else None
    plans = [
        plan
        for each in results
        for plan in (each.candidate.facts.plans if each.candidate else [_NO_PLAN] * folds)
    ]
    used = [weight > 0 for weight in selection.network_weights]
    return replace(
        best,
        parameters=sum(
            each.facts.parameters for each, is_used in zip(candidates, used, strict=True) if is_used
        ),
        seconds=round(math.fsum(each.facts.seconds for each in candidates), 3),
        members=[each.key for each in candidates],
        member_losses=[each.facts.validation_loss for each in candidates],
        folds=folds,
        plans=plans,
        branches=[each.kind for each in blend.settings] if blend else [],
        recurrent_weight=blend.mix.recurrent_weight if blend else None,
        branch_weights=blend.mix.weights[1:] if blend else [],
        library=_list_library_parts(results, fitted, selection),
        selection=selection.method,
        selection_losses=selection.losses,
    )


def _list_library_parts(
    results: Sequence[LibraryResult], fitted: Sequence[FittedBranch], selection: Selection
) -> list[LibraryPart]:
    """List all that could be selected: networks, then branches, then what could not be trained."""
    trained = [each for each in results if each.candidate]
    scores = zip(selection.part_losses, selection.part_weights, strict=True)
    parts = [
        LibraryPart(
            name=each.recipe.name,
            model=each.recipe.model,
            loss=loss,
            weight=weight,
            seconds=each.candidate.facts.seconds if each.candidate else None,
        )
        for each, (loss, weight) in zip(trained, scores, strict=False)
    ]
    names = [each.settings.kind for each in fitted]
    rest = zip(
        names,
        selection.part_losses[len(trained) :],
        selection.part_weights[len(trained) :],
        strict=True,
    )
    parts += [LibraryPart(name=name, loss=loss, weight=weight) for name, loss, weight in rest]
    failed = [each for each in results if each.candidate is None]
    return parts + [
        LibraryPart(name=each.recipe.name, model=each.recipe.model, reason=each.reason)
        for each in failed
    ]
