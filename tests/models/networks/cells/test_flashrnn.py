"""FlashRNN's kernels: correct inputs, tested before use, with a fallback."""

import logging

import pytest
import torch
from torch import Tensor

from models.networks.cell import unroll_steps
from models.networks.cells import flashrnn, slstm
from models.networks.cells.slstm import Slstm
from models.networks.jagged import Offsets

LENGTHS = [19, 1, 7]


def cell_of(hidden: int = 32, heads: int = 2) -> Slstm:
    torch.manual_seed(0)
    return Slstm(3, hidden, num_heads=heads)


def steps() -> tuple[Tensor, Offsets]:
    torch.manual_seed(1)
    return torch.randn(sum(LENGTHS), 3, requires_grad=True), Offsets.from_lengths(LENGTHS)


@pytest.mark.parametrize("with_state", [False, True])
def test_the_definition_of_flashrnn_agrees_with_ours(with_state: bool) -> None:
    cell, (values, offsets) = cell_of(), steps()
    state = None
    if with_state:
        before = torch.randn(4 * len(LENGTHS), 3)
        state = tuple(
            part.detach() for part in cell(before, Offsets.from_lengths([4] * len(LENGTHS)))[1]
        )

    result = cell.run_flash_kernel(values, offsets, state, backend="vanilla")
    expected = unroll_steps(cell, values, offsets, state)[0]

    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    inputs = [values, *cell.parameters()]
    weights = torch.linspace(-1, 1, result.numel()).view_as(result)
    gradients = [torch.autograd.grad((each * weights).sum(), inputs) for each in (result, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("count", "size"), [(1, 16), (16, 16), (17, 32), (64, 64), (100, 128)])
def test_grids_are_padded_to_a_few_sizes(count: int, size: int) -> None:
    assert flashrnn.round_up_size(count) == size


@pytest.mark.parametrize(
    ("device", "size", "there", "expected"),
    [
        ("cuda", 32, True, True),
        ("cuda", 32, False, False),
        ("cuda", 24, True, False),
        ("cuda", 128, True, False),
        ("cpu", 32, True, False),
    ],
)
def test_a_kernel_is_used_only_within_its_limits(
    monkeypatch: pytest.MonkeyPatch, device: str, size: int, there: bool, expected: bool
) -> None:
    monkeypatch.setattr(flashrnn, "is_installed", lambda: there)

    assert flashrnn.supports(torch.device(device), size) is expected


def at_once(monkeypatch: pytest.MonkeyPatch, change) -> Tensor:
    """Run a fake kernel on this machine's CPU whose outputs are changed."""

    def read(driven: Tensor, again: Tensor, state, *, backend: str) -> Tensor:
        backends.append(backend)
        return change(plain(driven, again, state, backend="vanilla"))

    backends: list[str] = []
    plain = flashrnn.run_slstm
    monkeypatch.setattr(flashrnn, "run_slstm", read)
    monkeypatch.setattr(flashrnn, "supports", lambda *_: True)
    slstm.passes_self_test.cache_clear()
    cell, (values, offsets) = cell_of(), steps()
    with torch.no_grad():
        result = cell.outputs(values, offsets)
        cell.outputs(values, offsets)
        expected = unroll_steps(cell, values, offsets)[0]
    slstm.passes_self_test.cache_clear()
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    return backends


def test_a_kernel_that_passes_its_self_test_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_once(monkeypatch, lambda outputs: outputs) == ["triton_fused"] * 3


def test_a_kernel_that_fails_its_self_test_is_not_used_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert at_once(monkeypatch, lambda outputs: outputs.roll(1, 2)) == ["triton_fused"]

    assert "FlashRNN's kernel is off by" in caplog.text


def test_a_kernel_that_cannot_be_compiled_is_not_used_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("out of resource: shared memory")

    with caplog.at_level(logging.WARNING):
        assert at_once(monkeypatch, fail) == ["triton_fused"]

    assert "does not run here (out of resource" in caplog.text
