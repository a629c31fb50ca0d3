"""Networks: they agree with torch's own layers, and the weights depend only on the seed."""

import numpy as np
import pytest
import torch

from models.features.feature_spec import Tokens
from models.networks.config import ModelConfig
from models.networks.inputs.front import TokenFront
from models.networks.jagged import Offsets
from models.networks.network import build_network, count_parameters
from tests.support.model_parts import build_plain_spec

CELLS = ("rnn", "lstm", "gru")


def network(**settings):
    built = build_network(ModelConfig(hidden_size=5, **settings), build_plain_spec(2, 3), seed=1)
    return built.double().eval()


@pytest.mark.parametrize("cell", CELLS)
def test_a_bidirectional_layer_agrees_with_torch_on_equal_lengths(cell: str) -> None:
    layer = network(cell=cell, bidirectional=True).encoder.layers[0]
    torch_layer = getattr(torch.nn, cell.upper())(
        2, 5, batch_first=True, bidirectional=True
    ).double()
    ahead, back = (own.kernel.state_dict() for own in layer.cells)
    torch_layer.load_state_dict(ahead | {f"{name}_reverse": value for name, value in back.items()})
    values = torch.randn(3, 7, 2, dtype=torch.float64)

    outputs, _ = layer(values.flatten(0, 1), Offsets.from_lengths([7, 7, 7]))

    torch.testing.assert_close(outputs.view(3, 7, 10), torch_layer(values)[0])


def test_the_initial_weights_depend_only_on_the_seed() -> None:
    config = ModelConfig(hidden_size=4)
    torch.manual_seed(123)
    first = build_network(config, build_plain_spec(2, 2), seed=5).state_dict()
    torch.manual_seed(321)
    second = build_network(config, build_plain_spec(2, 2), seed=5).state_dict()
    other = build_network(config, build_plain_spec(2, 2), seed=6).state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_number_of_parameters_is_that_of_the_equations() -> None:
    model = build_network(ModelConfig(cell="gru", hidden_size=4), build_plain_spec(3, 2), seed=0)

    assert count_parameters(model) == 3 * (4 * 3 + 4 * 4 + 2 * 4) + (4 * 2 + 2)


@pytest.mark.parametrize(("ids", "std"), [(30, 1.0), (10_000, 0.1)])
def test_embeddings_of_many_ids_start_small(ids: int, std: float) -> None:
    torch.manual_seed(0)
    front = TokenFront(Tokens(size=ids), 64)

    assert front.embedding.weight.std().item() == pytest.approx(std, rel=0.05)


def test_frozen_vectors_stand_beside_learned_ones() -> None:
    vectors = np.arange(12, dtype=np.float16).reshape(4, 3)
    torch.manual_seed(0)
    front = TokenFront(Tokens(size=4, vectors_VD=vectors, frozen=True, num_learned=2), 5)
    ids = torch.tensor([[0], [1], [2], [3]], dtype=torch.int32)

    steps_NC, _ = front(ids, Offsets.from_lengths([4]))

    assert front.channels == 8
    np.testing.assert_array_equal(steps_NC[:, :3].detach(), vectors)
    # Ids that are not learned share the vector of unknown ones.
    learned = steps_NC[:, 3:]
    assert torch.equal(learned[2], learned[0])
    assert torch.equal(learned[3], learned[0])
    assert not torch.equal(learned[1], learned[0])
    assert list(front.state_dict()) == ["embedding.weight"]
    assert [tuple(weight.shape) for weight in front.parameters()] == [(2, 5)]


def test_vectors_that_are_not_frozen_are_where_learning_starts() -> None:
    vectors = np.zeros((4, 3), np.float16)
    vectors[2] = [1, 2, 3]
    front = TokenFront(Tokens(size=4, vectors_VD=vectors, num_learned=2), 5)

    assert front.channels == 3
    assert front.embedding.weight.requires_grad
    assert front.embedding.weight[2].tolist() == [1, 2, 3]
    assert front.embedding.weight[1].any()
