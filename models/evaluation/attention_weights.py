"""What a network computes at each step of one sequence, for explanations.

For an attention decoder the attention weights of each output symbol, for CTC the most probable
symbol of each step, for a self-supervised target the error of each step.

Shapes: N steps of one sequence, L output symbols (the end of the text included), V symbols.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.evaluation.attribution import SequenceInput
from models.networks.heads.attention import AttentionHead, collect_steps
from models.networks.heads.base import Encoded
from models.networks.heads.ctc import TEXT_PADDING, CtcHead
from models.networks.heads.self_supervised import SelfSupervisedHead, get_input_steps
from models.networks.jagged import Offsets
from models.networks.network import Network

Floats = NDArray[np.float64]


class StepOutputs(NamedTuple):
    """The most probable symbol of each step of a CTC network."""

    symbol_N: NDArray[np.int64]
    """-1 where the step adds no symbol: a blank, or the same symbol as the step before."""
    probability_N: Floats


@torch.no_grad()
def compute_attention(
    network: Network, sequence: SequenceInput, symbols: NDArray[np.int64]
) -> Floats:
    """Compute the attention weights [L, N] of each output symbol, and of the end, over the steps.

    Args:
        network: with an attention head.
        sequence: the row.
        symbols: the text that the network predicted, without anything after its end.
    """
    head = network.head
    assert isinstance(head, AttentionHead)  # noqa: S101 - callers check the head
    encoded = _encode_sequence(network, sequence)
    tokens = torch.tensor([head.begin, *symbols.tolist()], device=encoded.pooled_BP.device)
    state = (torch.tanh(head.start(encoded.pooled_BP)),)
    states_LH = head.cell.outputs(
        head.embedding(tokens), Offsets.from_lengths([len(tokens)]), state
    )
    weights_1LN = head.compute_weights(states_LH[None], collect_steps(encoded))
    return np.asarray(weights_1LN[0].double().cpu().numpy())


@torch.no_grad()
def read_ctc_outputs(network: Network, sequence: SequenceInput) -> StepOutputs:
    """Return the most probable symbol of each step, and its probability."""
    head = network.head
    assert isinstance(head, CtcHead)  # noqa: S101 - callers check the head
    encoded = _encode_sequence(network, sequence)
    probabilities_NV = functional.softmax(head.scores(encoded.steps_NH).float(), dim=1)
    probability_N, symbol_N = (part.cpu().numpy() for part in probabilities_NV.max(dim=1))
    previous_N = np.concatenate([[head.blank], symbol_N[:-1]])
    blank_or_repeat_N = (symbol_N == head.blank) | (symbol_N == previous_N)
    return StepOutputs(
        np.where(blank_or_repeat_N, int(TEXT_PADDING), symbol_N), probability_N.astype(np.float64)
    )


@torch.no_grad()
def compute_step_errors(network: Network, sequence: SequenceInput) -> Floats:
    """Return the self-supervised error of each step, [N]."""
    head = network.head
    assert isinstance(head, SelfSupervisedHead)  # noqa: S101 - callers check the head
    encoded = _encode_sequence(network, sequence)
    errors_N = head.telling.compute_errors(
        head.compute_step_inputs(encoded),
        get_input_steps(encoded),
        from_NC=head.get_previous_steps(encoded),
    )
    return np.asarray(errors_N.double().cpu().numpy())


def _encode_sequence(network: Network, sequence: SequenceInput) -> Encoded:
    """Encode one sequence, as a batch of one."""
    return network.encode(*sequence.repeat(1))
