"""Successive halving for `model: auto`: networks are trained rung by rung; the better continue.

All networks begin the training of the job. After a ninth of its epochs the better third continues,
after a third of them the better third of those, and of these the best at the end is chosen
(Jamieson and Talwalkar 2016). An Optuna study decides which continue (`halving_study.py`). A
network that waits is paused: it continues from its checkpoint, so its weights are bit for bit those
of a training without pauses. The result of each rung is a record in the store, so a killed search
continues where it was.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch

from models.bundle import build_network_spec
from models.errors import PausedError
from models.evaluation.epoch_scores import is_higher_better
from models.features.featurizer import load_featurizer
from models.learning.callbacks import Callbacks, EpochResult, StepResult
from models.learning.checkpoint import parse_state
from models.learning.config import TrainingConfig
from models.learning.plan import TrainingPlan, estimate_epochs
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from models.networks.network import build_network, count_parameters
from tasks.errors import DataError, JobError
from tasks.facts import CandidateFacts
from tasks.records import Candidate, Features
from tasks.storage.artifacts import Recipe, find_artifact, local_dir, produce
from tasks.storage.store import Store
from tasks.task_options import logger
from tasks.training.checkpoints import read_checkpoint
from tasks.training.train import build_candidate_recipe
from tasks.tuning.auto_candidates import count_branches
from tasks.tuning.search_space import Settings
from tasks.tuning.trials import State, drop_checkpoint, run_training, train_settings

VERSION = 2

DIVISORS = (9, 3, 1)
"""The rungs: the number of epochs of the whole training is divided by these."""

_FACTOR = 3
"""One of this many networks of a rung continues."""

LEAST_STEPS = 900
"""Least number of steps after which networks are compared, divided by the divisor of the rung. With
few rows an epoch has few steps, after which every network is as good as another."""


class HalvingContext(NamedTuple):
    """Which networks are tried, and on what."""

    store: Store
    features: Features
    head: HeadConfig
    training: TrainingConfig
    models: Sequence[ModelConfig]

    @property
    def metric(self) -> str:
        """The metric by which networks are compared: that of the job's early stopping."""
        return self.training.early_stopping_metric

    def build_recipe(self, index: int) -> Recipe:
        """Return the recipe of a network's finished training."""
        return build_candidate_recipe(
            self.features, self.models[index].recurrent_part, self.head, self.training
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RungResult:
    """The result of a network on a rung."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    index: int
    """Index in the list of networks."""
    divisor: int
    """The rung is after the planned epochs divided by this."""
    state: State
    value: float | None
    """Metric of the best epoch so far, on the validation rows."""
    epochs: int
    epochs_planned: int
    parameters: int | None
    seconds: float
    """Time of this rung alone."""
    reason: str = ""


class HalvingResult(NamedTuple):
    """The result of a search."""

    rungs: list[RungResult]
    """In the order in which they were run."""
    ranking: list[int]
    """Networks by their index, from best to worst, without those that could not be trained."""


def run_halving(context: HalvingContext, *, budget: float | None) -> HalvingResult:
    """Train the networks rung by rung, at least one of each branch however short the budget is.

    Args:
        context: the networks, one of each branch first.
        budget: seconds after which no further rung of a network is started.
    """
    # Optuna is slow to import, and most jobs name their network.
    from tasks.tuning.halving_study import HalvingStudy

    sizes = compute_rung_sizes(len(context.models))
    study, results = HalvingStudy(sizes), list[RungResult]()
    indices, least = list(range(len(context.models))), count_branches(context.models)
    for rung, divisor in enumerate(DIVISORS):
        before = len(results)
        for index in indices:
            is_over = budget is not None and sum(r.seconds for r in results) >= budget
            if is_over and len(results) >= least:
                break
            result = run_rung(context, index, divisor)
            results.append(result)
            cost = _compute_cost(result, context.metric)
            study.report(index, rung, cost, parameters=result.parameters or 0)
            logger().info("model auto: %s", _format_result(context, result))
        if len(results) == before:
            break
        indices = study.close_rung(rung)
        _drop_checkpoints(context, keep=indices)
    ranking = study.rank_networks()
    _drop_checkpoints(context, keep=ranking[:1])
    return HalvingResult(results, ranking)


def compute_rung_sizes(count: int) -> list[int]:
    """Count the networks of each rung."""
    sizes = [count]
    for _ in DIVISORS[1:]:
        sizes.append(-(-sizes[-1] // _FACTOR))
    return sizes


def compute_whole_trainings(count: int) -> float:
    """Compute the cost of a search among `count` networks, in whole trainings."""
    before, total = 0.0, 0.0
    for size, divisor in zip(compute_rung_sizes(count), DIVISORS, strict=True):
        total += size * (1 / divisor - before)
        before = 1 / divisor
    return total


def share_budget(training: TrainingConfig, count: int) -> TrainingConfig:
    """Return the training of each network; its budget is a share of that of the whole search."""
    if training.budget is None:
        return training
    return replace(training, budget=round(training.budget / compute_whole_trainings(count), 3))


def format_model(model: ModelConfig) -> str:
    """Format a network in a few words."""
    parts = [f"{model.cell} {model.hidden_size}"]
    parts += [f"{model.num_layers} layers"] if model.num_layers > 1 else []
    parts += ["bidirectional"] if model.bidirectional else []
    parts += [" and ".join(model.poolings)]
    parts += ["with fcn"] if model.parallel_branch == "fcn" else []
    parts += [f"children {model.children}"] if model.children != "n-ary" else []
    return ", ".join(parts)


def run_rung(context: HalvingContext, index: int, divisor: int) -> RungResult:
    """Return the result of a network on a rung, trained unless the store has the record."""
    training = reset_checkpoint_interval(context.training)
    settings = Settings(context.models[index], context.head, training)
    recipe = Recipe(
        stage="trial",
        version=VERSION,
        config={**settings._asdict(), "divisor": divisor},
        inputs={"features": context.features.key},
    )
    if found := find_artifact(context.store, recipe, RungResult):
        # The same network may have another index in another search.
        return replace(found.facts, index=index)
    result = _train_to_rung(context, index, divisor)

    def write(folder: Path) -> RungResult:
        text = json.dumps(asdict(result), indent=2)
        (folder / "rung.json").write_text(text, encoding="utf-8")
        return result

    return replace(produce(context.store, recipe, write, RungResult).facts, index=index)


def compute_min_epochs(context: HalvingContext, divisor: int) -> int:
    """Compute the least number of epochs after which networks are compared on a rung."""
    rows, unit = context.features.facts.training, context.training.sequences_per_step
    return -(-LEAST_STEPS // (divisor * -(-rows // unit)))


def reset_checkpoint_interval(training: TrainingConfig) -> TrainingConfig:
    """Return the training for a key: how often its state is saved changes no result."""
    return replace(training, checkpoint_every=0.0)


def _train_to_rung(context: HalvingContext, index: int, divisor: int) -> RungResult:
    """Train a network up to a rung."""
    start_time, progress = time.perf_counter(), _RungProgress(context, index, divisor)
    parameters: int | None = None

    def train() -> Candidate:
        nonlocal parameters
        settings = Settings(context.models[index], context.head, context.training)
        callbacks = Callbacks(progress.on_epoch, progress.on_step)
        try:
            parameters = _count_parameters(context, index)
            return train_settings(context.store, context.features, settings, callbacks)
        except torch.OutOfMemoryError as error:
            raise DataError.of(f"the device's memory is too small: {error}") from error

    _, state, reason = run_training(train, refusals=(DataError, JobError, ValueError))
    is_trained = state in {"complete", "paused"}
    return RungResult(
        index=index,
        divisor=divisor,
        state=state,
        value=_find_best_value(progress.history, context.metric) if is_trained else None,
        epochs=len(progress.history),
        epochs_planned=progress.planned,
        parameters=parameters,
        seconds=round(time.perf_counter() - start_time, 3),
        reason="" if is_trained else reason,
    )


class _RungProgress:
    """Records the epochs of a training, and pauses it at its rung."""

    def __init__(self, context: HalvingContext, index: int, divisor: int) -> None:
        """Read the planned epochs of a training that was started before."""
        self.divisor, self.history = divisor, list[EpochResult]()
        self.min_epochs = compute_min_epochs(context, divisor)
        self.step: StepResult | None = None
        self.planned = _read_planned_epochs(context, index)

    def on_step(self, step: StepResult) -> None:
        """Record a step."""
        self.step = step

    def on_epoch(self, epoch: EpochResult) -> None:
        """Record an epoch.

        Raises:
            PausedError: it is the rung's last one.
        """
        self.history.append(epoch)
        done = epoch.epoch + 1
        if not self.planned and self.step is not None:
            # With a budget the training itself plans its epochs when it begins.
            self.planned = round(done * self.step.total / self.step.done)
        if self.divisor > 1 and done >= max(self.min_epochs, -(-self.planned // self.divisor)):
            raise PausedError(f"epoch {done} is the last one of this rung")


def _read_planned_epochs(context: HalvingContext, index: int) -> int:
    """Count the epochs that a training has planned; 0 where it has a budget and has not started."""
    if context.training.budget is None:
        return estimate_epochs(context.training, context.features.facts.training)
    recipe = context.build_recipe(index)
    if found := find_artifact(context.store, recipe, CandidateFacts):
        return found.facts.epochs_planned
    data = read_checkpoint(context.store, recipe.key)
    return TrainingPlan(*parse_state(data)["plan"]).epochs if data else 0


def _count_parameters(context: HalvingContext, index: int) -> int:
    """Count the parameters of a network."""
    featurizer = load_featurizer(local_dir(context.store, context.features))
    spec = build_network_spec(featurizer, context.head)
    return count_parameters(build_network(context.models[index], spec, seed=context.training.seed))


def _find_best_value(history: Sequence[EpochResult], metric: str) -> float | None:
    """Return the metric of the best epoch; None where no epoch has one."""
    if metric == "loss":
        return min((epoch.validation_loss for epoch in history), default=None)
    values = [epoch.metric for epoch in history if epoch.metric is not None]
    return (max if is_higher_better(metric) else min)(values, default=None)


def _compute_cost(result: RungResult, metric: str) -> float | None:
    """Convert a value to a cost, the lower the better; None where there is none."""
    if result.value is None or math.isnan(result.value):
        return None
    return -result.value if metric != "loss" and is_higher_better(metric) else result.value


def _drop_checkpoints(context: HalvingContext, *, keep: Sequence[int]) -> None:
    """Delete the checkpoints of all networks except those to keep."""
    for index in range(len(context.models)):
        if index not in keep:
            drop_checkpoint(context.store, context.build_recipe(index).key)


def _format_result(context: HalvingContext, result: RungResult) -> str:
    """Format the result of a network on a rung as one line of the log."""
    value = result.reason if result.value is None else f"{context.metric} {result.value:.4f}"
    return (
        f"{format_model(context.models[result.index])}: {result.state} after epoch "
        f"{result.epochs} of {result.epochs_planned}, {value}"
    )
