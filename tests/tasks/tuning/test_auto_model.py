"""`model: auto`: which networks are tried, which one is chosen, and how a search resumes."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.job.job import JOB_ADAPTER, format_job, load_job
from models.bundle import load_bundle
from models.features.config import SELF_SUPERVISED, TargetKind, WindowConfig
from models.learning.callbacks import Callbacks
from models.networks.config import ModelConfig
from tasks.errors import DataError
from tasks.facts import ChoiceFacts, TriedNetwork
from tasks.records import Candidate, Choice
from tasks.storage.artifacts import local_dir, parse_record
from tasks.training.train import build_candidate_recipe, make_candidate
from tasks.tuning import successive_halving
from tasks.tuning.auto_candidates import DataSize, get_branch, list_candidate_models
from tasks.tuning.auto_model import make_choice
from tasks.tuning.halving_study import HalvingStudy
from tasks.tuning.successive_halving import (
    DIVISORS,
    HalvingContext,
    compute_min_epochs,
    compute_rung_sizes,
    compute_whole_trainings,
    run_halving,
    run_rung,
    share_budget,
)
from tasks.tuning.trials import TrialContext
from tests.support.input_tables import KINDS
from tests.support.learning_fixtures import ProcessKilledError
from tests.support.sample_jobs import write_job
from tests.support.tuning_fixtures import SEARCHED, copy_context, make_trial_context

LAYOUTS = {name: kind[0] for name, kind in KINDS.items()}
LAYOUTS["windows"] = replace(LAYOUTS["series"], window=WindowConfig(lookback=48))

TWO_NETWORKS = [
    ModelConfig(cell="cnn", hidden_size=8, kernel_size=1),
    ModelConfig(cell="gru", hidden_size=8),
]
"""A convolution that reads only the last step, and a network that can remember the first."""


NINE_EPOCHS: dict[str, Any] = {"epochs": 9, "batch_size": 64}


@pytest.fixture
def use_two_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try only two networks, and compare them from the first epoch: a search takes a second."""
    monkeypatch.setattr(
        "tasks.tuning.auto_model.list_candidate_models", lambda *_, **__: TWO_NETWORKS
    )
    monkeypatch.setattr("tasks.tuning.successive_halving.LEAST_STEPS", 1)


def make_first_step_classes(rows: int) -> pl.DataFrame:
    """Return short series whose class depends only on their first step."""
    draw = np.random.default_rng(3)
    kinds = draw.integers(0, 2, rows)
    cells = draw.normal(0, 1, (rows, 4))
    cells[:, 0] = 2.0 * kinds - 1
    return pl.DataFrame({"wave": cells.tolist(), "label": [f"kind {kind}" for kind in kinds]})


def choose(context: TrialContext, **training: Any) -> Choice:
    return make_choice(
        context.features,
        context.store,
        head=context.base.head,
        training=replace(context.base.training, **training),
    )


def list_networks(choice: Choice) -> list[TriedNetwork]:
    """Return the facts of the networks with their seconds set to 0."""
    rows = choice.facts.networks
    return [replace(row, seconds=0.0) for row in rows]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> TrialContext:
    """Return a context whose features are made once for all tests."""
    return make_trial_context(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def context(prepared: TrialContext, tmp_path: Path) -> TrialContext:
    """Return the prepared context with a copy of its store."""
    return copy_context(prepared, tmp_path / "one")


@pytest.mark.usefixtures("use_two_networks")
def test_the_only_network_that_can_learn_the_target_is_chosen(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path, table=make_first_step_classes(200))

    choice = choose(context, epochs=9, batch_size=32, learning_rate=0.05, checkpoint_every=30.0)

    cells = [row.model.cell for row in choice.facts.networks]
    assert cells == ["gru", "cnn"]
    assert choice.facts.model.cell == "gru"
    assert choice.facts.value < 0.2 < choice.facts.networks[1].value


@pytest.mark.usefixtures("use_two_networks")
def test_the_chosen_model_equals_that_of_a_job_with_this_network(
    context: TrialContext, tmp_path: Path
) -> None:
    searched, plain = context, copy_context(context, tmp_path / "plain")

    choice = choose(searched)
    model = choice.facts.model.recurrent_part
    candidate, expected = (
        make_candidate(
            each.features,
            each.store,
            model=model,
            head=each.base.head,
            training=each.base.training,
            callbacks=Callbacks(lambda _: None),
        )
        for each in (searched, plain)
    )

    assert not candidate.recomputed
    assert expected.recomputed
    assert candidate.key == expected.key
    assert candidate.content_hash == expected.content_hash
    assert load_bundle(local_dir(plain.store, expected) / "bundle").model == model


@pytest.mark.usefixtures("use_two_networks")
@pytest.mark.parametrize("kill_step", [3, 15])
def test_a_search_that_is_killed_anywhere_resumes_to_the_same_choice(
    context: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_step: int
) -> None:
    whole, interrupted = context, copy_context(context, tmp_path / "interrupted")
    expected, steps = choose(whole, **NINE_EPOCHS), list[int]()
    train_settings = successive_halving.train_settings

    def train_until_kill(
        store: Any, features: Any, settings: Any, callbacks: Callbacks
    ) -> Candidate:
        def count_step(step: Any) -> None:
            steps.append(step.done)
            callbacks.on_step(step)
            if len(steps) == kill_step:
                raise ProcessKilledError

        return train_settings(store, features, settings, Callbacks(callbacks.on_epoch, count_step))

    monkeypatch.setattr(successive_halving, "train_settings", train_until_kill)
    with pytest.raises(ProcessKilledError):
        choose(interrupted, **NINE_EPOCHS)
    resumed = choose(interrupted, **NINE_EPOCHS)

    assert resumed.key == expected.key
    assert list_networks(resumed) == list_networks(expected)
    assert read_content_hash(interrupted, resumed) == read_content_hash(whole, expected)


def read_content_hash(context: TrialContext, choice: Choice) -> str:
    """Return the content hash of the candidate that a search left finished."""
    recipe = build_candidate_recipe(
        context.features,
        choice.facts.model.recurrent_part,
        context.base.head,
        replace(context.base.training, **NINE_EPOCHS),
    )
    manifest = json.loads(
        (Path(context.store.root) / "train" / recipe.key / "manifest.json").read_text("utf-8")
    )
    return str(manifest["content_hash"])


def test_few_rows_are_trained_on_for_many_epochs_before_networks_are_compared(
    context: TrialContext,
) -> None:
    training = replace(context.base.training, epochs=200, batch_size=64)
    halving = HalvingContext(
        context.store, context.features, context.base.head, training, TWO_NETWORKS
    )

    assert compute_min_epochs(halving, 9) == 50
    assert compute_min_epochs(halving, 3) == 150


@pytest.mark.usefixtures("use_two_networks")
def test_a_finished_rung_is_not_trained_again(
    context: TrialContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    halving = HalvingContext(
        context.store, context.features, context.base.head, context.base.training, TWO_NETWORKS
    )
    first = run_rung(halving, 0, 3)
    monkeypatch.setattr(successive_halving, "_train_to_rung", None)

    again = run_rung(halving, 0, 3)

    assert asdict(again) == asdict(first)
    assert (first.state, first.epochs, first.epochs_planned) == ("paused", 2, 4)


@pytest.mark.usefixtures("use_two_networks")
def test_a_second_search_of_the_same_data_trains_nothing(context: TrialContext) -> None:
    first = choose(context)

    again = choose(context, checkpoint_every=30.0)

    assert first.recomputed
    assert not again.recomputed
    assert again.key == first.key


@pytest.mark.usefixtures("use_two_networks")
def test_pruned_networks_leave_no_checkpoint(context: TrialContext) -> None:

    choose(context, **NINE_EPOCHS)

    assert context.store.fs.glob(f"{context.store.root}/checkpoints/*/state.pt") == []


def test_a_network_of_every_branch_is_tried_even_with_a_short_budget(
    context: TrialContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.tuning.successive_halving.LEAST_STEPS", 1)

    choice = choose(context, budget=0.01, checkpoint_every=30.0)

    tried = [get_branch(row.model) for row in choice.facts.networks]
    assert sorted(tried) == ["convolution", "fcn", "recurrent", "scan"]
    assert choice.facts.tried == 4 < choice.facts.candidates
    assert choice.facts.budget == pytest.approx(0.01 / 4, abs=1e-3)


def test_all_rungs_cost_about_four_whole_trainings() -> None:
    assert compute_rung_sizes(14) == [14, 5, 2]
    assert compute_whole_trainings(14) == pytest.approx(14 / 9 + 5 * 2 / 9 + 2 * 2 / 3)
    assert compute_whole_trainings(1) == pytest.approx(1.0)


def test_networks_that_cannot_be_trained_are_listed_and_do_not_end_the_search(
    context: TrialContext, tmp_path: Path
) -> None:
    (tmp_path / "old.h5").write_bytes(b"no model")
    models = [ModelConfig(pretrained_weights=str(tmp_path / "old.h5")), ModelConfig(hidden_size=8)]
    training = replace(context.base.training, batch_size=64)
    halving = HalvingContext(context.store, context.features, context.base.head, training, models)

    results, ranking = run_halving(halving, budget=None)

    assert results[0].state == "refused"
    assert results[0].reason
    assert [each.index for each in results[1:]] == [1, 1, 1]
    assert results[-1].state == "complete"
    assert ranking == [1]


@pytest.mark.usefixtures("use_two_networks")
def test_a_search_in_which_no_network_could_be_trained_says_why(context: TrialContext) -> None:
    message = r"model auto: none of the 2 tried networks .*stopped being a finite"

    with pytest.raises(DataError, match=message):
        choose(context, learning_rate=1e30)


def test_the_network_of_the_champion_is_tried_if_it_can_read_the_input() -> None:
    layout, champion = KINDS["series"][0], ModelConfig(cell="lru", hidden_size=48)

    candidates = list_candidate_models(layout, "category")

    assert list_candidate_models(layout, "category", champion=champion) == [*candidates, champion]
    assert list_candidate_models(layout, "category", champion=candidates[2]) == candidates
    other = ModelConfig(cell="tree-lstm")
    assert list_candidate_models(layout, "category", champion=other) == candidates


@pytest.mark.parametrize(
    ("name", "branches"),
    [
        ("series", ["fcn", "recurrent", "convolution", "scan"]),
        ("text, bpe", ["recurrent", "scan", "convolution"]),
        ("windows", ["recurrent", "patches", "convolution", "scan"]),
        ("tree", ["n-ary", "child-sum"]),
    ],
)
def test_one_network_of_each_branch_comes_first_in_the_order_of_the_kind(
    name: str, branches: list[str]
) -> None:
    layout = LAYOUTS[name]

    candidates = list_candidate_models(layout, "category")

    assert [get_branch(model) for model in candidates[: len(branches)]] == branches
    assert {get_branch(model) for model in candidates} == set(branches)


def test_long_series_are_shortened_first_and_many_rows_begin_with_large_networks() -> None:
    layout = LAYOUTS["series"]

    short, long, many = (
        list_candidate_models(layout, "category", size=size)
        for size in (DataSize(50, 20.0), DataSize(50, 400.0), DataSize(90_000, 20.0))
    )

    assert {model.downsample for model in short} == {1}
    assert {model.downsample for model in long if model.cell == "gru"} == {4}
    assert {model.downsample for model in long if model.cell == "cnn"} == {1}
    assert max(model.hidden_size for model in short[:4]) < many[1].hidden_size


@pytest.mark.parametrize("kind", ["category", "number", "tags", "text", *SELF_SUPERVISED])
@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_of_input_and_target_has_valid_candidates(name: str, kind: TargetKind) -> None:
    candidates = list_candidate_models(KINDS[name][0], kind)

    assert len(candidates) == len(set(map(repr, candidates))) >= 5
    trees = {model.cell == "tree-lstm" for model in candidates}
    assert trees == {name == "tree"}
    if kind == "next_step" and name != "tree":
        assert not any(model.bidirectional or model.cell == "cnn" for model in candidates)


def test_of_equally_good_networks_the_smaller_is_better() -> None:
    study = HalvingStudy([4, 2, 1])

    for index, (cost, size) in enumerate([(0.1, 300), (0.1, 100), (None, 5), (0.05, 900)]):
        study.report(index, 0, cost, parameters=size)

    assert study.rank_networks() == [3, 1, 0]
    assert study.close_rung(0) == [3, 1]


costs = st.lists(st.none() | st.integers(0, 5).map(float), min_size=9, max_size=9)


@given(rungs=st.lists(costs, min_size=3, max_size=3))
def test_each_rung_passes_on_its_best_third_whatever_the_order_of_reports(
    rungs: list[list[float | None]],
) -> None:
    study, waiting = HalvingStudy([9, 3, 1]), list(range(9))

    for rung, (costs_N, size) in enumerate(zip(rungs, [3, 1, 1], strict=True)):
        for index in reversed(waiting):
            study.report(index, rung, costs_N[index], parameters=index)
        costs = [(costs_N[index], index) for index in waiting if costs_N[index] is not None]
        waiting = study.close_rung(rung)
        assert waiting == [index for _, index in sorted(costs)][:size]

    assert study.rank_networks()[:1] == waiting or not waiting


def test_a_budget_is_shared_by_the_rungs(context: TrialContext) -> None:
    training = context.base.training

    assert share_budget(training, 14) == training
    assert share_budget(replace(training, budget=400.0), 14).budget == pytest.approx(100.0)
    assert DIVISORS[-1] == 1


def test_a_job_with_a_chosen_network_is_written_like_one_that_names_it(tmp_path: Path) -> None:

    path = write_job(tmp_path, SEARCHED | {"model": "auto", "tuning": None})
    facts = ChoiceFacts(
        metric="loss",
        model=TWO_NETWORKS[1],
        budget=None,
        value=0.5,
        tried=2,
        candidates=2,
        seconds=1.0,
        networks=[],
    )
    content = json.loads(json.dumps(asdict(facts)))

    chosen_job = load_job(path).with_choice(parse_record(ChoiceFacts, content, "manifest.json"))

    assert JOB_ADAPTER.validate_json(format_job(chosen_job)).model == TWO_NETWORKS[1]
