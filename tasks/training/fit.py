"""Train one network: from the folder of the features to a bundle, its history and its facts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models.bundle import Bundle, build_network_spec, save_bundle
from models.features.featurizer import load_featurizer
from models.learning.callbacks import ValidationMetric, smooth_scores
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, CheckpointStore, EpochResult, fit
from models.learning.memory import retain_freed_memory
from models.learning.plan import TrainingPlan, load_plan
from models.learning.precision import choose_precision
from models.learning.validation import add_teacher_outputs
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from models.networks.network import Network, build_network, count_parameters
from models.networks.pretraining.network import load_pretrained_weights
from models.trained_networks import AnyNetwork
from tasks.dataset.training_membership import copy_training_rows
from tasks.facts import CandidateFacts
from tasks.resource_usage import ResourceUsage, start_meter
from tasks.training.calibration import calibrate_bundle, split_validation
from tasks.training.data import choose_device, should_stream
from tasks.training.folds import (
    load_fold,
)
from tasks.training.front import resolve_downsample
from tasks.training.head_setup import prepare_network
from tasks.training.validation_metric import build_validation_metric


def train_network(
    features_dir: Path,
    folder: Path,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    checkpoints: CheckpointStore,
    callbacks: Callbacks,
    teacher: AnyNetwork | None = None,
    plan: TrainingPlan | None = None,
    fold: int | None = None,
    start: Mapping[str, Tensor] | None = None,
) -> CandidateFacts:
    """Train one network on the features; write its bundle and history into `folder`.

    Args:
        features_dir: has the training and validation sequences.
        folder: where `bundle/` and `history.json` are written.
        model: the network.
        head: its output and loss.
        training: the optimisation.
        checkpoints: where the state of a killed run is.
        callbacks: called with each step and each epoch.
        teacher: model whose outputs are further targets, of a distilled network.
        plan: of a run that is reproduced.
        fold: the fold to validate on; None for the validation split.
        start: pretrained weights of its front and its layers; None for random ones.

    Raises:
        DivergedError: the loss stopped being finite.
    """
    retain_freed_memory()
    device, featurizer = choose_device(training), load_featurizer(features_dir)
    model = resolve_downsample(model, features_dir)
    network = build_network(model, build_network_spec(featurizer, head), seed=training.seed)
    if start is not None:
        load_pretrained_weights(network, start)
    saved_plan = load_plan(checkpoints) or plan
    streaming = should_stream(features_dir, training, device, saved_plan)
    training = replace(training, precision=choose_precision(training, model, device, saved_plan))
    training_set, validation = load_fold(
        features_dir, featurizer, training, device=device, streaming=streaming, fold=fold
    )
    if teacher:
        training_set = add_teacher_outputs(training_set, teacher.to(device))
    prepare_network(network.to(device), training_set, model=model, seed=training.seed)
    parts, meter = split_validation(validation, featurizer), start_meter()
    metric = build_validation_metric(
        features_dir, featurizer, head, training, rows_S=parts.rows_S, fold=fold
    )
    plan, history = fit(
        network,
        training_set,
        parts.early_stopping,
        config=training,
        checkpoints=checkpoints,
        callbacks=callbacks,
        metric=metric,
        plan=plan,
    )
    usage, bundle = meter.measure(), Bundle(featurizer, network, model, head)
    if fold is None:
        bundle = calibrate_bundle(bundle, parts.calibration or validation, features_dir)
    save_bundle(bundle, folder / "bundle")
    copy_training_rows(features_dir, folder / "bundle")
    _write_history(history, folder / "history.json")
    best = _find_best_epoch(history, metric, rows=len(parts.early_stopping))
    return _build_facts(network, plan, history, best=best, device=device, usage=usage)


def _find_best_epoch(
    history: Sequence[EpochResult], metric: ValidationMetric | None, *, rows: int
) -> EpochResult:
    """Return the epoch whose weights were kept."""
    scores = smooth_scores(history, metric, rows=rows)
    return history[scores.index(min(scores))]


def _build_facts(
    network: Network,
    plan: TrainingPlan,
    history: Sequence[EpochResult],
    *,
    best: EpochResult,
    device: torch.device,
    usage: ResourceUsage,
) -> CandidateFacts:
    """Build the facts of a finished training."""
    return CandidateFacts(
        epochs=len(history),
        best_epoch=best.epoch + 1,
        validation_loss=best.validation_loss,
        padding_share=round(history[0].padding_share, 4),
        validation_metric=best.metric,
        epochs_planned=plan.epochs,
        learning_rate=plan.peak_learning_rate,
        batch_size=plan.batch_size,
        precision=plan.precision,
        data_loading="streaming" if plan.is_streaming else "in_memory",
        kernels=plan.kernels,
        plans=[plan._asdict()],
        parameters=count_parameters(network),
        device=str(device),
        seconds=usage.seconds,
        peak_memory_bytes=usage.peak_memory_bytes,
        energy_joules=usage.energy_joules,
    )


def _write_history(history: Sequence[EpochResult], path: Path) -> None:
    """Write the epochs as JSON."""
    epochs = [epoch._asdict() for epoch in history]
    path.write_text(json.dumps(epochs, indent=2), encoding="utf-8")
