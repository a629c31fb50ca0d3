"""Head for the next numbers of a series: all at once, in patches, or each from the one before.

Shapes: B sequences, P numbers of the pooling, H units, T steps ahead, S patches,
R parts of a prediction.
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
        dropout: float,
        config: HeadConfig,
        form: PointOutput,
    ) -> None:
        super().__init__()
        self.form, self.steps = form, steps
        if config.decoder == "patches":
            self.decoder: _Decoder = _PatchDecoder(
                inputs,
                hidden=hidden,
                steps=steps,
                patch_length=config.patch_length,
                dropout=dropout,
                form=form,
            )
        elif config.decoder == "recursive":
            self.decoder = _RecursiveDecoder(inputs, hidden=hidden, steps=steps, form=form)
        else:
            self.decoder = _DirectDecoder(inputs, steps=steps, form=form)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, T * R], the parts of each step together."""
        return self.compute_parts(encoded, None).flatten(1)

    def compute_parts(self, encoded: Encoded, target_BT: Tensor | None) -> Tensor:
        """Return [B, T, R]; the target is used in training where a step needs the one before."""
        origin = encoded.origin or _make_zero_origin(encoded.pooled_BP)
        level_B1, scale_B1 = origin.level_B[:, None], origin.scale_B[:, None]
        known_BT = None if target_BT is None else (target_BT - level_B1) / scale_B1
        raw_BTR = self.decoder(encoded.pooled_BP, known_BT, origin)
        parts_MR = self.form.compute_parts(raw_BTR.flatten(0, 1))
        if encoded.origin is not None:
            levels, scales = (
                part_B1.expand(-1, self.steps).flatten() for part_B1 in (level_B1, scale_B1)
            )
            parts_MR = self.form.rescale(parts_MR, levels, scales)
        return parts_MR.view(raw_BTR.shape)

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean error over all targets that are known."""
        target_BT = targets.values_M.float().view(-1, self.steps)
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

    def __init__(self, inputs: int, *, steps: int, form: PointOutput) -> None:
        super().__init__()
        self.steps, self.form = steps, form
        self.read = nn.Linear(inputs, steps * form.num_raw)

    def forward(self, pooled_BP: Tensor, known_BT: Tensor | None, origin: Origin) -> Tensor:
        """Return [B, T, R]."""
        del known_BT, origin
        raw_BO: Tensor = self.read(pooled_BP)
        return raw_BO.view(-1, self.steps, self.form.num_raw)


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
        steps: int,
        patch_length: int,
        dropout: float,
        form: PointOutput,
    ) -> None:
        super().__init__()
        self.form, self.patch_length = form, patch_length
        self.begin = nn.Linear(inputs, hidden)
        self.place_SH = nn.Parameter(torch.randn(steps // patch_length, hidden))
        self.cell = nn.GRUCell(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.read = nn.Linear(hidden, patch_length * form.num_raw)

    def forward(self, pooled_BP: Tensor, known_BT: Tensor | None, origin: Origin) -> Tensor:
        """Return [B, T, R]."""
        del known_BT, origin
        rows, patches = len(pooled_BP), len(self.place_SH)
        initial_BSH = self.begin(pooled_BP)[:, None].expand(-1, patches, -1)
        position_BSH = self.place_SH.to(initial_BSH.dtype).expand(rows, -1, -1)
        state_NH = self.cell(position_BSH.flatten(0, 1), initial_BSH.flatten(0, 1))
        raw_NO: Tensor = self.read(self.dropout(state_NH))
        return raw_NO.view(rows, patches * self.patch_length, self.form.num_raw)


class _RecursiveDecoder(_Decoder):
    """Each step from the one before (as DeepAR, Salinas et al. 2020).

    In training the step before is the target; otherwise it is the point prediction.
    """

    def __init__(self, inputs: int, *, hidden: int, steps: int, form: PointOutput) -> None:
        super().__init__()
        self.steps, self.form = steps, form
        self.begin = nn.Linear(inputs, hidden)
        self.cell = nn.GRUCell(1, hidden)
        self.read = nn.Linear(hidden, form.num_raw)

    def forward(self, pooled_BP: Tensor, known_BT: Tensor | None, origin: Origin) -> Tensor:
        """Return [B, T, R]."""
        state_BH = torch.tanh(self.begin(pooled_BP))
        before_B = (origin.last_B - origin.level_B) / origin.scale_B
        raws = []
        for step in range(self.steps):
            state_BH = self.cell(before_B[:, None].to(state_BH.dtype), state_BH)
            raw_BR: Tensor = self.read(state_BH)
            raws.append(raw_BR)
            before_B = self.form.select_point(self.form.compute_parts(raw_BR))
            if known_BT is not None:
                target_B = known_BT[:, step]
                before_B = torch.where(target_B.isfinite(), target_B, before_B.detach())
        return torch.stack(raws, dim=1)


def _make_zero_origin(pooled_BP: Tensor) -> Origin:
    """Return the origin of forecasts whose past is not in the input."""
    zeros_B = pooled_BP.new_zeros(len(pooled_BP), dtype=torch.float32)
    return Origin(zeros_B, zeros_B, torch.ones_like(zeros_B))
