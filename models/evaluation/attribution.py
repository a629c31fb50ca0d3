"""Contribution of each step to an output: integrated gradients (Sundararajan, Taly and Yan 2017).

attribution_i = (x_i - x'_i) * integral over a in [0, 1] of dF(x' + a (x - x')) / dx_i, with input
x and baseline x'. The attributions of all parts of the input add up to F(x) - F(x')
(completeness). The baseline of numbers, sounds and pixels is the training mean, on the scale that
the network reads; that of word embeddings is zero, as in the paper; tree nodes without a word keep
their values, and so do static covariates.

The integral is computed by Gauss-Legendre quadrature, where 32 points are as accurate as hundreds
of equally spaced ones. A branch without a gradient (`parallel_branch: rocket`) contributes to no
step; its share is reported as unattributed.

Shapes: N steps of one sequence, C channels, O outputs, K points of the path, H rows of pixels, W
columns.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.features.tree.config import WORDLESS_ID
from models.networks.inputs.front import StaticBatch, TokenFront
from models.networks.inputs.pixels import PixelFront
from models.networks.jagged import Offsets
from models.networks.network import Network

_QUADRATURE_POINTS = 32
"""Points of the path from the baseline to the input."""

_MAX_BATCH_STEPS = 1 << 15
"""Largest number of steps in one batch of points."""


class SequenceInput(NamedTuple):
    """One row as the network reads it."""

    values_NC: Tensor
    statics: StaticBatch

    def repeat(self, count: int) -> tuple[Tensor, Offsets, StaticBatch]:
        """Return a batch with `count` copies of the sequence."""
        values_NC = self.values_NC.repeat(count, 1)
        offsets = Offsets.from_lengths([len(self.values_NC)] * count, values_NC.device)
        statics = StaticBatch(*(part.expand(count, -1) for part in self.statics))
        return values_NC, offsets, statics


class Attribution(NamedTuple):
    """Contribution of each part of the input to an output."""

    contributions: NDArray[np.float64]
    """[N, C] of numbers, [N, 1] of ids, [H, W] of pixels, [steps, 1] of a backbone's columns."""
    baseline_output: float
    """Output for the baseline."""
    output: float
    """Output for the input itself."""

    @property
    def unattributed(self) -> float:
        """Difference that no part explains: near 0, unless a branch has no gradient."""
        return self.output - self.baseline_output - float(self.contributions.sum())


def compute_attribution(
    network: Network, sequence: SequenceInput, weight_O: Tensor, *, points: int = _QUADRATURE_POINTS
) -> Attribution:
    """Distribute an output over the parts of one sequence.

    Args:
        network: in evaluation mode; it is left unchanged.
        sequence: the row.
        weight_O: weight of each output; the explained output is their weighted sum.
        points: of the quadrature.
    """
    real = _capture_inputs(network, sequence)
    base = _build_baseline(network, sequence, real)
    nodes, weights = np.polynomial.legendre.leggauss(points)
    total = torch.zeros_like(real, dtype=torch.float64)
    batch_points = max(1, _MAX_BATCH_STEPS // max(1, len(sequence.values_NC)))
    for first in range(0, points, batch_points):
        part = slice(first, first + batch_points)
        positions = torch.from_numpy((nodes[part] + 1) / 2).to(real)
        step_weights = torch.from_numpy(weights[part] / 2).to(real.device)
        total += _sum_path_gradients(
            network,
            sequence,
            weight_O,
            base=base,
            direction=real - base,
            positions=positions,
            weights=step_weights,
        )
    contributions = (total * (real - base).double()).cpu().numpy()
    outputs = [_compute_output(network, sequence, weight_O, values) for values in (base, real)]
    return Attribution(_sum_channels(network, contributions), *outputs)


def _sum_path_gradients(
    network: Network,
    sequence: SequenceInput,
    weight_O: Tensor,
    *,
    base: Tensor,
    direction: Tensor,
    positions: Tensor,
    weights: Tensor,
) -> Tensor:
    """Return the weighted sum of the gradients at some positions of the path, shaped as `base`."""
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        positions_column = positions.view(-1, *[1] * base.dim())
        points = (base + positions_column * direction).flatten(0, 1).requires_grad_()
        outputs_KO = _run_with_inputs(network, sequence, points, count=len(positions))
        output = (outputs_KO.double() * weight_O.double()).sum()
        (gradient,) = torch.autograd.grad(output, points)
    gradients = gradient.double().view(len(positions), *base.shape)
    return (gradients * weights.view(-1, *[1] * base.dim())).sum(dim=0)


@torch.no_grad()
def _compute_output(
    network: Network, sequence: SequenceInput, weight_O: Tensor, values: Tensor
) -> float:
    """Compute the explained output for one input."""
    outputs_1O = _run_with_inputs(network, sequence, values, count=1)
    return float((outputs_1O[0].double() * weight_O.double()).sum())


def _find_numeric_layer(network: Network) -> nn.Module | None:
    """Find the layer whose output is numeric; None where the network's own input is."""
    front = network.front
    if isinstance(front, PixelFront):
        return front.scale if front.backbone is None else front
    return front if isinstance(front, TokenFront) else None


def _run_with_inputs(
    network: Network, sequence: SequenceInput, points: Tensor, *, count: int
) -> Tensor:
    """Return the outputs [count, O], with `points` in place of the numeric layer's output."""
    values_NC, offsets, statics = sequence.repeat(count)
    layer = _find_numeric_layer(network)
    if layer is None:
        outputs: Tensor = network(points, offsets, statics)
        return outputs

    def replace(_module: nn.Module, _inputs: Any, result: Any) -> Any:  # noqa: ANN401 - torch's hooks
        return (points, *result[1:]) if isinstance(result, tuple) else points

    with _attach_hook(layer, replace):
        replaced: Tensor = network(values_NC, offsets, statics)
    return replaced


@torch.no_grad()
def _capture_inputs(network: Network, sequence: SequenceInput) -> Tensor:
    """Return the output of the numeric layer, where the path of the integral begins."""
    layer, captured = _find_numeric_layer(network), []
    if layer is None:
        return sequence.values_NC

    def capture(_module: nn.Module, _inputs: Any, result: Any) -> None:  # noqa: ANN401 - torch's hooks
        captured.append(result[0] if isinstance(result, tuple) else result)

    with _attach_hook(layer, capture):
        network(*sequence.repeat(1))
    first: Tensor = captured[0]
    return first


@contextmanager
def _attach_hook(layer: nn.Module, hook: Any) -> Iterator[None]:  # noqa: ANN401 - torch's hooks
    """Register a forward hook on a layer for the time of the block."""
    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _build_baseline(network: Network, sequence: SequenceInput, real: Tensor) -> Tensor:
    """Build the baseline: zeros, but the values of tree nodes without a word."""
    base = torch.zeros_like(real)
    if network.encoder.reads_trees:
        blank_N = sequence.values_NC[:, 0] == WORDLESS_ID
        base[blank_N] = real[blank_N]
    return base


def _sum_channels(network: Network, contributions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the contributions over embedding dimensions, or over the colors of a pixel."""
    front, summed = network.front, contributions
    if isinstance(front, PixelFront) and front.backbone is not None:
        summed = contributions.reshape(-1, contributions.shape[-1]).sum(axis=1, keepdims=True)
    elif isinstance(front, PixelFront):
        summed = contributions[0].sum(axis=2)
    elif isinstance(front, TokenFront):
        summed = contributions.sum(axis=1, keepdims=True)
    return summed
