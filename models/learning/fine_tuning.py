"""How a network whose front and layers are pretrained is trained (Howard and Ruder 2018).

Lower parts learn more slowly (discriminative learning rates), and begin later: first the head
alone, then one part after the other from the top (gradual unfreezing), so that the random gradients
of a new head do not undo what was learned before.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from torch import nn

RATE_DIVISOR = 1.3
"""By which the learning rate of a part is divided for the one below it. The paper's 2.6 is for a
network that has read a large corpus; one that has read the job's own rows has more to learn."""
UNFREEZING_SHARE = 0.05
"""Share of the planned steps after which the next lower part begins to learn."""


class PartSchedule(NamedTuple):
    """How the weights of one part learn."""

    rate_factor: float
    """By which the learning rate is multiplied."""
    start: float
    """Share of the planned steps before the first update."""


def schedule_parts(network: nn.Module, *, pretrained: bool) -> list[PartSchedule]:
    """Return the schedule of each trainable parameter, in their order."""
    names = [name for name, weight in network.named_parameters() if weight.requires_grad]
    if not pretrained:
        return [PartSchedule(1.0, 0.0)] * len(names)
    depths = [_measure_depth(name) for name in names]
    order = {depth: index for index, depth in enumerate(_sort_from_top(depths))}
    return [
        PartSchedule(RATE_DIVISOR ** -order[depth], UNFREEZING_SHARE * order[depth])
        for depth in depths
    ]


def _sort_from_top(depths: Iterable[float]) -> list[float]:
    """Return the distinct depths, the head first."""
    return sorted(set(depths), reverse=True)


def _measure_depth(name: str) -> float:
    """Return how high in the network a parameter is: front, layers from 1 on, and the rest."""
    if name.startswith("front."):
        return 0.0
    layer = re.match(r"encoder\.layers\.(\d+)\.", name)
    return 1.0 + int(layer[1]) if layer else float("inf")
