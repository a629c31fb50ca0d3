"""What a network looked at, step by step, where it tells so itself.

A text that was written with attention: which steps each symbol looked at. One that was written
while it was read (CTC): what each step wrote. A sequence that was mined: what each step cost.

Shapes: N steps of one sequence, L symbols of its text and one for its end, A heads of a pooling.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.evaluation.attribution import Sequence
from models.networks.heads.attention import AttentionHead, collect_steps
from models.networks.heads.base import Encoded
from models.networks.heads.ctc import TEXT_PADDING, CtcHead
from models.networks.heads.self_supervised import SelfSupervisedHead, get_input_steps
from models.networks.jagged import Offsets
from models.networks.network import Network

Floats = NDArray[np.float64]


class StepOutputs(NamedTuple):
    """What a step of a CTC network wrote."""

    symbol_N: NDArray[np.int64]
    """-1 where it wrote nothing."""
    probability_N: Floats


def encode_sequence(network: Network, sequence: Sequence) -> Encoded:
    """Read one sequence."""
    return network.encode(*sequence.times(1))


@torch.no_grad()
def compute_attention(network: Network, sequence: Sequence, symbols: NDArray[np.int64]) -> Floats:
    """Return how much each symbol of a text, and its end, looked at each step, [L, N].

    Args:
        network: with a head that writes with attention.
        sequence: the row.
        symbols: the text that it wrote, without what stands behind its end.
    """
    head = network.head
    assert isinstance(head, AttentionHead)  # noqa: S101 - asked of such networks alone
    encoded = encode_sequence(network, sequence)
    begun = torch.tensor([head.begin, *symbols.tolist()], device=encoded.pooled_BP.device)
    state = (torch.tanh(head.start(encoded.pooled_BP)),)
    states_LH = head.cell.outputs(head.embedding(begun), Offsets.from_lengths([len(begun)]), state)
    weights_1LN = head.compute_weights(states_LH[None], collect_steps(encoded))
    return np.asarray(weights_1LN[0].double().cpu().numpy())


@torch.no_grad()
def read_ctc_outputs(network: Network, sequence: Sequence) -> StepOutputs:
    """Return what each step wrote, and how sure it was."""
    head = network.head
    assert isinstance(head, CtcHead)  # noqa: S101 - asked of such networks alone
    encoded = encode_sequence(network, sequence)
    probabilities_NV = functional.softmax(head.scores(encoded.steps_NH).float(), dim=1)
    probability_N, symbol_N = (part.cpu().numpy() for part in probabilities_NV.max(dim=1))
    before_N = np.concatenate([[head.blank], symbol_N[:-1]])
    silent_N = (symbol_N == head.blank) | (symbol_N == before_N)
    return StepOutputs(
        np.where(silent_N, int(TEXT_PADDING), symbol_N), probability_N.astype(np.float64)
    )


@torch.no_grad()
def compute_step_errors(network: Network, sequence: Sequence) -> Floats:
    """Return what each step of a mined sequence cost, [N]."""
    head = network.head
    assert isinstance(head, SelfSupervisedHead)  # noqa: S101 - asked of such networks alone
    encoded = encode_sequence(network, sequence)
    errors_N = head.telling.compute_errors(
        head.compute_step_inputs(encoded),
        get_input_steps(encoded),
        from_NC=head.get_previous_steps(encoded),
    )
    return np.asarray(errors_N.double().cpu().numpy())
