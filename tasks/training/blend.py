"""Join a trained network or ensemble with a branch that is fitted in closed form.

The branch's features are computed once. Its settings are chosen, and both parts are joined, by the
outputs for rows that neither part has learned from; then the branch is fitted again on all rows of
training and validation.

Shapes: R rows, S held-out rows, O outputs, T numbers of a target.
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.bundle import (
    Bundle,
    build_network_spec,
    load_bundle,
    load_detokenizer,
    save_bundle,
)
from models.features.featurizer import Featurizer
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences, gather_rows
from models.mixing import PartOutputs, Restore, fit_mix, measure_log_loss
from models.networks.blend import Blend, mix_outputs
from models.networks.branches.base import Branch, Features, SequenceBatch
from models.networks.branches.build import BranchSettings, build_branch, choose_branches
from models.networks.branches.lookback import LookbackBranch
from models.networks.config import ClosedFormBranch, ModelConfig
from models.networks.ensemble import Ensemble
from models.networks.heads.config import HeadConfig
from models.networks.network import Network
from tasks.dataset.training_membership import copy_training_rows
from tasks.facts import CandidateFacts
from tasks.records import Candidate
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import Store
from tasks.training.calibration import calibrate_bundle
from tasks.training.folds import Folds, build_folds, read_learning_table, read_targets
from tasks.training.front import resolve_downsample

_MAX_ROWS = 20_000
"""Rows that a branch is fitted on; more are thinned evenly."""

_MIN_ROWS = 200
"""Fewest rows that long sequences are thinned to."""

_MAX_CONVOLVED_STEPS = 2_000_000
"""Steps of all sequences that are convolved at most: some minutes."""

_MAX_IMAGES, _SAMPLE_IMAGES = 10_000, 2_000
"""Images that a branch is fitted on, and those that its filters are drawn from."""

_MAX_WIDE_ROWS = 3_000
"""Rows up to which a rocket has its wide regression: its cost grows with the square of the rows."""

_SAMPLE_STEPS = 20_000
"""Steps of the sequences on which convolutions are fitted."""

_BATCH_STEPS = 10_000

_CPU = torch.device("cpu")


def find_branches(
    featurizer: Featurizer, model: ModelConfig, head: HeadConfig, *, max_length: int
) -> tuple[ClosedFormBranch, ...]:
    """Return the branches in closed form that this model has.

    Raises:
        UnlearnableError: the branch that the job asks for does not fit.
    """
    return choose_branches(
        model.parallel_branch,
        build_network_spec(featurizer, head),
        windowed=featurizer.layout.window is not None,
        text=load_detokenizer(featurizer) is not None,
        max_length=max_length,
    )


def make_blend(
    store: Store,
    recipe: Recipe,
    recurrent: Candidate,
    *,
    features_dir: Path,
    model: ModelConfig,
    training: TrainingConfig,
) -> Candidate:
    """Return the recurrent candidate joined with its branch, made unless the store has it.

    Args:
        store: where candidates are.
        recipe: of the joined model.
        recurrent: the trained network or ensemble.
        features_dir: with the rows of training and validation.
        model: settings of the joined model.
        training: settings by which the recurrent part was trained.
    """
    folder = local_dir(store, recurrent)

    def build(target: Path) -> CandidateFacts:
        bundle = load_bundle(folder / "bundle")
        bundle = replace(bundle, model=resolve_downsample(model, features_dir))
        streaming = recurrent.facts.data_loading == "streaming"
        folds = load_held_out(features_dir, bundle, training, streaming=streaming)
        restore = _build_restore(features_dir, bundle.featurizer, folds)
        joined, outputs_SO = _join(bundle, folds, restore)
        held_out = folds.rows.select(folds.held_out_rows)
        calibrated = calibrate_bundle(joined, held_out, features_dir, outputs_SO=outputs_SO)
        save_bundle(calibrated, target / "bundle")
        copy_training_rows(features_dir, target / "bundle")
        shutil.copyfile(folder / "history.json", target / "history.json")
        assert isinstance(joined.network, Blend)  # noqa: S101 - just joined
        return replace(
            recurrent.facts,
            recurrent=recurrent.key,
            branches=[each.kind for each in joined.network.settings],
            recurrent_weight=joined.network.mix.recurrent_weight,
            branch_weights=joined.network.mix.weights[1:],
        )

    return produce(store, recipe, build, CandidateFacts)


def load_held_out(
    features_dir: Path, bundle: Bundle, training: TrainingConfig, *, streaming: bool
) -> Folds:
    """Load so many rows that the model's branches can be fitted on them, with their folds."""
    folds = build_folds(features_dir, bundle.featurizer, training, device=_CPU, streaming=streaming)
    folds = _thin(folds, _count_max_rows(bundle.featurizer, bundle.model, bundle.head, folds))
    return _sort_windows(folds, features_dir, bundle.featurizer)


def _count_max_rows(
    featurizer: Featurizer, model: ModelConfig, head: HeadConfig, folds: Folds
) -> int:
    """Return how many rows branches are fitted on: convolutions read every step."""
    lengths_S = folds.rows.lengths_S
    kinds = find_branches(featurizer, model, head, max_length=int(lengths_S.max()))
    if "patches" in kinds:
        return _MAX_IMAGES
    if "rocket" not in kinds:
        return _MAX_ROWS
    return min(_MAX_ROWS, max(_MIN_ROWS, int(_MAX_CONVOLVED_STEPS / lengths_S.mean())))


def _thin(folds: Folds, max_rows: int) -> Folds:
    """Return so many rows that a branch can be fitted on, at most half of them held out."""
    if len(folds.rows) <= max_rows:
        return folds
    held_out = folds.held_out_rows
    held_out = _take_evenly(held_out, max_rows // 2 if folds.count == 1 else max_rows)
    always = _take_evenly(np.flatnonzero(folds.fold_S < 0), max_rows - len(held_out))
    index_S = np.sort(np.concatenate([always, held_out]))
    return Folds(
        rows=folds.rows.select(index_S),
        fold_S=folds.fold_S[index_S],
        count=folds.count,
        index_S=index_S,
    )


def _take_evenly(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return at most so many of the rows, evenly spread."""
    if len(rows) <= count:
        return rows
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(np.int64))]


def _sort_windows(folds: Folds, features_dir: Path, featurizer: Featurizer) -> Folds:
    """Return windows of several series in the order of time: by the steps to the series' end.

    A branch is chosen by the newest rows, and a mix judged by blocks of neighbouring ones: these
    are then of all series.
    """
    if featurizer.target.kind != "forecast" or featurizer.layout.entity is None:
        return folds
    table = read_learning_table(features_dir, ["series", "stop"])
    table = table if folds.index_S is None else table[folds.index_S]
    to_end = pl.col("stop") - pl.col("stop").max().over("series")
    order_S = np.argsort(table.select(to_end).to_series().to_numpy(), kind="stable")
    return Folds(
        rows=folds.rows.select(order_S),
        fold_S=folds.fold_S[order_S],
        count=folds.count,
        index_S=order_S if folds.index_S is None else folds.index_S[order_S],
    )


def _build_restore(features_dir: Path, featurizer: Featurizer, folds: Folds) -> Restore | None:
    """Return what brings scaled numbers of the held-out rows to the unit of a forecast's target.

    Entities that are scaled apart, and logarithms, would else count by other errors than those
    that metrics compare.
    """
    target = featurizer.target
    if target.kind != "forecast" or target.parts:
        return None
    table = read_learning_table(features_dir, ["center", "scale"])
    table = table if folds.index_S is None else table[folds.index_S]
    table = table[folds.held_out_rows]
    center_S1, scale_S1 = (table[name].to_numpy()[:, None] for name in ("center", "scale"))

    def restore(scaled_ST: Tensor) -> Tensor:
        units_ST = scaled_ST.double().numpy() * scale_S1 + center_S1
        return torch.from_numpy(target.from_units(units_ST))

    return restore


def _join(
    bundle: Bundle, folds: Folds, restore: Restore | None
) -> tuple[Bundle, NDArray[np.float32]]:
    """Fit the branches and join them.

    Args:
        bundle: the trained model.
        folds: the rows.
        restore: see `_build_restore`.

    Returns:
        The joined model, and its outputs for the held-out rows, each by parts that have not
        learned from the row, [S, O].
    """
    network, kind = bundle.network, bundle.featurizer.target.kind
    assert isinstance(network, (Network, Ensemble))  # noqa: S101 - trained without its branches
    fitted = fit_branches(bundle, folds)
    outputs = [folds.predict_out_of_fold(network), *(each.outputs_SO for each in fitted)]
    targets = torch.from_numpy(read_targets(folds.rows, bundle.featurizer)[folds.held_out_rows])
    window = bundle.featurizer.layout.window
    is_naive = any(
        isinstance(each.branch, LookbackBranch) and each.branch.is_naive for each in fitted
    )
    parts = PartOutputs(
        outputs,
        targets,
        chose_epochs=folds.count > 1,
        restore=restore,
        is_naive=is_naive,
        horizon=window.horizon if window else 0,
    )
    mix = fit_mix(parts, kind, bundle.head)
    branches, settings = [each.branch for each in fitted], [each.settings for each in fitted]
    blend = Blend(network, branches, mix, kind, settings=settings)
    mixed_SO = mix_outputs(outputs, mix, kind)
    return replace(bundle, network=blend.eval()), mixed_SO.float().numpy()


def fit_branches(bundle: Bundle, folds: Folds) -> list["FittedBranch"]:
    """Fit the branches of a model, fold after fold and on all rows."""
    target_RO = read_targets(folds.rows, bundle.featurizer)
    return [_fit_branch(bundle, each, folds, target_RO) for each in _list_settings(bundle, folds)]


class FittedBranch(NamedTuple):
    """A branch that is fitted on all rows."""

    branch: Branch
    settings: BranchSettings
    outputs_SO: Tensor
    """For the held-out rows, each by a fit without it."""


def _list_settings(bundle: Bundle, folds: Folds) -> list[BranchSettings]:
    """Return the settings of the branches before their penalties are chosen."""
    longest = int(folds.rows.lengths_S.max())
    kinds = find_branches(bundle.featurizer, bundle.model, bundle.head, max_length=longest)
    return [
        BranchSettings(
            kind=kind,
            wide=kind == "rocket" and len(folds.rows) <= _MAX_WIDE_ROWS,
            lookback=longest if kind == "linear" else 0,
        )
        for kind in kinds
    ]


def _fit_branch(
    bundle: Bundle, settings: BranchSettings, folds: Folds, target_RO: NDArray[np.float64]
) -> FittedBranch:
    """Fit one branch, fold after fold and on all rows.

    Where a logistic regression has a penalty, the one with the least log loss is taken.
    """
    spec = build_network_spec(bundle.featurizer, bundle.head)
    branch = build_branch(settings, spec, detokenize=load_detokenizer(bundle.featurizer))
    branch.fit_features(_batch_sequences(_sample(folds.rows, settings)))
    features = branch.join_features(
        [branch.compute_features(batch) for batch in _batch_sequences(folds.rows)]
    )
    held_out = torch.from_numpy(target_RO[folds.held_out_rows])
    best_loss, outputs_SO = math.inf, torch.empty(0)
    for penalty in branch.inverse_penalties or (branch.inverse_penalty,):
        branch.inverse_penalty = penalty
        tried_SO = _predict_folds(branch, features, folds, target_RO)
        if not branch.inverse_penalties:
            outputs_SO = tried_SO
            break
        loss = measure_log_loss(tried_SO, held_out, bundle.featurizer.target.kind)
        if loss >= best_loss:
            break
        best_loss, outputs_SO = loss, tried_SO
        settings = replace(settings, inverse_penalty=penalty)
    branch.inverse_penalty = settings.inverse_penalty
    branch.fit(features, target_RO)
    return FittedBranch(branch, settings, outputs_SO)


def _predict_folds(
    branch: Branch, features: Features, folds: Folds, target_RO: NDArray[np.float64]
) -> Tensor:
    """Return the outputs for the held-out rows, fold after fold."""
    position_S = np.cumsum(folds.fold_S >= 0) - 1
    outputs_SO = torch.zeros(len(folds.held_out_rows), branch.spec.num_outputs)
    for fold in range(folds.count):
        held_out_R = folds.fold_S == fold
        branch.fit_rows(features, np.flatnonzero(~held_out_R), target_RO)
        rows = np.flatnonzero(held_out_R)
        own_SO = branch.predict(branch.select_rows(features, rows)).float()
        outputs_SO[torch.from_numpy(position_S[rows])] = own_SO
    return outputs_SO


def _sample(rows: Sequences, settings: BranchSettings) -> Sequences:
    """Return the sequences that the features are fitted on."""
    if settings.kind == "patches":
        count = min(len(rows), _SAMPLE_IMAGES)
    elif settings.kind == "rocket":
        share = min(1.0, _SAMPLE_STEPS / max(int(rows.lengths_S.sum()), 1))
        count = max(1, round(share * len(rows)))
    else:
        return rows
    return rows.select(np.linspace(0, len(rows) - 1, count).round().astype(np.int64))


def _batch_sequences(rows: Sequences) -> Iterator[SequenceBatch]:
    """Yield the sequences in their order, some thousands of steps at a time."""
    plain = replace(rows, augmentation=None)
    group_S = (np.cumsum(rows.lengths_S) - rows.lengths_S) // _BATCH_STEPS
    for index_B in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(group_S)) + 1):
        batch = gather_rows(plain, index_B)
        yield SequenceBatch(batch.values_NC, batch.offsets, batch.statics)
