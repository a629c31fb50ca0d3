"""`ensemble: auto`: several recipes are trained within a budget, and the best predict together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flows.job.job import load_job
from models.bundle import Bundle, load_bundle
from models.features.config import Layout, WindowConfig
from models.features.kinds import KINDS as INPUT_KINDS
from models.learning.callbacks import Callbacks, EpochResult
from models.learning.plan import TrainingPlan
from models.networks.config import ModelConfig
from models.networks.network import Network
from models.networks.selected_ensemble import SelectedEnsemble
from models.trained_networks import list_networks
from tasks.errors import JobError, TrainingError
from tasks.records import Candidate
from tasks.storage.artifacts import local_dir
from tasks.training import train as train_module
from tasks.training.library import Recipe, list_library
from tasks.training.selection import _plan_budget
from tasks.training.train import make_candidate
from tasks.tuning.trials import TrialContext
from tests.support.learning_fixtures import ProcessKilledError
from tests.support.sample_jobs import make_waves, write_job
from tests.support.tuning_fixtures import SEARCHED, make_trial_context

NO_CALLBACKS = Callbacks(lambda _: None)


@pytest.fixture(autouse=True)
def shorten_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train three recipes; their whole number is tested without training."""
    monkeypatch.setattr(train_module, "list_library", list_three)


def list_three(layout: Layout, own: ModelConfig) -> list[Recipe]:
    return list_library(layout, own)[:3]


def train(context: TrialContext, callbacks: Callbacks = NO_CALLBACKS, **settings: Any) -> Candidate:
    plans = settings.pop("plans", ())
    return make_candidate(
        context.features,
        context.store,
        model=context.base.model,
        head=context.base.head,
        training=replace(context.base.training, ensemble="auto", **settings),
        callbacks=callbacks,
        plans=plans,
    )


def load_trained_bundle(context: TrialContext, candidate: Candidate) -> Bundle:
    return load_bundle(local_dir(context.store, candidate) / "bundle")


def read_weights(context: TrialContext, candidate: Candidate) -> dict[str, bytes]:
    folder = Path(local_dir(context.store, candidate)) / "bundle"
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_the_model_holds_the_networks_with_a_weight_and_the_facts_name_all(tmp_path: Path) -> None:
    context, rows = make_trial_context(tmp_path), make_waves(20, seed=5)
    names: list[str] = []

    candidate = train(context, Callbacks(lambda _: None, on_begin=names.append), folds=2)

    facts, bundle = candidate.facts, load_trained_bundle(context, candidate)
    assert [part.name for part in facts.library] == ["1_gru", "2_cnn", "3_lstm"]
    assert names[:3] == ["1_gru/network_1", "1_gru/network_2", "2_cnn/network_1"]
    assert sum(part.weight for part in facts.library) == pytest.approx(1)
    assert isinstance(bundle.network, SelectedEnsemble)
    used = [part.name for part in facts.library if part.weight]
    assert [part.name for part in bundle.network.settings] == used
    assert len(list_networks(bundle.network)) == 2 * len(used)
    assert len(facts.plans) == 6
    losses = facts.selection_losses
    assert losses[facts.selection] <= min(losses["default"], losses["single"]) + 1e-9
    assert set(bundle.predict(rows)["status"]) == {"ok"}


def test_a_part_alone_predicts_what_it_predicts_in_a_model_of_its_own(tmp_path: Path) -> None:
    context, rows = make_trial_context(tmp_path), make_waves(20, seed=5)

    bundle = load_trained_bundle(context, train(context))

    selected = bundle.network
    assert isinstance(selected, SelectedEnsemble)
    parts = list(zip(selected.settings, selected.parts, strict=True))
    log_RK = np.zeros((20, 2))
    for settings, part in parts:
        assert isinstance(part, Network)
        alone = Bundle(bundle.featurizer, part, settings.model, bundle.head)
        probabilities = np.array(alone.predict(rows)["probabilities"].to_list())
        log_RK += settings.weight / settings.temperature * np.log(probabilities)
    expected = np.exp(log_RK) / np.exp(log_RK).sum(axis=1, keepdims=True)
    together = replace(bundle, calibration=None).predict(rows)["probabilities"].to_list()
    if len(parts) == 1:
        np.testing.assert_allclose(together, expected, atol=1e-5)
    assert (np.argmax(together, axis=1) == np.argmax(expected, axis=1)).mean() > 0.9


def test_a_killed_selection_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    whole, interrupted = (make_trial_context(tmp_path / name) for name in ("whole", "interrupted"))
    expected, results = train(whole), list[EpochResult]()

    def interrupt(epoch: EpochResult) -> None:
        results.append(epoch)
        if len(results) == 6:
            raise ProcessKilledError

    with pytest.raises(ProcessKilledError):
        train(interrupted, Callbacks(interrupt))
    resumed = train(interrupted)

    assert resumed.key == expected.key
    assert read_weights(interrupted, resumed) == read_weights(whole, expected)


def fail_second(make: Callable[..., Candidate]) -> Callable[..., Candidate]:
    """Return the function that makes candidates, but fails for the second recipe."""

    def fail(*arguments: Any, **settings: Any) -> Candidate:
        if settings.get("name", "").startswith("2_"):
            raise TrainingError.of("the loss stopped being a finite number")
        return make(*arguments, **settings)

    return fail


def test_a_recipe_that_cannot_be_trained_is_left_out_also_where_it_is_reproduced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (make_trial_context(tmp_path / name) for name in ("first", "second"))
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "make_candidate", fail_second(make_candidate))
        candidate = train(first, budget=600.0)

    plans = [TrainingPlan(**plan) for plan in candidate.facts.plans]
    reproduced = train(second, budget=600.0, plans=plans)

    *trained, failed = candidate.facts.library
    assert (failed.name, failed.weight) == ("2_cnn", 0)
    assert "finite" in failed.reason
    assert [part.name for part in trained] == ["1_gru", "3_lstm"]
    assert read_weights(first, candidate) == read_weights(second, reproduced)


def test_one_network_is_distilled_from_the_selection(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path)
    teacher = train(context)

    candidate = train(context, distill=True)

    assert isinstance(load_trained_bundle(context, candidate).network, Network)
    assert candidate.facts.ensemble == teacher.key
    assert candidate.facts.library == teacher.facts.library


def test_time_that_a_recipe_leaves_moves_on_and_the_last_ones_are_left_out() -> None:
    assert _plan_budget(None, [], remaining=5) is None
    assert _plan_budget(600, [], remaining=5) == 300
    assert _plan_budget(600, [20], remaining=4) == 145
    assert _plan_budget(600, [300], remaining=4) == 300
    assert _plan_budget(600, [300, 250], remaining=3) == 0


@pytest.mark.parametrize("kind", INPUT_KINDS)
@pytest.mark.parametrize("is_windowed", [False, True])
def test_every_kind_has_several_recipes_of_several_cells(kind: str, is_windowed: bool) -> None:
    if is_windowed and kind != "series":
        return
    window = WindowConfig(lookback=48) if is_windowed else None
    read = SimpleNamespace(kind=kind, columns=("x",))
    layout = Layout(input=read, window=window, time=None, entity=None)
    own = ModelConfig(cell="tree-lstm" if kind == "tree" else "gru", bidirectional=kind == "text")

    recipes = list_library(layout, own)

    assert recipes[0].model == own.recurrent_part
    models = [recipe.model for recipe in recipes]
    assert len(models) >= 4
    assert len(set(models)) == len(models)
    variants = {(model.cell, model.children, model.parallel_branch) for model in models}
    assert len(variants) >= 2


@pytest.mark.parametrize("kind", ["text", "reconstruction"])
def test_targets_that_cannot_be_selected_by_are_refused_with_a_hint(home: Path, kind: str) -> None:
    target = {"kind": kind} | ({"column": "label"} if kind == "text" else {})
    job = SEARCHED | {"target": target, "training": {"ensemble": "auto"}, "tuning": None}

    with pytest.raises(JobError, match=r"training.ensemble: .*; (remove it|set a number)"):
        load_job(write_job(home, job))
