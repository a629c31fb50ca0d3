"""Scores, intervals and baselines: scikit-learn's numbers, honest doubt, no crash on odd data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from models.evaluation.baselines import single
from models.evaluation.baselines.single import (
    SplitRows,
    predict_all,
    predict_from_past,
    predict_likeliest_class,
    wrap_numbers,
)
from models.evaluation.metrics.additive import Metric
from models.evaluation.metrics.by_kind import LOWER_IS_BETTER, METRICS, compute_metrics
from models.evaluation.metrics.classification import accuracy, count_confusion, log_loss
from models.evaluation.metrics.regression import mae, r2
from models.evaluation.predictions import SinglePredictions
from models.evaluation.statistics.block_length import choose_block_length
from models.evaluation.statistics.bootstrap import (
    Interval,
    compute_gain_interval,
    compute_score_interval,
    draw_blocks,
)


def numbers(truth, answer) -> SinglePredictions:
    nothing = np.full(len(truth), np.nan)
    return SinglePredictions(np.asarray(truth, float), np.asarray(answer, float), nothing, 0)


def codes(truth, answer, count: int) -> SinglePredictions:
    chance = np.where(np.asarray(truth) == np.asarray(answer), 0.9, 0.1)
    return SinglePredictions(np.asarray(truth, float), np.asarray(answer, float), chance, count)


def told(answers: SinglePredictions) -> list[Metric]:
    """The metrics of classes that can be told of these answers."""
    return [METRICS["category"][name] for name in compute_metrics(answers)]


@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 999))
def test_log_loss_and_accuracy_of_probabilities_are_those_of_scikit_learn(
    classes: int, rows: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet(np.ones(classes), rows)
    truth = draw.integers(0, classes, rows)

    found = compute_metrics(predict_likeliest_class(probabilities, truth.astype(float)))

    best = probabilities.argmax(axis=1)
    expected = sk.log_loss(truth, probabilities, labels=np.arange(classes))
    assert found["log_loss"] == pytest.approx(expected, rel=1e-9)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, best))


@given(st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 6)), min_size=1, max_size=40))
def test_unseen_classes_and_silence_are_wrong_in_every_score(pairs: list[tuple[int, int]]) -> None:
    truth, answer = np.array(pairs).T
    silent = answer == 6
    known = 6

    found = compute_metrics(codes(truth, np.where(silent, np.nan, answer), known))

    seen = sorted({*truth.tolist(), *answer[~silent].tolist()})
    f1 = sk.f1_score(truth, answer, labels=seen, average="macro", zero_division=0.0)
    recall = sk.recall_score(truth, answer, labels=np.unique(truth), average="macro")
    assert found["accuracy"] == pytest.approx((truth == answer).mean())
    assert found["macro_f1"] == pytest.approx(f1)
    assert found["balanced_accuracy"] == pytest.approx(recall)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_the_confusion_matrix_counts_truth_by_answer(pairs: list[tuple[int, int]]) -> None:
    truth, answer = np.array(pairs).T

    found = count_confusion(codes(truth, answer, 5))

    expected = sk.confusion_matrix(truth, answer, labels=np.arange(5))
    np.testing.assert_array_equal(found[:5, :5], expected)
    assert found[5].sum() == found[:, 5].sum() == 0


@given(st.integers(1, 30), st.integers(0, 99))
def test_the_score_of_numbers_keeps_its_digits_far_from_zero(rows: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth, error = draw.normal(size=rows) + 1e6, draw.normal(size=rows)

    found = compute_metrics(numbers(truth, truth + error))

    assert found["mae"] == pytest.approx(sk.mean_absolute_error(truth, truth + error), rel=1e-9)
    assert found["rmse"] == pytest.approx(
        sk.root_mean_squared_error(truth, truth + error), rel=1e-9
    )
    if rows > 1:
        assert found["r2"] == pytest.approx(sk.r2_score(truth, truth + error), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.5, 0.1, 1e9 + 0.3])
def test_where_there_is_no_variance_none_is_explained(level: float) -> None:
    answers = numbers([level] * 7, [level + 1.0] * 7)

    assert r2(answers) == 0.0


def test_an_unanswered_number_is_worth_as_much_as_the_mean() -> None:
    truth = np.array([1.0, 2.0, 6.0])

    silent, mean = numbers(truth, [np.nan] * 3), numbers(truth, [3.0] * 3)

    assert compute_metrics(silent) == compute_metrics(mean)
    assert r2(silent) == pytest.approx(0.0, abs=1e-12)


def test_the_metrics_in_which_less_is_better_are_zero_for_a_perfect_model() -> None:
    for classes, perfect in (
        (0, numbers([1, 2, 5], [1, 2, 5])),
        (3, predict_likeliest_class(np.eye(3), THREE)),
    ):
        found = compute_metrics(perfect)
        assert len(found) >= len(METRICS["category" if classes else "number"]) - 1
        for name, value in found.items():
            assert value == pytest.approx(0.0 if name in LOWER_IS_BETTER else 1.0)


THREE = np.array([0.0, 1.0, 2.0])

OPTIONS = {"confidence": 0.95, "count": 400, "block": 1, "seed": 0}


def of_quality(share: float, rows: int, seed: int = 0) -> SinglePredictions:
    """Answer that share of a coin's throws right."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 2, rows)
    return codes(truth, np.where(draw.random(rows) < share, truth, 1 - truth), 2)


@settings(max_examples=25)
@given(st.floats(0.2, 0.9), st.integers(40, 200), st.integers(0, 99))
def test_an_interval_holds_the_score_itself(share: float, rows: int, seed: int) -> None:
    answers = of_quality(share, rows, seed)

    for metric in told(answers):
        low, high = compute_score_interval(metric, answers, **OPTIONS)
        assert low <= metric(answers) <= high


def test_the_same_seed_draws_the_same_interval() -> None:
    answers = of_quality(0.7, 100)

    first, second = (compute_score_interval(accuracy, answers, **OPTIONS) for _ in range(2))
    other = compute_score_interval(log_loss, answers, **{**OPTIONS, "seed": 1})

    assert first == second
    assert other != compute_score_interval(log_loss, answers, **OPTIONS)


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_more_rows_leave_less_doubt_and_more_confidence_asks_for_more() -> None:
    few, many = of_quality(0.7, 100), of_quality(0.7, 2500)

    doubt = width(compute_score_interval(accuracy, few, **OPTIONS))

    assert width(compute_score_interval(accuracy, many, **OPTIONS)) < 0.4 * doubt
    assert (
        width(compute_score_interval(accuracy, few, **{**OPTIONS, "confidence": 0.5})) < 0.7 * doubt
    )


def test_neighbours_that_are_alike_leave_more_doubt_than_as_many_strangers() -> None:
    errors = np.repeat(np.random.default_rng(0).normal(size=100), 10)
    alike = numbers(np.zeros(1000), errors)
    block = choose_block_length(1000, by_time=True)

    in_runs = compute_score_interval(mae, alike, **{**OPTIONS, "block": block})
    one_by_one = compute_score_interval(mae, alike, **OPTIONS)

    assert width(in_runs) > 2 * width(one_by_one)


@given(st.integers(0, 99))
def test_the_gain_of_one_over_the_other_is_the_loss_of_the_other(seed: int) -> None:
    one, other = of_quality(0.8, 60, seed), of_quality(0.6, 60, seed)
    options = {**OPTIONS, "count": 60}

    gain = compute_gain_interval(accuracy, one, other, sign=1.0, **options)
    loss = compute_gain_interval(accuracy, other, one, sign=1.0, **options)

    assert gain == pytest.approx((-loss.high, -loss.low), abs=1e-12)


@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 9))
def test_each_resample_is_as_long_as_the_rows_and_within_them(
    rows: int, block: int, seed: int
) -> None:
    draws = list(draw_blocks(rows, count=5, block=block, seed=seed))

    assert [len(draw) for draw in draws] == [rows] * 5
    assert all(0 <= draw.min() <= draw.max() < rows for draw in draws)


def separable(count: int, seed: int = 0) -> SplitRows:
    """Sequences of one to three steps whose class is the sign of the last one."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 4, count)
    stops = np.cumsum(lengths)
    values = draw.normal(size=(stops[-1], 1)).astype(np.float32)
    values += np.where(values > 0, 0.5, -0.5).astype(np.float32)
    truth = (values[stops - 1, 0] > 0).astype(float)
    return SplitRows(values, stops - lengths, stops, truth, np.empty((len(stops), 0)))


def test_logistic_regression_beats_the_majority_where_a_line_tells_classes_apart() -> None:
    answers = predict_all(separable(300), separable(200, seed=1), classes=2, past={})

    assert accuracy(answers["logistic regression"]) > 0.97
    assert accuracy(answers["majority"]) < 0.7


def test_the_majority_answers_with_the_shares_of_training() -> None:
    training = separable(100)._replace(target_S=np.repeat([0.0, 2.0], [30, 70]))
    test = separable(3)._replace(target_S=np.array([0.0, 1.0, 2.0]))

    found = predict_all(training, test, classes=3, past={})["majority"]

    assert found.prediction_R.tolist() == [2.0, 2.0, 2.0]
    np.testing.assert_allclose(found.probability_R, [0.3, 0.0, 0.7])


def test_rows_that_come_class_by_class_do_not_stop_the_regression(monkeypatch) -> None:
    monkeypatch.setattr(single, "MAX_ROWS", 40)
    training = separable(300)
    order = np.argsort(training.target_S, kind="stable")
    by_class = SplitRows(
        training.values_NC,
        training.starts_S[order],
        training.stops_S[order],
        training.target_S[order],
        training.static_features_SF[order],
    )

    answers = predict_all(by_class, separable(200, seed=1), classes=2, past={})

    assert accuracy(answers["logistic regression"]) > 0.9


def test_a_class_that_training_never_showed_is_wrong_in_every_baseline() -> None:
    test = separable(50, seed=1)._replace(target_S=np.full(50, -1.0))

    answers = predict_all(separable(100), test, classes=2, past={"last value": np.zeros(50)})

    assert {name: accuracy(found) for name, found in answers.items()} == dict.fromkeys(answers, 0.0)
    assert all(log_loss(found) > 20 for found in answers.values())


def test_a_test_sequence_may_be_longer_than_any_in_training() -> None:
    test = separable(200, seed=1)
    ends = np.array([200])
    long = SplitRows(
        test.values_NC, ends - 200, ends, test.target_S[:1], test.static_features_SF[:1]
    )

    for classes in (2, 0):
        answers = predict_all(separable(300), long, classes=classes, past={})
        assert all(np.isfinite(found.prediction_R).all() for found in answers.values())


def test_a_baseline_sees_a_sequence_and_not_its_neighbours_in_memory() -> None:
    training, test = separable(300), separable(60, seed=1)
    copies = [test.values_NC[a:b] for a, b in zip(test.starts_S, test.stops_S, strict=True)]
    order = np.random.default_rng(0).permutation(60)
    stops = np.cumsum([len(copies[row]) for row in order])
    starts = stops - [len(copies[row]) for row in order]
    moved = SplitRows(
        np.concatenate([copies[row] for row in order]),
        starts,
        stops,
        test.target_S[order],
        test.static_features_SF[order],
    )

    for classes, name in ((2, "logistic regression"), (0, "ridge regression")):
        there = predict_all(training, test, classes=classes, past={})[name]
        here = predict_all(training, moved, classes=classes, past={})[name]
        np.testing.assert_allclose(here.prediction_R, there.prediction_R[order], rtol=1e-9)


def test_ridge_regression_finds_a_line() -> None:
    def lined(rows: SplitRows) -> SplitRows:
        return rows._replace(target_S=rows.values_NC[rows.stops_S - 1, 0] * 3.0 + 1e4)

    answers = predict_all(lined(separable(300)), lined(separable(99, seed=1)), classes=0, past={})

    assert r2(answers["ridge regression"]) > 0.999
    assert r2(answers["mean"]) <= 0.0


def test_the_past_answers_as_it_was_and_shrugs_where_there_was_none() -> None:
    test = separable(4)._replace(target_S=np.array([0.0, 2.0, 1.0, 2.0]))

    found = predict_from_past(np.array([0.0, 1.0, -1.0, -1.0]), test, 3)

    np.testing.assert_allclose(found.probability_R, [0.9, 0.05, 1 / 3, 1 / 3])
    assert found.prediction_R[:2].tolist() == [0.0, 1.0]


def test_a_forecast_from_the_past_is_the_past_itself() -> None:
    test = separable(3)._replace(target_S=np.array([1.0, 2.0, 3.0]))
    past = np.array([1.5, np.nan, 3.0])

    found = predict_all(separable(20), test, classes=0, past={"last value": past})["last value"]

    np.testing.assert_array_equal(found.prediction_R, wrap_numbers(past, test).prediction_R)
    assert mae(found) == pytest.approx(0.5 / 3)
