"""Trials: settings that are trained as long as they keep up, and a record of what came of each.

A record's key holds its settings and the record before it, so that a search which is run again
finds the same records in the same order, however often it was killed: the history of trials, not a
database beside it, is the state of the search.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from models.bundle import load
from models.errors import PausedError, PrunedError
from models.evaluation.metrics.by_kind import score, sign_of
from models.features.featurizer import load_featurizer
from models.features.splitting.split import VALIDATION
from models.learning.checkpoint import loaded
from models.learning.config import TrainingConfig
from models.learning.loop import Epoch, Watch
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.labels import load_test
from tasks.dataset.rowset import open_rows
from tasks.errors import DataError, TrainingError
from tasks.prediction.test_predictions import answered_by, judged, naive_scale
from tasks.records import Accepted, Artifact, Candidate, Features
from tasks.storage.artifacts import Recipe, find, local_dir, produce
from tasks.storage.store import Store, read_bytes
from tasks.training.progress import both, shown
from tasks.training.train import candidate_recipe, make_candidate
from tasks.tuning.search_space import Settings, TuningConfig

VERSION = 1

State = Literal["complete", "pruned", "stopped", "diverged", "refused"]

KeepsUp = Callable[[int, float], bool]
"""Is told an epoch and its validation loss, and whether it is worth going on."""


class Bench(NamedTuple):
    """What all trials of a search share."""

    store: Store
    accepted: Accepted
    features: Features
    own: Settings
    """The job's own, from which trials differ."""
    tuning: TuningConfig
    season: int
    """Steps of a season, for metrics that compare with a naive forecast."""


class Asked(NamedTuple):
    """What one trial is asked to be."""

    number: int
    chosen: Mapping[str, Any]
    before: str
    """Key of the trial before it."""
    seconds_left: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What came of one trial."""

    number: int
    state: State
    """`pruned`: it fell behind; `stopped`: the budget ended; `diverged`: its loss was no number;
    `refused`: its settings do not go together, or with the data."""
    value: float | None
    """Of the metric that is improved, on the validation rows."""
    chosen: Mapping[str, Any]
    """Its settings, by dotted key."""
    training_losses: Sequence[float]
    validation_losses: Sequence[float]
    seconds: float
    reason: str = ""
    candidate: str = ""
    """Key of the model, where it was trained to the end."""
    key: str = field(default="", compare=False)


def make_trial(bench: Bench, asked: Asked, keeps_up: KeepsUp) -> Trial:
    """Return what came of these settings, trained unless the store has it."""
    recipes = [trial_recipe(bench, asked, stopped=stopped) for stopped in (False, True)]
    for recipe in recipes:
        if found := find(bench.store, recipe):
            trial = trial_of(found)
            for epoch, loss in enumerate(trial.validation_losses):
                keeps_up(epoch, loss)
            return trial
    made = attempt(bench, asked, keeps_up)

    def write(folder: Path) -> dict[str, Any]:
        facts = {name: value for name, value in asdict(made).items() if name != "key"}
        (folder / "trial.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
        return facts

    return trial_of(produce(bench.store, recipes[made.state == "stopped"], write))


def trial_of(artifact: Artifact) -> Trial:
    """Read a record."""
    return Trial(**artifact.facts, key=artifact.key)


def trial_recipe(bench: Bench, asked: Asked, *, stopped: bool) -> Recipe:
    """Name what a record is made from; one that the budget ended holds for that budget alone."""
    config = {
        **bench.own._asdict(),
        "chosen": dict(asked.chosen),
        "metric": bench.tuning.metric,
        "pruner": bench.tuning.pruner,
        "stopped": bench.tuning.budget if stopped else None,
    }
    inputs = {"features": bench.features.key, "before": asked.before}
    return Recipe(stage="trial", version=VERSION, config=config, inputs=inputs)


def attempt(bench: Bench, asked: Asked, keeps_up: KeepsUp) -> Trial:
    """Train these settings as long as they keep up and there is time."""
    began, history = time.perf_counter(), list[Epoch]()
    state: State = "complete"
    reason, value, candidate = "", None, None

    def on_epoch(epoch: Epoch) -> None:
        history.append(epoch)
        if not keeps_up(epoch.epoch, epoch.validation_loss):
            raise PrunedError(f"fell behind in epoch {epoch.epoch + 1}")
        if time.perf_counter() - began > asked.seconds_left:
            raise PausedError(f"the budget ended with epoch {epoch.epoch + 1}")

    try:
        settings = bench.own.changed(asked.chosen)
        candidate = train_on(bench.store, bench.features, settings, Watch(on_epoch))
        value = measured(bench, candidate, history)
    except PrunedError as error:
        state, reason = "pruned", str(error)
    except PausedError as error:
        state, reason = "stopped", str(error)
    except TrainingError as error:
        state, reason = "diverged", str(error)
    except (DataError, ValueError) as error:
        state, reason = "refused", str(error)
    if value is None and history and bench.tuning.metric == "loss":
        value = lowest(history)
    return Trial(
        number=asked.number,
        state=state,
        value=value,
        chosen=dict(asked.chosen),
        training_losses=[epoch.training_loss for epoch in history],
        validation_losses=[epoch.validation_loss for epoch in history],
        seconds=round(time.perf_counter() - began, 3),
        reason=reason,
        candidate=candidate.key if candidate else "",
    )


def train_on(store: Store, features: Features, settings: Settings, watch: Watch) -> Candidate:
    """Train a candidate, or go on with it; `watch` hears of the epochs that are past, too."""
    settings = settings._replace(training=alone(settings.training))
    recipe = candidate_recipe(features, settings.model, settings.head, settings.training)
    found = find(store, recipe)
    for epoch in past_epochs(store, recipe.key) if found is None else history_of(store, found):
        watch.on_epoch(epoch)
    if found is not None:
        return Candidate(found)
    try:
        with shown() as pages:
            return make_candidate(features, store, **settings._asdict(), watch=both(pages, watch))
    except (PrunedError, TrainingError, DataError):
        forget(store, recipe.key)
        raise


def alone(training: TrainingConfig) -> TrainingConfig:
    """Ask for one network, which tells as well which settings are better as several do."""
    return replace(training, ensemble=1, distill=False)


def past_epochs(store: Store, key: str) -> list[Epoch]:
    """Read the epochs of a training that was interrupted from its checkpoint."""
    data = read_bytes(store, f"checkpoints/{key}/state.pt")
    return [Epoch(*epoch) for epoch in loaded(data)["history"]] if data else []


def history_of(store: Store, candidate: Artifact) -> list[Epoch]:
    """Read the epochs of a training that is done."""
    text = (local_dir(store, candidate) / "history.json").read_text(encoding="utf-8")
    return [Epoch(**epoch) for epoch in json.loads(text)]


def forget(store: Store, key: str) -> None:
    """Remove the checkpoint of a training that nobody goes on with."""
    folder = f"{store.root}/checkpoints/{key}"
    if store.fs.exists(folder):
        store.fs.rm(folder, recursive=True)


def lowest(history: Sequence[Epoch]) -> float:
    """Return the loss of the best epoch."""
    return min(epoch.validation_loss for epoch in history)


def measured(bench: Bench, candidate: Candidate, history: Sequence[Epoch]) -> float:
    """Return what the search improves: the loss, or a metric of the validation rows."""
    if bench.tuning.metric == "loss":
        return lowest(history)
    store, rows = bench.store, open_rows(bench.store, bench.accepted)
    features_dir = local_dir(store, bench.features)
    featurizer = load_featurizer(features_dir)
    held = load_test(rows, features_dir, featurizer, split=VALIDATION)
    table = read_sequences(features_dir, VALIDATION)
    answered = answered_by(load(local_dir(store, candidate) / "bundle"), rows, held)
    scale_R = naive_scale(rows, table, featurizer, season=bench.season)
    return score(judged(answered, held, featurizer, scale_R))[bench.tuning.metric]


def cost(trial: Trial, metric: str) -> float | None:
    """Turn a trial's value into what a search makes small."""
    if trial.value is None or metric == "loss":
        return trial.value
    return -sign_of(metric) * trial.value


def best_of(trials: Sequence[Trial], metric: str) -> Trial | None:
    """Choose the best trial: of those that were trained to the end, if there are any."""
    valued = [trial for trial in trials if trial.value is not None]
    ended = [trial for trial in valued if trial.state == "complete"] or valued
    return min(ended, key=lambda trial: cost(trial, metric) or 0.0, default=None)
