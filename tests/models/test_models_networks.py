"""Networks: padding never changes an answer, and the seed alone makes the weights."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import face

from models.networks import ModelConfig
from models.networks.network import build, parameter_count
from models.networks.rnn import reverse_within

CELLS = ("rnn", "lstm", "gru")
POOLINGS = ("last", "mean", "max", "attention")


def network(**settings):
    built = build(ModelConfig(hidden=5, **settings), face(2, 3), seed=1)
    return built.double().eval()


@pytest.mark.parametrize(
    ("cell", "pooling", "bidirectional"), list(itertools.product(CELLS, POOLINGS, (False, True)))
)
@settings(max_examples=10)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 5), st.floats(-1e3, 1e3))
def test_a_sequence_has_one_answer_alone_and_in_any_padded_batch(
    cell: str, pooling: str, bidirectional: bool, lengths: list[int], extra: int, junk: float
) -> None:
    net = network(cell=cell, pooling=pooling, bidirectional=bidirectional, layers=2)
    draw = torch.Generator().manual_seed(0)
    sequences = [torch.randn(n, 2, generator=draw, dtype=torch.float64) for n in lengths]
    batch = torch.full((len(lengths), max(lengths) + extra, 2), junk, dtype=torch.float64)
    for row, sequence in enumerate(sequences):
        batch[row, : len(sequence)] = sequence

    together = net(batch, torch.tensor(lengths))
    alone = torch.cat([net(s[None], torch.tensor([len(s)])) for s in sequences])

    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_reversal_within_the_length_undoes_itself_and_leaves_padding(lengths: list[int]) -> None:
    values = torch.arange(len(lengths) * 6 * 2).view(len(lengths), 6, 2)

    back = reverse_within(values, torch.tensor(lengths))

    for row, length in enumerate(lengths):
        assert torch.equal(back[row, :length], values[row, :length].flip(0))
        assert torch.equal(back[row, length:], values[row, length:])
    assert torch.equal(reverse_within(back, torch.tensor(lengths)), values)


@pytest.mark.parametrize("cell", CELLS)
def test_a_bidirectional_layer_is_the_library_s_own_on_full_sequences(cell: str) -> None:
    ours = network(cell=cell, bidirectional=True).layers[0]
    theirs = getattr(torch.nn, cell.upper())(2, 5, batch_first=True, bidirectional=True).double()
    weights = ours.forwards.state_dict()
    weights |= {f"{name}_reverse": value for name, value in ours.backwards.state_dict().items()}
    theirs.load_state_dict(weights)
    values = torch.randn(3, 7, 2, dtype=torch.float64)

    torch.testing.assert_close(ours(values, torch.tensor([7, 7, 7])), theirs(values)[0])


def test_the_seed_alone_makes_the_weights() -> None:
    config = ModelConfig(hidden=4)
    torch.manual_seed(123)
    first = build(config, face(2, 2), seed=5).state_dict()
    torch.manual_seed(321)
    second = build(config, face(2, 2), seed=5).state_dict()
    other = build(config, face(2, 2), seed=6).state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_parameters_are_counted_as_the_equations_say() -> None:
    net = build(ModelConfig(cell="gru", hidden=4), face(3, 2), seed=0)

    assert parameter_count(net) == 3 * (4 * 3 + 4 * 4 + 2 * 4) + (4 * 2 + 2)
