"""Hyperparameter search: which trials are run and recorded, and how a killed search resumes."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import DataError
from tasks.records import Study
from tasks.storage.artifacts import local_dir
from tasks.tuning.optuna_sampler import (
    TrialSampler,
    build_pruning_check,
    draw_latin_hypercube,
    interpolate_domain,
)
from tasks.tuning.search_space import Domain, Range, contains_value
from tasks.tuning.study_report import PLOT_FILES
from tasks.tuning.trials import Trial, TrialContext, TrialRequest, make_trial
from tasks.tuning.tune import run_search, run_trials
from tests.support.learning_fixtures import ProcessKilledError
from tests.support.svg import parse_chart_file
from tests.support.tuning_fixtures import NoRuns, make_trial_context

SPACE: dict[str, Domain] = {
    "model.cell": ("gru", "mingru"),
    "model.hidden_size": (4, 8),
    "training.batch_size": (16, 32),
    "training.learning_rate": Range(low=1e-5, high=5e-2, log=True),
}


def create_sampler(context: TrialContext) -> TrialSampler:
    tuning = context.tuning
    return TrialSampler(SPACE, context.base, pruner=tuning.pruner, metric=tuning.metric)


def list_trials(context: TrialContext, study: Study) -> list[dict[str, object]]:
    """Return the records of the trials without their seconds."""
    rows = json.loads((local_dir(context.store, study) / "trials.json").read_text("utf-8"))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_the_first_trial_has_the_settings_of_the_job(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path)

    first = next(run_trials(context, create_sampler(context)))

    assert context.base.with_values(first.params) == context.base
    assert first.state == "complete"
    assert first.value == min(first.validation_losses)


def test_a_search_writes_its_trials_and_plots_to_the_store(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path, n_trials=5, pruner="none")

    study = run_search(context, SPACE, NoRuns())

    values = [row["value"] for row in list_trials(context, study)]
    assert len(values) == 5
    assert study.facts.best_value == min(values)
    assert study.facts.initial_value == values[0]
    for plot_file in PLOT_FILES:
        parse_chart_file(local_dir(context.store, study) / plot_file)


def test_a_job_with_an_ensemble_is_searched_with_one_network(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path)
    own = context.base._replace(training=replace(context.base.training, ensemble=3))

    trial = make_trial(
        context._replace(base=own), TrialRequest(0, {}, "none", 60.0), build_pruning_check(None)
    )

    assert len(trial.validation_losses) == own.training.epochs


def test_a_search_that_is_killed_anywhere_resumes_to_the_same_study(tmp_path: Path) -> None:
    uninterrupted = make_trial_context(tmp_path / "uninterrupted", pruner="halving")
    interrupted = make_trial_context(tmp_path / "interrupted", pruner="halving")
    expected = run_search(uninterrupted, SPACE, NoRuns())

    # Once between two trials, and once within the third.
    trials = run_trials(interrupted, create_sampler(interrupted))
    first, second = next(trials), next(trials)
    sampler = create_sampler(interrupted)
    for trial in (first, second):
        sampler.tell(sampler.ask(trial.number)[1], trial)
    chosen, _ = sampler.ask(2)

    def interrupt(epoch: int, loss: float) -> bool:
        del loss
        if epoch:
            raise ProcessKilledError
        return True

    with pytest.raises(ProcessKilledError):
        make_trial(interrupted, TrialRequest(2, chosen, second.key, float("inf")), interrupt)
    resumed = run_search(interrupted, SPACE, NoRuns())

    assert resumed.key == expected.key
    assert list_trials(interrupted, resumed) == list_trials(uninterrupted, expected)


def test_more_trials_continue_the_same_search(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path, n_trials=2, pruner="none")
    two_trials = run_search(context, SPACE, NoRuns())

    four_trials = run_search(
        context._replace(tuning=replace(context.tuning, n_trials=4)), SPACE, NoRuns()
    )

    assert list_trials(context, four_trials)[:2] == list_trials(context, two_trials)
    assert four_trials.facts.trials == 4


def test_trials_that_fall_behind_are_pruned_and_recorded(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path, n_trials=9, pruner="halving")

    rows = list_trials(context, run_search(context, SPACE, NoRuns()))

    pruned = [row for row in rows if row["state"] == "pruned"]
    assert len(rows) == 9
    assert pruned
    for row in pruned:
        assert 0 < len(row["validation_losses"]) <= context.base.training.epochs
        assert row["value"] == min(row["validation_losses"])
        assert "worse than other trials in epoch" in row["reason"]


def test_a_search_by_a_metric_measures_it_on_the_validation_rows(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path, n_trials=3, pruner="none", metric="accuracy")

    study = run_search(context, SPACE, NoRuns())

    values = [row["value"] for row in list_trials(context, study)]
    assert all(0 <= value <= 1 for value in values)
    assert study.facts.best_value == max(values)


def test_a_budget_ends_a_search_and_records_the_running_trial(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path, n_trials=50, budget=1e-6)

    (trial,) = run_trials(context, create_sampler(context))

    assert trial.state == "stopped"
    assert len(trial.validation_losses) == 1
    assert trial.value == trial.validation_losses[0]


def test_settings_that_contradict_each_other_are_a_refused_trial(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path)

    trial = make_trial(
        context, TrialRequest(0, {"model.peephole": True}, "none", 60.0), build_pruning_check(None)
    )

    assert (trial.state, trial.value) == ("refused", None)
    assert "peephole" in trial.reason


def test_a_search_in_which_no_trial_could_be_trained_says_why(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path, n_trials=2)
    own = context.base._replace(training=replace(context.base.training, learning_rate=1e30))
    space: dict[str, Domain] = {"training.batch_size": (16, 32)}

    with pytest.raises(DataError, match=r"none of 2 trials could be trained.*stopped being a fin"):
        run_search(context._replace(base=own), space, NoRuns())


choices = st.lists(st.integers(1, 99), min_size=1, max_size=5, unique=True).map(tuple)
ranges = st.tuples(st.integers(1, 50), st.integers(51, 900), st.booleans()).flatmap(
    lambda ends: st.sampled_from(
        [
            Range(low=ends[0], high=ends[1], log=ends[2]),
            Range(low=ends[0] / 7, high=ends[1] / 7, log=ends[2]),
            Range(low=ends[0], high=ends[1], step=5),
        ]
    )
)


@given(domain=choices | ranges, share=st.floats(0, 1, exclude_max=True))
def test_every_interpolated_value_is_in_its_domain(domain: Domain, share: float) -> None:
    value = interpolate_domain(domain, share)

    assert contains_value(domain, value)
    assert not isinstance(domain, Range) or not domain.is_integer or isinstance(value, int)


@given(choice=choices, seed=st.integers(0, 99), repetitions=st.integers(1, 3))
def test_the_first_trials_try_every_value_equally_often(
    choice: tuple[int, ...], seed: int, repetitions: int
) -> None:
    rows = draw_latin_hypercube({"model.hidden_size": choice}, repetitions * len(choice), seed=seed)

    tried = sorted(row["model.hidden_size"] for row in rows)
    assert tried == sorted(choice * repetitions)


def test_a_finished_trial_is_read_back_unchanged(tmp_path: Path) -> None:
    context = make_trial_context(tmp_path)
    request = TrialRequest(0, {"model.pooling": ["mean", "max"]}, "none", 600.0)

    trained = make_trial(context, request, build_pruning_check(None))
    read_again = make_trial(context, request, build_pruning_check(None))

    assert asdict(read_again) == asdict(trained)
    assert isinstance(read_again, Trial)


def test_replaced_weights_of_a_keras_model_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DataError("no training in this test")

    monkeypatch.setattr("tasks.tuning.trials.train_settings", refuse)
    context = make_trial_context(tmp_path)
    weights = tmp_path / "weights.keras"
    model = replace(context.base.model, pretrained_weights=str(weights))
    context = context._replace(base=context.base._replace(model=model))
    request = TrialRequest(0, {}, "none", 60.0)
    keys = []
    for content in (b"first", b"first", b"other"):
        weights.write_bytes(content)
        keys.append(make_trial(context, request, build_pruning_check(None)).key)

    assert keys[0] == keys[1]
    assert keys[2] != keys[0]
