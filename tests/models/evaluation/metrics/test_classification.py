"""Metrics of classes and labels: as in scikit-learn, with every missing prediction an error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from models.evaluation.baselines.single import (
    choose_likeliest_class,
)
from models.evaluation.metrics.by_kind import (
    compute_metrics,
)
from models.evaluation.metrics.classification import (
    count_confusion,
    score_labels,
)
from tests.support.sample_predictions import (
    draw_predictions,
    make_classes,
)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_scores_of_classes_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    targets, prediction = np.array(pairs).T
    probability = np.linspace(0.1, 1.0, len(targets))

    found = compute_metrics(make_classes(targets, prediction, probability=probability))

    recalls = sk.recall_score(targets, prediction, labels=np.unique(targets), average="macro")
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(targets, prediction))
    assert found["balanced_accuracy"] == pytest.approx(recalls)
    assert found["macro_f1"] == pytest.approx(sk.f1_score(targets, prediction, average="macro"))
    assert found["log_loss"] == pytest.approx(-np.log(probability).mean())


@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 999))
def test_log_loss_and_accuracy_of_probabilities_are_those_of_scikit_learn(
    classes: int, rows: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), rows)
    targets = rng.integers(0, classes, rows)

    found = compute_metrics(choose_likeliest_class(probabilities, targets.astype(float)))

    best = probabilities.argmax(axis=1)
    expected = sk.log_loss(targets, probabilities, labels=np.arange(classes))
    assert found["log_loss"] == pytest.approx(expected, rel=1e-9)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(targets, best))


def test_an_unknown_class_and_a_missing_prediction_count_as_errors() -> None:
    predictions = make_classes([0, -1, 1], [0, 0, np.nan], probability=np.array([0.9, 0.0, 0.0]))

    found = compute_metrics(predictions)

    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["balanced_accuracy"] == pytest.approx(1 / 3)
    assert found["log_loss"] > 20


@given(st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 6)), min_size=1, max_size=40))
def test_unknown_classes_and_missing_predictions_are_errors_in_every_score(
    pairs: list[tuple[int, int]],
) -> None:
    targets, prediction = np.array(pairs).T
    missing = prediction == 6
    known = 6

    found = compute_metrics(make_classes(targets, np.where(missing, np.nan, prediction), known))

    seen = sorted({*targets.tolist(), *prediction[~missing].tolist()})
    f1 = sk.f1_score(targets, prediction, labels=seen, average="macro", zero_division=0.0)
    recall = sk.recall_score(targets, prediction, labels=np.unique(targets), average="macro")
    assert found["accuracy"] == pytest.approx((targets == prediction).mean())
    assert found["macro_f1"] == pytest.approx(f1)
    assert found["balanced_accuracy"] == pytest.approx(recall)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_the_confusion_matrix_counts_targets_by_predictions(pairs: list[tuple[int, int]]) -> None:
    targets, prediction = np.array(pairs).T

    found = count_confusion(make_classes(targets, prediction, 5))

    expected = sk.confusion_matrix(targets, prediction, labels=np.arange(5))
    np.testing.assert_array_equal(found[:5, :5], expected)
    assert found[5].sum() == found[:, 5].sum() == 0


def test_each_label_has_the_precision_and_recall_of_scikit_learn() -> None:
    tags = draw_predictions("tags", 4)

    found = score_labels(tags, ("a", "b", "c"))

    precision, recall, f1, rows = sk.precision_recall_fscore_support(
        tags.target_RK, tags.prediction_RK, labels=range(3)
    )
    for index, row in enumerate(found):
        scores = (row["precision"], row["recall"], row["f1"], row["rows"])
        assert scores == pytest.approx((precision[index], recall[index], f1[index], rows[index]))
