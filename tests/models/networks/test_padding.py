"""Padding: the other sequences of a batch change neither prediction nor gradient."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.networks.config import ModelConfig
from models.networks.families import FAMILIES
from models.networks.jagged import Offsets
from models.networks.network import Network, build_network
from tests.support.model_parts import build_plain_spec

CELLS = tuple(name for name, family in FAMILIES.items() if family.reads == "steps")
POOLINGS = ("last", "mean", "max", "attention", "multi-head", ("max", "last"))
EVERY = [
    *[(cell, "last", ends) for cell in CELLS for ends in (False, FAMILIES[cell].causal)],
    *itertools.product(("gru",), POOLINGS, (False, True)),
    ("lstm", "last", "fcn"),
    ("lstm", "last", "rocket"),
]

sizes = st.lists(st.integers(1, 7), min_size=1, max_size=4)


def network(cell: str, pooling: object, ends: object, layers: int = 1) -> Network:
    """Build a network: bidirectional where `ends` is true, or with this parallel branch."""
    config = ModelConfig(
        cell=cell,
        pooling=pooling,
        bidirectional=ends is True,
        parallel_branch="none" if isinstance(ends, bool) else ends,
        num_layers=layers,
        hidden_size=4,
        num_heads=2,
    )
    return build_network(config, build_plain_spec(2, 3), seed=1).eval()


def sequences(lengths: list[int], dtype: torch.dtype) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(length, 2, generator=draw, dtype=dtype) for length in lengths]


@pytest.mark.parametrize(("cell", "pooling", "ends"), EVERY)
@settings(max_examples=12)
@given(sizes, st.integers(1, 3), st.sampled_from([float("nan"), 1e30, 0.0]))
def test_no_other_sequence_of_the_batch_changes_a_prediction(
    cell: str, pooling: object, ends: object, lengths: list[int], layers: int, junk: float
) -> None:
    model = network(cell, pooling, ends, layers)
    parts = sequences(lengths, torch.float32)
    other_values = torch.full((9, 2), junk)

    with torch.no_grad():
        together = model(torch.cat([*parts, other_values]), Offsets.from_lengths([*lengths, 9]))[
            :-1
        ]
        alone = torch.cat([model(part, Offsets.from_lengths([len(part)])) for part in parts])

    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("cell", "pooling", "ends"), EVERY)
@settings(max_examples=5)
@given(sizes)
def test_the_gradient_of_a_batch_is_the_sum_of_those_of_its_sequences(
    cell: str, pooling: object, ends: object, lengths: list[int]
) -> None:
    model = network(cell, pooling, ends, layers=2).double()
    parts = sequences(lengths, torch.float64)

    model(torch.cat(parts), Offsets.from_lengths(lengths)).square().sum().backward()
    together = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    for part in parts:
        model(part, Offsets.from_lengths([len(part)])).square().sum().backward()

    alone = [parameter.grad for parameter in model.parameters()]
    # Keras computes some parts in float32 for any input type.
    close = 1e-5 if cell.startswith("keras") else 1e-9
    torch.testing.assert_close(together, alone, rtol=close, atol=close)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if FAMILIES[cell].causal])
@settings(max_examples=20)
@given(lengths=sizes)
def test_reading_backwards_is_reading_the_reversed_sequence(cell: str, lengths: list[int]) -> None:
    layer = network(cell, "last", ends=True).double().encoder.layers[0]
    layer.cells[1].load_state_dict(layer.cells[0].state_dict())
    values = torch.cat(sequences(lengths, torch.float64))
    offsets = Offsets.from_lengths(lengths)

    _, back = layer(values, offsets)[0].chunk(2, dim=1)
    reversed_outputs, _ = layer(offsets.reverse(values), offsets)[0].chunk(2, dim=1)

    torch.testing.assert_close(back, offsets.reverse(reversed_outputs))


def test_a_network_is_built_without_touching_the_callers_random_state() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)

    torch.manual_seed(11)
    network("lstm", "attention", ends=True)

    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_is_off_in_prediction(variational: bool) -> None:
    config = ModelConfig(hidden_size=8, num_layers=3, dropout=0.6, variational_dropout=variational)
    model = build_network(config, build_plain_spec(2, 2), seed=0)
    [part] = sequences([5], torch.float32)

    learning = {model.train()(part, Offsets.from_lengths([5])).sum().item() for _ in range(5)}
    serving = {model.eval()(part, Offsets.from_lengths([5])).sum().item() for _ in range(5)}

    assert len(learning) > 1
    assert len(serving) == 1
