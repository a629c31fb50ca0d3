"""Metrics of every kind: scikit-learn's numbers, and the same on a resample as on its rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from models.evaluation.baselines.single import (
    SplitRows,
    count_ids,
    predict_all,
    predict_likeliest_class,
    predict_random_convolutions,
)
from models.evaluation.metrics import ranking
from models.evaluation.metrics.by_kind import (
    DESCRIPTIVE_METRICS,
    METRICS,
    compute_metrics,
    get_metric_sign,
    get_metric_units,
)
from models.evaluation.metrics.classification import score_labels
from models.evaluation.metrics.forecast import summarize_forecasts
from models.evaluation.metrics.text import compare_texts
from models.evaluation.predictions import (
    ForecastSteps,
    Predictions,
    SelfSupervisedErrors,
    SinglePredictions,
    TagPredictions,
)
from models.evaluation.statistics.bootstrap import (
    assign_strata,
    compute_gain_interval,
    compute_score_intervals,
    draw_resamples,
)

NOTHING = np.empty(0)


def classes(draw: np.random.Generator, rows: int, count: int) -> SinglePredictions:
    """Answers that know something, some probabilities tied."""
    truth = draw.integers(0, count, rows)
    odds = draw.integers(1, 6, (rows, count)) + 3.0 * (np.arange(count) == truth[:, None])
    return predict_likeliest_class(odds / odds.sum(axis=1, keepdims=True), truth.astype(float))


def of_kind(kind: str, seed: int, rows: int = 40) -> Predictions:
    """Answers of a kind, good and bad ones."""
    draw = np.random.default_rng(seed)
    if kind == "category":
        return classes(draw, rows, 5)
    if kind == "number":
        truth = draw.normal(3, 2, rows)
        return SinglePredictions(truth, truth + draw.normal(size=rows), np.full(rows, np.nan), 0)
    if kind == "tags":
        return TagPredictions(*(draw.random((2, rows, 4)) < 0.4))
    if kind == "forecast":
        truth = draw.normal(5, 1, (rows, 3))
        truth[draw.random(truth.shape) < 0.1] = np.nan
        said = draw.normal(5, 1, (rows, 3))
        return summarize_forecasts(
            ForecastSteps(truth, said, (said - 1, said, said + 1), (0.1, 0.5, 0.9)),
            draw.random(rows),
        )
    if kind == "text":
        words = np.array(["a", "b", "of", "the", "."])
        pairs = [[" ".join(draw.choice(words, 6)) for _ in range(rows)] for _ in range(2)]
        return compare_texts(*pairs)
    return SelfSupervisedErrors(draw.random(rows), draw.random(rows))


@pytest.mark.parametrize("kind", METRICS)
def test_a_resample_scores_as_the_rows_that_it_holds(kind: str) -> None:
    judged = of_kind(kind, 0)
    draws = list(draw_resamples(judged, count=30, block=1, seed=1))
    counts = np.stack([np.bincount(draw, minlength=len(judged)) for draw in draws]).astype(float)

    for metric in METRICS[kind].values():
        expected = [metric(judged.select(draw)) for draw in draws]
        np.testing.assert_allclose(metric.compute_resampled(judged, counts), expected, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@settings(max_examples=60)
@given(st.integers(2, 6), st.integers(8, 60), st.integers(0, 999))
def test_ranks_and_correlation_are_those_of_scikit_learn(count: int, rows: int, seed: int) -> None:
    answers = classes(np.random.default_rng(seed), rows, count)
    truth, chances = answers.target_R.astype(int), answers.probabilities_RK
    seen = [code for code in range(count) if 0 < (truth == code).sum() < rows]

    found = compute_metrics(answers)

    areas = [sk.roc_auc_score(truth == code, chances[:, code]) for code in seen]
    precisions = [sk.average_precision_score(truth == code, chances[:, code]) for code in seen]
    if seen:
        assert found["auroc"] == pytest.approx(np.mean(areas))
        assert found["average_precision"] == pytest.approx(np.mean(precisions))
    said = answers.prediction_R.astype(int)
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(truth, said), abs=1e-12)
    for average in ("weighted", "micro"):
        expected = sk.f1_score(truth, said, average=average, zero_division=0.0)
        assert found[f"{average}_f1"] == pytest.approx(expected)
    if count > 3:
        expected = sk.top_k_accuracy_score(truth, chances, k=3, labels=np.arange(count))
        assert found["top_3_accuracy"] == pytest.approx(expected)


@given(st.integers(1, 40), st.integers(0, 999))
def test_percentages_are_those_of_scikit_learn_where_no_truth_is_zero(rows: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.uniform(1, 9, rows)
    answers = SinglePredictions(truth, truth + draw.normal(size=rows), np.full(rows, np.nan), 0)

    expected = 100 * sk.mean_absolute_percentage_error(truth, answers.prediction_R)

    assert compute_metrics(answers)["mape"] == pytest.approx(expected)


def test_percentages_of_nothing_are_not_told() -> None:
    answers = SinglePredictions(np.zeros(3), np.ones(3), np.full(3, np.nan), 0)

    assert "mape" not in compute_metrics(answers)


def test_each_label_has_the_precision_and_recall_of_scikit_learn() -> None:
    tags = of_kind("tags", 4)

    found = score_labels(tags, ("a", "b", "c"))

    precision, recall, f1, rows = sk.precision_recall_fscore_support(
        tags.target_RK, tags.prediction_RK, labels=range(3)
    )
    for place, row in enumerate(found):
        told = (row["precision"], row["recall"], row["f1"], row["rows"])
        assert told == pytest.approx((precision[place], recall[place], f1[place], rows[place]))


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=60), st.integers(0, 99))
def test_a_resample_has_as_many_rows_of_each_class_as_the_test(truth: list, seed: int) -> None:
    answers = SinglePredictions(
        np.array(truth, float), np.zeros(len(truth)), np.ones(len(truth)), 4
    )
    strata = assign_strata(answers)

    for draw in draw_resamples(answers, count=5, block=1, seed=seed):
        assert sorted(strata[draw]) == sorted(strata)


def test_intervals_drawn_together_are_those_drawn_alone() -> None:
    answers = of_kind("category", 3)
    options = {"confidence": 0.9, "count": 200, "block": 1, "seed": 0}

    together = compute_score_intervals(METRICS["category"], answers, **options)

    for name, metric in METRICS["category"].items():
        assert together[name] == compute_score_intervals({"": metric}, answers, **options)[""]


def test_every_metric_has_a_unit_and_a_direction_or_says_that_it_has_none() -> None:
    for kind, metrics in METRICS.items():
        assert set(get_metric_units(kind, "sales")) == set(metrics)
    assert get_metric_units("number", "sales")["mae"] == "unit of sales"
    assert (get_metric_sign("auroc"), get_metric_sign("mape")) == (1.0, -1.0)
    assert set(DESCRIPTIVE_METRICS) <= set(METRICS["forecast"])


def test_a_gain_in_rank_is_measured_on_both_models_with_the_same_resamples() -> None:
    good = of_kind("category", 1, rows=300)
    flat = predict_likeliest_class(np.full((300, 5), 0.2), good.target_R)
    options = {"sign": 1.0, "confidence": 0.95, "count": 200, "block": 1, "seed": 0}

    low, high = compute_gain_interval(METRICS["category"]["auroc"], good, flat, **options)

    assert 0.2 < low < high < 0.6


def test_a_baseline_of_texts_sees_which_words_are_neighbours() -> None:
    draw = np.random.default_rng(0)
    rows = 300
    label = draw.integers(0, 2, rows)
    # Each row has one of each word; only their order tells the class.
    ids = np.stack([np.where(label == 0, 1, 2), np.where(label == 0, 2, 1)], axis=1)
    noise = draw.integers(3, 30, (rows, 4))
    values = np.concatenate([noise[:, :2], ids, noise[:, 2:]], axis=1).reshape(-1, 1)
    stops = np.arange(1, rows + 1) * 6
    every = SplitRows(values, stops - 6, stops, label, np.empty((rows, 0)), 30)
    training, test = every.select(np.arange(200)), every.select(np.arange(200, 300))

    alone = predict_all(training, test, classes=2, past={})["logistic regression"]
    paired = predict_all(
        training._replace(with_bigrams=True), test._replace(with_bigrams=True), classes=2, past={}
    )["logistic regression"]

    assert METRICS["category"]["accuracy"](alone) < 0.7
    assert METRICS["category"]["accuracy"](paired) > 0.95
    assert count_ids(test._replace(with_bigrams=True)).sum() == 2 * 600


def test_random_convolutions_tell_series_apart_by_their_shape() -> None:
    draw = np.random.default_rng(0)
    rows = 120
    label, lengths = draw.integers(0, 2, rows), draw.integers(20, 40, rows)
    waves = [
        np.sin(np.arange(length) * (0.5 + 0.7 * kind) + draw.uniform(0, 6))
        + draw.normal(0, 0.4, length)
        for kind, length in zip(label, lengths, strict=True)
    ]
    stops = np.cumsum(lengths)
    every = SplitRows(
        np.concatenate(waves)[:, None].astype(np.float32),
        stops - lengths,
        stops,
        label,
        np.empty((rows, 0)),
    )
    training, test = every.select(np.arange(80)), every.select(np.arange(80, 120))

    one, two = (predict_random_convolutions(training, test, 2) for _ in range(2))

    assert METRICS["category"]["accuracy"](one) > 0.9
    np.testing.assert_array_equal(one.probabilities_RK, two.probabilities_RK)
    assert predict_random_convolutions(training._replace(ids=5), test, 2) is None


@pytest.mark.parametrize("name", ["auroc", "average_precision"])
def test_of_many_rows_ranks_are_resampled_as_if_one_by_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = classes(np.random.default_rng(0), 4000, 4)
    blurred = judged.probabilities_RK + np.random.default_rng(1).random((4000, 4)) / 100
    judged = predict_likeliest_class(blurred / blurred.sum(axis=1, keepdims=True), judged.target_R)
    metric = METRICS["category"][name]
    draws = list(draw_resamples(judged, count=20, block=1, seed=1))
    counts = np.stack([np.bincount(draw, minlength=4000) for draw in draws]).astype(float)
    expected = metric.compute_resampled(judged, counts)

    monkeypatch.setattr(ranking, "BINNED_FROM_ROWS", 1000)
    found = metric.compute_resampled(judged, counts)

    np.testing.assert_allclose(found, expected, atol=3e-4)
    assert np.abs(found - expected).max() < 0.1 * expected.std()
    np.testing.assert_allclose(metric.compute_resampled(judged, np.ones((1, 4000))), metric(judged))
