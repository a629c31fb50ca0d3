"""Train a candidate on the features, resumable after a kill at any moment."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from prefect import task
from torch import Tensor

from models.bundle import Bundle, face_of, save
from models.errors import DivergedError, UnlearnableError
from models.features.featurizer import Featurizer, load_featurizer
from models.features.image import AugmentConfig, ImageInput
from models.features.signal import Pixels
from models.features.split import TRAINING, VALIDATION
from models.learning import TrainingConfig
from models.learning.batches import (
    Places,
    SequenceSet,
    epoch_order,
    padding_share,
    to_device,
)
from models.learning.loop import Checkpoints, Epoch, Watch, fit, probe
from models.learning.memory import keep_memory
from models.networks import ModelConfig
from models.networks.augment import augment
from models.networks.heads import HeadConfig
from models.networks.network import build, parameter_count
from tasks.artifacts import Candidate, Facts, Features
from tasks.cost import start_meter
from tasks.errors import DataError, JobError, TrainingError
from tasks.features_files import map_answers, map_steps, read_sequences, side_values
from tasks.lease import lease
from tasks.prepare import prepare
from tasks.progress import shown
from tasks.publish import Recipe, digest_of, find, local_dir, produce
from tasks.stage import HOUR, STAGE, logger
from tasks.store import Store, StoreConfig, open_store, read_bytes, write_bytes

VERSION = 5

SHOWN_ROWS = 10
"""Rows that are named where training failed."""

PROBE_SECONDS = 2.0
"""Time that `check` gives to measuring the speed of training."""


def pick_device(config: TrainingConfig) -> torch.device:
    """Choose where to train.

    Raises:
        JobError: the job asks for a GPU that is not there.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise JobError.of(
            "training.device: 'cuda', but torch finds no GPU here",
            mend="set training.device: auto, or run where there is one",
        )
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def load_split(folder: Path, split: int, device: torch.device) -> SequenceSet:
    """Load one split's sequences; those with a class that training never showed are left out."""
    table = read_sequences(folder, split, learned=True)
    sequences = to_device(
        map_steps(folder),
        Places(table["start"].to_numpy(), table["stop"].to_numpy()),
        answers_M=map_answers(folder),
        answer_places=Places(table["answer_start"].to_numpy(), table["answer_stop"].to_numpy()),
        statics=side_values(table),
        device=device,
    )
    change = augmenter(load_featurizer(folder)) if split == TRAINING else None
    return replace(sequences, change=change)


def augmenter(featurizer: Featurizer) -> Callable[[Tensor], Tensor] | None:
    """Make the function that alters training images, where the job asks for it.

    It draws from torch's own stream, which a checkpoint holds.
    """
    signal, read = featurizer.signal, featurizer.layout.input
    if not (isinstance(signal, Pixels) and isinstance(read, ImageInput)):
        return None
    if read.augment == AugmentConfig():
        return None

    def change(values_NC: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        return augment(values_NC, signal, read.augment, generator=generator)

    return change


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
    learned = load_split(features_dir, TRAINING, device)
    prepare(network.to(device), learned, model=model, seed=training.seed)
    validation = load_split(features_dir, VALIDATION, device)
    meter = start_meter()
    plan, history = fit(
        network,
        learned,
        validation,
        config=training,
        checkpoints=checkpoints,
        watch=watch,
    )
    spent = meter.spent()
    save(Bundle(featurizer, network, model, head), folder / "bundle")
    epochs = [epoch._asdict() for epoch in history]
    (folder / "history.json").write_text(json.dumps(epochs, indent=2), encoding="utf-8")
    return {
        **course(history, learned, training),
        "epochs_planned": plan.epochs,
        "learning_rate": plan.rate,
        "parameters": parameter_count(network),
        "device": str(device),
        **spent,
    }


def course(
    history: Sequence[Epoch], learned: SequenceSet, training: TrainingConfig
) -> dict[str, float]:
    """Tell how training went."""
    lengths = learned.lengths_S
    order = epoch_order(lengths, batch=training.batch, seed=training.seed, epoch=0)
    best = min(history, key=lambda epoch: epoch.validation_loss)
    return {
        "epochs": len(history),
        "best_epoch": best.epoch + 1,
        "validation_loss": best.validation_loss,
        "padding_share": round(padding_share(lengths, order), 4),
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
    learned = load_split(folder, TRAINING, device)
    return probe(network, learned, config=training, seconds=PROBE_SECONDS)


@task(name="train", task_run_name="train {model.cell}", timeout_seconds=72 * HOUR, **STAGE)
def train(
    features: Features,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    store: StoreConfig,
) -> Candidate:
    """Train a candidate, or take up where a killed run left it."""
    with shown() as watch:
        candidate = make_candidate(
            features,
            open_store(store),
            model=model,
            head=head,
            training=training,
            watch=watch,
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
