"""Networks of several recipes that predict together, each with its own weight.

Classes: a weighted mean of calibrated log probabilities, each part with its own temperature.
Labels: the same of their logits. Numbers: a weighted mean of the numbers of the prediction. A part
is one network, or the networks of one recipe that were trained on folds, whose predictions are
averaged.

Shapes: B sequences, O outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.features.config import TargetKind
from models.networks.config import ModelConfig
from models.networks.ensemble import Ensemble
from models.networks.inputs.front import StaticBatch
from models.networks.jagged import Offsets
from models.networks.network import Network


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSettings:
    """One part: what it is built from, and what it counts."""

    name: str
    """Short and unique, such as `1_gru`."""
    model: ModelConfig
    networks: int
    """Number of its networks."""
    weight: float
    """The weights of all parts sum to 1."""
    temperature: float = 1.0
    """By which its logits are divided; for classes and labels."""


class SelectedEnsemble(nn.Module):
    """Parts of several recipes in one model."""

    def __init__(
        self,
        parts: Sequence[Network | Ensemble],
        kind: TargetKind,
        *,
        settings: Sequence[PartSettings],
    ) -> None:
        """Combine the parts.

        Args:
            parts: the trained networks or ensembles.
            kind: of their target.
            settings: of each part.
        """
        super().__init__()
        self.parts, self.kind, self.settings = nn.ModuleList(parts), kind, tuple(settings)

    def forward(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None = None
    ) -> Tensor:
        """Return the joined outputs, in the form of one network's, [B, O]."""
        return self.join(self.predict_parts(values_NC, offsets, statics))

    def predict_parts(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None = None
    ) -> list[Tensor]:
        """Return the outputs of each part, [B, O] each."""
        return [part(values_NC, offsets, statics).float() for part in self.parts]

    def join(self, outputs: Sequence[Tensor]) -> Tensor:
        """Join the outputs of all parts, [B, O]."""
        return torch.stack(
            [
                each.weight * scale_outputs(part_BO, each.temperature, self.kind)
                for each, part_BO in zip(self.settings, outputs, strict=True)
            ]
        ).sum(dim=0)


def scale_outputs(outputs_BO: Tensor, temperature: float, kind: TargetKind) -> Tensor:
    """Return calibrated log probabilities of classes, calibrated logits of labels, or numbers."""
    if kind == "category":
        return (outputs_BO / temperature).log_softmax(dim=1)
    return outputs_BO / temperature if kind == "tags" else outputs_BO
