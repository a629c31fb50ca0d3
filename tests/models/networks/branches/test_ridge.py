"""Ridge regression: weights and leave-one-out errors of the textbook, from one decomposition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from models.networks.branches.ridge import PENALTIES, RidgeSolver, fit_ridge


def draw_problem(rows: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, count, generator=draw, dtype=torch.float64) * 3 + 1
    weights = torch.randn(count, 2, generator=draw, dtype=torch.float64)
    noise = torch.randn(rows, 2, generator=draw, dtype=torch.float64)
    return features, features @ weights + noise + 5


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(4, 30), count=st.integers(1, 30), seed=st.integers(0, 99))
def test_the_weights_are_those_of_scikit_learn(rows: int, count: int, seed: int) -> None:
    features, targets = draw_problem(rows, count, seed)
    penalty = 0.3

    ridge = RidgeSolver(features, targets).solve(penalty)

    expected = Ridge(alpha=penalty * count).fit(features.numpy(), targets.numpy())
    np.testing.assert_allclose(ridge.weight_FO, expected.coef_.T, atol=2e-4)
    np.testing.assert_allclose(ridge.bias_O, expected.intercept_, atol=2e-3)


@pytest.mark.parametrize(("rows", "count"), [(12, 3), (8, 20)])
def test_the_leave_one_out_error_is_that_of_fits_without_each_row(rows: int, count: int) -> None:
    features, targets = draw_problem(rows, count, seed=1)
    penalty = 0.1
    errors = []
    for row in range(rows):
        others = [other for other in range(rows) if other != row]
        model = Ridge(alpha=penalty * count).fit(features[others], targets[others])
        errors.append(model.predict(features[[row]].numpy())[0] - targets[row].numpy())

    error = RidgeSolver(features, targets).compute_leave_one_out_error(penalty)

    assert error == pytest.approx(np.square(errors).mean(), rel=1e-6)


def test_the_penalty_of_the_least_leave_one_out_error_is_taken() -> None:
    features, targets = draw_problem(15, 40, seed=2)
    solver = RidgeSolver(features, targets)

    ridge = fit_ridge(features, targets)

    best = min(PENALTIES, key=solver.compute_leave_one_out_error)
    torch.testing.assert_close(ridge.weight_FO, solver.solve(best).weight_FO)


def test_constant_features_leave_the_mean() -> None:
    targets = torch.tensor([[1.0], [2.0], [6.0]])

    ridge = fit_ridge(torch.ones(3, 4), targets)

    torch.testing.assert_close(ridge.predict(torch.ones(1, 4)), torch.tensor([[3.0]]))
