"""Features of small squares of pixels and a ridge regression, for images.

After Coates, Lee and Ng 2011: squares that are drawn from the images, made equally bright and
whitened (ZCA), are the filters of one convolution; what exceeds a threshold, positive and negative,
is averaged over the cells of a grid. The roots of these averages, and random rectified combinations
of them (Huang, Zhu and Siew 2006), are what a ridge regression reads. Large images are averaged
down first.

Shapes: N rows of pixels of all images, B images, H rows of pixels, W columns, D colors, S squares,
P side of a square, J = D * P * P numbers of a square, K filters, F features, M combinations,
O outputs.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.features.feature_spec import Pixels
from models.networks.branches.base import (
    Branch,
    BranchSpec,
    SequenceBatch,
    code_targets,
    encode_statics,
)
from models.networks.branches.ridge import fit_ridge
from models.networks.inputs.pixel_scale import PixelScale

MIN_SIDE = 8
"""Pixels that a side of an image has at least."""

_MAX_SIDE = 64
"""Pixels of the shorter side that images are averaged down to."""

_FILTERS, _GRID, _COMBINATIONS = 80, 4, 1_000

_MIN_PATCH, _MAX_PATCH = 3, 8
"""Bounds of the side of a square, which is a quarter of the image's."""

_STRIDE_SIDE = 32
"""Pixels of the shorter side for each pixel that the squares are apart."""

_SQUARES = 20_000
"""Squares by which they are whitened."""

_THRESHOLD = 0.25

_MIN_VARIANCE = 2e-3
"""Added to the variance of a square, in units of the images': flat ones are left flat."""

_WHITENING = 0.1
"""Added to the eigenvalues of the squares' covariance."""

_COMBINATION_SCALE = 0.3
"""Standard deviation of a combination beside 1 of a feature: the smaller, the more penalized."""

_OFFSET = 0.3
"""Standard deviation of the offset of a combination."""

_IMAGES = 64
"""Images that are convolved at once, to bound the memory."""

_SEED = 0


class PatchBranch(Branch):
    """A ridge regression on filtered images."""

    filter_KDPP: Tensor
    bias_K: Tensor
    mean_F: Tensor
    spread_F: Tensor
    signs_FM: Tensor
    offset_M: Tensor
    hidden_mean_M: Tensor
    hidden_spread_M: Tensor
    weight_FO: Tensor
    bias_O: Tensor

    def __init__(self, spec: BranchSpec, pixels: Pixels) -> None:
        """Choose the sizes.

        Args:
            spec: what is predicted.
            pixels: shape, mean and standard deviation of the images.
        """
        super().__init__(spec)
        self.pixels, self.scale = pixels, PixelScale(pixels.mean, pixels.std)
        self.shrink = -(-min(pixels.height, pixels.width) // _MAX_SIDE)
        side = min(pixels.height, pixels.width) // self.shrink
        self.patch = max(_MIN_PATCH, min(_MAX_PATCH, side // 4))
        self.stride = max(1, side // _STRIDE_SIDE)
        for name in (
            "filter_KDPP", "bias_K", "mean_F", "spread_F", "offset_M", "hidden_mean_M",
            "hidden_spread_M", "weight_FO", "bias_O",
        ):  # fmt: skip
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("signs_FM", torch.zeros(0, dtype=torch.int8))

    def fit_features(self, batches: Iterable[SequenceBatch]) -> None:
        """Draw and whiten the filters."""
        generator = torch.Generator().manual_seed(_SEED)
        images_BDHW = torch.cat([self._read_images(batch.values_NC) for batch in batches])
        squares_SJ = _normalize(self._draw_squares(images_BDHW, generator))
        mean_J = squares_SJ.mean(dim=0)
        centered_SJ = squares_SJ - mean_J
        values_J, vectors_JJ = torch.linalg.eigh(centered_SJ.T @ centered_SJ / len(centered_SJ))
        whitening_JJ = vectors_JJ / (values_J.clamp_min(0) + _WHITENING).sqrt() @ vectors_JJ.T
        chosen = torch.randperm(len(centered_SJ), generator=generator)[:_FILTERS]
        white_KJ = functional.normalize(centered_SJ[chosen] @ whitening_JJ, dim=1)
        filter_KJ = white_KJ @ whitening_JJ
        self.set_buffer("bias_K", -filter_KJ @ mean_J)
        # A filter without a mean takes the mean from every square that it reads.
        filter_KJ = filter_KJ - filter_KJ.mean(dim=1, keepdim=True)
        shape = images_BDHW.shape[1], self.patch, self.patch
        self.set_buffer("filter_KDPP", filter_KJ.view(-1, *shape))

    def compute_features(self, batch: SequenceBatch) -> Tensor:
        """Return the roots of the averages, and the static covariates, [B, F]."""
        images_BDHW = self._read_images(batch.values_NC)
        pooled = [self._pool(part) for part in images_BDHW.split(_IMAGES)]
        return torch.cat(
            [torch.cat(pooled), encode_statics(batch.statics, self.spec.static_sizes)], dim=1
        )

    def fit(self, features: Tensor, target_RO: NDArray[np.float64]) -> None:
        """Fit the regression on standardized features and combinations of them."""
        generator = torch.Generator().manual_seed(_SEED)
        count = features.shape[1]
        signs_FM = 2 * torch.randint(0, 2, (count, _COMBINATIONS), generator=generator) - 1
        self.set_buffer("signs_FM", signs_FM.to(torch.int8))
        self.set_buffer("offset_M", _OFFSET * torch.randn(_COMBINATIONS, generator=generator))
        self.set_buffer("mean_F", features.mean(dim=0))
        self.set_buffer("spread_F", _measure_spread(features))
        hidden_RM = self._combine(self._standardize(features))
        self.set_buffer("hidden_mean_M", hidden_RM.mean(dim=0))
        self.set_buffer("hidden_spread_M", _measure_spread(hidden_RM))
        fitted = fit_ridge(self._expand(features), code_targets(target_RO, self.spec))
        self.set_buffer("weight_FO", fitted.weight_FO)
        self.set_buffer("bias_O", fitted.bias_O)

    def predict(self, features: Tensor) -> Tensor:
        """Return the outputs, [B, O]."""
        return self._expand(features) @ self.weight_FO + self.bias_O

    def _read_images(self, values_NC: Tensor) -> Tensor:
        """Return standardized images, large ones averaged down, [B, D, H, W]."""
        height, width, colors = self.pixels.height, self.pixels.width, self.pixels.colors
        scaled_BHWD: Tensor = self.scale(values_NC.reshape(-1, height, width, colors).cpu())
        images_BDHW = scaled_BHWD.movedim(3, 1)
        if self.shrink > 1:
            images_BDHW = functional.avg_pool2d(images_BDHW, self.shrink)
        return images_BDHW.contiguous()

    def _draw_squares(self, images_BDHW: Tensor, generator: torch.Generator) -> Tensor:
        """Draw squares from anywhere in the images, [S, J]."""
        count, colors, height, width = images_BDHW.shape
        draws = (
            torch.randint(bound, (_SQUARES, 1, 1, 1), generator=generator)
            for bound in (count, height - self.patch + 1, width - self.patch + 1)
        )
        image, top, left = draws
        inside = torch.arange(self.patch)
        color = torch.arange(colors)[:, None, None]
        return images_BDHW[image, color, top + inside[:, None], left + inside].flatten(1)

    def _pool(self, images_BDHW: Tensor) -> Tensor:
        """Return the roots of what exceeds the threshold, averaged over cells, [B, F]."""
        convolved_BKHW = functional.conv2d(images_BDHW, self.filter_KDPP, stride=self.stride)
        mean_B1HW = self._average(images_BDHW)
        variance_B1HW = self._average(images_BDHW.square()) - mean_B1HW.square()
        scale_B1HW = (variance_B1HW.clamp_min(0) + _MIN_VARIANCE).rsqrt()
        response_BKHW = convolved_BKHW * scale_B1HW + self.bias_K[:, None, None]
        both_BKHW = torch.cat(
            [functional.relu(sign * response_BKHW - _THRESHOLD) for sign in (1, -1)], dim=1
        )
        return functional.adaptive_avg_pool2d(both_BKHW, _GRID).flatten(1).sqrt()

    def _average(self, images_BDHW: Tensor) -> Tensor:
        """Return the mean of each square over its colors, [B, 1, H, W]."""
        return functional.avg_pool2d(
            images_BDHW.mean(dim=1, keepdim=True), self.patch, stride=self.stride
        )

    def _standardize(self, features: Tensor) -> Tensor:
        """Return the features with mean 0 and standard deviation 1."""
        return (features - self.mean_F) / self.spread_F

    def _combine(self, standardized_RF: Tensor) -> Tensor:
        """Return the rectified combinations of each row at unit length, [R, M]."""
        unit_RF = functional.normalize(standardized_RF, dim=1)
        return functional.relu(unit_RF @ self.signs_FM.float() + self.offset_M)

    def _expand(self, features: Tensor) -> Tensor:
        """Return what the regression reads, [R, F + M]."""
        standardized_RF = self._standardize(features)
        hidden_RM = self._combine(standardized_RF)
        scaled_RM = _COMBINATION_SCALE * (hidden_RM - self.hidden_mean_M) / self.hidden_spread_M
        return torch.cat([standardized_RF, scaled_RM], dim=1)


def _normalize(squares_SJ: Tensor) -> Tensor:
    """Return squares with mean 0 and, unless they are flat, variance 1."""
    centered_SJ = squares_SJ - squares_SJ.mean(dim=1, keepdim=True)
    variance_S1 = centered_SJ.square().mean(dim=1, keepdim=True)
    return centered_SJ * (variance_S1 + _MIN_VARIANCE).rsqrt()


def _measure_spread(values_RF: Tensor) -> Tensor:
    """Return the standard deviation of each column, 1 where it is constant."""
    std_F = values_RF.std(dim=0, correction=0)
    return torch.where(std_F > 1e-6, std_F, 1.0)
