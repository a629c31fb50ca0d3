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
from models.networks.selected_ensemble import SelectedEnsemble, scale_outputs

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
        recurrent: Network | Ensemble | SelectedEnsemble,
        branches: Sequence[Branch],
        mix: Mix,
        kind: TargetKind,
        *,
        settings: Sequence[BranchSettings],
    ) -> None:
        """Join them.

        Args:
            recurrent: the trained network, ensemble, or selection of several recipes.
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

    def list_parts(self) -> list[str]:
        """Return the name and weight of each part that can be scored alone."""
        names = [each.kind for each in self.settings]
        parts = zip(names, self.mix.weights[1:], strict=True)
        shares = [("recurrent", self.mix.recurrent_weight)]
        if isinstance(self.recurrent, SelectedEnsemble):
            own = self.mix.recurrent_weight
            shares = [(each.name, own * each.weight) for each in self.recurrent.settings]
        return [f"{name} alone ({weight:.2g})" for name, weight in [*shares, *parts]]

    def forward_parts(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None = None
    ) -> Tensor:
        """Return the joined outputs and those of each part alone, each computed once.

        Returns:
            [B, (1 + parts) * O]: the joined outputs, bit for bit those of `forward`, then the parts
            in the order of `list_parts`, in the form of the recurrent part's outputs.
        """
        recurrent = self.recurrent
        if isinstance(recurrent, SelectedEnsemble):
            raw = recurrent.predict_parts(values_NC, offsets, statics)
            first_BO = recurrent.join(raw)
            own = [
                scale_outputs(each_BO, settings.temperature, self.kind)
                for each_BO, settings in zip(raw, recurrent.settings, strict=True)
            ]
        else:
            own = [first_BO := recurrent(values_NC, offsets, statics).float()]
        branches = [branch(values_NC, offsets, statics).float() for branch in self.branches]
        outputs = [first_BO, *branches]
        weighted = zip(outputs, self.mix.weights, strict=True)
        used = [each_BO if weight else None for each_BO, weight in weighted]
        alone = [self._mix_alone([each_BO, *branches], index=0) for each_BO in own]
        alone += [self._mix_alone(outputs, index=1 + number) for number in range(len(branches))]
        return torch.cat([mix_outputs(used, self.mix, self.kind), *alone], dim=1)

    def _mix_alone(self, outputs: Sequence[Tensor], *, index: int) -> Tensor:
        """Return the outputs of one part as if it had all the weight."""
        weights = tuple(float(other == index) for other in range(len(outputs)))
        return mix_outputs(outputs, replace(self.mix, weights=weights), self.kind)


class BlendParts(nn.Module):
    """A blend whose outputs are those of `forward_parts`."""

    def __init__(self, blend: Blend) -> None:
        """Take the blend."""
        super().__init__()
        self.blend = blend

    def forward(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None = None
    ) -> Tensor:
        """Return the joined outputs and those of each part, [B, (1 + parts) * O]."""
        return self.blend.forward_parts(values_NC, offsets, statics)


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
    if kind in {"category", "tags"}:
        return scale_outputs(outputs_BO, mix.temperatures[index], kind)
    if not index:
        return outputs_BO
    offset_TP = outputs_BO.new_tensor(mix.offsets[index - 1])
    moves_P = (torch.arange(offset_TP.shape[1]) < mix.num_locations).to(outputs_BO)
    return (outputs_BO[:, :, None] * moves_P + offset_TP).flatten(1)
