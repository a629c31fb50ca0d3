"""Choose a network for a job with `model: auto`, by successive halving on the validation rows.

The chosen network is trained by the search, so the train stage finds it in the store.
"""

import json
from dataclasses import replace
from pathlib import Path

from prefect import task

from models.bundle import read_bundle_spec
from models.errors import BundleError
from models.features.featurizer import load_featurizer
from models.learning.config import TrainingConfig
from models.learning.plan import estimate_epochs
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tasks.errors import DamagedVersionError, DataError
from tasks.escaping import escape_markdown
from tasks.facts import ChoiceFacts, TriedNetwork
from tasks.records import Choice, Features
from tasks.registry import versions
from tasks.storage.artifacts import Recipe, find_artifact, local_dir, produce, to_plain
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger, publish_page
from tasks.training.pretrain import PROBE_SECONDS
from tasks.training.train import estimate_epoch_seconds
from tasks.tuning.auto_candidates import DataSize, list_candidate_models
from tasks.tuning.successive_halving import (
    DIVISORS,
    HalvingContext,
    RungResult,
    compute_rung_sizes,
    format_model,
    reset_checkpoint_interval,
    run_halving,
    share_budget,
)
from tasks.tuning.trials import as_single_network

VERSION = 2


def make_choice(
    features: Features,
    store: Store,
    *,
    head: HeadConfig,
    training: TrainingConfig,
    champion: ModelConfig | None = None,
) -> Choice:
    """Return the network that is chosen for these features, searched unless the store has it.

    Raises:
        DataError: no network could be trained.
        LeaseHeldError: another process is training one of them.
    """
    featurizer = load_featurizer(local_dir(store, features))
    models = list_candidate_models(
        featurizer.layout, featurizer.target.kind, champion=champion, size=_measure_size(features)
    )
    if training.ensemble == "auto":
        # The chosen network is then one of several that are trained anew.
        training = training.share_budget(2)
    shared = share_budget(training, len(models))
    recipe = Recipe(
        stage="choose",
        version=VERSION,
        config={
            "models": models,
            "head": head,
            "training": reset_checkpoint_interval(as_single_network(training)),
        },
        inputs={"features": features.key},
    )
    if found := find_artifact(store, recipe, ChoiceFacts):
        return found
    context = HalvingContext(store, features, head, as_single_network(shared), models)
    facts = _search_networks(context, budget=training.budget)

    def build(folder: Path) -> ChoiceFacts:
        text = json.dumps(facts.networks, indent=2, default=to_plain)
        (folder / "networks.json").write_text(text, encoding="utf-8")
        return facts

    return produce(store, recipe, build, ChoiceFacts)


def estimate_search_seconds(
    features: Features, store: Store, *, head: HeadConfig, training: TrainingConfig
) -> tuple[float, float]:
    """Estimate the mean seconds of an epoch over the networks, and the seconds of a search.

    Raises:
        DataError: no network can learn these targets.
    """
    featurizer = load_featurizer(local_dir(store, features))
    models = list_candidate_models(
        featurizer.layout, featurizer.target.kind, size=_measure_size(features)
    )
    found, refused = list[float](), list[DataError]()
    for model in models:
        seconds = PROBE_SECONDS / len(models)
        try:
            found.append(
                estimate_epoch_seconds(
                    features, store, model=model, head=head, training=training, seconds=seconds
                )
            )
        except DataError as error:
            refused.append(error)
    if not found:
        raise refused[-1]
    epochs = estimate_epochs(training, features.facts.training)
    slowest, before, total = sorted(found, reverse=True), 0.0, 0.0
    for size, divisor in zip(compute_rung_sizes(len(found)), DIVISORS, strict=True):
        total += sum(slowest[:size]) * epochs * (1 / divisor - before)
        before = 1 / divisor
    return sum(found) / len(found), total


def _measure_size(features: Features) -> DataSize:
    """Measure how much there is to learn from."""
    facts = features.facts
    sequences = facts.training + facts.validation + facts.test
    return DataSize(facts.training, facts.steps / max(1, sequences))


def _search_networks(context: HalvingContext, *, budget: float | None) -> ChoiceFacts:
    """Search, and return the chosen network and the result of each.

    Raises:
        DataError: no network could be trained.
    """
    rungs, ranking = run_halving(context, budget=budget)
    if not ranking:
        raise DataError.of(
            f"model auto: none of the {len(rungs)} tried networks could be trained; "
            f"the last one: {rungs[-1].reason}",
            hint="correct the job, or try one network: write model: {cell: gru}",
        )
    last = {result.index: result for result in rungs}
    order = [*ranking, *(index for index in last if index not in ranking)]
    seconds = {
        index: sum(result.seconds for result in rungs if result.index == index) for index in last
    }
    return ChoiceFacts(
        metric=context.metric,
        model=context.models[ranking[0]],
        budget=context.training.budget,
        value=last[ranking[0]].value,
        tried=len(last),
        candidates=len(context.models),
        seconds=round(sum(seconds.values()), 3),
        networks=[_build_row(context, last[index], seconds=seconds[index]) for index in order],
    )


def _build_row(context: HalvingContext, result: RungResult, *, seconds: float) -> TriedNetwork:
    """Return the row of a network in the report, from its result on its last rung."""
    model = context.models[result.index]
    return TriedNetwork(
        network=format_model(model),
        model=model,
        rung=DIVISORS.index(result.divisor) + 1,
        seconds=round(seconds, 3),
        parameters=result.parameters,
        epochs=result.epochs,
        epochs_planned=result.epochs_planned,
        value=result.value,
        state=result.state,
        reason=result.reason,
    )


def _load_champion_model(name: str) -> ModelConfig | None:
    """Load the champion's network; None where there is none, as of a baseline, or it is damaged."""
    champion = versions.find_champion(name)
    if champion is None:
        return None
    try:
        spec = read_bundle_spec(versions.fetch_bundle(champion))
        if spec.get("baseline"):
            return None
        model = ModelConfig.from_json(spec["model"])
    except (BundleError, DamagedVersionError, KeyError, TypeError, ValueError) as error:
        logger().warning("model auto: the champion's network is not tried: %s", error)
        return None
    # A search starts from new weights, and the file of the pretrained ones may be gone.
    return replace(model, pretrained_weights=None)


def _format_page(name: str, facts: ChoiceFacts) -> str:
    """Format the networks as a Markdown page."""
    lines = [
        f"# {name}: {facts.tried} of {facts.candidates} networks tried",
        "",
        f"| network | parameters | epochs | validation {facts.metric} | seconds | rung | |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in facts.networks:
        value = "none" if row.value is None else f"{row.value:.4f}"
        lines.append(
            f"| {escape_markdown(row.network)} | {row.parameters or ''} | {row.epochs} of "
            f"{row.epochs_planned} | {value} | {row.seconds:.1f} | {row.rung} | "
            f"{row.state} |"
        )
    return "\n".join(lines) + "\n"


@task(name="choose", task_run_name="choose {name}", timeout_seconds=72 * HOUR, **STAGE)
def choose(
    features: Features,
    *,
    name: str,
    head: HeadConfig,
    training: TrainingConfig,
    store: StoreConfig,
) -> Choice:
    """Choose a network for a job with `model: auto`; the champion's is a candidate too."""
    choice = make_choice(
        features,
        open_store(store),
        head=head,
        training=training,
        champion=_load_champion_model(name),
    )
    facts = choice.facts
    best = facts.networks[0]
    logger().info(
        "model auto: %s of %s networks tried in %s s; chosen: %s, validation %s %.4f",
        facts.tried,
        facts.candidates,
        facts.seconds,
        best.network,
        facts.metric,
        facts.value,
    )
    publish_page(f"{name}-networks", _format_page(name, facts))
    return choice
