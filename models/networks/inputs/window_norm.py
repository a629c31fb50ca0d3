"""Normalization of each window by its last values (NLinear), or by its mean and std (RevIN).

A series whose level drifts looks alike at every level. Inputs and forecast are measured from the
same point: the last value (as SegRNN, Lin et al. 2023), or mean and standard deviation (reversible
instance normalization, Kim et al. 2022, without its learned factors).

Shapes: N steps of all sequences, B sequences, C channels, O of them observed, K columns that are
forecast.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.networks.heads.base import Origin
from models.networks.jagged import Offsets

MIN_SCALE = 1e-2
"""In standard deviations of the training steps: a nearly constant window is not scaled up more."""


class WindowNormalization(nn.Module):
    """Normalizes the observed channels and returns the origin of the forecast."""

    def __init__(self, method: str, target_channels: Sequence[int], num_observed: int) -> None:
        """Choose the method.

        Args:
            method: `none`, `nlinear` (the last value) or `revin` (mean and standard deviation).
            target_channels: those that are forecast; empty where the input lacks them.
            num_observed: how many channels, the first ones, are normalized.
        """
        super().__init__()
        self.method, self.num_observed = method, num_observed
        self.target_channels = list(target_channels)

    def forward(self, values_NC: Tensor, offsets: Offsets) -> tuple[Tensor, Origin | None]:
        """Return the steps and the origin; None where the input lacks the target's past."""
        channels = self.target_channels
        if not channels:
            return values_NC, None
        last_BC = values_NC[offsets.last_B]
        last_BK = last_BC[:, channels]
        if self.method == "none":
            return values_NC, Origin(last_BK, torch.zeros_like(last_BK), torch.ones_like(last_BK))
        observed_NO = values_NC[:, : self.num_observed]
        if self.method == "nlinear":
            level_BO = last_BC[:, : self.num_observed]
            scale_BO = torch.ones_like(level_BO)
        else:
            level_BO = _mean_per_sequence(observed_NO, offsets)
            variance_BO = _mean_per_sequence(
                (observed_NO - offsets.repeat_per_step(level_BO)).square(), offsets
            )
            scale_BO = variance_BO.sqrt().clamp(min=MIN_SCALE)
        normalized_NO = (observed_NO - offsets.repeat_per_step(level_BO)) / offsets.repeat_per_step(
            scale_BO
        )
        normalized_NC = torch.cat([normalized_NO, values_NC[:, self.num_observed :]], dim=1)
        return normalized_NC, Origin(last_BK, level_BO[:, channels], scale_BO[:, channels])


def _mean_per_sequence(values_NO: Tensor, offsets: Offsets) -> Tensor:
    """Return the mean over the steps of each sequence, [B, O]."""
    sums_BO = values_NO.new_zeros(len(offsets), values_NO.shape[1])
    sums_BO = sums_BO.index_add(0, offsets.sequence_N, values_NO)
    return sums_BO / offsets.lengths_B[:, None]
