"""Every metric has a unit and a direction, and scores a resample as its rows."""

import numpy as np
import pytest

from models.evaluation.baselines.single import (
    choose_likeliest_class,
)
from models.evaluation.metrics.by_kind import (
    DESCRIPTIVE_METRICS,
    LOWER_IS_BETTER,
    METRICS,
    compute_metrics,
    get_best_score,
    get_metric_sign,
    get_metric_units,
)
from models.evaluation.statistics.bootstrap import (
    draw_resamples,
)
from tests.support.sample_predictions import (
    draw_predictions,
    make_numbers,
)


@pytest.mark.parametrize("kind", METRICS)
def test_a_resample_scores_as_the_rows_that_it_contains(kind: str) -> None:
    predictions = draw_predictions(kind, 0)
    draws = list(draw_resamples(predictions, count=30, block=1, seed=1))
    counts = np.stack([np.bincount(draw, minlength=len(predictions)) for draw in draws]).astype(
        float
    )

    for metric in METRICS[kind].values():
        expected = [metric(predictions.select(draw)) for draw in draws]
        np.testing.assert_allclose(
            metric.compute_resampled(predictions, counts), expected, rtol=1e-9
        )


def test_every_metric_has_a_unit_and_a_direction_or_is_descriptive() -> None:
    for kind, metrics in METRICS.items():
        assert set(get_metric_units(kind, ["sales"])) == set(metrics)
    assert get_metric_units("number", ["sales"])["mae"] == "unit of sales"
    assert (get_metric_sign("auroc"), get_metric_sign("mape")) == (1.0, -1.0)
    assert [get_best_score(name) for name in ("auroc", "mape", "bleu")] == [1.0, 0.0, 100.0]
    assert set(DESCRIPTIVE_METRICS) <= set(METRICS["forecast"])


def test_a_perfect_model_has_errors_of_zero_and_scores_of_one() -> None:
    for classes, perfect in (
        (0, make_numbers([1, 2, 5], [1, 2, 5])),
        (3, choose_likeliest_class(np.eye(3), np.arange(3.0))),
    ):
        found = compute_metrics(perfect)
        assert len(found) >= len(METRICS["category" if classes else "number"]) - 1
        for name, value in found.items():
            assert value == pytest.approx(0.0 if name in LOWER_IS_BETTER else 1.0)
