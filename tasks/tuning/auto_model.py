"""Choose a network where a job says `model: auto`, by successive halving on the validation rows.

All networks begin the training that the job asks for. After a ninth of its epochs the better third
goes on, after a third of them the better third of those, and of these the best at the end is
chosen (Jamieson and Talwalkar 2016). A network that waits is paused: it goes on from its
checkpoint, so what it becomes is bit for bit what it had become alone, and the train stage finds
the one that was chosen finished. What came of each is a record in the store, so a search that is
killed goes on where it was.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from prefect import task

from models.bundle import read_spec
from models.errors import BundleError
from models.features.featurizer import load_featurizer
from models.learning.config import TrainingConfig
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tasks.errors import DataError
from tasks.records import Choice, Facts, Features
from tasks.registry import versions
from tasks.storage.artifacts import Recipe, find, local_dir, produce
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger, show
from tasks.training.train import PROBE_SECONDS, time_epoch
from tasks.tuning.auto_candidates import contenders
from tasks.tuning.successive_halving import (
    Contest,
    Round,
    begun,
    play,
    ranked,
    without_hope,
    words_of,
)
from tasks.tuning.trials import alone

VERSION = 1

DIVISORS = (9, 3, 1)
"""The rungs: after one epoch in so many."""

FACTOR = 3
"""Of the networks of a rung, one in so many goes on."""


def standing(count: int) -> list[int]:
    """Count the networks of each rung."""
    counts = [count]
    for _ in DIVISORS[1:]:
        counts.append(-(-counts[-1] // FACTOR))
    return counts


def trainings(count: int) -> float:
    """Tell to how many whole trainings a search among so many networks comes."""
    before, total = 0.0, 0.0
    for there, divisor in zip(standing(count), DIVISORS, strict=True):
        total += there * (1 / divisor - before)
        before = 1 / divisor
    return total


def shared(training: TrainingConfig, count: int) -> TrainingConfig:
    """Give each network so much of the budget that the whole search keeps to it."""
    if training.budget is None:
        return training
    return replace(training, budget=round(training.budget / trainings(count), 3))


def run_rungs(contest: Contest, *, budget: float | None) -> list[Round]:
    """Train the networks rung by rung; the cheap ones are tried however short the budget is."""
    rounds = list[Round]()
    places = list(range(len(contest.models)))
    for divisor, count in zip(DIVISORS, standing(len(places)), strict=True):
        made = list[Round]()
        for place in places[:count]:
            spent = sum(each.seconds for each in rounds)
            if budget is not None and rounds and spent >= budget:
                break
            made.append(play(contest, place, divisor))
            rounds.append(made[-1])
            logger().info("model auto: %s", told(contest, rounds[-1]))
        if not made:
            break
        places = [each.place for each in ranked(made, contest.metric)]
        without_hope(contest, places[: -(-count // FACTOR)] if divisor > 1 else places[:1])
    return rounds


def winner_of(rounds: Sequence[Round], metric: str) -> Round:
    """Find the best of those that came farthest.

    Raises:
        DataError: no network could be trained.
    """
    farthest = min((each.divisor for each in rounds if each.value is not None), default=0)
    best = ranked([each for each in rounds if each.divisor == farthest], metric)
    if not best:
        raise DataError.of(
            f"model auto: none of {len(rounds)} networks that were tried could be trained; "
            f"the last one: {rounds[-1].reason}",
            mend="correct the job, or try one network: write model: {cell: gru}",
        )
    return best[0]


def make_choice(
    features: Features,
    store: Store,
    *,
    head: HeadConfig,
    training: TrainingConfig,
    champion: ModelConfig | None = None,
) -> Choice:
    """Return the network that was chosen for these features, by a search unless the store has it.

    Raises:
        DataError: no network could be trained.
        LeaseHeldError: another trainer is at work on one of them.
    """
    featurizer = load_featurizer(local_dir(store, features))
    models = contenders(featurizer.layout, featurizer.target.kind, champion=champion)
    own = shared(training, len(models))
    recipe = Recipe(
        stage="choose",
        version=VERSION,
        config={"models": models, "head": head, "training": begun(alone(training))},
        inputs={"features": features.key},
    )
    if found := find(store, recipe):
        return Choice(found)
    contest = Contest(store, features, head, alone(own), models)
    facts = searched(contest, budget=training.budget)

    def build(folder: Path) -> Facts:
        text = json.dumps(facts["networks"], indent=2)
        (folder / "networks.json").write_text(text, encoding="utf-8")
        return facts

    return Choice(produce(store, recipe, build))


def searched(contest: Contest, *, budget: float | None) -> dict[str, Any]:
    """Search, and tell what was chosen and how far each network came."""
    rounds = run_rungs(contest, budget=budget)
    best = winner_of(rounds, contest.metric)
    without_hope(contest, [best.place])
    return facts_of(contest, rounds, best)


def facts_of(contest: Contest, rounds: Sequence[Round], best: Round) -> dict[str, Any]:
    """Tell what was chosen, and how far each network came."""
    last = {each.place: each for each in rounds}
    rows = list[Round]()
    for divisor in reversed(DIVISORS):
        rows += ranked([e for e in last.values() if e.divisor == divisor], contest.metric)
    rows += [each for each in last.values() if each.value is None]
    seconds = {place: sum(each.seconds for each in rounds if each.place == place) for place in last}
    return {
        "metric": contest.metric,
        "model": asdict(contest.models[best.place]),
        "budget": contest.training.budget,
        "value": best.value,
        "tried": len(last),
        "contenders": len(contest.models),
        "seconds": round(sum(seconds.values()), 3),
        "networks": [row_of(contest, each, seconds=seconds[each.place]) for each in rows],
    }


def row_of(contest: Contest, found: Round, *, seconds: float) -> dict[str, Any]:
    """Write how far a network came."""
    model, facts = contest.models[found.place], asdict(found)
    names = ("parameters", "epochs", "epochs_planned", "value", "state", "reason")
    return {
        "network": words_of(model),
        "model": asdict(model),
        "rung": DIVISORS.index(found.divisor) + 1,
        "seconds": round(seconds, 3),
        **{name: facts[name] for name in names},
    }


def told(contest: Contest, found: Round) -> str:
    """Say in a line what came of a round."""
    value = found.reason if found.value is None else f"{contest.metric} {found.value:.4f}"
    return (
        f"{words_of(contest.models[found.place])}: {found.state} after epoch {found.epochs} of "
        f"{found.epochs_planned}, {value}"
    )


def champion_model(name: str) -> ModelConfig | None:
    """Read the network of the version that serves, if there is one that this program reads."""
    champion = versions.find_champion(name)
    if champion is None:
        return None
    try:
        model = ModelConfig.of(read_spec(versions.fetch_bundle(champion))["model"])
    except (BundleError, KeyError, TypeError, ValueError) as error:
        logger().warning("model auto: the champion's network is not tried: %s", error)
        return None
    # The file of its first weights may be gone, and a search is no start from old weights.
    return replace(model, pretrained_weights=None)


def time_search(
    features: Features, store: Store, *, head: HeadConfig, training: TrainingConfig
) -> tuple[float, float]:
    """Estimate the seconds of an epoch, in the mean of the networks, and of a whole search.

    Raises:
        DataError: no network can learn these answers.
    """
    featurizer = load_featurizer(local_dir(store, features))
    models = contenders(featurizer.layout, featurizer.target.kind)
    found, refused = list[float](), list[DataError]()
    for model in models:
        seconds = PROBE_SECONDS / len(models)
        try:
            found.append(
                time_epoch(
                    features, store, model=model, head=head, training=training, seconds=seconds
                )
            )
        except DataError as error:
            refused.append(error)
    if not found:
        raise refused[-1]
    slowest, before, total = sorted(found, reverse=True), 0.0, 0.0
    for there, divisor in zip(standing(len(found)), DIVISORS, strict=True):
        total += sum(slowest[:there]) * training.epochs * (1 / divisor - before)
        before = 1 / divisor
    return sum(found) / len(found), total


def page_of(name: str, facts: Mapping[str, Any]) -> str:
    """Write the networks as a page."""
    lines = [
        f"# {name}: {facts['tried']} of {facts['contenders']} networks tried",
        "",
        f"| network | parameters | epochs | validation {facts['metric']} | seconds | rung | |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in facts["networks"]:
        value = "none" if row["value"] is None else f"{row['value']:.4f}"
        lines.append(
            f"| {row['network']} | {row['parameters'] or ''} | {row['epochs']} of "
            f"{row['epochs_planned']} | {value} | {row['seconds']:.1f} | {row['rung']} | "
            f"{row['state']} |"
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
    """Choose the network of a job that says `model: auto`, the champion's among those tried."""
    choice = make_choice(
        features, open_store(store), head=head, training=training, champion=champion_model(name)
    )
    facts = choice.facts
    best = facts["networks"][0]
    logger().info(
        "model auto: %s of %s networks tried in %s s; chosen: %s, validation %s %.4f",
        facts["tried"],
        facts["contenders"],
        facts["seconds"],
        best["network"],
        facts["metric"],
        facts["value"],
    )
    show(f"{name}-networks", page_of(name, facts))
    return choice
