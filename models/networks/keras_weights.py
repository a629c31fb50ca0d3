"""Recurrent layers of a Keras model file, taken over with their weights.

Keras writes gates side by side in a kernel's columns, torch one below the other in a weight's rows;
an LSTM's stand in the same order (input, forget, memory, output), a GRU's first two are swapped
(Keras: update, reset, new), and a GRU has two biases only where it resets after the product.

Shapes: I inputs, H units, G gates times units.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.errors import UnlearnableError
from models.networks.cells.keras_import import keras_on_torch, on_device

CELLS = {"SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
"""Keras' layers, and the cells that are theirs here."""

USUAL = {"activation": "tanh", "recurrent_activation": "sigmoid", "go_backwards": False}
"""What a layer has to say for its equations to be those of our cells."""


class Shape(NamedTuple):
    """What two layers have in common that can share weights."""

    cell: str
    hidden: int
    """Units of each direction."""
    inputs: int
    """Numbers that are read at every step."""
    directions: int

    def __str__(self) -> str:
        """Tell what it is, for a message."""
        both = ", bidirectional" if self.directions > 1 else ""
        return f"{self.cell} of {self.hidden} units on {self.inputs} numbers{both}"


@dataclass(frozen=True, slots=True)
class Stored:
    """One recurrent layer of a file."""

    cell: str
    weights: tuple[tuple[Tensor, ...], ...]
    """For each direction the kernel [I, G], the recurrent kernel [H, G], and perhaps the bias."""

    @property
    def shape(self) -> Shape:
        """What it is."""
        inputs, hidden = (len(part) for part in self.weights[0][:2])
        return Shape(self.cell, hidden, inputs, len(self.weights))


def read_keras(path: Path) -> list[Stored]:
    """Read the recurrent layers of a model file, `.keras` or `.h5`, from the first to the last.

    Raises:
        UnlearnableError: there is no such file, Keras cannot read it, or one of its recurrent
            layers computes something that no cell here does.
    """
    if not path.is_file():
        raise UnlearnableError(f"weights: there is no file '{path}'; mend its path")
    keras = keras_on_torch()
    try:
        with on_device(torch.device("cpu")):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UnlearnableError(
            f"weights: Keras cannot read '{path}' ({reason}); "
            "give a whole model, saved as model.save('model.keras')"
        ) from error
    found = [stored for layer in flat(model) if (stored := read_layer(layer)) is not None]
    if not found:
        raise UnlearnableError(f"weights: '{path}' has no layer of {', '.join(CELLS)}")
    return found


def flat(model: Any) -> Iterator[Any]:  # noqa: ANN401 - Keras has no types
    """Go through a model's layers, and those of models within it."""
    for layer in getattr(model, "layers", [model]):
        if hasattr(layer, "layers"):
            yield from flat(layer)
        else:
            yield layer


def read_layer(layer: Any) -> Stored | None:  # noqa: ANN401 - Keras has no types
    """Read one layer, unless it is not recurrent.

    Raises:
        UnlearnableError: it computes something that no cell here does.
    """
    directions = [layer]
    if type(layer).__name__ == "Bidirectional":
        directions = [layer.forward_layer, layer.backward_layer]
        if layer.merge_mode != "concat":
            raise UnlearnableError(
                f"weights: layer '{layer.name}' brings its directions together by "
                f"{layer.merge_mode}; only concat is read"
            )
    if not isinstance(directions[0], keras_on_torch().layers.RNN):
        return None
    refuse_unusual(directions)
    weights = tuple(tuple(each.value.detach() for each in own.weights) for own in directions)
    return Stored(CELLS[type(directions[0]).__name__], weights)


def refuse_unusual(directions: Sequence[Any]) -> None:
    """Refuse a layer whose equations are not those of our cells.

    Raises:
        UnlearnableError: names the layer and its setting.
    """
    for own, backwards in zip(directions, (False, True), strict=False):
        config, kind = own.get_config(), type(own).__name__
        if kind not in CELLS:
            raise UnlearnableError(
                f"weights: layer '{own.name}' is a {kind}; only {', '.join(CELLS)} are read"
            )
        for name, usual in (USUAL | {"go_backwards": backwards}).items():
            if config.get(name, usual) != usual:
                raise UnlearnableError(
                    f"weights: layer '{own.name}' has {name} {config[name]!r}; "
                    f"only {usual!r} is read"
                )
        if not config.get("reset_after", True):
            raise UnlearnableError(
                f"weights: layer '{own.name}' has reset_after False, as old GRUs have; "
                "only reset_after True is read"
            )


def start_from(layers: Iterable[nn.Module], path: Path, cell: str) -> None:
    """Give recurrent layers the weights of a file's.

    Args:
        layers: of cells that torch has kernels for.
        path: the file.
        cell: what the layers are of.

    Raises:
        UnlearnableError: the file cannot be read, or its layers are not these.
    """
    found, own = read_keras(path), [kernels(layer) for layer in layers]
    for place, (ours, stored) in enumerate(zip(own, found, strict=False), start=1):
        shape = Shape(cell, ours[0].hidden_size, ours[0].input_size, len(ours))
        if stored.shape != shape:
            raise UnlearnableError(
                f"weights: recurrent layer {place} of '{path}' is {stored.shape}; the job's is "
                f"{shape}; make them the same"
            )
        for kernel, weights in zip(ours, stored.weights, strict=True):
            take_over(kernel, cell, weights)
    if len(found) != len(own):
        raise UnlearnableError(
            f"weights: '{path}' has {len(found)} recurrent layers and the job {len(own)}; "
            f"set model.num_layers: {len(found)}"
        )


def kernels(layer: nn.Module) -> list[nn.RNNBase]:
    """Find torch's kernel of each direction."""
    return [part for part in layer.modules() if isinstance(part, nn.RNNBase)]


@torch.no_grad()
def take_over(kernel: nn.RNNBase, cell: str, weights: Sequence[Tensor]) -> None:
    """Copy one direction's weights."""
    weight_IG, again_HG, *bias = weights
    into_GI, again_GH, bias_G, more_G = kernel.all_weights[0]
    into_GI.copy_(in_order(weight_IG, cell).T)
    again_GH.copy_(in_order(again_HG, cell).T)
    own_XG = in_order(bias[0], cell) if bias else torch.zeros(1, len(bias_G))
    own_XG = own_XG.reshape(-1, len(bias_G))
    bias_G.copy_(own_XG[0])
    more_G.copy_(own_XG[1] if len(own_XG) > 1 else torch.zeros(len(bias_G)))


def in_order(weights_XG: Tensor, cell: str) -> Tensor:
    """Bring Keras' gates into torch's order."""
    if cell != "gru":
        return weights_XG
    update, reset, new = weights_XG.chunk(3, dim=-1)
    return torch.cat([reset, update, new], dim=-1)
