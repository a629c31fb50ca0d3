"""`model: auto`: which networks are tried, which one wins, and going on after a kill."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from flows.job.job import ADAPTER, job_text, load_job
from models.bundle import load
from models.features.config import MINED, Answer
from models.learning.callbacks import Watch
from models.networks.config import ModelConfig
from tasks.errors import DataError
from tasks.records import Candidate, Choice
from tasks.storage.artifacts import local_dir
from tasks.training.train import candidate_recipe, make_candidate
from tasks.tuning import successive_halving
from tasks.tuning.auto_candidates import contenders
from tasks.tuning.auto_model import DIVISORS, make_choice, run_rungs, shared, standing, trainings
from tasks.tuning.successive_halving import Contest, Round, least_epochs, play, ranked
from tasks.tuning.trials import Bench
from tests.support.input_tables import KINDS
from tests.support.learning_fixtures import PulledPlugError
from tests.support.sample_jobs import write_job
from tests.support.tuning_fixtures import SEARCHED, copied, make_bench

LAST_OF_TWO = [
    ModelConfig(cell="cnn", hidden_size=8, kernel_size=1),
    ModelConfig(cell="gru", hidden_size=8),
]
"""A network that sees the last step alone, and one that remembers the first."""


LONGER: dict[str, Any] = {"epochs": 9, "batch": 64}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only two networks are tried, and judged at once, so that a search takes a second."""
    monkeypatch.setattr("tasks.tuning.auto_model.contenders", lambda *_, **__: LAST_OF_TWO)
    monkeypatch.setattr("tasks.tuning.successive_halving.LEAST_STEPS", 1)


def first_steps(rows: int) -> pl.DataFrame:
    """Short series whose first step alone says what they are."""
    draw = np.random.default_rng(3)
    kinds = draw.integers(0, 2, rows)
    cells = draw.normal(0, 1, (rows, 4))
    cells[:, 0] = 2.0 * kinds - 1
    return pl.DataFrame({"wave": cells.tolist(), "label": [f"kind {kind}" for kind in kinds]})


def choose(bench: Bench, **training: Any) -> Choice:
    return make_choice(
        bench.features,
        bench.store,
        head=bench.own.head,
        training=replace(bench.own.training, **training),
    )


def found_by(choice: Choice) -> list[dict[str, Any]]:
    """Return all that is known of the networks, but how long they took."""
    rows = choice.facts["networks"]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One bench, whose features are made once for all tests."""
    return make_bench(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def bench(prepared: Bench, tmp_path: Path) -> Bench:
    """The prepared bench, over a store of its own."""
    return copied(prepared, tmp_path / "one")


@pytest.mark.usefixtures("few")
def test_the_network_wins_that_alone_can_know_the_answer(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, table=first_steps(200))

    choice = choose(bench, epochs=9, batch=32, learning_rate=0.05, checkpoint_every=30.0)

    cells = [row["model"]["cell"] for row in choice.facts["networks"]]
    assert cells == ["gru", "cnn"]
    assert choice.facts["model"]["cell"] == "gru"
    assert choice.facts["value"] < 0.2 < choice.facts["networks"][1]["value"]


@pytest.mark.usefixtures("few")
def test_what_was_chosen_is_the_model_that_a_job_with_this_network_gives(
    bench: Bench, tmp_path: Path
) -> None:
    searched, plain = bench, copied(bench, tmp_path / "plain")

    choice = choose(searched)
    model = ModelConfig.of(choice.facts["model"])
    found, expected = (
        make_candidate(
            each.features,
            each.store,
            model=model,
            head=each.own.head,
            training=each.own.training,
            watch=Watch(lambda _: None),
        )
        for each in (searched, plain)
    )

    assert not found.recomputed
    assert expected.recomputed
    assert found.key == expected.key
    assert found.content_hash == expected.content_hash
    assert load(local_dir(plain.store, expected) / "bundle").model == model


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("at", [3, 15])
def test_a_search_that_is_killed_anywhere_goes_on_to_the_same_choice(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    whole, broken = bench, copied(bench, tmp_path / "broken")
    expected, seen = choose(whole, **LONGER), list[int]()
    plain = successive_halving.train_on

    def pulled(store: Any, features: Any, settings: Any, watch: Watch) -> Candidate:
        def step(step: Any) -> None:
            seen.append(step.done)
            watch.on_step(step)
            if len(seen) == at:
                raise PulledPlugError

        return plain(store, features, settings, Watch(watch.on_epoch, step))

    monkeypatch.setattr(successive_halving, "train_on", pulled)
    with pytest.raises(PulledPlugError):
        choose(broken, **LONGER)
    found = choose(broken, **LONGER)

    assert found.key == expected.key
    assert found_by(found) == found_by(expected)
    assert key_of(broken, found) == key_of(whole, expected)


def key_of(bench: Bench, choice: Choice) -> str:
    """Return the content of the candidate that a choice left finished."""
    recipe = candidate_recipe(
        bench.features,
        ModelConfig.of(choice.facts["model"]),
        bench.own.head,
        replace(bench.own.training, **LONGER),
    )
    manifest = json.loads(
        (Path(bench.store.root) / "train" / recipe.key / "manifest.json").read_text("utf-8")
    )
    return str(manifest["content_hash"])


def test_few_rows_are_read_often_before_networks_are_judged(bench: Bench) -> None:
    training = replace(bench.own.training, epochs=200, batch_size=64)
    contest = Contest(bench.store, bench.features, bench.own.head, training, LAST_OF_TWO)

    assert least_epochs(contest, 9) == 50
    assert least_epochs(contest, 3) == 150


@pytest.mark.usefixtures("few")
def test_a_finished_round_is_not_trained_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    contest = Contest(bench.store, bench.features, bench.own.head, bench.own.training, LAST_OF_TWO)
    first = play(contest, 0, 3)
    monkeypatch.setattr(successive_halving, "attempt", None)

    again = play(contest, 0, 3)

    assert asdict(again) == asdict(first)
    assert (first.state, first.epochs, first.epochs_planned) == ("paused", 2, 4)


@pytest.mark.usefixtures("few")
def test_a_second_search_of_the_same_data_trains_nothing(bench: Bench) -> None:
    first = choose(bench)

    again = choose(bench, checkpoint_every=30.0)

    assert first.recomputed
    assert not again.recomputed
    assert again.key == first.key


@pytest.mark.usefixtures("few")
def test_those_that_fell_behind_leave_no_checkpoint(bench: Bench) -> None:

    choose(bench, **LONGER)

    assert bench.store.fs.glob(f"{bench.store.root}/checkpoints/*/state.pt") == []


def test_the_cheap_networks_are_tried_however_short_the_budget(bench: Bench) -> None:

    choice = choose(bench, budget=0.01, checkpoint_every=30.0)

    assert 1 <= choice.facts["tried"] < choice.facts["contenders"]
    assert choice.facts["networks"][0]["model"]["hidden_size"] == 32
    assert choice.facts["budget"] == pytest.approx(0.01 / 4, abs=1e-3)


def test_the_rungs_come_to_about_four_trainings() -> None:
    assert standing(14) == [14, 5, 2]
    assert trainings(14) == pytest.approx(14 / 9 + 5 * 2 / 9 + 2 * 2 / 3)
    assert trainings(1) == pytest.approx(1.0)


def test_networks_that_cannot_learn_are_told_and_do_not_end_the_search(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "old.h5").write_bytes(b"no model")
    models = [ModelConfig(pretrained_weights=str(tmp_path / "old.h5")), ModelConfig(hidden_size=8)]
    training = replace(bench.own.training, batch_size=64)
    contest = Contest(bench.store, bench.features, bench.own.head, training, models)

    made = run_rungs(contest, budget=None)

    assert made[0].state == "refused"
    assert made[0].reason
    assert [each.place for each in made[1:]] == [1, 1, 1]
    assert made[-1].state == "finished"


@pytest.mark.usefixtures("few")
def test_a_search_in_which_nothing_could_be_trained_says_why(bench: Bench) -> None:

    with pytest.raises(DataError, match=r"model auto: none of 2 networks .*stopped being a finite"):
        choose(bench, learning_rate=1e30)


def test_the_champions_network_is_tried_where_it_can_read_the_input() -> None:
    layout, champion = KINDS["series"][0], ModelConfig(cell="lru", hidden_size=48)

    plain = contenders(layout, "category")

    assert contenders(layout, "category", champion=champion) == [*plain, champion]
    assert contenders(layout, "category", champion=plain[2]) == plain
    other = ModelConfig(cell="tree-lstm")
    assert contenders(layout, "category", champion=other) == plain


@pytest.mark.parametrize("kind", ["category", "number", "tags", "text", *MINED])
@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_of_input_and_answer_has_networks_that_fit(name: str, kind: Answer) -> None:
    found = contenders(KINDS[name][0], kind)

    assert len(found) == len(set(map(repr, found))) >= 5
    trees = {model.cell == "tree-lstm" for model in found}
    assert trees == {name == "tree"}
    if kind == "next_step" and name != "tree":
        assert not any(model.bidirectional or model.cell == "cnn" for model in found)


def test_of_equals_the_smaller_network_is_better() -> None:
    common = {"divisor": 1, "state": "finished", "epochs": 3, "epochs_planned": 3, "seconds": 1.0}
    made = [
        Round(place=place, value=value, parameters=size, **common)
        for place, (value, size) in enumerate([(0.9, 300), (0.9, 100), (None, 5), (0.95, 900)])
    ]

    assert [each.place for each in ranked(made, "accuracy")] == [3, 1, 0]
    assert [each.place for each in ranked(made, "loss")] == [1, 0, 3]


def test_a_budget_is_shared_by_the_rungs(bench: Bench) -> None:
    training = bench.own.training

    assert shared(training, 14) == training
    assert shared(replace(training, budget=400.0), 14).budget == pytest.approx(100.0)
    assert DIVISORS[-1] == 1


def test_a_job_that_chooses_its_network_is_written_as_if_it_had_named_it(tmp_path: Path) -> None:

    path = write_job(tmp_path, SEARCHED | {"model": "auto", "tuning": None})
    facts = {"model": asdict(LAST_OF_TWO[1]), "budget": None}

    settled = load_job(path).with_choice(json.loads(json.dumps(facts)))

    assert ADAPTER.validate_json(job_text(settled)).model == LAST_OF_TWO[1]
