"""Series measured from where their window ends, or from its mean and spread.

A series that wanders is the same wherever it has wandered to; what is read and what is foretold
are measured from the same point (the last value as SegRNN, Lin et al. 2023; mean and spread as
reversible instance normalisation, Kim et al. 2022, without its learned factors).

Shapes: N steps of all sequences, B sequences, C channels, O of them observed.
"""

import torch
from torch import Tensor, nn

from models.networks.heads.face import Origin
from models.networks.jagged import Offsets

LEAST_SCALE = 1e-2
"""Of the training steps' spread: a window that hardly moves is not blown up further."""


class WindowNormalization(nn.Module):
    """Moves the observed channels, and says where a forecast starts."""

    def __init__(self, way: str, channel: int, observed: int) -> None:
        """Take the way.

        Args:
            way: `none`, `nlinear` (the last value) or `revin` (mean and standard deviation).
            channel: the one that is foretold; -1 where that is not read.
            observed: channels, the first ones, that are measured so.
        """
        super().__init__()
        self.way, self.channel, self.observed = way, channel, observed

    def forward(self, values_NC: Tensor, offsets: Offsets) -> tuple[Tensor, Origin | None]:
        """Return the steps, and the origin; none where the past is not read."""
        if self.channel < 0:
            return values_NC, None
        last_BC = values_NC[offsets.last_B]
        last_B = last_BC[:, self.channel]
        if self.way == "none":
            return values_NC, Origin(last_B, torch.zeros_like(last_B), torch.ones_like(last_B))
        seen_NO = values_NC[:, : self.observed]
        if self.way == "nlinear":
            level_BO = last_BC[:, : self.observed]
            scale_BO = torch.ones_like(level_BO)
        else:
            level_BO = mean_of(seen_NO, offsets)
            variance_BO = mean_of((seen_NO - offsets.spread(level_BO)).square(), offsets)
            scale_BO = variance_BO.sqrt().clamp(min=LEAST_SCALE)
        moved_NO = (seen_NO - offsets.spread(level_BO)) / offsets.spread(scale_BO)
        moved_NC = torch.cat([moved_NO, values_NC[:, self.observed :]], dim=1)
        own = self.channel
        return moved_NC, Origin(last_B, level_BO[:, own], scale_BO[:, own])


def mean_of(values_NO: Tensor, offsets: Offsets) -> Tensor:
    """Return the mean over the steps of each sequence, [B, O]."""
    sums_BO = values_NO.new_zeros(len(offsets), values_NO.shape[1])
    sums_BO = sums_BO.index_add(0, offsets.owner_N, values_NO)
    return sums_BO / offsets.lengths_B[:, None]
