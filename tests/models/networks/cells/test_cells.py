"""Cells: every fast path agrees with the equations step by step, forward and backward."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.networks.cell import Cell, run_step_by_step
from models.networks.cells.scan import linear_scan, log_space_scan, scan_by_doubling, scan_forwards
from models.networks.config import OPTION_DEFAULTS, ModelConfig
from models.networks.families import FAMILIES
from models.networks.jagged import Offsets
from models.networks.layer import Layer, build_cell

VARIANTS: dict[str, dict[str, object]] = {
    "lstm, peephole": {"cell": "lstm", "peephole": True},
    "lstm, normalized": {"cell": "lstm", "layer_norm": True},
    "lstm, both": {"cell": "lstm", "peephole": True, "layer_norm": True},
    "qrnn, wide": {"cell": "qrnn", "kernel_size": 4},
    "qrnn, narrow": {"cell": "qrnn", "kernel_size": 1},
    "tcn, wide": {"cell": "tcn", "kernel_size": 4},
    "slstm, one head": {"cell": "slstm", "num_heads": 1},
    "mlstm, one head": {"cell": "mlstm", "num_heads": 1},
}
SETTINGS = {
    name: {"cell": name, "num_heads": 2} for name, family in FAMILIES.items() if family.causal
} | VARIANTS
every_cell = pytest.mark.parametrize("name", list(SETTINGS))

sizes = st.lists(st.integers(1, 7), min_size=1, max_size=4)


def cell_of(name: str, inputs: int = 3, hidden: int = 4, seed: int = 0) -> Cell:
    torch.manual_seed(seed)
    cell = build_cell(ModelConfig(hidden_size=hidden, **SETTINGS[name]), inputs=inputs)
    for weight in cell.parameters():
        # Parameters that start at zero would hide errors.
        weight.data += 0.1 * torch.randn_like(weight)
    return cell


def gradients(read, cell: Cell, values: Tensor, state: tuple[Tensor, ...]) -> list[Tensor]:
    """Return outputs, last states, and the gradients of all inputs."""
    outputs, ends = read(values, state)
    weights = torch.linspace(0.5, 1.5, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    total = (outputs * weights).sum() + sum(end.square().sum() for end in ends)
    inputs = [values, *state, *cell.parameters()]
    return [outputs, *ends, *torch.autograd.grad(total, inputs, allow_unused=True)]


@every_cell
@settings(max_examples=15)
@given(lengths=sizes, seed=st.integers(0, 1000))
def test_the_fast_path_agrees_with_the_equations(name: str, lengths: list[int], seed: int) -> None:
    cell, offsets = cell_of(name, seed=seed).double(), Offsets.from_lengths(lengths)
    values = torch.randn(sum(lengths), 3, dtype=torch.float64, requires_grad=True)
    state = tuple(
        torch.rand_like(part).requires_grad_() for part in cell.init_state(values, len(lengths))
    )

    fast = gradients(lambda v, s: cell(v, offsets, s), cell, values, state)
    slow = gradients(lambda v, s: run_step_by_step(cell, v, offsets, s), cell, values, state)

    # Keras computes some parts in float32 for any input type.
    close = 1e-5 if name.startswith("keras") else 1e-9
    torch.testing.assert_close(fast, slow, rtol=close, atol=close)
    torch.testing.assert_close(
        cell.outputs(values, offsets, state), fast[0], rtol=close, atol=close
    )


@pytest.mark.parametrize("lengths", [[150, 1, 64], [65, 128], [130, 130]])
def test_chunks_of_an_mlstm_agree_with_the_equations(lengths: list[int]) -> None:
    cell, offsets = cell_of("mlstm").double(), Offsets.from_lengths(lengths)
    values = torch.randn(sum(lengths), 3, dtype=torch.float64, requires_grad=True)
    state = tuple(
        torch.rand_like(part).requires_grad_() for part in cell.init_state(values, len(lengths))
    )

    fast = gradients(lambda v, s: cell(v, offsets, s), cell, values, state)
    slow = gradients(lambda v, s: run_step_by_step(cell, v, offsets, s), cell, values, state)

    torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-10)


@every_cell
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.06)])
def test_bf16_outputs_stay_within_a_tolerance_of_float32(
    name: str, dtype: torch.dtype, tolerance: float
) -> None:
    lengths = [40, 3, 17]
    cell, offsets = cell_of(name, hidden=16), Offsets.from_lengths(lengths)
    values = torch.randn(60, 3)

    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16), torch.no_grad():
        result = cell.outputs(values, offsets).double()
    expected = cell.double().outputs(values.double(), offsets)

    torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance)


@every_cell
def test_gradients_under_bf16_are_finite_and_have_the_same_direction(name: str) -> None:
    cell, offsets = cell_of(name, hidden=16), Offsets.from_lengths([40, 3, 17])
    values = torch.randn(60, 3)
    result = []
    for enabled in (True, False):
        cell.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs = cell.outputs(values, offsets)
        (outputs.float() * torch.linspace(-1, 1, outputs.numel()).view_as(outputs)).sum().backward()
        known = [weight.grad for weight in cell.parameters() if weight.grad is not None]
        result.append(torch.cat([slope.flatten() for slope in known]))

    assert torch.isfinite(result[0]).all()
    assert torch.cosine_similarity(*result, dim=0) > 0.95


@every_cell
@given(cut=st.integers(1, 6))
def test_continuing_from_a_state_equals_reading_the_whole_sequence(name: str, cut: int) -> None:
    cell = cell_of(name).double()
    values = torch.randn(7, 3, dtype=torch.float64)

    whole, end = cell(values, Offsets.from_lengths([7]))
    first, state = cell(values[:cut], Offsets.from_lengths([cut]))
    rest, last = cell(values[cut:], Offsets.from_lengths([7 - cut]), state)

    torch.testing.assert_close(torch.cat([first, rest]), whole)
    torch.testing.assert_close(last, end)


@every_cell
@given(now=st.integers(0, 5))
def test_later_steps_never_change_earlier_outputs(name: str, now: int) -> None:
    cell = cell_of(name).double()
    before = torch.randn(7, 3, dtype=torch.float64)
    after = before.clone()
    after[now + 1 :] += 1.0

    outputs, outputs_after = (
        cell.outputs(values, Offsets.from_lengths([7])) for values in (before, after)
    )

    torch.testing.assert_close(outputs[: now + 1], outputs_after[: now + 1], rtol=0, atol=1e-12)


@every_cell
def test_a_long_sequence_has_finite_outputs_and_gradients(name: str) -> None:
    cell = cell_of(name, hidden=8)
    values = (3 * torch.randn(3000, 3)).requires_grad_()

    cell.outputs(values, Offsets.from_lengths([2000, 1000])).square().mean().backward()

    assert torch.isfinite(values.grad).all()
    assert values.grad.abs().sum() > 0


@settings(max_examples=30)
@given(steps=st.integers(1, 40), seed=st.integers(0, 100))
def test_all_scans_agree(steps: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    decay, enter = torch.rand(2, steps, 3, 2, generator=draw, dtype=torch.float64)
    start = torch.rand(3, 2, generator=draw, dtype=torch.float64)

    states = scan_forwards(decay, enter, start)

    torch.testing.assert_close(scan_by_doubling(decay, enter, start), states)
    torch.testing.assert_close(log_space_scan(decay.log(), enter.log(), start.log()), states)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_gradient_of_a_scan_passes_a_numerical_check(dtype: torch.dtype) -> None:
    decay, enter = (torch.randn(5, 2, 3, dtype=dtype, requires_grad=True) for _ in range(2))
    start = torch.randn(2, 3, dtype=dtype, requires_grad=True)

    assert torch.autograd.gradcheck(linear_scan, (decay, enter, start))


@pytest.mark.parametrize("cell", [name for name, f in FAMILIES.items() if "zoneout" in f.options])
def test_zoneout_freezes_units_in_training_and_averages_in_prediction(cell: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig(cell=cell, hidden_size=64, zoneout=0.5)
    noisy = build_cell(config, inputs=3)
    values, offsets = torch.randn(2, 3), Offsets.from_lengths([2])

    first, second = noisy.train()(values, offsets)[0]
    mean, again = (noisy.eval()(values, offsets)[0] for _ in range(2))

    is_binary = (first == second) | (first == 0)
    assert 0.3 < is_binary.float().mean() < 0.95
    assert torch.equal(mean, again)
    noisy.zoneout = 0.0
    new_output, _ = noisy.step(values[:1], noisy.init_state(values, 1))
    torch.testing.assert_close(mean[:1], new_output / 2)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_forget_gate_of_an_lstm_has_an_initial_bias_of_one(layer_norm: bool) -> None:
    config = ModelConfig(cell="lstm", hidden_size=8, layer_norm=layer_norm)
    cell = build_cell(config, inputs=3)
    norms, bias = (cell.input_norm, cell.input_norm.bias) if layer_norm else (None, None)
    weight_GH = cell.again.weight if norms else cell.kernel.weight_hh_l0
    bias_G = bias if bias is not None else cell.kernel.bias_ih_l0 + cell.kernel.bias_hh_l0

    assert bias_G.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    for gate_HH in weight_GH.split(8):
        torch.testing.assert_close(gate_HH @ gate_HH.T, torch.eye(8))


@pytest.mark.parametrize("name", ["rnn", "gru"])
def test_the_initial_recurrent_weights_preserve_the_norm(name: str) -> None:
    cell = build_cell(ModelConfig(cell=name, hidden_size=8), inputs=3)
    output = torch.randn(1, 8)

    for gate_HH in cell.kernel.weight_hh_l0.split(8):
        torch.testing.assert_close((output @ gate_HH.T).norm(), output.norm())


def test_a_layer_has_a_residual_and_a_learned_initial_state_when_configured() -> None:
    torch.manual_seed(0)
    config = ModelConfig(cell="lstm", hidden_size=4, residual=True, learn_initial_state=True)
    layer, plain_layer = (
        Layer(config, inputs=4),
        Layer(ModelConfig(cell="lstm", hidden_size=4), inputs=4),
    )
    plain_layer.cells.load_state_dict(layer.cells.state_dict())
    values, offsets = torch.randn(8, 4), Offsets.from_lengths([5, 3])

    initial_state = tuple(part.expand(2, 4) for part in layer.starts[0].parts)
    outputs, ends = layer(values, offsets)
    expected, bare_ends = plain_layer(values, offsets, initial_state)
    outputs.sum().backward()

    torch.testing.assert_close(outputs, expected + values)
    torch.testing.assert_close(ends, bare_ends)
    assert all(part.grad.abs().sum() > 0 for part in layer.starts[0].parts)


def test_variational_dropout_drops_the_same_units_at_all_steps() -> None:
    from models.networks.layer import VariationalDropout

    dropout, offsets = VariationalDropout(0.5).train(), Offsets.from_lengths([4, 3])

    silenced = dropout(torch.ones(7, 50), offsets)

    assert set(silenced.unique().tolist()) == {0.0, 2.0}
    assert (silenced[:4] == silenced[0]).all()
    assert not torch.equal(silenced[0], silenced[4])


@pytest.mark.parametrize("cell", FAMILIES)
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("zoneout", 0.1),
        ("peephole", True),
        ("learn_initial_state", True),
        ("layer_norm", True),
        ("children", "child-sum"),
        ("kernel_size", 3),
    ],
)
def test_an_option_that_a_cell_lacks_is_rejected_by_name(cell: str, option: str, value) -> None:
    if option in FAMILIES[cell].options:
        assert getattr(ModelConfig(cell=cell, **{option: value}), option) == value
    else:
        with pytest.raises(ValueError, match=f"{option}: a {cell} has none; remove it, or choose"):
            ModelConfig(cell=cell, **{option: value})


def test_every_option_of_a_cell_is_a_setting_of_the_job() -> None:
    options = {option for family in FAMILIES.values() for option in family.options}

    assert options <= {*OPTION_DEFAULTS, "num_heads", "dilation", "dropout"}
    assert all(getattr(ModelConfig(), name) == plain for name, plain in OPTION_DEFAULTS.items())
