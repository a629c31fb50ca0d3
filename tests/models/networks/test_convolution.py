"""Convolutions over steps: they agree with the equation and never cross a sequence's ends."""

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.networks.config import ModelConfig
from models.networks.convolution import Cnn, Downsample, convolve
from models.networks.inputs.patches import PatchDownsample
from models.networks.jagged import Offsets
from models.networks.network import build_network
from tests.support.model_parts import build_plain_spec


def convolve_by_steps(
    values_NI: Tensor,
    offsets: Offsets,
    weight_HIK: Tensor,
    *,
    bias_H: Tensor,
    dilation: int = 1,
    ahead: int = 0,
    before_BRI: Tensor | None = None,
) -> Tensor:
    """The equation step by step and tap by tap, as the expected result."""
    taps, outputs = weight_HIK.shape[2], []
    behind = (taps - 1) * dilation - ahead
    for row, (first, stop) in enumerate(zip(offsets.bounds[:-1], offsets.bounds[1:], strict=True)):
        zeros_PI = values_NI.new_zeros(max(behind, ahead), values_NI.shape[1])
        earlier_PI = zeros_PI[:behind] if before_BRI is None else before_BRI[row]
        padded_PI = torch.cat([earlier_PI, values_NI[first:stop], zeros_PI[:ahead]])
        for step in range(stop - first):
            tap_inputs = (padded_PI[step + tap * dilation] for tap in range(taps))
            products = (weight_HIK[:, :, tap] @ value_I for tap, value_I in enumerate(tap_inputs))
            outputs.append(torch.stack([bias_H, *products]).sum(0))
    return torch.stack(outputs)


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@settings(max_examples=60)
@given(
    lengths=sizes,
    taps=st.integers(1, 5),
    dilation=st.integers(1, 3),
    ahead=st.integers(0, 2),
    with_history=st.booleans(),
)
def test_a_convolution_agrees_with_its_equation(
    lengths: list[int], taps: int, dilation: int, ahead: int, with_history: bool
) -> None:
    torch.manual_seed(0)
    ahead = min(ahead, (taps - 1) * dilation)
    values = torch.randn(sum(lengths), 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, taps, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    before = torch.randn(len(lengths), (taps - 1) * dilation, 2, dtype=torch.float64)
    history = before if with_history and not ahead else None
    result = []
    for read in (convolve, convolve_by_steps):
        outputs = read(
            values,
            Offsets.from_lengths(lengths),
            weight,
            bias_H=bias,
            dilation=dilation,
            ahead=ahead,
            before_BRI=history,
        )
        total = (outputs * torch.linspace(0, 1, outputs.numel()).view_as(outputs)).sum()
        result.append(
            [outputs, *torch.autograd.grad(total, [values, weight, bias], materialize_grads=True)]
        )

    torch.testing.assert_close(*result, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_receptive_field_of_a_cnn_is_symmetric(width: int) -> None:
    torch.manual_seed(0)
    layer = Cnn(2, 6, kernel_size=width).double()
    values = torch.randn(20, 2, dtype=torch.float64)
    changed_values = values.clone()
    changed_values[10] += 1.0

    before, after = (
        layer(steps, Offsets.from_lengths([20]))[0] for steps in (values, changed_values)
    )

    changed = (before != after).any(dim=1).nonzero()[:, 0].tolist()
    assert changed == list(range(10 - width // 2, 10 - width // 2 + width))


@given(lengths=sizes, stride=st.integers(1, 6))
def test_downsampling_leaves_one_step_per_stride_in_any_batch(
    lengths: list[int], stride: int
) -> None:
    torch.manual_seed(0)
    front = Downsample(2, stride=stride).double()
    parts = [torch.randn(length, 2, dtype=torch.float64) for length in lengths]

    together, offsets = front(torch.cat(parts), Offsets.from_lengths(lengths))
    alone = torch.cat([front(part, Offsets.from_lengths([len(part)]))[0] for part in parts])

    assert offsets.lengths.tolist() == [-(-length // stride) for length in lengths]
    torch.testing.assert_close(together, alone)


@given(lengths=sizes)
def test_the_front_reads_no_change_across_the_ends_of_sequences(lengths: list[int]) -> None:
    torch.manual_seed(0)
    front = Downsample(1, stride=1).double()
    parts = [torch.randn(length, 1, dtype=torch.float64) for length in lengths]
    first = front.layers[0]
    assert isinstance(first, Cnn)
    read = first.convolution.weight_HIK
    with torch.no_grad():
        read[:, 0].zero_()

    raised = [part + 10.0 * number for number, part in enumerate(parts)]

    before, _ = front(torch.cat(parts), Offsets.from_lengths(lengths))
    after, _ = front(torch.cat(raised), Offsets.from_lengths(lengths))
    torch.testing.assert_close(before, after)


@given(lengths=sizes, stride=st.integers(1, 6))
def test_patches_are_aligned_with_the_end_of_each_sequence(lengths: list[int], stride: int) -> None:
    torch.manual_seed(0)
    front = PatchDownsample(2, 4, stride=stride).double()
    parts = [torch.randn(length, 2, dtype=torch.float64) for length in lengths]

    together, offsets = front(torch.cat(parts), Offsets.from_lengths(lengths))

    expected = []
    for part in parts:
        missing = -len(part) % stride
        filled = torch.cat([part.new_zeros(missing, 2), part])
        expected.append(torch.relu(front.read(filled.view(-1, stride * 2))))
    assert offsets.lengths.tolist() == [-(-length // stride) for length in lengths]
    torch.testing.assert_close(together, torch.cat(expected))


@pytest.mark.parametrize("way", ["conv", "patch"])
def test_a_network_reads_downsampled_steps(way: Literal["conv", "patch"]) -> None:
    config = ModelConfig(
        cell="lstm", hidden_size=6, downsample=4, downsample_by=way, bidirectional=True
    )
    network = build_network(config, build_plain_spec(2, 3), seed=0).eval()
    values = torch.randn(30, 2)

    encoded = network.encode(values, Offsets.from_lengths([17, 13]))

    assert encoded.offsets.lengths.tolist() == [5, 4]
    units = {"conv": 12 + 48, "patch": 12}[way]
    assert encoded.steps_NH.shape == (9, units)
    assert network(values, Offsets.from_lengths([17, 13])).shape == (2, 3)


def test_downsample_by_is_rejected_without_downsample() -> None:
    with pytest.raises(ValueError, match="downsample_by: nothing is downsampled"):
        ModelConfig(downsample_by="patch")
