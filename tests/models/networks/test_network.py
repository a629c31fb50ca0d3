"""Networks: the library's own layers, and the seed alone makes the weights."""

import pytest
import torch

from models.features.feature_spec import Tokens
from models.networks.config import ModelConfig
from models.networks.inputs.front import TokenFront
from models.networks.jagged import Offsets
from models.networks.network import build_network, count_parameters
from tests.support.model_parts import face

CELLS = ("rnn", "lstm", "gru")


def network(**settings):
    built = build_network(ModelConfig(hidden_size=5, **settings), face(2, 3), seed=1)
    return built.double().eval()


@pytest.mark.parametrize("cell", CELLS)
def test_a_bidirectional_layer_is_the_library_s_own_on_full_sequences(cell: str) -> None:
    ours = network(cell=cell, bidirectional=True).encoder.layers[0]
    theirs = getattr(torch.nn, cell.upper())(2, 5, batch_first=True, bidirectional=True).double()
    ahead, back = (own.kernel.state_dict() for own in ours.cells)
    theirs.load_state_dict(ahead | {f"{name}_reverse": value for name, value in back.items()})
    values = torch.randn(3, 7, 2, dtype=torch.float64)

    outputs, _ = ours(values.flatten(0, 1), Offsets.from_lengths([7, 7, 7]))

    torch.testing.assert_close(outputs.view(3, 7, 10), theirs(values)[0])


def test_the_seed_alone_makes_the_weights() -> None:
    config = ModelConfig(hidden_size=4)
    torch.manual_seed(123)
    first = build_network(config, face(2, 2), seed=5).state_dict()
    torch.manual_seed(321)
    second = build_network(config, face(2, 2), seed=5).state_dict()
    other = build_network(config, face(2, 2), seed=6).state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_parameters_are_counted_as_the_equations_say() -> None:
    net = build_network(ModelConfig(cell="gru", hidden_size=4), face(3, 2), seed=0)

    assert count_parameters(net) == 3 * (4 * 3 + 4 * 4 + 2 * 4) + (4 * 2 + 2)


@pytest.mark.parametrize(("ids", "spread"), [(30, 1.0), (10_000, 0.1)])
def test_vectors_of_many_ids_begin_short(ids: int, spread: float) -> None:
    torch.manual_seed(0)
    front = TokenFront(Tokens(size=ids), 64)

    assert front.embedding.weight.std().item() == pytest.approx(spread, rel=0.05)
