"""Several networks that answer as one: with the mean of what they say.

What is averaged are answers, not weights or scores: chances of classes and labels, numbers, and
where an answer is a distribution, the mean and the spread of the mixture of all of them
(Lakshminarayanan et al. 2017). The mean answers on the scale on which one network does, so nothing
behind it knows how many there are.
Shapes: E networks, B sequences, O outputs, T steps of a forecast, R parts of each.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.features.config import Answer
from models.networks.heads.config import HeadConfig
from models.networks.inputs.front import Statics
from models.networks.jagged import Offsets
from models.networks.network import Network

TINY = 1e-30
"""Chance below which a class is as good as impossible."""

FLATTEST = 2.5
"""Degrees of freedom from which on a spread is taken for what Student's t has."""


class Ensemble(nn.Module):
    """Networks of one job that differ in their seed alone."""

    def __init__(self, members: Sequence[Network], kind: Answer, head: HeadConfig) -> None:
        """Put networks side by side.

        Args:
            members: the networks.
            kind: of their answers.
            head: how they were made.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self.mean = mean_of(kind, head)

    def forward(
        self, values_NC: Tensor, offsets: Offsets, statics: Statics | None = None
    ) -> Tensor:
        """Return the mean of the answers, in the form in which each of them is."""
        answers = [member(values_NC, offsets, statics).float() for member in self.members]
        return self.mean(torch.stack(answers))


def mean_of(kind: Answer, head: HeadConfig) -> Callable[[Tensor], Tensor]:
    """Choose how answers are averaged, from [E, B, O] to [B, O].

    Raises:
        ValueError: texts have no mean.
    """
    if kind == "text":
        raise ValueError("texts have no mean")
    if kind == "category":
        return mean_classes
    if kind == "tags":
        return mean_labels
    if kind in {"number", "forecast"} and head.loss in MIXTURES:
        return MIXTURES[head.loss]
    return lambda answers_EBO: answers_EBO.mean(0)


def mean_classes(scores_EBO: Tensor) -> Tensor:
    """Return the logarithm of the mean chances, which are scores again."""
    chances_BO = scores_EBO.double().softmax(dim=2).mean(0)
    return chances_BO.clamp_min(TINY).log().float()


def mean_labels(scores_EBO: Tensor) -> Tensor:
    """Return scores whose chances are the mean of the chances."""
    doubled_EBO = scores_EBO.double()
    on_BO = doubled_EBO.sigmoid().mean(0).clamp_min(TINY).log()
    off_BO = (-doubled_EBO).sigmoid().mean(0).clamp_min(TINY).log()
    return (on_BO - off_BO).float()


def mixed(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of a mixture in which all weigh alike."""
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def mixed_gaussians(parts_EBO: Tensor) -> Tensor:
    """Return the mean and the spread of a mixture of normal distributions."""
    parts_EBTR = parts_EBO.double().unflatten(2, (-1, 2))
    mean_BT, variance_BT = mixed(parts_EBTR[..., 0], parts_EBTR[..., 1].square())
    return torch.stack([mean_BT, variance_BT.sqrt()], dim=2).flatten(1).float()


def mixed_students(parts_EBO: Tensor) -> Tensor:
    """Return Student's t with the mean and the variance of a mixture of them.

    Its degrees of freedom are the mean of theirs; where they are so few that there is hardly a
    variance, the square of the scale stands for it.
    """
    mean_EBT, scale_EBT, freedom_EBT = parts_EBO.double().unflatten(2, (-1, 3)).unbind(3)
    mean_BT, variance_BT = mixed(mean_EBT, scale_EBT.square() * widening(freedom_EBT))
    freedom_BT = freedom_EBT.mean(0)
    scale_BT = (variance_BT / widening(freedom_BT)).sqrt()
    return torch.stack([mean_BT, scale_BT, freedom_BT], dim=2).flatten(1).float()


def widening(freedom: Tensor) -> Tensor:
    """Return the variance of Student's t of scale one."""
    bounded = freedom.clamp_min(FLATTEST)
    return bounded / (bounded - 2)


MIXTURES: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian_nll": mixed_gaussians,
    "student_t": mixed_students,
}
"""Errors whose answers are distributions that mix; quantiles, and the mean and the dispersion of
counts, are averaged one by one."""
