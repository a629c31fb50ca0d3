"""Train a candidate on the features, resumable after a kill at any moment."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from prefect import task

from models.bundle import face_of
from models.errors import DivergedError, UnlearnableError
from models.features.featurizer import load_featurizer
from models.features.splitting.split import TRAINING
from models.learning.config import TrainingConfig
from models.learning.loop import Checkpoints, Watch, probe
from models.learning.plan import Plan
from models.learning.precision import pick_precision
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from models.networks.network import build
from tasks.dataset.feature_files import read_sequences
from tasks.errors import DataError, JobError, TrainingError
from tasks.records import Candidate, Facts, Features
from tasks.storage.artifacts import Recipe, digest_of, find, local_dir, produce
from tasks.storage.lease import lease
from tasks.storage.store import Store, StoreConfig, open_store, read_bytes, write_bytes
from tasks.task_options import HOUR, STAGE, logger
from tasks.tracking.live_metrics import Experiment, Live
from tasks.training.data import is_streamed, load_split, pick_device
from tasks.training.ensemble import make_ensemble, networks_in, taught
from tasks.training.fit import learn
from tasks.training.progress import both, shown

VERSION = 10

SHOWN_ROWS = 10
"""Rows that are named where training failed."""

PROBE_SECONDS = 2.0
"""Time that `check` gives to measuring the speed of training."""


def make_candidate(
    features: Features,
    store: Store,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    watch: Watch,
    plans: Sequence[Plan] = (),
) -> Candidate:
    """Return the model of these features and settings, trained unless the store has it.

    One that is made again keeps to the `plans` of its networks, a distilled one's the last.

    Raises:
        TrainingError: the loss stopped being finite.
        DataError: this network cannot learn these answers.
        LeaseHeldError: another trainer is at work on the same model.
    """
    recipe = candidate_recipe(features, model, head, training)
    if found := find(store, recipe):
        return Candidate(found)
    made = partial(make_candidate, features, store, model=model, head=head, watch=watch)
    teachers = None
    if training.distill:
        teachers = made(training=replace(training, distill=False), plans=plans[:-1])
    elif training.ensemble > 1:
        return make_ensemble(
            store,
            recipe,
            training,
            lambda place, config: made(training=config, plans=plans[place : place + 1]),
            features_dir=local_dir(store, features),
        )
    return make_alone(
        features,
        store,
        recipe,
        model=model,
        head=head,
        training=training,
        watch=watch,
        teachers=teachers,
        plan=plans[-1] if plans else None,
    )


def make_alone(
    features: Features,
    store: Store,
    recipe: Recipe,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    watch: Watch,
    teachers: Candidate | None = None,
    plan: Plan | None = None,
) -> Candidate:
    """Train one network under a lease, from where a killed run left it."""
    folder = f"checkpoints/{recipe.key}"
    checkpoints = checkpoints_in(store, f"{folder}/state.pt")

    def build_candidate(target: Path) -> Facts:
        try:
            facts = learn(
                local_dir(store, features),
                target,
                model=model,
                head=head,
                training=training,
                checkpoints=checkpoints,
                watch=watch,
                teachers=networks_in(store, teachers),
                plan=plan,
            )
        except DivergedError as error:
            raise diverged(error, local_dir(store, features)) from error
        except UnlearnableError as error:
            raise DataError.of(str(error)) from error
        return facts if teachers is None else taught(facts, teachers)

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
        str(error), found=found, mend="lower training.learning_rate or training.max_grad_norm"
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
    if model.pretrained_weights:
        try:
            inputs["weights"] = digest_of(Path(model.pretrained_weights))
        except OSError as error:
            raise JobError.of(
                f"model.pretrained_weights: '{model.pretrained_weights}' cannot be read: {error.strerror}",
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
    seconds: float = PROBE_SECONDS,
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
    return probe(network, learned, config=training, seconds=seconds)


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
