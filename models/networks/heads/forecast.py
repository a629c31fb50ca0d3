"""Head for the next numbers of a series: all at once, in patches, or each from the one before.

Several columns are forecast together from the same encoded sequence; the numbers of a step stand
side by side, by column.

Shapes: B sequences, P numbers of the pooling, H units, K columns, T numbers of all steps ahead
(steps times K), S patches, R parts of a prediction.
"""

import torch
from torch import Tensor, nn

from models.networks.heads.base import Encoded, Head, Origin, Targets
from models.networks.heads.config import HeadConfig
from models.networks.heads.outputs import PointOutput


class ForecastHead(Head):
    """The parts of each step ahead, as its output defines them."""

    def __init__(
        self,
        inputs: int,
        *,
        hidden: int,
        steps: int,
        columns: int,
        dropout: float,
        config: HeadConfig,
        form: PointOutput,
    ) -> None:
        super().__init__()
        self.form, self.steps, self.columns = form, steps, columns
        if config.decoder == "patches":
            self.decoder: _Decoder = _PatchDecoder(
                inputs,
                hidden=hidden,
                patches=steps // config.patch_length,
                patch_size=config.patch_length * columns,
                dropout=dropout,
                form=form,
            )
        elif config.decoder == "recursive":
            self.decoder = _RecursiveDecoder(
                inputs, hidden=hidden, steps=steps, columns=columns, form=form
            )
        else:
            self.decoder = _DirectDecoder(inputs, numbers=steps * columns, form=form)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, T * R], the parts of each step together."""
        return self.compute_parts(encoded, None).flatten(1)

    def compute_parts(self, encoded: Encoded, target_BT: Tensor | None) -> Tensor:
        """Return [B, T, R]; the target is used in training where a step needs the one before."""
        origin = encoded.origin or _make_zero_origin(encoded.pooled_BP, self.columns)
        level_BT, scale_BT = (
            part_BK.repeat(1, self.steps) for part_BK in (origin.level_BK, origin.scale_BK)
        )
        known_BT = None if target_BT is None else (target_BT - level_BT) / scale_BT
        raw_BTR = self.decoder(encoded.pooled_BP, known_BT, origin)
        parts_MR = self.form.compute_parts(raw_BTR.flatten(0, 1))
        if encoded.origin is not None:
            parts_MR = self.form.rescale(parts_MR, level_BT.flatten(), scale_BT.flatten())
        return parts_MR.view(raw_BTR.shape)

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean error over all targets that are known."""
        target_BT = targets.values_M.float().view(-1, self.steps * self.columns)
        parts_BTR = self.compute_parts(encoded, target_BT if self.training else None)
        known_BT = target_BT.isfinite()
        return self.form.loss(parts_BTR[known_BT], target_BT[known_BT])

    def distillation_loss(self, encoded: Encoded, teacher_outputs_BO: Tensor) -> Tensor:
        """Return the loss against the outputs of other networks, computed as in prediction."""
        parts_BTR = self.compute_parts(encoded, None)
        teacher_MR = teacher_outputs_BO.float().view(-1, parts_BTR.shape[2])
        return self.form.distillation_loss(parts_BTR.flatten(0, 1), teacher_MR)


class _Decoder(nn.Module):
    """Computes the raw numbers of every step ahead."""

    def forward(self, pooled_BP: Tensor, known_BT: Tensor | None, origin: Origin) -> Tensor:
        """Return [B, T, R].

        Args:
            pooled_BP: the encoded sequences.
            known_BT: the normalized targets, in training; NaN in gaps.
            origin: of the forecasts.
        """
        raise NotImplementedError


class _DirectDecoder(_Decoder):
    """One linear layer for all steps."""

    def __init__(self, inputs: int, *, numbers: int, form: PointOutput) -> None:
        super().__init__()
        self.numbers, self.form = numbers, form
        self.read = nn.Linear(inputs, numbers * form.num_raw)

    def forward(self, pooled_BP: Tensor, known_BT: Tensor | None, origin: Origin) -> Tensor:
        """Return [B, T, R]."""
        del known_BT, origin
        raw_BO: Tensor = self.read(pooled_BP)
        return raw_BO.view(-1, self.numbers, self.form.num_raw)


class _PatchDecoder(_Decoder):
    """Patches in parallel, each from its position alone (SegRNN, Lin et al. 2023).

    A GRU cell takes one step from the encoded vector to each patch, whose position is its input:
    no patch depends on the one before, so errors do not accumulate.
    """

    def __init__(
        self,
        inputs: int,
        *,
        hidden: int,
        patches: int,
        patch_size: int,
        dropout: float,
        form: PointOutput,
    ) -> None:
        super().__init__()
        self.form, self.patch_size = form, patch_size
        self.begin = nn.Linear(inputs, hidden)
        self.place_SH = nn.Parameter(torch.randn(patches, hidden))
        self.cell = nn.GRUCell(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.read = nn.Linear(hidden, patch_size * form.num_raw)

    def forward(self, pooled_BP: Tensor, known_BT: Tensor | None, origin: Origin) -> Tensor:
        """Return [B, T, R]."""
        del known_BT, origin
        rows, patches = len(pooled_BP), len(self.place_SH)
        initial_BSH = self.begin(pooled_BP)[:, None].expand(-1, patches, -1)
        position_BSH = self.place_SH.to(initial_BSH.dtype).expand(rows, -1, -1)
        state_NH = self.cell(position_BSH.flatten(0, 1), initial_BSH.flatten(0, 1))
        raw_NO: Tensor = self.read(self.dropout(state_NH))
        return raw_NO.view(rows, patches * self.patch_size, self.form.num_raw)


class _RecursiveDecoder(_Decoder):
    """Each step from the one before (as DeepAR, Salinas et al. 2020).

    In training the step before is the target; otherwise it is the point prediction.
    """

    def __init__(
        self, inputs: int, *, hidden: int, steps: int, columns: int, form: PointOutput
    ) -> None:
        super().__init__()
        self.steps, self.columns, self.form = steps, columns, form
        self.begin = nn.Linear(inputs, hidden)
        self.cell = nn.GRUCell(columns, hidden)
        self.read = nn.Linear(hidden, columns * form.num_raw)

    def forward(self, pooled_BP: Tensor, known_BT: Tensor | None, origin: Origin) -> Tensor:
        """Return [B, T, R]."""
        state_BH = torch.tanh(self.begin(pooled_BP))
        before_BK = (origin.last_BK - origin.level_BK) / origin.scale_BK
        raws = []
        for step in range(self.steps):
            state_BH = self.cell(before_BK.to(state_BH.dtype), state_BH)
            raw_MR: Tensor = self.read(state_BH).view(-1, self.form.num_raw)
            raws.append(raw_MR.view(-1, self.columns, self.form.num_raw))
            point_M = self.form.select_point(self.form.compute_parts(raw_MR))
            before_BK = point_M.view(-1, self.columns)
            if known_BT is not None:
                target_BK = known_BT[:, step * self.columns : (step + 1) * self.columns]
                before_BK = torch.where(target_BK.isfinite(), target_BK, before_BK.detach())
        return torch.cat(raws, dim=1)


def _make_zero_origin(pooled_BP: Tensor, columns: int) -> Origin:
    """Return the origin of forecasts whose past is not in the input."""
    zeros_BK = pooled_BP.new_zeros(len(pooled_BP), columns, dtype=torch.float32)
    return Origin(zeros_BK, zeros_BK, torch.ones_like(zeros_BK))
