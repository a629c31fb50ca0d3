"""The output of a number: a point, quantiles, or a distribution.

An output has R raw numbers of a linear layer for each prediction. `compute_parts` turns them into
its parameters, `rescale` moves these by an origin and a scale, and `loss` compares them with the
targets.

Shapes: M predictions, R raw numbers or parts of each, Q quantiles.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.networks.heads.config import HeadConfig

MIN_STD = 1e-3
"""Smallest standard deviation of a prediction, in standard deviations of the training targets."""

MIN_DEGREES_OF_FREEDOM = 2.0
"""Above this Student's t has a variance."""

MAX_LOG_COUNT = 15.0
"""Log of the largest predicted count, about three million."""


class PointOutput:
    """A point: one number for each prediction."""

    num_raw = 1

    def __init__(self, config: HeadConfig) -> None:
        self.config = config

    def compute_parts(self, raw_MR: Tensor) -> Tensor:
        """Return the parts [M, R] of raw numbers, the point first."""
        return raw_MR.float()

    def rescale(self, parts_MR: Tensor, origin_M: Tensor, scale_M: Tensor) -> Tensor:
        """Return the parts of predictions that were measured from an origin, by a scale."""
        return torch.addcmul(origin_M[:, None], parts_MR, scale_M[:, None])

    def select_point(self, parts_MR: Tensor) -> Tensor:
        """Return the point predictions, [M]."""
        return parts_MR[:, 0]

    def loss(self, parts_MR: Tensor, target_M: Tensor) -> Tensor:
        """Return the mean error."""
        point_M = self.select_point(parts_MR)
        if self.config.loss == "mae":
            return functional.l1_loss(point_M, target_M)
        if self.config.loss == "huber":
            return functional.huber_loss(point_M, target_M)
        return functional.mse_loss(point_M, target_M)

    def distillation_loss(self, parts_MR: Tensor, teacher_MR: Tensor) -> Tensor:
        """Return the mean error against other networks' points.

        The width of a distribution is learned from the targets alone, unless a subclass
        overrides this.
        """
        return functional.mse_loss(self.select_point(parts_MR), self.select_point(teacher_MR))


def build_output(config: HeadConfig, *, mean: float = 0.0, std: float = 1.0) -> PointOutput:
    """Build the output for the job's loss.

    Args:
        config: the section of the job.
        mean: subtracted from the targets when they were scaled.
        std: by which they were then divided.
    """
    if config.loss == "negative_binomial":
        return _NegativeBinomialOutput(config, mean, std)
    forms = {
        "gaussian_nll": _GaussianOutput,
        "quantile": _QuantileOutput,
        "student_t": _StudentTOutput,
    }
    return forms.get(config.loss, PointOutput)(config)


class _GaussianOutput(PointOutput):
    """A normal distribution: mean and standard deviation (Nix and Weigend 1994)."""

    num_raw = 2

    def compute_parts(self, raw_MR: Tensor) -> Tensor:
        """Return mean and standard deviation."""
        mean_M1, std_M1 = raw_MR.float().split(1, dim=1)
        return torch.cat([mean_M1, MIN_STD + functional.softplus(std_M1)], dim=1)

    def rescale(self, parts_MR: Tensor, origin_M: Tensor, scale_M: Tensor) -> Tensor:
        """Move the mean, stretch both."""
        mean_M, std_M = parts_MR.unbind(dim=1)
        return torch.stack([origin_M + scale_M * mean_M, scale_M * std_M], dim=1)

    def loss(self, parts_MR: Tensor, target_M: Tensor) -> Tensor:
        """Return the mean negative log likelihood, but for a constant."""
        return functional.gaussian_nll_loss(parts_MR[:, 0], target_M, parts_MR[:, 1].square())

    def distillation_loss(self, parts_MR: Tensor, teacher_MR: Tensor) -> Tensor:
        """Return the mean cross-entropy of the other distribution and this one."""
        (mean_M, std_M), (teacher_mean_M, teacher_std_M) = (
            parts_MR.unbind(dim=1),
            teacher_MR.unbind(dim=1),
        )
        squared_M = (teacher_mean_M - mean_M).square() + teacher_std_M.square()
        return (torch.log(std_M) + 0.5 * squared_M / std_M.square()).mean()


class _QuantileOutput(PointOutput):
    """Quantiles that never cross: the first is raw, each next one adds a positive increment."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config)
        self.num_raw = len(config.quantiles)
        self.middle = config.quantiles.index(0.5)

    def compute_parts(self, raw_MR: Tensor) -> Tensor:
        """Return the quantiles."""
        raw_MR = raw_MR.float()
        increments_MQ = torch.cat([raw_MR[:, :1], functional.softplus(raw_MR[:, 1:])], dim=1)
        return increments_MQ.cumsum(dim=1)

    def select_point(self, parts_MR: Tensor) -> Tensor:
        """Return the median."""
        return parts_MR[:, self.middle]

    def loss(self, parts_MR: Tensor, target_M: Tensor) -> Tensor:
        """Return the pinball loss (Koenker and Bassett 1978), over targets and levels."""
        levels_Q = parts_MR.new_tensor(self.config.quantiles)
        error_MQ = target_M[:, None] - parts_MR
        return torch.maximum(levels_Q * error_MQ, (levels_Q - 1) * error_MQ).mean()

    def distillation_loss(self, parts_MR: Tensor, teacher_MR: Tensor) -> Tensor:
        """Return the mean distance from the other quantiles."""
        return functional.l1_loss(parts_MR, teacher_MR)


class _StudentTOutput(PointOutput):
    """Student's distribution, whose tails are learned too (Salinas et al. 2020)."""

    num_raw = 3

    def compute_parts(self, raw_MR: Tensor) -> Tensor:
        """Return location, scale and degrees of freedom."""
        location_M, scale_M, freedom_M = raw_MR.float().unbind(dim=1)
        scale_M = MIN_STD + functional.softplus(scale_M)
        freedom_M = MIN_DEGREES_OF_FREEDOM + functional.softplus(freedom_M)
        return torch.stack([location_M, scale_M, freedom_M], dim=1)

    def rescale(self, parts_MR: Tensor, origin_M: Tensor, scale_M: Tensor) -> Tensor:
        """Move the location, stretch it and the scale."""
        location_M, own_scale_M, freedom_M = parts_MR.unbind(dim=1)
        return torch.stack(
            [origin_M + scale_M * location_M, scale_M * own_scale_M, freedom_M], dim=1
        )

    def loss(self, parts_MR: Tensor, target_M: Tensor) -> Tensor:
        """Return the mean negative log likelihood."""
        location_M, scale_M, freedom_M = parts_MR.unbind(dim=1)
        squared_M = ((target_M - location_M) / scale_M).square()
        shape_M = (freedom_M + 1) / 2
        return (
            torch.lgamma(freedom_M / 2)
            - torch.lgamma(shape_M)
            + 0.5 * torch.log(math.pi * freedom_M)
            + torch.log(scale_M)
            + shape_M * torch.log1p(squared_M / freedom_M)
        ).mean()


class _NegativeBinomialOutput(PointOutput):
    """Negative binomial counts of mean m and variance m + a m^2 (Salinas et al. 2020).

    Parts are m, on the scale of the training targets, and a, which is not scaled.
    """

    num_raw = 2

    def __init__(self, config: HeadConfig, mean: float, std: float) -> None:
        super().__init__(config)
        self.mean, self.std = mean, std

    def compute_parts(self, raw_MR: Tensor) -> Tensor:
        """Return mean and dispersion; with raw zeros the mean is that of training."""
        log_M, dispersion_M = raw_MR.float().unbind(dim=1)
        start = math.log(max(self.mean, 1e-3))
        count_M = torch.exp((log_M + start).clamp(max=MAX_LOG_COUNT))
        dispersion_M = MIN_STD + functional.softplus(dispersion_M)
        return torch.stack([(count_M - self.mean) / self.std, dispersion_M], dim=1)

    def loss(self, parts_MR: Tensor, target_M: Tensor) -> Tensor:
        """Return the mean negative log likelihood."""
        mean_M = (parts_MR[:, 0] * self.std + self.mean).clamp(min=1e-6)
        count_M = (target_M * self.std + self.mean).round().clamp(min=0)
        dispersion_M = parts_MR[:, 1]
        rate_M, product_M = 1 / dispersion_M, dispersion_M * mean_M
        return (
            torch.lgamma(rate_M)
            + torch.lgamma(count_M + 1)
            - torch.lgamma(count_M + rate_M)
            + rate_M * torch.log1p(product_M)
            - count_M * (torch.log(product_M) - torch.log1p(product_M))
        ).mean()
