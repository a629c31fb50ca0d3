"""What each step did to an answer: integrated gradients (Sundararajan, Taly and Yan 2017).

From a baseline that says nothing the input is approached on a straight line, and the gradients on
the way are summed up; what all parts of the input are given adds up to the answer less the
baseline's (completeness). Numbers, sounds and pixels begin where training stands in the mean, on
the scale that the network reads; vectors of words begin at zero, as in the paper, and nodes of
trees that hold no word stay as they are. Side inputs stay as they are, too.

The way is cut at the points of Gauss and Legendre, with which 32 are as good as many hundreds that
are evenly spread. What has no gradient (`beside: rocket`) is given to no step, and is told.

Shapes: N steps of one sequence, C channels, O outputs, K points of the way, H rows of pixels, W
columns, D numbers of a vector or colours.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.features.tree.config import WORDLESS
from models.networks.inputs.front import StaticBatch, TokenFront
from models.networks.inputs.pixels import PixelFront
from models.networks.jagged import Offsets
from models.networks.network import Network

POINTS = 32

MAX_STEPS = 1 << 15
"""Steps of all points that are computed at once."""


class Sequence(NamedTuple):
    """One row as the network reads it."""

    values_NC: Tensor
    statics: StaticBatch

    def times(self, count: int) -> tuple[Tensor, Offsets, StaticBatch]:
        """Lay it end to end so many times."""
        values_NC = self.values_NC.repeat(count, 1)
        offsets = Offsets.from_lengths([len(self.values_NC)] * count, values_NC.device)
        statics = StaticBatch(*(part.expand(count, -1) for part in self.statics))
        return values_NC, offsets, statics


class Attribution(NamedTuple):
    """What each part of the input added to an answer."""

    shares: NDArray[np.float64]
    """[N, C] of numbers, [N, 1] of ids, [H, W] of pixels, [steps, 1] of a backbone's columns."""
    start: float
    """The answer to the baseline."""
    end: float
    """The answer itself."""

    @property
    def gap(self) -> float:
        """What no part was given: near 0 but for what has no gradient."""
        return self.end - self.start - float(self.shares.sum())


def attribute(
    network: Network, sequence: Sequence, weight_O: Tensor, *, points: int = POINTS
) -> Attribution:
    """Share an answer out among the parts of one sequence.

    Args:
        network: ready to serve; it is left as it was.
        sequence: the row.
        weight_O: of each output in the answer that is asked about, which is their weighted sum.
        points: of the way from the baseline.
    """
    real = capture_inputs(network, sequence)
    base = build_baseline(network, sequence, real)
    places, weights = np.polynomial.legendre.leggauss(points)
    total = torch.zeros_like(real, dtype=torch.float64)
    at_once = max(1, MAX_STEPS // max(1, len(sequence.values_NC)))
    for begin in range(0, points, at_once):
        part = slice(begin, begin + at_once)
        ways = torch.from_numpy((places[part] + 1) / 2).to(real)
        shares = torch.from_numpy(weights[part] / 2).to(real.device)
        total += average_gradients(
            network, sequence, weight_O, base=base, way=real - base, at=ways, by=shares
        )
    given = (total * (real - base).double()).cpu().numpy()
    ends = [compute_output(network, sequence, weight_O, read) for read in (base, real)]
    return Attribution(sum_channels(network, given), *ends)


def average_gradients(
    network: Network,
    sequence: Sequence,
    weight_O: Tensor,
    *,
    base: Tensor,
    way: Tensor,
    at: Tensor,
    by: Tensor,
) -> Tensor:
    """Return the weighted sum of the gradients at some points of the way, as large as `base`."""
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        stretched = at.view(-1, *[1] * base.dim())
        points = (base + stretched * way).flatten(0, 1).requires_grad_()
        outputs_KO = run_with_inputs(network, sequence, points, count=len(at))
        asked = (outputs_KO.double() * weight_O.double()).sum()
        (gradient,) = torch.autograd.grad(asked, points)
    held = gradient.double().view(len(at), *base.shape)
    return (held * by.view(-1, *[1] * base.dim())).sum(dim=0)


@torch.no_grad()
def compute_output(network: Network, sequence: Sequence, weight_O: Tensor, read: Tensor) -> float:
    """Return the answer that is asked about."""
    outputs_1O = run_with_inputs(network, sequence, read, count=1)
    return float((outputs_1O[0].double() * weight_O.double()).sum())


def find_numeric_layer(network: Network) -> nn.Module | None:
    """Find the part behind which the input is numbers; None where it is from the start."""
    front = network.front
    if isinstance(front, PixelFront):
        return front.scale if front.backbone is None else front
    return front if isinstance(front, TokenFront) else None


def run_with_inputs(network: Network, sequence: Sequence, points: Tensor, *, count: int) -> Tensor:
    """Return the outputs, [count, O], for numbers that stand in place of what is read."""
    values_NC, offsets, statics = sequence.times(count)
    place = find_numeric_layer(network)
    if place is None:
        outputs: Tensor = network(points, offsets, statics)
        return outputs

    def swap(_module: nn.Module, _given: Any, read: Any) -> Any:  # noqa: ANN401 - torch's hooks
        return (points, *read[1:]) if isinstance(read, tuple) else points

    with attach_hook(place, swap):
        changed: Tensor = network(values_NC, offsets, statics)
    return changed


@torch.no_grad()
def capture_inputs(network: Network, sequence: Sequence) -> Tensor:
    """Return the numbers behind the door."""
    place, seen = find_numeric_layer(network), []
    if place is None:
        return sequence.values_NC

    def note(_module: nn.Module, _given: Any, read: Any) -> None:  # noqa: ANN401 - torch's hooks
        seen.append(read[0] if isinstance(read, tuple) else read)

    with attach_hook(place, note):
        network(*sequence.times(1))
    first: Tensor = seen[0]
    return first


@contextmanager
def attach_hook(place: nn.Module, hook: Any) -> Iterator[None]:  # noqa: ANN401 - torch's hooks
    """Let a hook see, or change, what a part returns."""
    handle = place.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def build_baseline(network: Network, sequence: Sequence, real: Tensor) -> Tensor:
    """Return what says nothing."""
    base = torch.zeros_like(real)
    if network.encoder.reads_trees:
        blank_N = sequence.values_NC[:, 0] == WORDLESS
        base[blank_N] = real[blank_N]
    return base


def sum_channels(network: Network, given: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum up over what is no part of its own: numbers of a vector, colours of a pixel."""
    front, laid = network.front, given
    if isinstance(front, PixelFront) and front.backbone is not None:
        laid = given.reshape(-1, given.shape[-1]).sum(axis=1, keepdims=True)
    elif isinstance(front, PixelFront):
        laid = given[0].sum(axis=2)
    elif isinstance(front, TokenFront):
        laid = given.sum(axis=1, keepdims=True)
    return laid
