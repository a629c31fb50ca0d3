"""Train a candidate on the features, resumable after a kill at any moment."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prefect import task

from models.bundle import Bundle, face_of, save
from models.errors import DivergedError, UnlearnableError
from models.features.featurizer import load_featurizer
from models.features.split import TRAINING
from models.learning import TrainingConfig
from models.learning.loop import Checkpoints, Epoch, Watch, fit, probe
from models.learning.memory import keep_memory
from models.learning.plan import Plan, kept_plan
from models.learning.precision import pick_precision
from models.learning.watch import Judge, figure
from models.networks import ModelConfig
from models.networks.heads import HeadConfig
from models.networks.network import build, parameter_count
from tasks.artifacts import Candidate, Facts, Features
from tasks.calibrate import calibrated, divided
from tasks.errors import DataError, JobError, TrainingError
from tasks.features_files import read_sequences
from tasks.judging import validation_judge
from tasks.lease import lease
from tasks.live import Experiment, Live
from tasks.loading import is_streamed, load_split, load_splits, pick_device
from tasks.prepare import prepare
from tasks.progress import both, shown
from tasks.publish import Recipe, digest_of, find, local_dir, produce
from tasks.stage import HOUR, STAGE, logger
from tasks.store import Store, StoreConfig, open_store, read_bytes, write_bytes

VERSION = 6

SHOWN_ROWS = 10
"""Rows that are named where training failed."""

PROBE_SECONDS = 2.0
"""Time that `check` gives to measuring the speed of training."""


def learn(
    features_dir: Path,
    folder: Path,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    checkpoints: Checkpoints,
    watch: Watch,
) -> Facts:
    """Train on the features and write the bundle and its history into `folder`.

    Raises:
        DivergedError: the loss stopped being finite.
    """
    keep_memory()
    device = pick_device(training)
    featurizer = load_featurizer(features_dir)
    network = build(model, face_of(featurizer, head), seed=training.seed)
    kept = kept_plan(checkpoints)
    streamed = is_streamed(features_dir, training, device, kept)
    training = replace(training, precision=pick_precision(training, model, device, kept))
    learned, validation = load_splits(features_dir, device, streamed=streamed)
    prepare(network.to(device), learned, model=model, seed=training.seed)
    halves = divided(validation, featurizer)
    judge = validation_judge(features_dir, featurizer, head, training, rows_S=halves.rows_S)
    began = time.perf_counter()
    plan, history = fit(
        network,
        learned,
        halves.deciding,
        config=training,
        checkpoints=checkpoints,
        watch=watch,
        judge=judge,
    )
    seconds = time.perf_counter() - began
    bundle = Bundle(featurizer, network, model, head)
    save(calibrated(bundle, halves.apart or validation, features_dir), folder / "bundle")
    write_history(history, folder / "history.json")
    return {
        **course(history, judge),
        **planned(plan),
        "parameters": parameter_count(network),
        "device": str(device),
        "seconds": round(seconds, 3),
    }


def write_history(history: Sequence[Epoch], path: Path) -> None:
    """Write the epochs as JSON."""
    epochs = [epoch._asdict() for epoch in history]
    path.write_text(json.dumps(epochs, indent=2), encoding="utf-8")


def course(history: Sequence[Epoch], judge: Judge | None) -> dict[str, float]:
    """Tell how training went."""
    best = min(history, key=lambda epoch: figure(epoch, judge))
    told = {
        "epochs": len(history),
        "best_epoch": best.epoch + 1,
        "validation_loss": best.validation_loss,
        "padding_share": round(history[0].padding_share, 4),
    }
    if judge is not None and best.metric is not None:
        told[f"validation_{judge.name}"] = best.metric
    return told


def planned(plan: Plan) -> Facts:
    """Tell what was settled before training began."""
    return {
        "epochs_planned": plan.epochs,
        "learning_rate": plan.rate,
        "batch": plan.batch,
        "precision": plan.precision,
        "data": "streamed" if plan.streamed else "resident",
        "kernels": plan.kernels,
    }


def make_candidate(
    features: Features,
    store: Store,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    watch: Watch,
) -> Candidate:
    """Return the model of these features and settings, trained unless the store has it.

    Raises:
        TrainingError: the loss stopped being finite.
        DataError: this network cannot learn these answers.
        LeaseHeldError: another trainer is at work on the same model.
    """
    recipe = candidate_recipe(features, model, head, training)
    if found := find(store, recipe):
        return Candidate(found)
    folder = f"checkpoints/{recipe.key}"
    checkpoints = checkpoints_in(store, f"{folder}/state.pt")

    def build_candidate(target: Path) -> Facts:
        try:
            return learn(
                local_dir(store, features),
                target,
                model=model,
                head=head,
                training=training,
                checkpoints=checkpoints,
                watch=watch,
            )
        except DivergedError as error:
            raise diverged(error, local_dir(store, features)) from error
        except UnlearnableError as error:
            raise DataError.of(str(error)) from error

    with lease(store, folder):
        candidate = Candidate(produce(store, recipe, build_candidate))
    store.fs.rm(f"{store.root}/{folder}", recursive=True)
    return candidate


def diverged(error: DivergedError, features_dir: Path) -> TrainingError:
    """Say where training failed, and which of the source's rows were read just then."""
    found = None
    if error.rows is not None:
        table = read_sequences(features_dir, TRAINING, learned=True)
        rows = table["row"].gather(error.rows)
        found = f"rows {', '.join(str(row) for row in rows.sort().head(SHOWN_ROWS))} were read"
        found += f", and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
    return TrainingError.of(
        str(error), found=found, mend="lower training.learning_rate or training.clip_norm"
    )


def checkpoints_in(store: Store, path: str) -> Checkpoints:
    """Keep the loop's state in one file of the store, always whole."""
    return Checkpoints(
        load=lambda: read_bytes(store, path), save=lambda data: write_bytes(store, path, data)
    )


def candidate_recipe(
    features: Features, model: ModelConfig, head: HeadConfig, training: TrainingConfig
) -> Recipe:
    """Name what a candidate is made from; how often it is saved changes nothing in it.

    Raises:
        JobError: the weights that it would start from are not there.
    """
    config = {"model": model, "head": head, "training": replace(training, checkpoint_every=0.0)}
    inputs = {"features": features.key}
    if model.weights:
        try:
            inputs["weights"] = digest_of(Path(model.weights))
        except OSError as error:
            raise JobError.of(
                f"model.weights: '{model.weights}' cannot be read: {error.strerror}",
                mend="correct the path, which is taken from where the command runs",
            ) from error
    return Recipe(stage="train", version=VERSION, config=config, inputs=inputs)


def time_epoch(
    features: Features,
    store: Store,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
) -> float:
    """Estimate the seconds of one epoch from a few steps of a network that is thrown away.

    Raises:
        DataError: this network cannot learn these answers.
    """
    folder, device = local_dir(store, features), pick_device(training)
    featurizer = load_featurizer(folder)
    try:
        network = build(model, face_of(featurizer, head), seed=training.seed).to(device)
    except UnlearnableError as error:
        raise DataError.of(str(error)) from error
    training = replace(training, precision=pick_precision(training, model, device, None))
    streamed = is_streamed(folder, training, device, None)
    learned = load_split(folder, TRAINING, device, streamed=streamed)
    return probe(network, learned, config=training, seconds=PROBE_SECONDS)


@task(name="train", task_run_name="train {model.cell}", timeout_seconds=72 * HOUR, **STAGE)
def train(
    features: Features,
    *,
    experiment: Experiment,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    store: StoreConfig,
) -> Candidate:
    """Train a candidate, or take up where a killed run left it."""
    key = candidate_recipe(features, model, head, training).key
    with shown() as pages, Live(experiment, key) as live:
        candidate = make_candidate(
            features,
            open_store(store),
            model=model,
            head=head,
            training=training,
            watch=both(pages, live.watch),
        )
    facts = candidate.facts
    logger().info(
        "%s parameters, best epoch %s of %s, validation loss %.4f",
        facts["parameters"],
        facts["best_epoch"],
        facts["epochs"],
        facts["validation_loss"],
    )
    return candidate
