"""Compiled kernels: they agree with the equations, and work without a compiler too."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.networks.cell import Cell, run_step_by_step
from models.networks.config import ModelConfig
from models.networks.families import FAMILIES
from models.networks.jagged import Offsets
from models.networks.layer import Layer, build_cell
from models.networks.native import build, kernels
from models.networks.native.call import KernelLibrary
from tests.support.learning_fixtures import (
    CheckpointDisk,
    ProcessKilledError,
    assert_equal_weights,
    build_small_network,
    train,
)

ROOT = Path(__file__).parents[4]
COMPILED = ["gru", "mingru", "minlstm", "sru", "qrnn", "lru"]
TOLERANCE = 5e-6
"""Largest difference from the equations in float64, relative to the largest value."""

every_cell = pytest.mark.parametrize("name", COMPILED)
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=40).filter(lambda sizes: max(sizes) > 1)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> KernelLibrary:
    """The kernels, where this machine can compile them."""
    try:
        build.find_compiler()
    except OSError:
        pytest.skip("no compiler")
    result = kernels.load_kernels()
    assert result is not None
    return result


@pytest.fixture
def afresh() -> Iterator[None]:
    """Reset this process, as if it had not looked for kernels yet."""
    forget()
    yield
    forget()


def forget() -> None:
    """Clear the caches, so that kernels are looked for again."""
    kernels.load_kernels.cache_clear()
    kernels.load_compiled.cache_clear()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names of the kernels that are called."""
    called: list[str] = []
    call = KernelLibrary.call

    def record_call(self: KernelLibrary, kernel: str, *args: object, **kwargs: object) -> None:
        called.append(kernel)
        call(self, kernel, *args, **kwargs)

    monkeypatch.setattr(KernelLibrary, "call", record_call)
    return called


CALL = KernelLibrary.call


def call_with_three_threads(self: KernelLibrary, kernel: str, *args: object, **more: int) -> None:
    """Give three threads to the kernels alone."""
    torch.set_num_threads(3)
    CALL(self, kernel, *args, **more)
    torch.set_num_threads(1)


def cell_of(name: str, inputs: int = 3, hidden: int = 4, seed: int = 0) -> Cell:
    torch.manual_seed(seed)
    cell = build_cell(ModelConfig(cell=name, hidden_size=hidden), inputs=inputs)
    for weight in cell.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    return cell


def gradients(read, cell: Cell, values: Tensor, state: tuple[Tensor, ...]) -> list[Tensor]:
    """Return outputs, last states, and the gradients of all inputs."""
    outputs, ends = read(values, state)
    weights = torch.linspace(0.5, 1.5, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    total = (outputs * weights).sum() + sum(end.square().sum() for end in ends)
    inputs = [values, *state, *cell.parameters()]
    return [outputs, *ends, *torch.autograd.grad(total, inputs)]


def batch_of(cell: Cell, lengths: list[int]) -> tuple[Tensor, tuple[Tensor, ...]]:
    values = torch.randn(sum(lengths), 3).requires_grad_()
    start = cell.init_state(values, len(lengths))
    return values, tuple(torch.rand_like(part).requires_grad_() for part in start)


def assert_near(result: list[Tensor], expected: list[Tensor]) -> None:
    # A sum that nearly cancels keeps the rounding of its terms, so the scale is a tenth of the
    # largest number among all tensors at least.
    floor = max(1e-3, *(0.1 * float(right.detach().abs().max()) for right in expected))
    for actual, right in zip(result, expected, strict=True):
        off = (actual - right).abs().max() / right.abs().max().clamp(min=floor)
        assert off < TOLERANCE


@every_cell
@settings(max_examples=30)
@given(lengths=sizes, hidden=st.integers(1, 70), threads=st.integers(1, 3))
def test_a_kernel_agrees_with_the_equations(
    name: str, lengths: list[int], hidden: int, threads: int
) -> None:
    cell, offsets = cell_of(name, hidden=hidden), Offsets.from_lengths(lengths)
    values, state = batch_of(cell, lengths)
    torch.set_num_threads(threads)

    fast = gradients(lambda v, s: cell(v, offsets, s), cell, values, state)

    torch.set_num_threads(1)
    exact = cell.double()
    many = values.detach().double().requires_grad_()
    start = tuple(part.detach().double().requires_grad_() for part in state)
    slow = gradients(lambda v, s: run_step_by_step(exact, v, offsets, s), exact, many, start)
    assert_near([part.double() for part in fast], slow)


@every_cell
def test_a_bidirectional_layer_has_the_same_gradients_without_kernels(
    name: str, calls: list[str]
) -> None:
    torch.manual_seed(0)
    options = (
        {"learn_initial_state": True} if "learn_initial_state" in FAMILIES[name].options else {}
    )
    config = ModelConfig(cell=name, hidden_size=19, bidirectional=True, **options)
    layer, offsets = Layer(config, inputs=3), Offsets.from_lengths([5, 1, 8, 8, 2])
    values, inputs = torch.randn(24, 3), list(layer.parameters())

    actual = layer.outputs(values, offsets)
    result = [actual, *torch.autograd.grad(actual.square().sum(), inputs)]
    used = len(calls)
    with kernels.pin_kernels() as pin:
        pin(kernels.TORCH)
        expected_outputs = layer.outputs(values, offsets)
        expected = [expected_outputs, *torch.autograd.grad(expected_outputs.square().sum(), inputs)]

    assert used == len(calls) == 4
    assert_near(result, expected)


@every_cell
def test_neither_the_batch_nor_the_threads_change_a_bit_in_a_kernel(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The matrix products around a kernel use one thread here.

    They are MKL's, whose results do depend on the number of threads, in the last bits and where a
    width is no multiple of 16. So a model is the same bit for bit for as many threads.
    """
    cell, lengths = cell_of(name, hidden=37), [9, 4, 1, 9, 7, 2, 9] * 5
    offsets, (values, state) = Offsets.from_lengths(lengths), batch_of(cell, lengths)

    with monkeypatch.context() as patched:
        alone = gradients(lambda v, s: cell(v, offsets, s), cell, values, state)
        patched.setattr(KernelLibrary, "call", call_with_three_threads)
        together = gradients(lambda v, s: cell(v, offsets, s), cell, values, state)

    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


@every_cell
def test_the_same_batch_gives_the_same_gradients_to_the_last_bit(name: str) -> None:
    cell, lengths = cell_of(name, hidden=64), [30, 11, 30, 2] * 8
    offsets, (values, state) = Offsets.from_lengths(lengths), batch_of(cell, lengths)

    first, second = (
        gradients(lambda v, s: cell(v, offsets, s), cell, values, state) for _ in range(2)
    )

    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@every_cell
def test_a_kernel_propagates_nan(name: str) -> None:
    cell, values = cell_of(name, hidden=20), torch.randn(12, 3)
    values[3] = float("nan")

    outputs = cell.outputs(values, Offsets.from_lengths([6, 6]))

    assert outputs[3:6].isnan().all()
    assert not outputs[:3].isnan().any()
    assert not outputs[6:].isnan().any()


@every_cell
def test_gate_inputs_of_any_size_saturate_without_overflow(name: str) -> None:
    cell, values = cell_of(name, hidden=20), 1e4 * torch.randn(12, 3)
    offsets = Offsets.from_lengths([6, 6])

    outputs = cell.outputs(values, offsets)

    # Near 1e4 float32 has three decimals, and so has the value of a gate.
    torch.testing.assert_close(
        outputs.double(),
        run_step_by_step(cell.double(), values.double(), offsets)[0],
        rtol=1e-4,
        atol=2e-3,
    )


def test_unsupported_inputs_are_computed_by_torch(calls: list[str]) -> None:
    values, offsets = torch.randn(6, 3), Offsets.from_lengths([4, 2])
    noisy = build_cell(ModelConfig(cell="gru", hidden_size=4, zoneout=0.1), inputs=3)
    normal = build_cell(ModelConfig(cell="lstm", hidden_size=4, layer_norm=True), inputs=3)

    noisy.outputs(values, offsets)
    normal.outputs(values, offsets)
    cell_of("gru").double().outputs(values.double(), offsets)
    with torch.autocast("cpu", torch.bfloat16):
        cell_of("gru").outputs(values, offsets)
    cell_of("gru").outputs(values, Offsets.from_lengths([1] * 6))

    assert calls == []


@pytest.mark.usefixtures("afresh")
def test_without_a_compiler_torch_is_used_and_it_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cell, values, offsets = cell_of("gru"), torch.randn(6, 3), Offsets.from_lengths([4, 2])

    with caplog.at_level(logging.WARNING):
        outputs = [cell.outputs(values, offsets) for _ in range(2)]

    [messages] = caplog.messages
    assert "no C++ compiler on the path" in messages
    assert kernels.get_kernel_name() == kernels.TORCH
    assert_near([outputs[0]], [run_step_by_step(cell, values, offsets)[0]])


@pytest.mark.usefixtures("afresh")
@pytest.mark.parametrize(
    "script",
    [
        "echo wrong >&2; exit 1",
        'case "$*" in *version*) echo 1;; *) echo "no room" >&2; exit 1;; esac',
        # A compiler whose output is no library.
        'case "$*" in *version*) exit;; esac; while [ "$1" != -o ]; do shift; done; echo x > "$2"',
    ],
)
def test_a_compiler_that_fails_falls_back_to_torch(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    broken = tmp_path / "c++"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    cell_of("gru").outputs(torch.randn(6, 3), Offsets.from_lengths([4, 2]))

    assert kernels.load_kernels() is None
    assert len(caplog.messages) == 1


@pytest.mark.slow
def test_two_processes_that_compile_at_once_both_get_a_complete_library(tmp_path: Path) -> None:
    code = (
        "import ctypes; from models.networks.native.build import find_or_compile\n"
        "place = find_or_compile(); ctypes.CDLL(str(place)).gru_forward; print(place)"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]

    messages = {process.communicate(timeout=120)[0].decode().strip() for process in running}

    [library] = messages
    assert [path.name for path in (tmp_path / "ostinato").iterdir()] == [Path(library).name]
    assert (tmp_path / "ostinato").stat().st_mode & 0o077 == 0


def test_importing_compiles_nothing(tmp_path: Path) -> None:
    code = "import models.networks.network, models.learning.loop, models.bundle"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}

    subprocess.run([sys.executable, "-c", code], env=environment, check=True)

    assert list(tmp_path.iterdir()) == []


def test_a_forked_process_can_use_the_kernels() -> None:
    code = """
import os, sys, torch
from models.networks.config import ModelConfig
from models.networks.jagged import Offsets
from models.networks.layer import build_cell
torch.set_num_threads(2)
cell = build_cell(ModelConfig(cell="gru", hidden_size=8), inputs=3)
offsets = Offsets.from_lengths([20, 20])
values = torch.randn(40, 3)
before = cell.outputs(values, offsets)
torch.mm(torch.randn(300, 300), torch.randn(300, 300))
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(cell.outputs(values, offsets), before) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    done = subprocess.run([sys.executable, "-c", code], check=False, env=environment, timeout=60)

    assert done.returncode == 0


@pytest.mark.usefixtures("afresh")
def test_a_library_is_never_loaded_from_a_folder_that_others_may_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "ostinato").mkdir()
    (tmp_path / "ostinato").chmod(0o777)

    assert kernels.load_kernels() is None
    assert "others may write" in caplog.text


@pytest.mark.usefixtures("afresh")
@pytest.mark.parametrize(
    ("began", "then", "anew"),
    [
        # A removed compiler whose library exists; one whose library is gone; a new compiler.
        ("compiler", "cache", False),
        ("compiler", "nothing", True),
        ("nothing", "compiler", False),
    ],
)
def test_a_resumed_run_uses_the_same_kernels_or_starts_again(
    began: str,
    then: str,
    anew: bool,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No compiler or library that changed between a kill and the resume changes a result."""

    def here(what: str) -> None:
        with monkeypatch.context() as own:
            if what != "compiler":
                own.setenv("PATH", str(tmp_path))
            if what == "nothing":
                own.setenv("XDG_CACHE_HOME", str(tmp_path))
            forget()
            kernels.load_kernels()
            kernels.load_compiled(known)

    known = kernels.get_kernel_name()
    uninterrupted, resumed, disk = (
        build_small_network("gru"),
        build_small_network("gru"),
        CheckpointDisk(),
    )
    here(began)
    with pytest.raises(ProcessKilledError):
        train(build_small_network("gru"), disk.open_store(max_saves=9))
    here(then if anew else began)
    whole = train(uninterrupted)
    here(then)

    history = train(resumed, disk.open_store())

    assert history == whole
    assert_equal_weights(resumed, uninterrupted)
    assert ("training starts again" in caplog.text) is anew
