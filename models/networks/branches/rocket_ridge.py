"""Random convolutions and a ridge regression, for series, sounds and rows of pixels.

The features are those of `models.networks.rocket`, of the steps and of their differences. Two
ridge regressions, one on many features of the steps and one on fewer of both, are added: neither
wins everywhere, and their sum is rarely worse than the better one.

Shapes: N steps, C channels, R rows, F features, O outputs.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.networks.branches.base import (
    Branch,
    BranchSpec,
    SequenceBatch,
    code_targets,
    encode_statics,
)
from models.networks.branches.ridge import fit_ridge
from models.networks.jagged import Offsets
from models.networks.rocket import Rocket

WIDE, NARROW = 119, 36
"""Features a kernel: of the steps alone, and of the steps and their differences each."""

MAX_WIDE_ROWS = 4_000
"""Rows up to which the wide regression is fitted: its cost grows with the square of the rows."""

_SEED = 0


class RocketBranch(Branch):
    """Sum of two ridge regressions on random convolutions."""

    def __init__(self, spec: BranchSpec, channels: int, *, wide: bool) -> None:
        """Draw the convolutions.

        Args:
            spec: what is predicted.
            channels: of a step.
            wide: whether rows are few enough for the wide regression.
        """
        super().__init__(spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            self.rocket = Rocket(channels, features_per_kernel=NARROW)
            self.differences = Rocket(channels, features_per_kernel=NARROW)
            self.wide = Rocket(channels, features_per_kernel=WIDE) if wide else None
        for name in ("weight_FO", "wide_weight_FO"):
            self.register_buffer(name, torch.zeros(0, spec.num_outputs))
        for name in ("bias_O", "wide_bias_O"):
            self.register_buffer(name, torch.zeros(spec.num_outputs))

    weight_FO: Tensor
    wide_weight_FO: Tensor
    bias_O: Tensor
    wide_bias_O: Tensor

    def fit_features(self, batches: Iterable[SequenceBatch]) -> None:
        """Choose dilations, biases and scales of the convolutions."""
        parts = list(batches)
        values_NC = torch.cat([part.values_NC.float().cpu() for part in parts])
        offsets = Offsets.from_lengths(np.concatenate([part.offsets.lengths for part in parts]))
        self.rocket.fit(values_NC, offsets)
        self.differences.fit(_difference(values_NC, offsets), offsets)
        if self.wide is not None:
            self.wide.fit(values_NC, offsets)

    def compute_features(self, batch: SequenceBatch) -> Tensor:
        """Return the narrow features, the static covariates, and the wide features, [B, F]."""
        values_NC = batch.values_NC.float().cpu()
        offsets = Offsets.from_lengths(batch.offsets.lengths)
        parts = [
            self.rocket(values_NC, offsets),
            self.differences(_difference(values_NC, offsets), offsets),
            encode_statics(batch.statics, self.spec.static_sizes),
        ]
        if self.wide is not None:
            parts.append(self.wide(values_NC, offsets))
        return torch.cat(parts, dim=1)

    def fit(self, features: Tensor, target_RO: NDArray[np.float64]) -> None:
        """Fit both regressions."""
        coded_RO = code_targets(target_RO, self.spec)
        narrow_RF, wide_RF = self._split(features)
        fitted = fit_ridge(narrow_RF, coded_RO)
        self.set_buffer("weight_FO", fitted.weight_FO)
        self.set_buffer("bias_O", fitted.bias_O)
        if self.wide is not None:
            fitted = fit_ridge(wide_RF, coded_RO)
            self.set_buffer("wide_weight_FO", fitted.weight_FO)
            self.set_buffer("wide_bias_O", fitted.bias_O)

    def predict(self, features: Tensor) -> Tensor:
        """Return the mean of the regressions, [B, O]."""
        narrow_RF, wide_RF = self._split(features)
        outputs_RO = narrow_RF @ self.weight_FO + self.bias_O
        if self.wide is None:
            return outputs_RO
        return (outputs_RO + wide_RF @ self.wide_weight_FO + self.wide_bias_O) / 2

    def _split(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the narrow and of the wide regression."""
        cut = features.shape[1] - (self.wide.channels if self.wide is not None else 0)
        return features[:, :cut], features[:, cut:]


def _difference(values_NC: Tensor, offsets: Offsets) -> Tensor:
    """Return each step less the one before it; zeros for the first."""
    change_NC = values_NC - offsets.shift(values_NC, 1)
    return change_NC.index_fill(0, offsets.first_B, 0.0)
