"""Rounds of a search for a network: one network, trained up to a rung, and a record of it."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from models.bundle import face_of
from models.errors import PausedError
from models.evaluation.epoch_scores import more_is_better
from models.features.featurizer import load_featurizer
from models.learning.callbacks import Epoch, Step, Watch
from models.learning.checkpoint import loaded
from models.learning.config import TrainingConfig
from models.learning.plan import Plan
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from models.networks.network import build, parameter_count
from tasks.errors import DataError, JobError, TrainingError
from tasks.records import Artifact, Features
from tasks.storage.artifacts import Recipe, find, local_dir, produce
from tasks.storage.store import Store, read_bytes
from tasks.training.train import candidate_recipe
from tasks.tuning.search_space import Settings
from tasks.tuning.trials import forget, train_on

VERSION = 1

LEAST_STEPS = 900
"""Steps by which a training may be judged, over the divisor of the rung: few rows have few a
pass, and after a handful of them every network is as good as another."""

Ended = Literal["finished", "paused", "diverged", "refused"]
"""`paused`: it can go on; `diverged`: its loss was no number; `refused`: it does not fit the data.
"""


class Contest(NamedTuple):
    """Which networks are tried, and on what."""

    store: Store
    features: Features
    head: HeadConfig
    training: TrainingConfig
    models: Sequence[ModelConfig]

    @property
    def metric(self) -> str:
        """What the better network is better by: what the job's training stops by."""
        return self.training.early_stopping_metric

    def recipe(self, place: int) -> Recipe:
        """Name the finished training of a network."""
        return candidate_recipe(self.features, self.models[place], self.head, self.training)


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What came of a network up to a rung."""

    place: int
    """In the list of networks."""
    divisor: int
    """The rung is at one in so many of its epochs."""
    state: Ended
    value: float | None
    """Of the metric, in its best epoch so far, on the validation rows."""
    epochs: int
    epochs_planned: int
    parameters: int | None
    seconds: float
    """Spent on this rung alone."""
    reason: str = ""


def words_of(model: ModelConfig) -> str:
    """Name a network in a few words."""
    told = [f"{model.cell} {model.hidden_size}"]
    told += [f"{model.num_layers} layers"] if model.num_layers > 1 else []
    told += ["both ways"] if model.bidirectional else []
    told += [" and ".join(model.poolings)]
    told += [f"beside {model.parallel_branch}"] if model.parallel_branch != "none" else []
    told += [f"children {model.children}"] if model.children != "n-ary" else []
    return ", ".join(told)


def play(contest: Contest, place: int, divisor: int) -> Round:
    """Return what came of a network up to a rung, trained unless the store has it."""
    settings = Settings(contest.models[place], contest.head, begun(contest.training))
    recipe = Recipe(
        stage="trial",
        version=VERSION,
        config={**settings._asdict(), "divisor": divisor},
        inputs={"features": contest.features.key},
    )
    if found := find(contest.store, recipe):
        return round_of(found, place)
    made = attempt(contest, place, divisor)

    def write(folder: Path) -> dict[str, Any]:
        facts = asdict(made)
        (folder / "round.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
        return facts

    return round_of(produce(contest.store, recipe, write), place)


def round_of(artifact: Artifact, place: int) -> Round:
    """Read a record; the same network may have another place in another search."""
    return Round(**{**artifact.facts, "place": place})


def begun(training: TrainingConfig) -> TrainingConfig:
    """Leave out of a key how often a training is saved, which changes nothing in it."""
    return replace(training, checkpoint_every=0.0)


def attempt(contest: Contest, place: int, divisor: int) -> Round:
    """Train a network up to a rung."""
    began, course = time.perf_counter(), Course(contest, place, divisor)
    state: Ended = "finished"
    reason, parameters = "", None
    try:
        parameters = size_of(contest, place)
        settings = Settings(contest.models[place], contest.head, contest.training)
        watch = Watch(course.on_epoch, course.on_step)
        train_on(contest.store, contest.features, settings, watch)
    except PausedError:
        state = "paused"
    except TrainingError as error:
        state, reason = "diverged", str(error)
    except (DataError, JobError, ValueError) as error:
        state, reason = "refused", str(error)
    except torch.OutOfMemoryError as error:
        state, reason = "refused", f"the device's memory is too small: {error}"
    able = state in {"finished", "paused"}
    return Round(
        place=place,
        divisor=divisor,
        state=state,
        value=best_value(course.history, contest.metric) if able else None,
        epochs=len(course.history),
        epochs_planned=course.planned,
        parameters=parameters,
        seconds=round(time.perf_counter() - began, 3),
        reason=reason,
    )


class Course:
    """Follows a training, and pauses it at its rung."""

    def __init__(self, contest: Contest, place: int, divisor: int) -> None:
        """Begin with what is known of a training that has begun."""
        self.divisor, self.history = divisor, list[Epoch]()
        self.least = least_epochs(contest, divisor)
        self.step: Step | None = None
        self.planned = epochs_planned(contest, place)

    def on_step(self, step: Step) -> None:
        """Take in a step."""
        self.step = step

    def on_epoch(self, epoch: Epoch) -> None:
        """Take in an epoch.

        Raises:
            PausedError: it is the rung's last one.
        """
        self.history.append(epoch)
        done = epoch.epoch + 1
        if not self.planned and self.step is not None:
            # A budget plans the epochs of each network when it begins.
            self.planned = round(done * self.step.total / self.step.done)
        if self.divisor > 1 and done >= max(self.least, -(-self.planned // self.divisor)):
            raise PausedError(f"epoch {done} is the last one of this rung")


def least_epochs(contest: Contest, divisor: int) -> int:
    """Count the epochs that hold the steps by which a training may be judged on this rung."""
    rows, unit = int(contest.features.facts["training"]), contest.training.unit
    return -(-LEAST_STEPS // (divisor * -(-rows // unit)))


def epochs_planned(contest: Contest, place: int) -> int:
    """Count the epochs that a training has planned; 0 where it has a budget and did not begin."""
    if contest.training.budget is None:
        return contest.training.epochs
    recipe = contest.recipe(place)
    if found := find(contest.store, recipe):
        return int(found.facts["epochs_planned"])
    data = read_bytes(contest.store, f"checkpoints/{recipe.key}/state.pt")
    return Plan(*loaded(data)["plan"]).epochs if data else 0


def size_of(contest: Contest, place: int) -> int:
    """Count the parameters of a network."""
    featurizer = load_featurizer(local_dir(contest.store, contest.features))
    face = face_of(featurizer, contest.head)
    return parameter_count(build(contest.models[place], face, seed=contest.training.seed))


def best_value(history: Sequence[Epoch], metric: str) -> float | None:
    """Return what the best epoch came to; None where that cannot be told."""
    if metric == "loss":
        return min((epoch.validation_loss for epoch in history), default=None)
    told = [epoch.metric for epoch in history if epoch.metric is not None]
    return (max if more_is_better(metric) else min)(told, default=None)


def ranked(rounds: Sequence[Round], metric: str) -> list[Round]:
    """Order rounds from the best to the worst; of equals the smaller network is the better one."""
    sign = -1.0 if metric != "loss" and more_is_better(metric) else 1.0
    valued = [
        (sign * each.value, each.parameters or 0, each.place, each)
        for each in rounds
        if each.value is not None
    ]
    return [each for *_, each in sorted(valued, key=lambda entry: entry[:3])]


def without_hope(contest: Contest, kept: Sequence[int]) -> None:
    """Remove the checkpoints of the networks that nobody goes on with."""
    for place in range(len(contest.models)):
        if place not in kept:
            forget(contest.store, contest.recipe(place).key)
