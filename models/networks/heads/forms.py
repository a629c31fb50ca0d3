"""What is said of an answer that is a number: a point, quantiles, or a distribution.

A form tells how many raw numbers a linear layer gives it of each answer, what they mean (its
parts), how parts move with an origin and a scale, and what the truth costs under them.
Shapes: M answers, R raw numbers or parts of each, Q quantiles.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.networks.heads.config import HeadConfig

LEAST_SPREAD = 1e-3
"""Of the training answers' own spread: no answer is taken to be surer than that."""

LEAST_FREEDOM = 2.0
"""Student's distribution has a spread from here on."""

FARTHEST_LOG = 15.0
"""Counts of up to some three million are foretold."""


class Form:
    """A point: one number of each answer."""

    raw = 1

    def __init__(self, config: HeadConfig) -> None:
        self.config = config

    def parts(self, raw_MR: Tensor) -> Tensor:
        """Return what the raw numbers mean, the point first."""
        return raw_MR.float()

    def moved(self, parts_MR: Tensor, origin_M: Tensor, scale_M: Tensor) -> Tensor:
        """Return parts of answers that were measured from an origin, by a scale."""
        return torch.addcmul(origin_M[:, None], parts_MR, scale_M[:, None])

    def point(self, parts_MR: Tensor) -> Tensor:
        """Return the answer itself, [M]."""
        return parts_MR[:, 0]

    def loss(self, parts_MR: Tensor, truth_M: Tensor) -> Tensor:
        """Return the mean error."""
        point_M = self.point(parts_MR)
        if self.config.loss == "mae":
            return functional.l1_loss(point_M, truth_M)
        if self.config.loss == "huber":
            return functional.huber_loss(point_M, truth_M)
        return functional.mse_loss(point_M, truth_M)

    def unlike(self, parts_MR: Tensor, told_MR: Tensor) -> Tensor:
        """Return the mean error against other networks' points.

        How wide a distribution is, is learned from the truth alone where its form does not say
        otherwise.
        """
        return functional.mse_loss(self.point(parts_MR), self.point(told_MR))


class Gaussian(Form):
    """A normal distribution: mean and spread (Nix and Weigend 1994)."""

    raw = 2

    def parts(self, raw_MR: Tensor) -> Tensor:
        """Return mean and spread."""
        mean_M1, spread_M1 = raw_MR.float().split(1, dim=1)
        return torch.cat([mean_M1, LEAST_SPREAD + functional.softplus(spread_M1)], dim=1)

    def moved(self, parts_MR: Tensor, origin_M: Tensor, scale_M: Tensor) -> Tensor:
        """Move the mean, stretch both."""
        mean_M, spread_M = parts_MR.unbind(dim=1)
        return torch.stack([origin_M + scale_M * mean_M, scale_M * spread_M], dim=1)

    def loss(self, parts_MR: Tensor, truth_M: Tensor) -> Tensor:
        """Return the mean negative log likelihood, but for a constant."""
        return functional.gaussian_nll_loss(parts_MR[:, 0], truth_M, parts_MR[:, 1].square())

    def unlike(self, parts_MR: Tensor, told_MR: Tensor) -> Tensor:
        """Return the mean negative log likelihood of what the other distribution gives."""
        (mean_M, spread_M), (told_M, wide_M) = parts_MR.unbind(dim=1), told_MR.unbind(dim=1)
        off_M = (told_M - mean_M).square() + wide_M.square()
        return (torch.log(spread_M) + 0.5 * off_M / spread_M.square()).mean()


class Quantiles(Form):
    """Quantiles that never cross: the first as it is, each next one some way above."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config)
        self.raw = len(config.quantiles)
        self.middle = config.quantiles.index(0.5)

    def parts(self, raw_MR: Tensor) -> Tensor:
        """Return the quantiles."""
        raw_MR = raw_MR.float()
        ways_MQ = torch.cat([raw_MR[:, :1], functional.softplus(raw_MR[:, 1:])], dim=1)
        return ways_MQ.cumsum(dim=1)

    def point(self, parts_MR: Tensor) -> Tensor:
        """Return the median."""
        return parts_MR[:, self.middle]

    def loss(self, parts_MR: Tensor, truth_M: Tensor) -> Tensor:
        """Return the pinball loss (Koenker and Bassett 1978), over answers and levels."""
        levels_Q = parts_MR.new_tensor(self.config.quantiles)
        over_MQ = truth_M[:, None] - parts_MR
        return torch.maximum(levels_Q * over_MQ, (levels_Q - 1) * over_MQ).mean()

    def unlike(self, parts_MR: Tensor, told_MR: Tensor) -> Tensor:
        """Return the mean distance from the other quantiles."""
        return functional.l1_loss(parts_MR, told_MR)


class Student(Form):
    """Student's distribution, whose tails are learned too (Salinas et al. 2020)."""

    raw = 3

    def parts(self, raw_MR: Tensor) -> Tensor:
        """Return location, scale and degrees of freedom."""
        place_M, scale_M, freedom_M = raw_MR.float().unbind(dim=1)
        scale_M = LEAST_SPREAD + functional.softplus(scale_M)
        freedom_M = LEAST_FREEDOM + functional.softplus(freedom_M)
        return torch.stack([place_M, scale_M, freedom_M], dim=1)

    def moved(self, parts_MR: Tensor, origin_M: Tensor, scale_M: Tensor) -> Tensor:
        """Move the location, stretch it and the scale."""
        place_M, own_M, freedom_M = parts_MR.unbind(dim=1)
        return torch.stack([origin_M + scale_M * place_M, scale_M * own_M, freedom_M], dim=1)

    def loss(self, parts_MR: Tensor, truth_M: Tensor) -> Tensor:
        """Return the mean negative log likelihood."""
        place_M, scale_M, freedom_M = parts_MR.unbind(dim=1)
        off_M = ((truth_M - place_M) / scale_M).square()
        half_M = (freedom_M + 1) / 2
        return (
            torch.lgamma(freedom_M / 2)
            - torch.lgamma(half_M)
            + 0.5 * torch.log(math.pi * freedom_M)
            + torch.log(scale_M)
            + half_M * torch.log1p(off_M / freedom_M)
        ).mean()


class Counts(Form):
    """Negative binomial counts of mean m and variance m + a m^2 (Salinas et al. 2020).

    Parts are m, on the scale of the training answers, and a, which has none.
    """

    raw = 2

    def __init__(self, config: HeadConfig, mean: float, spread: float) -> None:
        super().__init__(config)
        self.mean, self.spread = mean, spread

    def parts(self, raw_MR: Tensor) -> Tensor:
        """Return mean and dispersion; with raw zeros the mean is that of training."""
        log_M, dispersion_M = raw_MR.float().unbind(dim=1)
        start = math.log(max(self.mean, 1e-3))
        count_M = torch.exp((log_M + start).clamp(max=FARTHEST_LOG))
        dispersion_M = LEAST_SPREAD + functional.softplus(dispersion_M)
        return torch.stack([(count_M - self.mean) / self.spread, dispersion_M], dim=1)

    def loss(self, parts_MR: Tensor, truth_M: Tensor) -> Tensor:
        """Return the mean negative log likelihood."""
        mean_M = (parts_MR[:, 0] * self.spread + self.mean).clamp(min=1e-6)
        count_M = (truth_M * self.spread + self.mean).round().clamp(min=0)
        dispersion_M = parts_MR[:, 1]
        rate_M, drawn_M = 1 / dispersion_M, dispersion_M * mean_M
        return (
            torch.lgamma(rate_M)
            + torch.lgamma(count_M + 1)
            - torch.lgamma(count_M + rate_M)
            + rate_M * torch.log1p(drawn_M)
            - count_M * (torch.log(drawn_M) - torch.log1p(drawn_M))
        ).mean()


def make_form(config: HeadConfig, *, mean: float = 0.0, spread: float = 1.0) -> Form:
    """Make the form of a job's error.

    Args:
        config: the section of the job.
        mean: taken away from the answers when they were scaled.
        spread: by which they were then divided.
    """
    if config.loss == "negative_binomial":
        return Counts(config, mean, spread)
    forms = {"gaussian_nll": Gaussian, "quantile": Quantiles, "student_t": Student}
    return forms.get(config.loss, Form)(config)
