"""Several networks whose predictions are averaged (deep ensemble).

Predictions are averaged, not weights or logits: probabilities of classes and labels, numbers, and
for distributions the mean and the standard deviation of their mixture (Lakshminarayanan et al.
2017). The average has the form and scale of one network's output, so that the code that
reads it does not depend on the number of networks.
Shapes: E networks, B sequences, O outputs, T steps of a forecast, R parts of each.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.features.config import TargetKind
from models.networks.heads.config import HeadConfig
from models.networks.inputs.front import StaticBatch
from models.networks.jagged import Offsets
from models.networks.network import Network

MIN_PROBABILITY = 1e-30
"""Smallest probability of a class, so that its logarithm is finite."""

MIN_DEGREES_OF_FREEDOM = 2.5
"""Degrees of freedom from which on the variance of Student's t is taken from its formula."""


class Ensemble(nn.Module):
    """Networks of one job that differ in their seed alone."""

    def __init__(self, members: Sequence[Network], kind: TargetKind, head: HeadConfig) -> None:
        """Combine the networks.

        Args:
            members: the networks.
            kind: of their target.
            head: the settings of their heads.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self.mean = _choose_average(kind, head)

    def forward(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None = None
    ) -> Tensor:
        """Return the averaged outputs, in the form of one network's."""
        outputs = [member(values_NC, offsets, statics).float() for member in self.members]
        return self.mean(torch.stack(outputs))


def average_classes(scores_EBO: Tensor) -> Tensor:
    """Return the logarithm of the mean probabilities, which are logits again."""
    probabilities_BO = scores_EBO.double().softmax(dim=2).mean(0)
    return probabilities_BO.clamp_min(MIN_PROBABILITY).log().float()


def average_labels(scores_EBO: Tensor) -> Tensor:
    """Return logits whose probabilities are the mean of the members' probabilities."""
    logits_EBO = scores_EBO.double()
    on_BO = logits_EBO.sigmoid().mean(0).clamp_min(MIN_PROBABILITY).log()
    off_BO = (-logits_EBO).sigmoid().mean(0).clamp_min(MIN_PROBABILITY).log()
    return (on_BO - off_BO).float()


def mix_gaussians(parts_EBO: Tensor) -> Tensor:
    """Return mean and standard deviation of a mixture of normal distributions."""
    parts_EBTR = parts_EBO.double().unflatten(2, (-1, 2))
    mean_BT, variance_BT = _mix_distributions(parts_EBTR[..., 0], parts_EBTR[..., 1].square())
    return torch.stack([mean_BT, variance_BT.sqrt()], dim=2).flatten(1).float()


def mix_students(parts_EBO: Tensor) -> Tensor:
    """Return Student's t with the mean and the variance of a mixture of them.

    Its degrees of freedom are the mean of theirs; where they are so few that the
    variance is nearly infinite, that of more degrees of freedom is used.
    """
    mean_EBT, scale_EBT, freedom_EBT = parts_EBO.double().unflatten(2, (-1, 3)).unbind(3)
    mean_BT, variance_BT = _mix_distributions(
        mean_EBT, scale_EBT.square() * _unit_variance(freedom_EBT)
    )
    freedom_BT = freedom_EBT.mean(0)
    scale_BT = (variance_BT / _unit_variance(freedom_BT)).sqrt()
    return torch.stack([mean_BT, scale_BT, freedom_BT], dim=2).flatten(1).float()


def _choose_average(kind: TargetKind, head: HeadConfig) -> Callable[[Tensor], Tensor]:
    """Choose how outputs are averaged, from [E, B, O] to [B, O].

    Raises:
        ValueError: texts have no mean.
    """
    if kind == "text":
        raise ValueError("texts have no mean")
    if kind == "category":
        return average_classes
    if kind == "tags":
        return average_labels
    if kind in {"number", "forecast"} and head.loss in _MIXTURES:
        return _MIXTURES[head.loss]
    return lambda outputs_EBO: outputs_EBO.mean(0)


def _mix_distributions(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of a mixture with equal weights."""
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def _unit_variance(freedom: Tensor) -> Tensor:
    """Return the variance of Student's t of scale one."""
    bounded = freedom.clamp_min(MIN_DEGREES_OF_FREEDOM)
    return bounded / (bounded - 2)


_MIXTURES: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian_nll": mix_gaussians,
    "student_t": mix_students,
}
"""Losses whose predictions are distributions that can be mixed; quantiles, and the mean and the
dispersion of counts, are averaged one by one."""
