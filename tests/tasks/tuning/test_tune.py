"""Searching for better settings: what is tried, what is kept, and going on after a kill."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import DataError
from tasks.records import Study
from tasks.storage.artifacts import local_dir
from tasks.tuning.default_space import holds
from tasks.tuning.optuna_sampler import Sampling, keeps_up, placed, spread
from tasks.tuning.search_space import Domain, Range
from tasks.tuning.study_report import PICTURES
from tasks.tuning.trials import Asked, Bench, Trial, make_trial
from tasks.tuning.tune import run_trials, search
from tests.support.learning_fixtures import PulledPlugError
from tests.support.tuning_fixtures import NoRuns, make_bench

SPACE: dict[str, Domain] = {
    "model.cell": ("gru", "mingru"),
    "model.hidden_size": (4, 8),
    "training.batch_size": (16, 32),
    "training.learning_rate": Range(low=1e-5, high=5e-2, log=True),
}


def sampling_of(bench: Bench) -> Sampling:
    tuning = bench.tuning
    return Sampling(SPACE, bench.own, pruner=tuning.pruner, metric=tuning.metric)


def found_by(bench: Bench, study: Study) -> list[dict[str, object]]:
    """Return all that is known of the trials, but how long they took."""
    rows = json.loads((local_dir(bench.store, study) / "trials.json").read_text("utf-8"))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_the_first_trial_is_the_job_as_it_is(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)

    first = next(run_trials(bench, sampling_of(bench)))

    assert bench.own.changed(first.chosen) == bench.own
    assert first.state == "complete"
    assert first.value == min(first.validation_losses)


def test_a_search_leaves_its_trials_and_pictures_in_the_store(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, trials=5, pruner="none")

    study = search(bench, SPACE, NoRuns())

    values = [row["value"] for row in found_by(bench, study)]
    assert len(values) == 5
    assert study.facts["value"] == min(values)
    assert study.facts["own_value"] == values[0]
    for picture in PICTURES:
        assert (local_dir(bench.store, study) / picture).read_bytes().startswith(b"\x89PNG")


def test_a_job_that_asks_for_an_ensemble_is_searched_with_one_network(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    own = bench.own._replace(training=replace(bench.own.training, ensemble=3))

    trial = make_trial(bench._replace(own=own), Asked(0, {}, "none", 60.0), keeps_up(None))

    assert len(trial.validation_losses) == own.training.epochs


def test_a_search_that_is_killed_anywhere_goes_on_to_the_same_study(tmp_path: Path) -> None:
    whole = make_bench(tmp_path / "whole", pruner="halving")
    broken = make_bench(tmp_path / "broken", pruner="halving")
    expected = search(whole, SPACE, NoRuns())

    # Once between two trials, and once within the third.
    trials = run_trials(broken, sampling_of(broken))
    first, second = next(trials), next(trials)
    sampling = sampling_of(broken)
    for trial in (first, second):
        sampling.tell(sampling.ask(trial.number)[1], trial)
    chosen, _ = sampling.ask(2)

    def pull(epoch: int, loss: float) -> bool:
        del loss
        if epoch:
            raise PulledPlugError
        return True

    with pytest.raises(PulledPlugError):
        make_trial(broken, Asked(2, chosen, second.key, float("inf")), pull)
    found = search(broken, SPACE, NoRuns())

    assert found.key == expected.key
    assert found_by(broken, found) == found_by(whole, expected)


def test_more_trials_go_on_with_those_that_were_made(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, trials=2, pruner="none")
    few = search(bench, SPACE, NoRuns())

    more = search(bench._replace(tuning=replace(bench.tuning, n_trials=4)), SPACE, NoRuns())

    assert found_by(bench, more)[:2] == found_by(bench, few)
    assert more.facts["trials"] == 4


def test_trials_that_fall_behind_end_early_and_are_kept(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, trials=9, pruner="halving")

    rows = found_by(bench, search(bench, SPACE, NoRuns()))

    pruned = [row for row in rows if row["state"] == "pruned"]
    assert len(rows) == 9
    assert pruned
    for row in pruned:
        assert 0 < len(row["validation_losses"]) <= bench.own.training.epochs
        assert row["value"] == min(row["validation_losses"])
        assert "fell behind in epoch" in row["reason"]


def test_a_search_by_a_metric_measures_it_on_the_validation_rows(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, trials=3, pruner="none", metric="accuracy")

    study = search(bench, SPACE, NoRuns())

    values = [row["value"] for row in found_by(bench, study)]
    assert all(0 <= value <= 1 for value in values)
    assert study.facts["value"] == max(values)


def test_a_budget_ends_a_search_and_keeps_the_trial_that_was_at_work(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, trials=50, budget=1e-6)

    (only,) = run_trials(bench, sampling_of(bench))

    assert only.state == "stopped"
    assert len(only.validation_losses) == 1
    assert only.value == only.validation_losses[0]


def test_settings_that_do_not_go_together_are_one_trial_that_is_refused(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)

    trial = make_trial(bench, Asked(0, {"model.peephole": True}, "none", 60.0), keeps_up(None))

    assert (trial.state, trial.value) == ("refused", None)
    assert "peephole" in trial.reason


def test_a_search_in_which_nothing_could_be_trained_says_why(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, trials=2)
    own = bench.own._replace(training=replace(bench.own.training, learning_rate=1e30))
    space: dict[str, Domain] = {"training.batch_size": (16, 32)}

    with pytest.raises(DataError, match=r"none of 2 trials could be trained.*stopped being a fin"):
        search(bench._replace(own=own), space, NoRuns())


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
def test_every_place_of_a_domain_is_in_it(domain: Domain, share: float) -> None:
    found = placed(domain, share)

    assert holds(domain, found)
    assert not isinstance(domain, Range) or not domain.whole or isinstance(found, int)


@given(choice=choices, seed=st.integers(0, 99), rounds=st.integers(1, 3))
def test_the_first_trials_try_every_value_equally_often(
    choice: tuple[int, ...], seed: int, rounds: int
) -> None:
    rows = spread({"model.hidden_size": choice}, rounds * len(choice), seed=seed)

    tried = sorted(row["model.hidden_size"] for row in rows)
    assert tried == sorted(choice * rounds)


def test_a_trial_is_written_and_read_without_loss(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    asked = Asked(0, {"model.pooling": ["mean", "max"]}, "none", 600.0)

    made = make_trial(bench, asked, keeps_up(None))
    again = make_trial(bench, asked, keeps_up(None))

    assert asdict(again) == asdict(made)
    assert isinstance(again, Trial)
