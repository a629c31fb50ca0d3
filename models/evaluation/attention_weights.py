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
from models.networks.heads.attention import AttentionHead, memory_of
from models.networks.heads.ctc import NOTHING, CtcHead
from models.networks.heads.face import Encoded
from models.networks.heads.mining import MiningHead, seen_in
from models.networks.jagged import Offsets
from models.networks.network import Network

Floats = NDArray[np.float64]


class Written(NamedTuple):
    """What a step of a CTC network wrote."""

    symbol_N: NDArray[np.int64]
    """-1 where it wrote nothing."""
    chance_N: Floats


def encoded_of(network: Network, sequence: Sequence) -> Encoded:
    """Read one sequence."""
    return network.encode(*sequence.times(1))


@torch.no_grad()
def attention_of(network: Network, sequence: Sequence, symbols: NDArray[np.int64]) -> Floats:
    """Return how much each symbol of a text, and its end, looked at each step, [L, N].

    Args:
        network: with a head that writes with attention.
        sequence: the row.
        symbols: the text that it wrote, without what stands behind its end.
    """
    head = network.head
    assert isinstance(head, AttentionHead)  # noqa: S101 - asked of such networks alone
    encoded = encoded_of(network, sequence)
    begun = torch.tensor([head.begin, *symbols.tolist()], device=encoded.pooled_BP.device)
    state = (torch.tanh(head.start(encoded.pooled_BP)),)
    states_LH = head.cell.outputs(head.embedding(begun), Offsets.of([len(begun)]), state)
    weights_1LN = head.weights(states_LH[None], memory_of(encoded))
    return np.asarray(weights_1LN[0].double().cpu().numpy())


@torch.no_grad()
def writing_of(network: Network, sequence: Sequence) -> Written:
    """Return what each step wrote, and how sure it was."""
    head = network.head
    assert isinstance(head, CtcHead)  # noqa: S101 - asked of such networks alone
    encoded = encoded_of(network, sequence)
    chances_NV = functional.softmax(head.scores(encoded.steps_NH).float(), dim=1)
    chance_N, symbol_N = (part.cpu().numpy() for part in chances_NV.max(dim=1))
    before_N = np.concatenate([[head.blank], symbol_N[:-1]])
    silent_N = (symbol_N == head.blank) | (symbol_N == before_N)
    return Written(np.where(silent_N, int(NOTHING), symbol_N), chance_N.astype(np.float64))


@torch.no_grad()
def errors_of(network: Network, sequence: Sequence) -> Floats:
    """Return what each step of a mined sequence cost, [N]."""
    head = network.head
    assert isinstance(head, MiningHead)  # noqa: S101 - asked of such networks alone
    encoded = encoded_of(network, sequence)
    errors_N = head.telling.errors(
        head.units(encoded), seen_in(encoded), from_NC=head.before(encoded)
    )
    return np.asarray(errors_N.double().cpu().numpy())
