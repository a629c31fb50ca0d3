"""Padding: whatever stands behind a sequence's end changes neither its answer nor its gradient."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import face
from torch import Tensor

from models.networks import ModelConfig
from models.networks.network import Network, build
from models.networks.rnn import Layer, reverse_within

CELLS = ("rnn", "lstm", "gru")
POOLINGS = ("last", "mean", "max", "attention")
EVERY = list(itertools.product(CELLS, POOLINGS, (False, True)))

sizes = st.lists(st.integers(1, 7), min_size=1, max_size=4)
rubbish = st.sampled_from([float("nan"), float("inf"), -1e30, 1e30, 0.0])


def network(cell: str, pooling: str, bidirectional: bool, layers: int = 1) -> Network:
    config = ModelConfig(
        cell=cell, pooling=pooling, bidirectional=bidirectional, layers=layers, hidden=5
    )
    return build(config, face(2, 3), seed=1).eval()


def sequences(lengths: list[int], dtype: torch.dtype) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(length, 2, generator=draw, dtype=dtype) for length in lengths]


def padded(parts: list[Tensor], *, extra: int, junk: float) -> Tensor:
    steps = max(len(part) for part in parts) + extra
    batch = torch.full((len(parts), steps, 2), junk, dtype=parts[0].dtype)
    for row, part in enumerate(parts):
        batch[row, : len(part)] = part
    return batch


@pytest.mark.parametrize(("cell", "pooling", "bidirectional"), EVERY)
@settings(max_examples=12)
@given(sizes, st.integers(0, 4), rubbish, st.integers(1, 3))
def test_not_even_rubbish_behind_its_end_changes_what_is_said_of_a_sequence(
    cell: str,
    pooling: str,
    bidirectional: bool,
    lengths: list[int],
    extra: int,
    junk: float,
    layers: int,
) -> None:
    net = network(cell, pooling, bidirectional, layers)
    parts = sequences(lengths, torch.float32)

    with torch.no_grad():
        together = net(padded(parts, extra=extra, junk=junk), torch.tensor(lengths))
        alone = torch.cat([net(part[None], torch.tensor([len(part)])) for part in parts])

    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("cell", "pooling", "bidirectional"), EVERY)
@settings(max_examples=5)
@given(sizes, st.integers(0, 4))
def test_padding_teaches_nothing(
    cell: str, pooling: str, bidirectional: bool, lengths: list[int], extra: int
) -> None:
    net = network(cell, pooling, bidirectional, layers=2).double()
    parts = sequences(lengths, torch.float64)

    net(padded(parts, extra=extra, junk=3.0), torch.tensor(lengths)).square().sum().backward()
    together = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    for part in parts:
        net(part[None], torch.tensor([len(part)])).square().sum().backward()

    alone = [parameter.grad for parameter in net.parameters()]
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=20)
@given(lengths=sizes)
def test_reading_backwards_is_reading_the_reversed_sequence(cell: str, lengths: list[int]) -> None:
    layer = Layer(cell, inputs=2, hidden=4, bidirectional=True).double()
    layer.backwards.load_state_dict(layer.forwards.state_dict())
    batch = padded(sequences(lengths, torch.float64), extra=1, junk=9.0)
    counts = torch.tensor(lengths)

    _, back = layer(batch, counts).chunk(2, dim=2)
    mirrored, _ = layer(reverse_within(batch, counts), counts).chunk(2, dim=2)

    for row, length in enumerate(lengths):
        torch.testing.assert_close(back[row, :length], mirrored[row, :length].flip(0))


@pytest.mark.parametrize("bidirectional", [False, True])
@given(st.integers(2, 8), st.data())
def test_a_forward_reading_knows_nothing_of_later_steps(
    bidirectional: bool, steps: int, data
) -> None:
    layer = Layer("gru", inputs=2, hidden=4, bidirectional=bidirectional).double()
    now = data.draw(st.integers(0, steps - 2))
    [before] = sequences([steps], torch.float64)
    after = before.clone()
    after[now + 1 :] += 1.0
    counts = torch.tensor([steps])

    outputs_before, outputs_after = layer(before[None], counts), layer(after[None], counts)

    ahead = slice(0, 4)
    torch.testing.assert_close(
        outputs_before[0, : now + 1, ahead], outputs_after[0, : now + 1, ahead], rtol=0, atol=0
    )
    moved = (outputs_before - outputs_after)[0, 0, 4:].abs().sum()
    assert (moved > 0) == bidirectional


def test_a_network_is_built_without_touching_the_callers_random_state() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)

    torch.manual_seed(11)
    network("lstm", "attention", bidirectional=True)

    assert torch.equal(torch.rand(3), expected)


def test_dropout_is_silent_once_the_network_serves() -> None:
    config = ModelConfig(hidden=8, layers=3, dropout=0.6)
    net = build(config, face(2, 2), seed=0)
    [part] = sequences([5], torch.float32)
    batch, counts = part[None], torch.tensor([5])

    learning = {net.train()(batch, counts).sum().item() for _ in range(5)}
    serving = {net.eval()(batch, counts).sum().item() for _ in range(5)}

    assert len(learning) > 1
    assert len(serving) == 1
