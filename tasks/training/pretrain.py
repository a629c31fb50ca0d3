"""The weights that networks start from: found in the store, or trained under a lease."""

from dataclasses import replace
from pathlib import Path

from models.bundle import build_network_spec
from models.errors import DivergedError, UnlearnableError
from models.features.featurizer import load_featurizer
from models.learning.callbacks import Callbacks
from models.learning.config import TrainingConfig
from models.learning.loop import measure_epoch_seconds
from models.learning.plan import TrainingPlan
from models.learning.precision import choose_precision
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from models.networks.pretraining.network import build_next_step_network
from tasks.errors import JobError, TrainingError, translate_unlearnable
from tasks.pretraining_record import PretrainingFacts
from tasks.records import Features, Pretrained
from tasks.storage.artifacts import Recipe, find_artifact, local_dir, produce
from tasks.storage.file_hashes import hash_changed_files
from tasks.storage.store import Store
from tasks.training.checkpoints import hold_checkpoints
from tasks.training.data import choose_device, should_stream
from tasks.training.front import resolve_downsample
from tasks.training.pretraining import (
    load_pretraining_rows,
    prepare_next_step_network,
    train_next_step,
)

VERSION = 1

PROBE_SECONDS = 2.0
"""Time in which `check` measures the speed of a training."""


def make_start(
    features: Features,
    store: Store,
    model: ModelConfig,
    training: TrainingConfig,
    *,
    head: HeadConfig,
    callbacks: Callbacks,
    plan: TrainingPlan | None = None,
) -> tuple[Pretrained | None, TrainingConfig]:
    """Return the weights that networks start from, if any, and the training that is left for them.

    The arguments and errors are those of `make_pretrained`.
    """
    if training.pretrain == "none":
        return None, training
    pretrained = make_pretrained(
        features,
        store,
        model=model,
        head=head,
        training=training,
        callbacks=callbacks.pretraining,
        plan=plan,
    )
    return pretrained, training.split_pretraining()[1]


def make_pretrained(
    features: Features,
    store: Store,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    callbacks: Callbacks | None,
    plan: TrainingPlan | None = None,
) -> Pretrained:
    """Return the weights that networks of this job start from, trained unless the store has them.

    Args:
        features: with the training rows.
        store: where the weights are.
        model: the network that starts from them.
        head: its head.
        training: of the job.
        callbacks: called with each step and each epoch.
        plan: of a run that is reproduced.

    Raises:
        TrainingError: the loss stopped being finite.
        DataError: there is no next step that this network can predict.
        LeaseHeldError: another process is training the same weights.
    """
    recipe = build_pretraining_recipe(features, model, head, training)
    if found := find_artifact(store, recipe, PretrainingFacts):
        return found
    config, _ = training.split_pretraining()
    with hold_checkpoints(store, recipe.key) as checkpoints:

        def build(folder: Path) -> PretrainingFacts:
            try:
                return train_next_step(
                    local_dir(store, features),
                    folder,
                    model=model,
                    head=head,
                    training=config,
                    checkpoints=checkpoints,
                    callbacks=callbacks or Callbacks(lambda _: None),
                    plan=plan,
                )
            except DivergedError as error:
                raise TrainingError.of(
                    f"pretraining: {error}", hint="set training.pretrain: none"
                ) from error
            except UnlearnableError as error:
                raise translate_unlearnable(error) from error

        return produce(store, recipe, build, PretrainingFacts)


def build_pretraining_recipe(
    features: Features, model: ModelConfig, head: HeadConfig, training: TrainingConfig
) -> Recipe:
    """Return the recipe of the weights: it holds nothing that has no effect on them.

    Raises:
        JobError: the pretrained weights of the model cannot be read.
    """
    config, _ = training.split_pretraining()
    layers = replace(
        model, pooling="last", parallel_branch="none", dropout=0.0, variational_dropout=False
    )
    return Recipe(
        stage="pretrain",
        version=VERSION,
        config={
            "model": layers,
            "normalization": head.normalization,
            "training": replace(config, checkpoint_every=0.0),
        },
        inputs={"features": features.key, **hash_pretrained_weights(model)},
    )


def hash_pretrained_weights(model: ModelConfig) -> dict[str, str]:
    """Return the hash of the Keras model that a network starts from, as an input of a recipe.

    Raises:
        JobError: it cannot be read.
    """
    if not model.pretrained_weights:
        return {}
    path = Path(model.pretrained_weights)
    try:
        return {"weights": hash_changed_files([path], group=str(path.absolute()))[path]}
    except OSError as error:
        raise JobError.of(
            f"model.pretrained_weights: '{model.pretrained_weights}' cannot be read: "
            f"{error.strerror}",
            hint="correct the path, which is taken from where the command runs",
        ) from error


def estimate_pretraining_epoch_seconds(
    features: Features,
    store: Store,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    seconds: float = PROBE_SECONDS,
) -> float:
    """Estimate the seconds of an epoch of pretraining from a few steps of a discarded network.

    Raises:
        DataError: there is no next step that this network can predict.
    """
    features_dir, device = local_dir(store, features), choose_device(training)
    featurizer = load_featurizer(features_dir)
    model = resolve_downsample(model, features_dir)
    config, _ = training.split_pretraining()
    config = replace(config, precision=choose_precision(config, model, device, None))
    streaming = should_stream(features_dir, config, device, None)
    try:
        network = build_next_step_network(
            model, build_network_spec(featurizer, head), seed=config.seed
        ).to(device)
        rows, _ = load_pretraining_rows(
            features_dir, featurizer, seed=config.seed, device=device, streaming=streaming
        )
    except UnlearnableError as error:
        raise translate_unlearnable(error) from error
    prepare_next_step_network(network, rows)
    return measure_epoch_seconds(network, rows, config=config, seconds=seconds)
