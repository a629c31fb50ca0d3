"""Ridge regression in closed form, all penalties from one decomposition.

With n rows and F features, the eigendecomposition of the smaller of the n x n and the F x F Gram
matrix gives the weights and the leave-one-out errors of every penalty (Rifkin and Lippert 2007).
The intercept is not penalized.

Shapes: R rows, F features, O outputs, E eigenvalues above zero.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

PENALTIES = tuple(float(10.0**exponent) for exponent in np.linspace(-3, 3, 13))
"""Penalties that are tried, each times the number of features."""

_MIN_EIGENVALUE = 1e-10
"""Eigenvalues below this share of the largest count as zero."""

_MAX_LEVERAGE = 1 - 1e-9


class Ridge(NamedTuple):
    """The weights of a ridge regression."""

    weight_FO: Tensor
    bias_O: Tensor

    def predict(self, features_RF: Tensor) -> Tensor:
        """Return [R, O]."""
        return features_RF @ self.weight_FO + self.bias_O


class RidgeSolver:
    """The decomposition of one regression problem, which solves it for any penalty."""

    def __init__(self, features_RF: Tensor, target_RO: Tensor) -> None:
        """Decompose.

        Args:
            features_RF: the features, on a common scale.
            target_RO: the targets.
        """
        self.rows, self.count = features_RF.shape
        self.mean_F = features_RF.mean(dim=0, dtype=torch.float64)
        self.mean_O = target_RO.double().mean(dim=0)
        centered_RF = features_RF.double() - self.mean_F
        self.centered_RO = target_RO.double() - self.mean_O
        dual = self.rows <= self.count
        gram = centered_RF @ centered_RF.T if dual else centered_RF.T @ centered_RF
        values_E, vectors = torch.linalg.eigh(gram)
        floor = torch.finfo(torch.float64).tiny
        keep = values_E > _MIN_EIGENVALUE * values_E[-1:].clamp_min(floor)
        self.values_E, vectors = values_E[keep], vectors[:, keep]
        # The singular vectors of the features, whichever matrix was decomposed.
        other = (centered_RF.T if dual else centered_RF) @ vectors / self.values_E.sqrt()
        self.left_RE, self.right_FE = (vectors, other) if dual else (other, vectors)
        self.projected_EO = self.left_RE.T @ self.centered_RO

    def solve(self, penalty: float) -> Ridge:
        """Return the weights for a penalty, which is multiplied by the number of features."""
        scale_E = self.values_E.sqrt() / (self.values_E + penalty * self.count)
        weight_FO = self.right_FE @ (scale_E[:, None] * self.projected_EO)
        return Ridge(weight_FO.float(), (self.mean_O - self.mean_F @ weight_FO).float())

    def compute_leave_one_out_error(self, penalty: float) -> float:
        """Return the mean squared error of each row by the regression on all others."""
        shrink_E = self.values_E / (self.values_E + penalty * self.count)
        fitted_RO = self.left_RE @ (shrink_E[:, None] * self.projected_EO)
        leverage_R = self.left_RE.square() @ shrink_E + 1 / self.rows
        error_RO = (self.centered_RO - fitted_RO) / (1 - leverage_R.clamp(max=_MAX_LEVERAGE))[
            :, None
        ]
        return float(error_RO.square().mean())


def fit_ridge(features_RF: Tensor, target_RO: Tensor) -> Ridge:
    """Fit with the penalty of the least leave-one-out error."""
    solver = RidgeSolver(features_RF, target_RO)
    return solver.solve(min(PENALTIES, key=solver.compute_leave_one_out_error))
