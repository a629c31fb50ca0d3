"""Recurrent layers of a Keras model file, whose weights a network starts from.

Keras stacks the gates in a kernel's columns, torch in a weight's rows;
an LSTM's have the same order (input, forget, memory, output), a GRU's first two are swapped
(Keras: update, reset, new), and a GRU has two biases only where it resets after the product.

Shapes: I inputs, H units, G gates times units.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.errors import SetupError
from models.networks.cells.keras_import import import_keras, use_device

CELL_BY_LAYER = {"SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
"""Cell for each class of Keras layers."""

REQUIRED_SETTINGS = {"activation": "tanh", "recurrent_activation": "sigmoid", "go_backwards": False}
"""Settings that a Keras layer must have so that its equations are those of our cells."""


class _LayerShape(NamedTuple):
    """What must be equal in two layers so that one can take the other's weights."""

    cell: str
    hidden: int
    """Units of each direction."""
    inputs: int
    """Channels of a step."""
    directions: int

    def __str__(self) -> str:
        """Describe the layer for an error message."""
        both = ", bidirectional" if self.directions > 1 else ""
        return f"{self.cell} of {self.hidden} units on {self.inputs} numbers{both}"


@dataclass(frozen=True, slots=True)
class KerasLayer:
    """One recurrent layer of a file."""

    cell: str
    weights: tuple[tuple[Tensor, ...], ...]
    """For each direction the kernel [I, G], the recurrent kernel [H, G], and perhaps the bias."""

    @property
    def shape(self) -> _LayerShape:
        """Cell and sizes of the layer."""
        inputs, hidden = (len(part) for part in self.weights[0][:2])
        return _LayerShape(self.cell, hidden, inputs, len(self.weights))


def read_keras_layers(path: Path) -> list[KerasLayer]:
    """Read the recurrent layers of a model file, `.keras` or `.h5`, from the first to the last.

    Raises:
        SetupError: there is no such file, Keras cannot read it, or one of its recurrent
            layers computes something that no cell here does.
    """
    if not path.is_file():
        raise SetupError(f"pretrained_weights: there is no file '{path}'; correct the path")
    keras = import_keras()
    try:
        with use_device(torch.device("cpu")):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SetupError(
            f"pretrained_weights: Keras cannot read '{path}' ({reason}); "
            "give a whole model, saved as model.save('model.keras')"
        ) from error
    layers = [read for layer in _flatten_layers(model) if (read := _read_layer(layer)) is not None]
    if not layers:
        raise SetupError(f"pretrained_weights: '{path}' has no layer of {', '.join(CELL_BY_LAYER)}")
    return layers


def load_keras_weights(layers: Iterable[nn.Module], path: Path, cell: str) -> None:
    """Copy the weights of a Keras model's recurrent layers into these layers.

    Args:
        layers: of cells that torch has kernels for.
        path: the file.
        cell: name of the layers' cell.

    Raises:
        SetupError: the file cannot be read, or its layers are not these.
    """
    stored_layers, kernels = read_keras_layers(path), [_find_kernels(layer) for layer in layers]
    pairs = zip(kernels, stored_layers, strict=False)
    for number, (directions, stored) in enumerate(pairs, start=1):
        shape = _LayerShape(
            cell, directions[0].hidden_size, directions[0].input_size, len(directions)
        )
        if stored.shape != shape:
            raise SetupError(
                f"pretrained_weights: recurrent layer {number} of '{path}' is {stored.shape}; "
                f"the job's is {shape}; make them the same"
            )
        for kernel, weights in zip(directions, stored.weights, strict=True):
            _copy_weights(kernel, cell, weights)
    if len(stored_layers) != len(kernels):
        raise SetupError(
            f"pretrained_weights: '{path}' has {len(stored_layers)} recurrent layers "
            f"and the job {len(kernels)}; "
            f"set model.num_layers: {len(stored_layers)}"
        )


def _flatten_layers(model: Any) -> Iterator[Any]:  # noqa: ANN401 - Keras has no types
    """Iterate over a model's layers, and those of models within it."""
    for layer in getattr(model, "layers", [model]):
        if hasattr(layer, "layers"):
            yield from _flatten_layers(layer)
        else:
            yield layer


def _read_layer(layer: Any) -> KerasLayer | None:  # noqa: ANN401 - Keras has no types
    """Read one layer, unless it is not recurrent.

    Raises:
        SetupError: it computes something that no cell here does.
    """
    directions = [layer]
    if type(layer).__name__ == "Bidirectional":
        directions = [layer.forward_layer, layer.backward_layer]
        if layer.merge_mode != "concat":
            raise SetupError(
                f"pretrained_weights: layer '{layer.name}' merges its directions by "
                f"{layer.merge_mode}; only concat is read"
            )
    if not isinstance(directions[0], import_keras().layers.RNN):
        return None
    _check_equations(directions)
    weights = tuple(tuple(each.value.detach() for each in own.weights) for own in directions)
    return KerasLayer(CELL_BY_LAYER[type(directions[0]).__name__], weights)


def _check_equations(directions: Sequence[Any]) -> None:
    """Check that a layer's equations are those of our cells.

    Raises:
        SetupError: names the layer and its setting.
    """
    for own, backwards in zip(directions, (False, True), strict=False):
        config, kind = own.get_config(), type(own).__name__
        if kind not in CELL_BY_LAYER:
            raise SetupError(
                f"pretrained_weights: layer '{own.name}' is a {kind}; "
                f"only {', '.join(CELL_BY_LAYER)} are read"
            )
        for name, required in (REQUIRED_SETTINGS | {"go_backwards": backwards}).items():
            if config.get(name, required) != required:
                raise SetupError(
                    f"pretrained_weights: layer '{own.name}' has {name} {config[name]!r}; "
                    f"only {required!r} is read"
                )
        if not config.get("reset_after", True):
            raise SetupError(
                f"pretrained_weights: layer '{own.name}' has reset_after False, as old GRUs have; "
                "only reset_after True is read"
            )


def _find_kernels(layer: nn.Module) -> list[nn.RNNBase]:
    """Find torch's kernel of each direction."""
    return [part for part in layer.modules() if isinstance(part, nn.RNNBase)]


@torch.no_grad()
def _copy_weights(kernel: nn.RNNBase, cell: str, weights: Sequence[Tensor]) -> None:
    """Copy one direction's weights."""
    weight_IG, recurrent_HG, *bias = weights
    own_input_GI, own_recurrent_GH, bias_G, recurrent_bias_G = kernel.all_weights[0]
    own_input_GI.copy_(_reorder_gates(weight_IG, cell).T)
    own_recurrent_GH.copy_(_reorder_gates(recurrent_HG, cell).T)
    stored_XG = _reorder_gates(bias[0], cell) if bias else torch.zeros(1, len(bias_G))
    stored_XG = stored_XG.reshape(-1, len(bias_G))
    bias_G.copy_(stored_XG[0])
    recurrent_bias_G.copy_(stored_XG[1] if len(stored_XG) > 1 else torch.zeros(len(bias_G)))


def _reorder_gates(weights_XG: Tensor, cell: str) -> Tensor:
    """Return Keras' gates in torch's order."""
    if cell != "gru":
        return weights_XG
    update, reset, new = weights_XG.chunk(3, dim=-1)
    return torch.cat([reset, update, new], dim=-1)
