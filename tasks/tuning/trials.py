"""Trials: settings that are trained until they are pruned, and a record of each result.

The key of a record depends on its settings and on the previous record, so a search that is run
again finds the same records in the same order, however often it was killed: the records are the
state of the search, and no database is needed.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from models.bundle import load_bundle
from models.errors import PausedError, PrunedError
from models.evaluation.metrics.by_kind import compute_metrics, get_metric_sign
from models.features.featurizer import load_featurizer
from models.features.splitting.split import VALIDATION
from models.learning.checkpoint import parse_state
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, EpochResult
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.labels import load_test_rows
from tasks.dataset.rowset import open_rows
from tasks.errors import DataError, TrainingError
from tasks.facts import CandidateFacts
from tasks.prediction.test_predictions import (
    compute_naive_scale,
    pair_with_targets,
    predict_test_rows,
)
from tasks.records import Accepted, Artifact, Candidate, Features
from tasks.storage.artifacts import Recipe, find_artifact, local_dir, produce
from tasks.storage.store import Store
from tasks.training.checkpoints import read_checkpoint
from tasks.training.pretrain import hash_pretrained_weights
from tasks.training.progress import combine_callbacks, report_progress
from tasks.training.train import build_candidate_recipe, make_candidate
from tasks.tuning.search_space import Settings, TuningConfig

VERSION = 1

State = Literal["complete", "pruned", "paused", "stopped", "diverged", "refused"]
"""`pruned`: worse than other trials; `paused`: it can continue; `stopped`: the budget ended;
`diverged`: its loss was not finite; `refused`: its settings do not fit each other or the data."""

_Result = TypeVar("_Result")

ShouldContinue = Callable[[int, float], bool]
"""Called with an epoch, from 0, and its validation loss; returns False to prune the trial."""


class TrialContext(NamedTuple):
    """What all trials of a search share."""

    store: Store
    accepted: Accepted
    features: Features
    base: Settings
    """The settings of the job, from which trials differ."""
    tuning: TuningConfig
    season_length: int
    """Steps of a season, for metrics that compare with a naive forecast."""


class TrialRequest(NamedTuple):
    """One trial that is to be run."""

    number: int
    params: Mapping[str, Any]
    previous_key: str
    """Key of the trial before it."""
    seconds_left: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """The result of one trial."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    number: int
    state: State
    value: float | None
    """Of the optimised metric, on the validation rows."""
    params: Mapping[str, Any]
    """Its settings, by dotted key."""
    training_losses: Sequence[float]
    validation_losses: Sequence[float]
    seconds: float
    reason: str = ""
    candidate_key: str = ""
    """Key of the model, where it was trained to the end."""
    key: str = field(default="", compare=False)


def make_trial(
    context: TrialContext, request: TrialRequest, should_continue: ShouldContinue
) -> Trial:
    """Return the trial of these settings, trained unless the store has the record."""
    recipes = [_build_trial_recipe(context, request, stopped=stopped) for stopped in (False, True)]
    for recipe in recipes:
        if found := find_artifact(context.store, recipe, Trial):
            trial = _read_trial(found)
            for epoch, loss in enumerate(trial.validation_losses):
                should_continue(epoch, loss)
            return trial
    trial = _run_trial(context, request, should_continue)

    def write(folder: Path) -> Trial:
        facts = {name: value for name, value in asdict(trial).items() if name != "key"}
        (folder / "trial.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
        return trial

    return _read_trial(produce(context.store, recipes[trial.state == "stopped"], write, Trial))


def run_training(
    train: Callable[[], _Result],
    *,
    refusals: tuple[type[Exception], ...] = (DataError, ValueError),
) -> tuple[_Result | None, State, str]:
    """Run a training, and convert an error that ends it early into the state of a trial.

    Args:
        train: what is run.
        refusals: errors that mean that settings, network and data do not fit each other.

    Returns:
        What `train` returned, or None; the state; and the reason of any but `complete`.
    """
    try:
        return train(), "complete", ""
    except PrunedError as error:
        return None, "pruned", str(error)
    except PausedError as error:
        return None, "paused", str(error)
    except TrainingError as error:
        return None, "diverged", str(error)
    except refusals as error:
        return None, "refused", str(error)


def train_settings(
    store: Store, features: Features, settings: Settings, callbacks: Callbacks
) -> Candidate:
    """Train the recurrent part of a candidate, or resume it; `callbacks` get earlier epochs, too.

    A checkpoint that nothing will resume is deleted.
    """
    settings = settings._replace(
        model=settings.model.recurrent_part, training=as_single_network(settings.training)
    )
    recipe = build_candidate_recipe(features, settings.model, settings.head, settings.training)
    found = find_artifact(store, recipe, CandidateFacts)
    for epoch in (
        _load_checkpoint_history(store, recipe.key)
        if found is None
        else _load_history(store, found)
    ):
        callbacks.on_epoch(epoch)
    if found is not None:
        return found
    try:
        with report_progress() as progress:
            return make_candidate(
                features,
                store,
                **settings._asdict(),
                callbacks=combine_callbacks(progress, callbacks),
            )
    except (PrunedError, TrainingError, DataError):
        drop_checkpoint(store, recipe.key)
        raise


def as_single_network(training: TrainingConfig) -> TrainingConfig:
    """Return the training of one network: an ensemble or folds would rank settings the same way."""
    return replace(training, ensemble=1, folds=1, distill=False)


def drop_checkpoint(store: Store, key: str) -> None:
    """Delete the checkpoint of a training that will not be resumed."""
    folder = f"{store.root}/checkpoints/{key}"
    if store.fs.exists(folder):
        store.fs.rm(folder, recursive=True)


def compute_cost(trial: Trial, metric: str) -> float | None:
    """Return a trial's value as a cost, the lower the better."""
    if trial.value is None or metric == "loss":
        return trial.value
    return -get_metric_sign(metric) * trial.value


def find_best_trial(trials: Sequence[Trial], metric: str) -> Trial | None:
    """Find the best of the complete trials, or of all that have a value where none is complete."""
    valued = [trial for trial in trials if trial.value is not None]
    ended = [trial for trial in valued if trial.state == "complete"] or valued
    return min(ended, key=lambda trial: compute_cost(trial, metric) or 0.0, default=None)


def _read_trial(artifact: Artifact[Trial]) -> Trial:
    """Read a record."""
    return replace(artifact.facts, key=artifact.key)


def _build_trial_recipe(context: TrialContext, request: TrialRequest, *, stopped: bool) -> Recipe:
    """Return the recipe of a record; one that the budget ended is valid for that budget alone."""
    config = {
        **context.base._asdict(),
        "params": dict(request.params),
        "metric": context.tuning.metric,
        "pruner": context.tuning.pruner,
        "stopped": context.tuning.budget if stopped else None,
    }
    inputs = {
        "features": context.features.key,
        "previous": request.previous_key,
        **hash_pretrained_weights(context.base.model),
    }
    return Recipe(stage="trial", version=VERSION, config=config, inputs=inputs)


def _run_trial(
    context: TrialContext, request: TrialRequest, should_continue: ShouldContinue
) -> Trial:
    """Train these settings until they are pruned or the time is used up."""
    start_time, history = time.perf_counter(), list[EpochResult]()
    candidate: Candidate | None = None

    def on_epoch(epoch: EpochResult) -> None:
        history.append(epoch)
        if not should_continue(epoch.epoch, epoch.validation_loss):
            raise PrunedError(f"worse than other trials in epoch {epoch.epoch + 1}")
        if time.perf_counter() - start_time > request.seconds_left:
            raise PausedError(f"the budget ended with epoch {epoch.epoch + 1}")

    def train() -> float:
        nonlocal candidate
        settings = context.base.with_values(request.params)
        candidate = train_settings(context.store, context.features, settings, Callbacks(on_epoch))
        return _compute_value(context, candidate, history)

    value, state, reason = run_training(train)
    if value is None and history and context.tuning.metric == "loss":
        value = _find_lowest_loss(history)
    return Trial(
        number=request.number,
        state="stopped" if state == "paused" else state,
        value=value,
        params=dict(request.params),
        training_losses=[epoch.training_loss for epoch in history],
        validation_losses=[epoch.validation_loss for epoch in history],
        seconds=round(time.perf_counter() - start_time, 3),
        reason=reason,
        candidate_key=candidate.key if candidate else "",
    )


def _load_checkpoint_history(store: Store, key: str) -> list[EpochResult]:
    """Read the epochs of an interrupted training from its checkpoint."""
    data = read_checkpoint(store, key)
    return [EpochResult(*epoch) for epoch in parse_state(data)["history"]] if data else []


def _load_history(store: Store, candidate: Candidate) -> list[EpochResult]:
    """Read the epochs of a finished training."""
    text = (local_dir(store, candidate) / "history.json").read_text(encoding="utf-8")
    return [EpochResult(**epoch) for epoch in json.loads(text)]


def _find_lowest_loss(history: Sequence[EpochResult]) -> float:
    """Return the loss of the best epoch."""
    return min(epoch.validation_loss for epoch in history)


def _compute_value(
    context: TrialContext, candidate: Candidate, history: Sequence[EpochResult]
) -> float:
    """Compute the optimised value: the loss, or a metric of the validation rows."""
    if context.tuning.metric == "loss":
        return _find_lowest_loss(history)
    store, rows = context.store, open_rows(context.store, context.accepted)
    features_dir = local_dir(store, context.features)
    featurizer = load_featurizer(features_dir)
    test_set = load_test_rows(rows, features_dir, featurizer, split=VALIDATION)
    table = read_sequences(features_dir, VALIDATION)
    predictions = predict_test_rows(
        load_bundle(local_dir(store, candidate) / "bundle"), rows, test_set
    )
    scale_R = compute_naive_scale(rows, table, featurizer, season=context.season_length)
    return compute_metrics(pair_with_targets(predictions, test_set, featurizer, scale_R))[
        context.tuning.metric
    ]
