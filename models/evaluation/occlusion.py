"""What each step did to a prediction, by hiding it (Zeiler and Fergus 2014).

For models that have no gradient, such as a network joined with branches: groups of steps are
replaced by what says nothing, zeros for numbers and the unknown id for tokens, one group at a time,
and the change of the output is what the group contributed. Unlike with integrated gradients the
contributions need not add up: what steps do only together is not attributed.

Shapes: N steps of one sequence, C channels, O outputs, G groups of steps.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.evaluation.attribution import Attribution, SequenceInput

MAX_GROUPS = 48
"""Groups of steps, each hidden once in every channel."""

MAX_CHANNELS = 8
"""Channels up to which each is hidden on its own; more are hidden together."""

_ROWS_AT_ONCE = 64


@torch.no_grad()
def compute_occlusion(network: nn.Module, sequence: SequenceInput, weight_O: Tensor) -> Attribution:
    """Measure the contribution of each step of one sequence.

    Args:
        network: in evaluation mode; it is not changed.
        sequence: the row.
        weight_O: of each output in the explained one, which is their weighted sum.
    """
    values_NC = sequence.values_NC
    groups = np.array_split(np.arange(len(values_NC)), min(MAX_GROUPS, len(values_NC)))
    is_ids = not values_NC.is_floating_point()
    # Of ids, the first channel is the token; the others say where it stands in a tree.
    channels: list[slice] = [slice(0, 1) if is_ids else slice(None)]
    if not is_ids and values_NC.shape[1] <= MAX_CHANNELS:
        channels = [slice(channel, channel + 1) for channel in range(values_NC.shape[1])]
    hidden = [values_NC, _hide(values_NC, slice(None), channels)]
    hidden += [
        _hide(values_NC, slice(group[0], group[-1] + 1), [channel])
        for group in groups
        for channel in channels
    ]
    output, baseline, *changed = _compute_outputs(network, sequence, hidden, weight_O)
    contributions_NC = np.zeros((len(values_NC), 1 if is_ids else values_NC.shape[1]))
    for index, value in enumerate(changed):
        group, channel = groups[index // len(channels)], channels[index % len(channels)]
        cells = contributions_NC[group[0] : group[-1] + 1, channel]
        cells += (output - value) / cells.size
    return Attribution(contributions_NC, baseline, output)


def _hide(values_NC: Tensor, steps: slice, channels: list[slice]) -> Tensor:
    """Return the sequence with zeros, or the unknown id, in some steps of some channels."""
    hidden_NC = values_NC.clone()
    for channel in channels:
        hidden_NC[steps, channel] = 0
    return hidden_NC


def _compute_outputs(
    network: nn.Module, sequence: SequenceInput, variants: list[Tensor], weight_O: Tensor
) -> NDArray[np.float64]:
    """Return the explained output of each variant of the sequence."""
    outputs = []
    for start in range(0, len(variants), _ROWS_AT_ONCE):
        part = variants[start : start + _ROWS_AT_ONCE]
        _, offsets, statics = sequence.repeat(len(part))
        outputs_GO = network(torch.cat(part), offsets, statics)
        outputs.append((outputs_GO.double() @ weight_O.double()).cpu().numpy())
    return np.concatenate(outputs)
