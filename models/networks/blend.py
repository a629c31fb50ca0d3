"""A network and branches that predict together.

The recurrent part is trained by gradients, a branch in closed form or by a convex solver; how they
are joined is fitted on rows that none of them has seen. Classes: a weighted mean of calibrated log
probabilities, each part with its own temperature (a logarithmic opinion pool). Labels: the same of
their logits. Numbers: a weighted mean of the parts of the prediction. What has weight 0 is not
computed.

Shapes: B sequences, O outputs, T steps of a forecast, P numbers of each step's prediction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from models.features.config import TargetKind
from models.networks.branches.base import Branch
from models.networks.branches.build import BranchSettings
from models.networks.ensemble import Ensemble
from models.networks.inputs.front import StaticBatch
from models.networks.jagged import Offsets
from models.networks.network import Network

Numbers = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    """How the outputs of the recurrent part and of the branches become one."""

    weights: tuple[float, ...]
    """Of the recurrent part, then of each branch; their sum is 1."""
    temperatures: tuple[float, ...] = ()
    """By which the logits of each are divided, in the same order; for classes and labels."""
    offsets: tuple[Numbers, ...] = ()
    """For numbers, of each branch and step, [T][P]: what is added to the branch's number to make
    each number of the prediction, such as the quantiles of its errors; for a scale, the scale."""
    num_locations: int = 1
    """How many of the P numbers, the first ones, move with the branch's number."""

    @property
    def recurrent_weight(self) -> float:
        """Weight of the recurrent part."""
        return self.weights[0]


class Blend(nn.Module):
    """The recurrent part and the branches of one model."""

    def __init__(
        self,
        recurrent: Network | Ensemble,
        branches: Sequence[Branch],
        mix: Mix,
        kind: TargetKind,
        *,
        settings: Sequence[BranchSettings],
    ) -> None:
        """Join them.

        Args:
            recurrent: the trained network or ensemble.
            branches: the fitted branches.
            mix: how they are joined.
            kind: of the target.
            settings: what each branch was built from.
        """
        super().__init__()
        self.recurrent, self.branches = recurrent, nn.ModuleList(branches)
        self.mix, self.kind, self.settings = mix, kind, tuple(settings)

    @property
    def packages(self) -> list[str]:
        """Packages that the branches need for predictions, besides those of every model."""
        branches = [branch for branch in self.branches if isinstance(branch, Branch)]
        return [name for branch in branches for name in branch.packages]

    def forward(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None = None
    ) -> Tensor:
        """Return the joined outputs, in the form of the recurrent part's, [B, O]."""
        parts = [self.recurrent, *self.branches]
        outputs = [
            part(values_NC, offsets, statics).float() if weight else None
            for part, weight in zip(parts, self.mix.weights, strict=True)
        ]
        return mix_outputs(outputs, self.mix, self.kind)

    def list_parts(self) -> dict[str, "Blend"]:
        """Return each part alone, as a blend in which it has all the weight, by name and weight."""
        names = ["recurrent", *(each.kind for each in self.settings)]
        parts = {}
        for index, (name, weight) in enumerate(zip(names, self.mix.weights, strict=True)):
            alone = tuple(float(other == index) for other in range(len(names)))
            parts[f"{name} alone ({weight:.2g})"] = Blend(
                self.recurrent,
                [branch for branch in self.branches if isinstance(branch, Branch)],
                replace(self.mix, weights=alone),
                self.kind,
                settings=self.settings,
            )
        return parts


def mix_outputs(outputs: Sequence[Tensor | None], mix: Mix, kind: TargetKind) -> Tensor:
    """Join the outputs of the recurrent part and of each branch, [B, O].

    Args:
        outputs: of each; one without weight may be None.
        mix: how they are joined.
        kind: of the target.
    """
    mixed_BO: Tensor | None = None
    for index, (raw_BO, weight) in enumerate(zip(outputs, mix.weights, strict=True)):
        if raw_BO is None or not weight:
            continue
        weighted_BO = weight * _read_outputs(raw_BO, mix, kind, index=index)
        mixed_BO = weighted_BO if mixed_BO is None else mixed_BO + weighted_BO
    assert mixed_BO is not None  # noqa: S101 - the weights sum to one
    return mixed_BO


def _read_outputs(outputs_BO: Tensor, mix: Mix, kind: TargetKind, *, index: int) -> Tensor:
    """Return log probabilities of classes, logits of labels, or the numbers of a prediction."""
    if kind == "category":
        return (outputs_BO / mix.temperatures[index]).log_softmax(dim=1)
    if kind == "tags":
        return outputs_BO / mix.temperatures[index]
    if not index:
        return outputs_BO
    offset_TP = outputs_BO.new_tensor(mix.offsets[index - 1])
    moves_P = (torch.arange(offset_TP.shape[1]) < mix.num_locations).to(outputs_BO)
    return (outputs_BO[:, :, None] * moves_P + offset_TP).flatten(1)
