"""Pretraining: a network learns to predict the next step before it learns the target.

It reads the training rows, also those without a target, and never a target. Nor does it read a row
of validation or test: with what it had read of them, a model would be too good at the very rows
that decide on it. Folds and the members of an ensemble start from the same weights, so with folds a
network has read the steps of the training rows in its own fold before, though never their targets;
its scores out of fold may be a little too good for that, those on the test rows are not.

The weights are an artifact of their own, under a key that leaves head, pooling and branches out, so
that another model of the same layers does not pretrain again.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.bundle import build_network_spec
from models.errors import UnlearnableError
from models.features.feature_spec import Tokens
from models.features.featurizer import Featurizer, load_featurizer
from models.features.splitting.split import TRAINING, UNLABELLED
from models.learning.callbacks import Callbacks, EpochResult, ValidationMetric, smooth_scores
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences
from models.learning.loop import CheckpointStore, fit
from models.learning.memory import retain_freed_memory
from models.learning.plan import TrainingPlan, load_plan
from models.learning.precision import choose_precision
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from models.networks.inputs.front import TokenFront
from models.networks.pretraining.network import (
    NextStepNetwork,
    build_next_step_network,
    select_pretrained_weights,
)
from tasks.pretraining_record import PretrainingFacts
from tasks.resource_usage import start_meter
from tasks.training.calibration import compute_sequence_hashes
from tasks.training.data import choose_device, load_split, should_stream
from tasks.training.folds import assign_folds

_WEIGHTS = "weights.safetensors"

_HELD_OUT_PARTS, _MAX_HELD_OUT_ROWS = 10, 2_000
"""One part in so many of the rows is held out, or fewer: they decide when pretraining stops."""

_MAX_LOSS = 100.0
"""In nats; the perplexity of a larger one is stated as that of this one."""

_COUNTED_ROWS = 10_000
"""Rows whose steps are counted at once."""


def train_next_step(
    features_dir: Path,
    folder: Path,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    checkpoints: CheckpointStore,
    callbacks: Callbacks,
    plan: TrainingPlan | None = None,
) -> PretrainingFacts:
    """Train the front and the layers of a network to predict the next step; write their weights.

    Args:
        features_dir: has the training sequences.
        folder: where the weights are written.
        model: the network that will start from them.
        head: its head, for the normalization of the input.
        training: of this pretraining.
        checkpoints: where the state of a killed run is.
        callbacks: called with each step and each epoch.
        plan: of a run that is reproduced.

    Raises:
        DivergedError: the loss stopped being finite.
        UnlearnableError: this network, or these rows, have no next step to predict.
    """
    retain_freed_memory()
    device, featurizer = choose_device(training), load_featurizer(features_dir)
    network = build_next_step_network(
        model, build_network_spec(featurizer, head), seed=training.seed
    ).to(device)
    saved_plan = load_plan(checkpoints) or plan
    streaming = should_stream(features_dir, training, device, saved_plan)
    training = replace(training, precision=choose_precision(training, model, device, saved_plan))
    rows, held_out = load_pretraining_rows(
        features_dir, featurizer, seed=training.seed, device=device, streaming=streaming
    )
    prepare_next_step_network(network, rows)
    meter, metric = start_meter(), build_next_step_metric(featurizer)
    made_plan, history = fit(
        network,
        rows,
        held_out,
        config=training,
        checkpoints=checkpoints,
        callbacks=callbacks,
        metric=metric,
        plan=plan,
    )
    scores = smooth_scores(history, metric, rows=len(held_out))
    save_file(
        {name: weight.contiguous() for name, weight in select_pretrained_weights(network).items()},
        folder / _WEIGHTS,
    )
    return _build_facts(
        made_plan,
        history,
        best=scores.index(min(scores)),
        rows=(len(rows), len(held_out)),
        start=_describe_start(model, featurizer),
        seconds=meter.measure().seconds,
    )


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Load the weights that `train_next_step` wrote."""
    weights: dict[str, Tensor] = load_file(folder / _WEIGHTS)
    return weights


def load_pretraining_rows(
    features_dir: Path,
    featurizer: Featurizer,
    *,
    seed: int,
    device: torch.device,
    streaming: bool,
) -> tuple[Sequences, Sequences]:
    """Load the training rows, and those of them that are held out to decide when to stop.

    Raises:
        UnlearnableError: there are too few rows with a next step.
    """
    rows = replace(
        load_split(features_dir, TRAINING, UNLABELLED, device=device, streaming=streaming),
        augmentation=None,
    )
    rows = rows.select(np.flatnonzero(rows.lengths_S > 1))
    if len(rows) < 2:
        raise UnlearnableError(
            f"training.pretrain next_step: {len(rows)} training rows have two steps or more, so "
            "there is no next step to predict; set pretrain: none"
        )
    held_out_S = _choose_held_out(rows, seed=seed, windowed=featurizer.layout.window is not None)
    learned = rows.select(np.flatnonzero(~held_out_S))
    return learned, rows.select(np.flatnonzero(held_out_S))


def prepare_next_step_network(network: NextStepNetwork, rows: Sequences) -> None:
    """Fit what is not trained by gradients: the frequencies of the ids."""
    if not isinstance(network.front, TokenFront):
        return
    learned = network.front.num_learned
    counts_V = np.zeros(learned, np.int64)
    for first in range(0, len(rows), _COUNTED_ROWS):
        index_N = rows.select(np.arange(first, min(first + _COUNTED_ROWS, len(rows)))).spans.index_N
        ids_N = np.asarray(_to_array(rows.values_NC)[index_N, 0])
        counts_V += np.bincount(np.where(ids_N < learned, ids_N, 0), minlength=learned)
    network.head.fit_frequencies(torch.from_numpy(counts_V))


def build_next_step_metric(featurizer: Featurizer) -> ValidationMetric:
    """Build the metric of the held-out rows: the perplexity of tokens, the error of numbers."""
    reads_tokens = isinstance(featurizer.feature_spec, Tokens)

    def compute(sums_S2: NDArray[np.float32]) -> float:
        total, count = sums_S2.astype(np.float64).sum(axis=0)
        mean = total / max(count, 1.0)
        return math.exp(min(mean, _MAX_LOSS)) if reads_tokens else float(mean)

    return ValidationMetric(
        name="perplexity" if reads_tokens else "mse",
        higher_is_better=False,
        compute=compute,
        stops_training=True,
    )


def _to_array(values_NC: Tensor | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the steps on the host."""
    return values_NC.cpu().numpy() if isinstance(values_NC, Tensor) else values_NC


def _choose_held_out(rows: Sequences, *, seed: int, windowed: bool) -> NDArray[np.bool_]:
    """Return which rows are held out: equal ones together, and the last ones where they overlap."""
    parts = max(_HELD_OUT_PARTS, len(rows) // _MAX_HELD_OUT_ROWS)
    if windowed or len(rows) < 2 * parts:
        return np.arange(len(rows)) >= len(rows) - max(1, len(rows) // parts)
    part_S = assign_folds(compute_sequence_hashes(rows), None, parts, seed=seed)
    return np.equal(part_S, 0)


def _describe_start(model: ModelConfig, featurizer: Featurizer) -> str:
    """Describe the weights that pretraining began with."""
    spec = featurizer.feature_spec
    pretrained = ["embeddings"] if isinstance(spec, Tokens) and spec.vectors_VD is not None else []
    pretrained += ["layers"] if model.pretrained_weights else []
    return f"pretrained {' and '.join(pretrained)}" if pretrained else "random weights"


def _build_facts(
    plan: TrainingPlan,
    history: Sequence[EpochResult],
    *,
    best: int,
    rows: tuple[int, int],
    start: str,
    seconds: float,
) -> PretrainingFacts:
    """Build the facts of a finished pretraining."""
    values = [math.inf if epoch.metric is None else epoch.metric for epoch in history]
    return PretrainingFacts(
        rows=rows[0],
        held_out_rows=rows[1],
        start=start,
        metric=str(history[0].metric_name),
        value=values[best],
        steps=len(history) * plan.steps,
        epochs=len(history),
        best_epoch=best + 1,
        training_losses=[epoch.training_loss for epoch in history],
        values=values,
        plan=plan._asdict(),
        seconds=seconds,
    )
