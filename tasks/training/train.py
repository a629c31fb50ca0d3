"""Train a candidate on the features, resumable after a kill at any moment."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from prefect import task

from models.bundle import build_network_spec
from models.errors import DivergedError, UnlearnableError
from models.features.config import Layout
from models.features.featurizer import load_featurizer
from models.features.splitting.split import TRAINING
from models.learning.config import TrainingConfig
from models.learning.loop import Callbacks, CheckpointStore, measure_epoch_seconds
from models.learning.plan import TrainingPlan
from models.learning.precision import choose_precision
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from models.networks.network import build_network
from tasks.errors import TrainingError, translate_unlearnable
from tasks.facts import CandidateFacts
from tasks.records import Artifact, Candidate, Features, Pretrained
from tasks.storage.artifacts import Recipe, find_artifact, local_dir, produce
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger
from tasks.tracking.live_metrics import Experiment, LiveMetrics
from tasks.training.blend import find_branches, make_blend
from tasks.training.checkpoints import hold_checkpoints
from tasks.training.data import choose_device, choose_windows, load_split, should_stream
from tasks.training.ensemble import (
    add_teacher_facts,
    count_members,
    load_teacher,
    make_ensemble,
)
from tasks.training.fit import train_network
from tasks.training.folds import (
    RowSizes,
    choose_fold_count,
    measure_rows,
    read_training_row_numbers,
)
from tasks.training.front import resolve_downsample
from tasks.training.library import list_library
from tasks.training.pretrain import (
    PROBE_SECONDS,
    build_pretraining_recipe,
    hash_pretrained_weights,
    make_start,
)
from tasks.training.pretraining import load_weights
from tasks.training.progress import combine_callbacks, report_progress
from tasks.training.selection import make_selection, train_library

VERSION = 14

_MAX_LISTED_ROWS = 10
"""Rows that an error lists."""


def make_candidate(
    features: Features,
    store: Store,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    callbacks: Callbacks,
    plans: Sequence[TrainingPlan] = (),
    fold: int | None = None,
    start: Pretrained | TrainingPlan | None = None,
    name: str = "",
) -> Candidate:
    """Return the model of these features and settings, trained unless the store has it.

    A reproduction follows the `plans` of its networks; a distilled network's own is the last. A
    `fold` makes the member of an ensemble that is validated on this fold. `start` are the weights
    that its networks start from, or the plan of their pretraining in a reproduction. Callbacks are
    told the `name` of each network before it is trained.

    Raises:
        TrainingError: the loss stopped being finite.
        DataError: this network cannot learn these targets.
        LeaseHeldError: another process is training the same model.
    """
    recipe = build_candidate_recipe(features, model, head, training, fold=fold, start=start)
    if found := find_artifact(store, recipe, CandidateFacts):
        return found
    features_dir = local_dir(store, features)
    if not isinstance(start, Artifact):
        start, training = make_start(
            features, store, model, training, head=head, callbacks=callbacks, plan=start
        )
    featurizer, sizes = load_featurizer(features_dir), measure_rows(features_dir)
    make_again = partial(
        make_candidate, features, store, head=head, callbacks=callbacks, start=start
    )
    folds = choose_fold_count(training, featurizer, sizes)
    job = _TrainingJob(recipe, features_dir, model, training, folds, plans)
    if training.ensemble == "auto" and not training.distill:
        return _select_from_library(store, job, make_again, layout=featurizer.layout, sizes=sizes)
    if training.ensemble == "auto":
        # The teacher's branches are distilled too.
        model = model.recurrent_part
    elif fold is None and find_branches(featurizer, model, head, max_length=sizes.max_length):
        return _make_branched(store, job, make_again)
    teacher = None
    if training.distill:
        of_teacher, training = _share_with_teacher(training, folds)
        teacher = make_again(model=job.model, training=of_teacher, plans=plans[:-1])
    elif fold is None and count_members(training, folds) > 1:
        return _make_members(store, job, make_again, prefix=name)
    callbacks.on_begin(name)
    return _make_single(
        features,
        store,
        job._replace(model=model, training=training),
        head=head,
        callbacks=callbacks,
        teacher=teacher,
        fold=fold,
        start=start,
    )


class _TrainingJob(NamedTuple):
    """What several networks are trained for."""

    recipe: Recipe
    """Of the model that they become."""
    features_dir: Path
    model: ModelConfig
    training: TrainingConfig
    folds: int
    plans: Sequence[TrainingPlan]


def _make_branched(
    store: Store, job: _TrainingJob, make_again: Callable[..., Candidate]
) -> Candidate:
    """Train the recurrent part, and join it with the branches in closed form."""
    recurrent = make_again(model=job.model.recurrent_part, training=job.training, plans=job.plans)
    # A distilled network is no ensemble of folds: it has learned from all training rows.
    mixing = replace(job.training, folds=1) if job.training.distill else job.training
    return make_blend(
        store,
        job.recipe,
        recurrent,
        features_dir=job.features_dir,
        model=job.model,
        training=mixing,
    )


def _make_members(
    store: Store, job: _TrainingJob, make_again: Callable[..., Candidate], *, prefix: str
) -> Candidate:
    """Make an ensemble, each network with its own seed, plan, fold and name."""

    def make_member(index: int, config: TrainingConfig) -> Candidate:
        return make_again(
            model=job.model,
            training=config,
            plans=job.plans[index : index + 1],
            fold=index % job.folds if job.folds > 1 else None,
            name=f"{prefix}network_{index + 1}",
        )

    return make_ensemble(
        store,
        job.recipe,
        job.training,
        make_member,
        features_dir=job.features_dir,
        folds=job.folds,
    )


def _select_from_library(
    store: Store,
    job: _TrainingJob,
    make_again: Callable[..., Candidate],
    *,
    layout: Layout,
    sizes: RowSizes,
) -> Candidate:
    """Train networks of several recipes, and select those that predict together."""
    results = train_library(
        list_library(layout, job.model),
        make_again,
        job.training,
        folds=job.folds,
        sizes=sizes,
        plans=job.plans,
    )
    return make_selection(
        store,
        job.recipe,
        results,
        features_dir=job.features_dir,
        model=job.model,
        training=replace(job.training, folds=job.folds),
    )


def _share_with_teacher(
    training: TrainingConfig, folds: int
) -> tuple[TrainingConfig, TrainingConfig]:
    """Return the training of the teacher, and of the network that is distilled from it."""
    student, teacher = (
        training.share_budget(count_members(training, folds) + 1),
        replace(training, distill=False),
    )
    if training.budget is None or student.budget is None:
        return teacher, student
    return replace(teacher, budget=training.budget - student.budget), student


def _make_single(
    features: Features,
    store: Store,
    job: _TrainingJob,
    *,
    head: HeadConfig,
    callbacks: Callbacks,
    teacher: Candidate | None = None,
    fold: int | None = None,
    start: Pretrained | None = None,
) -> Candidate:
    """Train one network under a lease, resumed from the checkpoint of a killed run."""

    def build_candidate(checkpoints: CheckpointStore, target: Path) -> CandidateFacts:
        try:
            facts = train_network(
                local_dir(store, features),
                target,
                model=job.model,
                head=head,
                training=job.training,
                checkpoints=checkpoints,
                callbacks=callbacks,
                teacher=load_teacher(store, teacher),
                plan=job.plans[-1] if job.plans else None,
                fold=fold,
                start=load_weights(local_dir(store, start)) if start else None,
            )
        except DivergedError as error:
            raise _describe_divergence(
                error, local_dir(store, features), job.training, fold=fold
            ) from error
        except UnlearnableError as error:
            raise translate_unlearnable(error) from error
        facts = replace(facts, pretraining=start.facts if start else None)
        return facts if teacher is None else add_teacher_facts(facts, teacher)

    with hold_checkpoints(store, job.recipe.key) as checkpoints:
        return produce(store, job.recipe, partial(build_candidate, checkpoints), CandidateFacts)


def _describe_divergence(
    error: DivergedError, features_dir: Path, training: TrainingConfig, *, fold: int | None
) -> TrainingError:
    """Build the error that names the failed step and the source's rows that were being read."""
    found = None
    if error.rows is not None:
        rows = read_training_row_numbers(features_dir, training, fold=fold).gather(error.rows)
        found = (
            f"rows {', '.join(str(row) for row in rows.sort().head(_MAX_LISTED_ROWS))} were read"
        )
        found += (
            f", and {len(rows) - _MAX_LISTED_ROWS} more" if len(rows) > _MAX_LISTED_ROWS else ""
        )
    return TrainingError.of(
        str(error), found=found, hint="lower training.learning_rate or training.max_grad_norm"
    )


def build_candidate_recipe(
    features: Features,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    *,
    fold: int | None = None,
    start: Pretrained | TrainingPlan | None = None,
) -> Recipe:
    """Return the recipe of a candidate, without the checkpoint interval, which changes no result.

    Raises:
        JobError: the pretrained weights cannot be read.
    """
    config: dict[str, object] = {
        "model": model,
        "head": head,
        "training": replace(training, checkpoint_every=0.0),
        "fold": fold,
    }
    inputs = {"features": features.key, **hash_pretrained_weights(model)}
    if training.pretrain != "none":
        inputs["pretrained"] = (
            start.key
            if isinstance(start, Artifact)
            else build_pretraining_recipe(features, model, head, training).key
        )
    return Recipe(stage="train", version=VERSION, config=config, inputs=inputs)


def count_networks(
    features: Features, store: Store, model: ModelConfig, training: TrainingConfig
) -> int:
    """Return how many networks are trained at most, with folds, recipes and a distilled one."""
    features_dir = local_dir(store, features)
    featurizer = load_featurizer(features_dir)
    folds = choose_fold_count(training, featurizer, measure_rows(features_dir))
    members = count_members(training, folds)
    if training.ensemble == "auto":
        members *= len(list_library(featurizer.layout, model))
    return members + 1 if training.distill else members


def count_folds(features: Features, store: Store, training: TrainingConfig) -> int:
    """Return the number of folds that a training would have; 1 for a validation split."""
    features_dir = local_dir(store, features)
    return choose_fold_count(training, load_featurizer(features_dir), measure_rows(features_dir))


def estimate_epoch_seconds(
    features: Features,
    store: Store,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    seconds: float = PROBE_SECONDS,
) -> float:
    """Estimate the seconds of one epoch from a few steps of a network that is then discarded.

    Raises:
        DataError: this network cannot learn these targets.
    """
    folder, device = local_dir(store, features), choose_device(training)
    featurizer, model = load_featurizer(folder), resolve_downsample(model, folder)
    try:
        network = build_network(model, build_network_spec(featurizer, head), seed=training.seed).to(
            device
        )
    except UnlearnableError as error:
        raise translate_unlearnable(error) from error
    training = replace(training, precision=choose_precision(training, model, device, None))
    streaming = should_stream(folder, training, device, None)
    training_set = load_split(folder, TRAINING, device=device, streaming=streaming)
    chosen = choose_windows(len(training_set), featurizer, training)
    training_set = training_set if chosen is None else training_set.select(chosen)
    return measure_epoch_seconds(network, training_set, config=training, seconds=seconds)


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
    """Train a candidate, or resume the training of a killed run."""
    key = build_candidate_recipe(features, model, head, training).key
    if model.downsample == "auto":
        resolved = resolve_downsample(model, local_dir(open_store(store), features))
        logger().info("model.downsample: auto is %s for these rows", resolved.downsample)
    with report_progress() as progress, LiveMetrics(experiment, key) as live:
        candidate = make_candidate(
            features,
            open_store(store),
            model=model,
            head=head,
            training=training,
            callbacks=combine_callbacks(progress, live.callbacks),
        )
    facts = candidate.facts
    if facts.pretraining is not None:
        logger().info(
            "pretrained to predict the next step: %s %.4g after %s steps",
            facts.pretraining.metric,
            facts.pretraining.value,
            facts.pretraining.steps,
        )
    logger().info(
        "%s parameters, best epoch %s of %s, validation loss %.4f",
        facts.parameters,
        facts.best_epoch,
        facts.epochs,
        facts.validation_loss,
    )
    return candidate
