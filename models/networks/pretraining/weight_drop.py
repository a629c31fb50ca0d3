"""Dropout of a cell's weights between its steps (DropConnect; Wan et al. 2013, Merity et al. 2018).

One mask serves all steps of a batch, so the recurrence is regularised without a change of the cell.
Cells without recurrent weights, whose state is multiplied by gates alone, are left as they are.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn
from torch.nn import functional

from models.networks.cell import Cell


@contextmanager
def drop_recurrent_weights(cell: Cell, rate: float) -> Iterator[None]:
    """Compute with a random share of the cell's recurrent weights at zero, the others scaled up."""
    with ExitStack() as stack:
        for name in cell.recurrent_weights if rate else ():
            stack.enter_context(_replace_weight(cell, name, rate))
        yield


@contextmanager
def _replace_weight(cell: Cell, name: str, rate: float) -> Iterator[None]:
    """Replace one weight by itself with dropout; gradients reach the weight."""
    path, _, leaf = name.rpartition(".")
    module = cell.get_submodule(path)
    weight = module.get_parameter(leaf)
    _set_weight(module, leaf, functional.dropout(weight, rate))
    try:
        yield
    finally:
        _set_weight(module, leaf, weight)


def _set_weight(module: nn.Module, name: str, weight: Tensor) -> None:
    """Set a weight in its place, so that the order of the parameters stays."""
    # A module takes no tensor that is not a parameter by assignment.
    module._parameters[name] = weight  # type: ignore[assignment]  # noqa: SLF001
    if isinstance(module, nn.RNNBase):
        # Torch's kernels read this list.
        index = module._flat_weights_names.index(name)  # noqa: SLF001
        module._flat_weights[index] = weight  # noqa: SLF001
