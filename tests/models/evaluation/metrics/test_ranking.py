"""Areas under curves: as in scikit-learn, and nearly so with binned ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from models.evaluation.baselines.single import (
    choose_likeliest_class,
)
from models.evaluation.metrics import ranking
from models.evaluation.metrics.by_kind import (
    METRICS,
    compute_metrics,
)
from models.evaluation.statistics.bootstrap import (
    draw_resamples,
)
from tests.support.sample_predictions import (
    draw_class_predictions,
)


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@settings(max_examples=60)
@given(st.integers(2, 6), st.integers(8, 60), st.integers(0, 999))
def test_ranks_and_correlation_are_those_of_scikit_learn(count: int, rows: int, seed: int) -> None:
    predictions = draw_class_predictions(np.random.default_rng(seed), rows, count)
    targets, probabilities = predictions.target_R.astype(int), predictions.probabilities_RK
    seen = [code for code in range(count) if 0 < (targets == code).sum() < rows]

    found = compute_metrics(predictions)

    areas = [sk.roc_auc_score(targets == code, probabilities[:, code]) for code in seen]
    precisions = [
        sk.average_precision_score(targets == code, probabilities[:, code]) for code in seen
    ]
    if seen:
        assert found["auroc"] == pytest.approx(np.mean(areas))
        assert found["average_precision"] == pytest.approx(np.mean(precisions))
    predicted = predictions.prediction_R.astype(int)
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(targets, predicted), abs=1e-12)
    for average in ("weighted", "micro"):
        expected = sk.f1_score(targets, predicted, average=average, zero_division=0.0)
        assert found[f"{average}_f1"] == pytest.approx(expected)
    if count > 3:
        expected = sk.top_k_accuracy_score(targets, probabilities, k=3, labels=np.arange(count))
        assert found["top_3_accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["auroc", "average_precision"])
def test_binned_ranks_of_many_rows_give_nearly_the_same_resampled_scores(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = draw_class_predictions(np.random.default_rng(0), 4000, 4)
    blurred = predictions.probabilities_RK + np.random.default_rng(1).random((4000, 4)) / 100
    predictions = choose_likeliest_class(
        blurred / blurred.sum(axis=1, keepdims=True), predictions.target_R
    )
    metric = METRICS["category"][name]
    draws = list(draw_resamples(predictions, count=20, block=1, seed=1))
    counts = np.stack([np.bincount(draw, minlength=4000) for draw in draws]).astype(float)
    expected = metric.compute_resampled(predictions, counts)

    monkeypatch.setattr(ranking, "BINNED_FROM_ROWS", 1000)
    found = metric.compute_resampled(predictions, counts)

    np.testing.assert_allclose(found, expected, atol=3e-4)
    assert np.abs(found - expected).max() < 0.1 * expected.std()
    np.testing.assert_allclose(
        metric.compute_resampled(predictions, np.ones((1, 4000))), metric(predictions)
    )
