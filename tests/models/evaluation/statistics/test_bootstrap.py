"""Scores agree with scikit-learn's, and intervals mean what they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from models.evaluation.baselines.single import SplitRows, predict_all
from models.evaluation.metrics.by_kind import METRICS, compute_metrics
from models.evaluation.metrics.classification import accuracy
from models.evaluation.predictions import SinglePredictions
from models.evaluation.statistics.block_length import (
    choose_block_length,
    compute_influence,
    estimate_block_length,
)
from models.evaluation.statistics.bootstrap import (
    compute_gain_interval,
    compute_score_interval,
    draw_blocks,
)


def classes(truth, answer, chance=None, count: int = 4) -> SinglePredictions:
    chances = np.full(len(truth), 0.5) if chance is None else np.asarray(chance)
    return SinglePredictions(np.asarray(truth, float), np.asarray(answer, float), chances, count)


def numbers(truth, answer) -> SinglePredictions:
    return SinglePredictions(
        np.asarray(truth, float), np.asarray(answer, float), np.full(len(truth), 0.0), 0
    )


codes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@given(codes)
def test_scores_of_classes_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, answer = np.array(pairs).T
    chance = np.linspace(0.1, 1.0, len(truth))

    found = compute_metrics(classes(truth, answer, chance))

    recalls = sk.recall_score(truth, answer, labels=np.unique(truth), average="macro")
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, answer))
    assert found["balanced_accuracy"] == pytest.approx(recalls)
    assert found["macro_f1"] == pytest.approx(sk.f1_score(truth, answer, average="macro"))
    assert found["log_loss"] == pytest.approx(-np.log(chance).mean())


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=30))
def test_scores_of_numbers_are_those_of_scikit_learn(pairs) -> None:
    truth, answer = np.array(pairs).T

    found = compute_metrics(numbers(truth, answer))

    assert found["mae"] == pytest.approx(sk.mean_absolute_error(truth, answer))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(truth, answer))
    if truth.std() > 1e-3:
        assert found["r2"] == pytest.approx(sk.r2_score(truth, answer), abs=1e-9)


def test_an_unseen_class_and_an_unanswered_row_count_as_wrong() -> None:
    answers = classes([0, -1, 1], [0, 0, np.nan], [0.9, 0.0, 0.0])

    found = compute_metrics(answers)

    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["balanced_accuracy"] == pytest.approx(1 / 3)
    assert found["log_loss"] > 20


@given(st.integers(1, 50), st.integers(1, 9))
def test_resamples_are_runs_of_neighbours_within_range(rows: int, block: int) -> None:
    [draw] = draw_blocks(rows, count=1, block=block, seed=0)

    runs = draw[: len(draw) - len(draw) % min(block, rows)].reshape(-1, min(block, rows))
    assert len(draw) == rows
    assert 0 <= draw.min() <= draw.max() < rows
    assert (np.diff(runs, axis=1) == 1).all()


def test_neighbours_in_time_are_resampled_together() -> None:
    assert choose_block_length(1000, by_time=True) == 10
    assert choose_block_length(1000, by_time=False) == 1


@pytest.mark.parametrize(("memory", "least", "most"), [(0.0, 1, 1), (0.5, 5, 20), (0.9, 20, 60)])
def test_rows_are_resampled_in_runs_as_long_as_they_remember(
    memory: float, least: int, most: int
) -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=600)
    for step in range(1, 600):
        values[step] += memory * values[step - 1]

    assert least <= estimate_block_length(values[100:]) <= most


def test_the_influence_of_a_row_is_what_it_moves_in_the_score() -> None:
    draw = np.random.default_rng(0)
    truth, said = draw.integers(0, 3, 200).astype(float), draw.integers(0, 3, 200).astype(float)
    answers = SinglePredictions(truth, said, np.full(200, np.nan), 3)
    metric = METRICS["category"]["macro_f1"]

    told = compute_influence(metric, answers)

    for row in (0, 7, 199):
        fewer = np.ones((1, 200))
        fewer[0, row] = 1 - 1e-4
        moved = (metric(answers) - metric.compute_resampled(answers, fewer)[0]) / 1e-4
        assert told[row] == pytest.approx(moved, abs=1e-6)


OPTIONS = {"confidence": 0.95, "count": 300, "block": 1, "seed": 0}


def test_a_model_gains_exactly_nothing_over_itself() -> None:
    draw = np.random.default_rng(0)
    own = classes(draw.integers(0, 4, 100), draw.integers(0, 4, 100))

    for name in compute_metrics(own):
        metric = METRICS["category"][name]
        assert compute_gain_interval(metric, own, own, sign=1.0, **OPTIONS) == (0.0, 0.0)


def test_the_interval_holds_the_true_score_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        right = draw.random(150) < 0.8
        answers = classes(np.zeros(150), np.where(right, 0, 1))
        low, high = compute_score_interval(accuracy, answers, **OPTIONS)
        held += low <= 0.8 <= high

    assert 180 <= held <= 199


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_lower_is_better_turns_the_gain_around(seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=80)
    good, bad = numbers(truth, truth + 0.1), numbers(truth, truth + 1.0)

    low, _ = compute_gain_interval(METRICS["number"]["mae"], good, bad, sign=-1.0, **OPTIONS)

    assert low > 0


def rows(count: int, seed: int) -> SplitRows:
    """Sequences of three steps whose answer is the sign of the last one."""
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(count * 3, 2)).astype(np.float32)
    starts = np.arange(count) * 3
    return SplitRows(
        values, starts, starts + 3, (values[2::3, 0] > 0).astype(float), np.empty((len(starts), 0))
    )


def test_baselines_of_classes_learn_from_training_and_answer_the_test() -> None:
    answers = predict_all(rows(300, 0), rows(100, 1), classes=2, past={"last": np.zeros(100)})

    scores = {name: accuracy(found) for name, found in answers.items()}
    assert set(scores) == {"majority", "logistic regression", "last"}
    assert scores["logistic regression"] > 0.95
    assert 0.3 < scores["majority"] < 0.7
    assert scores["last"] == (rows(100, 1).target_S == 0).mean()


def test_baselines_of_numbers_learn_from_training_and_answer_the_test() -> None:
    def linear(count: int, seed: int) -> SplitRows:
        made = rows(count, seed)
        return made._replace(target_S=made.values_NC[2::3, 0] * 3.0 + 100.0)

    answers = predict_all(linear(200, 0), linear(50, 1), classes=0, past={})

    assert compute_metrics(answers["ridge regression"])["mae"] < 0.05
    assert compute_metrics(answers["mean"])["r2"] < 0.1


def test_long_sequences_are_described_by_their_summary() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(3000, 4)).astype(np.float32)
    long = SplitRows(
        values,
        np.array([0, 1200]),
        np.array([1200, 3000]),
        np.array([0.0, 1.0]),
        np.empty((2, 0)),
    )

    answers = predict_all(long, long, classes=2, past={})

    assert accuracy(answers["logistic regression"]) == 1.0


def test_more_rows_than_a_regression_sees_may_come_class_by_class() -> None:
    many = rows(300, 0)
    order = np.argsort(many.target_S, kind="stable")
    sorted_rows = SplitRows(many.values_NC, *(column[order] for column in many[1:5]))

    thin = sorted_rows.subsample(50)

    assert len(thin.target_S) == 50
    assert set(thin.target_S) == {0.0, 1.0}
