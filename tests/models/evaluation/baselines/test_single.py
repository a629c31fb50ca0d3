"""Baselines fit the training rows, predict the test rows, and read nothing else."""

import numpy as np
import pytest

from models.evaluation.baselines import single
from models.evaluation.baselines.features import SplitRows, count_ids
from models.evaluation.baselines.single import (
    predict_baselines,
    predict_from_past,
    wrap_numbers,
)
from models.evaluation.metrics.by_kind import (
    METRICS,
    compute_metrics,
)
from models.evaluation.metrics.classification import (
    accuracy,
    log_loss,
)
from models.evaluation.metrics.regression import mae, r2


def make_rows(count: int, seed: int) -> SplitRows:
    """Sequences of three steps whose target is the sign of the last one."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count * 3, 2)).astype(np.float32)
    starts = np.arange(count) * 3
    return SplitRows(
        values, starts, starts + 3, (values[2::3, 0] > 0).astype(float), np.empty((len(starts), 0))
    )


def make_separable_rows(count: int, seed: int = 0) -> SplitRows:
    """Sequences of one to three steps whose class is the sign of the last one."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 4, count)
    stops = np.cumsum(lengths)
    values = rng.normal(size=(stops[-1], 1)).astype(np.float32)
    values += np.where(values > 0, 0.5, -0.5).astype(np.float32)
    targets = (values[stops - 1, 0] > 0).astype(float)
    return SplitRows(values, stops - lengths, stops, targets, np.empty((len(stops), 0)))


def test_baselines_of_classes_fit_training_and_predict_test() -> None:
    predictions = predict_baselines(
        make_rows(300, 0), make_rows(100, 1), num_classes=2, past={"last": np.zeros(100)}
    )

    scores = {name: accuracy(found) for name, found in predictions.items()}
    assert set(scores) == {"majority", "logistic regression", "last"}
    assert scores["logistic regression"] > 0.95
    assert 0.3 < scores["majority"] < 0.7
    assert scores["last"] == (make_rows(100, 1).target_S == 0).mean()


def test_baselines_of_numbers_fit_training_and_predict_test() -> None:
    def make_linear(count: int, seed: int) -> SplitRows:
        rows = make_rows(count, seed)
        return rows._replace(target_S=rows.values_NC[2::3, 0] * 3.0 + 100.0)

    predictions = predict_baselines(make_linear(200, 0), make_linear(50, 1), num_classes=0, past={})

    assert compute_metrics(predictions["ridge regression"])["mae"] < 0.05
    assert compute_metrics(predictions["mean"])["r2"] < 0.1


def test_long_sequences_are_reduced_to_summary_statistics() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3000, 4)).astype(np.float32)
    long = SplitRows(
        values,
        np.array([0, 1200]),
        np.array([1200, 3000]),
        np.array([0.0, 1.0]),
        np.empty((2, 0)),
    )

    predictions = predict_baselines(long, long, num_classes=2, past={})

    assert accuracy(predictions["logistic regression"]) == 1.0


def test_a_subsample_of_rows_sorted_by_class_has_every_class() -> None:
    many = make_rows(300, 0)
    order = np.argsort(many.target_S, kind="stable")
    sorted_rows = SplitRows(many.values_NC, *(column[order] for column in many[1:5]))

    thin = sorted_rows.subsample(50)

    assert len(thin.target_S) == 50
    assert set(thin.target_S) == {0.0, 1.0}


def test_logistic_regression_beats_the_majority_on_linearly_separable_classes() -> None:
    predictions = predict_baselines(
        make_separable_rows(300), make_separable_rows(200, seed=1), num_classes=2, past={}
    )

    assert accuracy(predictions["logistic regression"]) > 0.97
    assert accuracy(predictions["majority"]) < 0.7


def test_the_majority_baseline_predicts_the_shares_of_training() -> None:
    training = make_separable_rows(100)._replace(target_S=np.repeat([0.0, 2.0], [30, 70]))
    test = make_separable_rows(3)._replace(target_S=np.array([0.0, 1.0, 2.0]))

    found = predict_baselines(training, test, num_classes=3, past={})["majority"]

    assert found.prediction_R.tolist() == [2.0, 2.0, 2.0]
    np.testing.assert_allclose(found.probability_R, [0.3, 0.0, 0.7], atol=1e-12)


def test_regression_works_on_rows_sorted_by_class(monkeypatch) -> None:
    monkeypatch.setattr(single, "MAX_ROWS", 40)
    training = make_separable_rows(300)
    order = np.argsort(training.target_S, kind="stable")
    by_class = SplitRows(
        training.values_NC,
        training.starts_S[order],
        training.stops_S[order],
        training.target_S[order],
        training.static_features_SF[order],
    )

    predictions = predict_baselines(
        by_class, make_separable_rows(200, seed=1), num_classes=2, past={}
    )

    assert accuracy(predictions["logistic regression"]) > 0.9


def test_a_class_unknown_in_training_is_an_error_of_every_baseline() -> None:
    test = make_separable_rows(50, seed=1)._replace(target_S=np.full(50, -1.0))

    predictions = predict_baselines(
        make_separable_rows(100), test, num_classes=2, past={"last value": np.zeros(50)}
    )

    assert {name: accuracy(found) for name, found in predictions.items()} == dict.fromkeys(
        predictions, 0.0
    )
    assert all(log_loss(found) > 20 for found in predictions.values())


def test_a_test_sequence_may_be_longer_than_every_training_sequence() -> None:
    test = make_separable_rows(200, seed=1)
    ends = np.array([200])
    long = SplitRows(
        test.values_NC, ends - 200, ends, test.target_S[:1], test.static_features_SF[:1]
    )

    for classes in (2, 0):
        predictions = predict_baselines(
            make_separable_rows(300), long, num_classes=classes, past={}
        )
        assert all(np.isfinite(found.prediction_R).all() for found in predictions.values())


def test_a_baseline_reads_a_sequence_and_not_its_neighbours_in_memory() -> None:
    training, test = make_separable_rows(300), make_separable_rows(60, seed=1)
    copies = [test.values_NC[a:b] for a, b in zip(test.starts_S, test.stops_S, strict=True)]
    order = np.random.default_rng(0).permutation(60)
    stops = np.cumsum([len(copies[row]) for row in order])
    starts = stops - [len(copies[row]) for row in order]
    permuted = SplitRows(
        np.concatenate([copies[row] for row in order]),
        starts,
        stops,
        test.target_S[order],
        test.static_features_SF[order],
    )

    for classes, name in ((2, "logistic regression"), (0, "ridge regression")):
        in_order = predict_baselines(training, test, num_classes=classes, past={})[name]
        in_other_order = predict_baselines(training, permuted, num_classes=classes, past={})[name]
        np.testing.assert_allclose(
            in_other_order.prediction_R, in_order.prediction_R[order], rtol=1e-5, atol=1e-6
        )


def test_ridge_regression_fits_a_linear_target() -> None:
    def make_linear(rows: SplitRows) -> SplitRows:
        return rows._replace(target_S=rows.values_NC[rows.stops_S - 1, 0] * 3.0 + 1e4)

    predictions = predict_baselines(
        make_linear(make_separable_rows(300)),
        make_linear(make_separable_rows(99, seed=1)),
        num_classes=0,
        past={},
    )

    assert r2(predictions["ridge regression"]) > 0.999
    assert r2(predictions["mean"]) <= 0.0


def test_a_class_from_the_past_has_high_probability_and_a_missing_one_none() -> None:
    test = make_separable_rows(4)._replace(target_S=np.array([0.0, 2.0, 1.0, 2.0]))

    found = predict_from_past(np.array([0.0, 1.0, -1.0, -1.0]), test, 3)

    np.testing.assert_allclose(found.probability_R, [0.9, 0.05, 1 / 3, 1 / 3])
    assert found.prediction_R[:2].tolist() == [0.0, 1.0]


def test_a_seasonal_naive_forecast_repeats_the_past() -> None:
    test = make_separable_rows(3)._replace(target_S=np.array([1.0, 2.0, 3.0]))
    past = np.array([1.5, np.nan, 3.0])

    found = predict_baselines(
        make_separable_rows(20), test, num_classes=0, past={"last value": past}
    )["last value"]

    np.testing.assert_array_equal(found.prediction_R, wrap_numbers(past, test).prediction_R)
    assert mae(found) == pytest.approx(0.5 / 3)


def test_a_baseline_of_texts_reads_pairs_of_neighbouring_words() -> None:
    rng = np.random.default_rng(0)
    rows = 300
    label = rng.integers(0, 2, rows)
    # Each row has both words; only their order depends on the class.
    ids = np.stack([np.where(label == 0, 1, 2), np.where(label == 0, 2, 1)], axis=1)
    noise = rng.integers(3, 30, (rows, 4))
    values = np.concatenate([noise[:, :2], ids, noise[:, 2:]], axis=1).reshape(-1, 1)
    stops = np.arange(1, rows + 1) * 6
    every = SplitRows(values, stops - 6, stops, label, np.empty((rows, 0)), 30)
    training, test = every.select(np.arange(200)), every.select(np.arange(200, 300))

    alone = predict_baselines(training, test, num_classes=2, past={})["logistic regression"]
    paired = predict_baselines(
        training._replace(with_bigrams=True),
        test._replace(with_bigrams=True),
        num_classes=2,
        past={},
    )["logistic regression"]

    assert METRICS["category"]["accuracy"](alone) < 0.7
    assert METRICS["category"]["accuracy"](paired) > 0.95
    assert count_ids(test._replace(with_bigrams=True)).sum() == 2 * 600


def test_random_convolutions_distinguish_series_by_their_shape() -> None:
    rng = np.random.default_rng(0)
    rows = 120
    label, lengths = rng.integers(0, 2, rows), rng.integers(20, 40, rows)
    waves = [
        np.sin(np.arange(length) * (0.5 + 0.7 * kind) + rng.uniform(0, 6))
        + rng.normal(0, 0.4, length)
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

    one, two = (
        predict_baselines(training, test, num_classes=2, past={})["random convolutions"]
        for _ in range(2)
    )

    assert METRICS["category"]["accuracy"](one) > 0.9
    np.testing.assert_array_equal(one.probabilities_RK, two.probabilities_RK)
