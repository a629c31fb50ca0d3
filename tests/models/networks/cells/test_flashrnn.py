"""FlashRNN's kernels: given what they expect, right before they are trusted, never in the way."""

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


@pytest.mark.parametrize("carried", [False, True])
def test_flashrnn_s_own_definition_comes_to_what_ours_does(carried: bool) -> None:
    cell, (values, offsets) = cell_of(), steps()
    state = None
    if carried:
        before = torch.randn(4 * len(LENGTHS), 3)
        state = tuple(
            part.detach() for part in cell(before, Offsets.from_lengths([4] * len(LENGTHS)))[1]
        )

    found = cell.run_flash_kernel(values, offsets, state, backend="vanilla")
    expected = unroll_steps(cell, values, offsets, state)[0]

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    learned = [values, *cell.parameters()]
    weights = torch.linspace(-1, 1, found.numel()).view_as(found)
    slopes = [torch.autograd.grad((each * weights).sum(), learned) for each in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("count", "size"), [(1, 16), (16, 16), (17, 32), (64, 64), (100, 128)])
def test_grids_are_filled_up_to_few_sizes(count: int, size: int) -> None:
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
def test_a_kernel_is_asked_within_its_limits_alone(
    monkeypatch: pytest.MonkeyPatch, device: str, size: int, there: bool, expected: bool
) -> None:
    monkeypatch.setattr(flashrnn, "is_installed", lambda: there)

    assert flashrnn.supports(torch.device(device), size) is expected


def at_once(monkeypatch: pytest.MonkeyPatch, change) -> Tensor:
    """Let a kernel on this machine's CPU be asked, and be changed."""

    def read(driven: Tensor, again: Tensor, state, *, backend: str) -> Tensor:
        asked.append(backend)
        return change(plain(driven, again, state, backend="vanilla"))

    asked: list[str] = []
    plain = flashrnn.run_slstm
    monkeypatch.setattr(flashrnn, "run_slstm", read)
    monkeypatch.setattr(flashrnn, "supports", lambda *_: True)
    slstm.passes_self_test.cache_clear()
    cell, (values, offsets) = cell_of(), steps()
    with torch.no_grad():
        found = cell.outputs(values, offsets)
        cell.outputs(values, offsets)
        expected = unroll_steps(cell, values, offsets)[0]
    slstm.passes_self_test.cache_clear()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    return asked


def test_a_kernel_that_is_right_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_once(monkeypatch, lambda said: said) == ["triton_fused"] * 3


def test_a_kernel_that_is_wrong_here_is_left_alone_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert at_once(monkeypatch, lambda said: said.roll(1, 2)) == ["triton_fused"]

    assert "FlashRNN's kernel is off by" in caplog.text


def test_a_kernel_that_cannot_be_compiled_is_left_alone_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("out of resource: shared memory")

    with caplog.at_level(logging.WARNING):
        assert at_once(monkeypatch, fail) == ["triton_fused"]

    assert "does not run here (out of resource" in caplog.text
