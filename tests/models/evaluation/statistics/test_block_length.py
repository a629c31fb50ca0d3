"""Block lengths grow with the correlation of neighbouring rows."""

import numpy as np
import pytest

from models.evaluation.metrics.by_kind import (
    METRICS,
)
from models.evaluation.predictions import (
    SinglePredictions,
)
from models.evaluation.statistics.block_length import (
    choose_block_length,
    compute_influence,
    estimate_block_length,
)


def test_rows_adjacent_in_time_are_resampled_together() -> None:
    assert choose_block_length(1000, by_time=True) == 10
    assert choose_block_length(1000, by_time=False) == 1


@pytest.mark.parametrize(
    ("correlation", "shortest", "longest"), [(0.0, 1, 1), (0.5, 5, 20), (0.9, 20, 60)]
)
def test_blocks_are_as_long_as_the_rows_are_correlated(
    correlation: float, shortest: int, longest: int
) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=600)
    for step in range(1, 600):
        values[step] += correlation * values[step - 1]

    assert shortest <= estimate_block_length(values[100:]) <= longest


def test_the_influence_of_a_row_is_the_change_of_the_score_by_its_weight() -> None:
    rng = np.random.default_rng(0)
    targets, predicted = (
        rng.integers(0, 3, 200).astype(float),
        rng.integers(0, 3, 200).astype(float),
    )
    predictions = SinglePredictions(targets, predicted, np.full(200, np.nan), 3)
    metric = METRICS["category"]["macro_f1"]

    influence = compute_influence(metric, predictions)

    for row in (0, 7, 199):
        fewer = np.ones((1, 200))
        fewer[0, row] = 1 - 1e-4
        moved = (metric(predictions) - metric.compute_resampled(predictions, fewer)[0]) / 1e-4
        assert influence[row] == pytest.approx(moved, abs=1e-6)
