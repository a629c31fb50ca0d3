"""Keras' own recurrent layers, computed with torch, with the interface of our cells.

Keras holds no weights here: each call is given this module's, so that they are trained, saved and
moved like all others.

Shapes: B sequences, T steps, I inputs, H units.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.networks.cell import State
from models.networks.cells.keras_import import import_keras, use_device
from models.networks.cells.padded_grid import PaddedGridCell

LARGEST_SEED = 2**31
"""Seeds that are drawn for Keras' initializers are below this."""


class KerasCell(PaddedGridCell):
    """A recurrent layer of Keras, with its own initial distribution of the weights."""

    recurrent_weights = ("weights.1",)
    layer_name: ClassVar[str]
    """Its name in keras.layers."""
    num_states: ClassVar[int] = 1

    def __init__(self, inputs: int, hidden: int) -> None:
        """Make the layer.

        Raises:
            UnlearnableError: Keras is not installed, or runs on something other than torch.
        """
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        # In a dict, so that torch does not take Keras' weights for ours.
        self.layers_by_dtype: dict[torch.dtype, Any] = {}
        self.weights = nn.ParameterList(
            variable.value.detach().clone()
            for variable in self.get_layer(torch.float32).trainable_variables
        )

    def get_layer(self, dtype: torch.dtype) -> Any:  # noqa: ANN401 - Keras has no types
        """Return the layer that computes in this type, to which Keras brings whatever it meets."""
        if dtype not in self.layers_by_dtype:
            keras = import_keras()
            # A copy builds its layers again, whose initial values are not used.
            with torch.random.fork_rng(devices=[], enabled=hasattr(self, "weights")):
                first, second = torch.randint(LARGEST_SEED, (2,)).tolist()
            with use_device(torch.device("cpu")):
                self.layers_by_dtype[dtype] = getattr(keras.layers, self.layer_name)(
                    self.hidden,
                    kernel_initializer=keras.initializers.GlorotUniform(seed=first),
                    recurrent_initializer=keras.initializers.Orthogonal(seed=second),
                    return_sequences=True,
                    return_state=True,
                    dtype=str(dtype).removeprefix("torch."),
                )
                self.layers_by_dtype[dtype].build((None, None, self.inputs))
        return self.layers_by_dtype[dtype]

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the Keras layers, which a copy builds again."""
        return self.__dict__ | {"layers_by_dtype": {}}

    def init_state(self, like_BI: Tensor, rows: int) -> State:
        """Return zeros."""
        return tuple(like_BI.new_zeros(rows, self.hidden) for _ in range(self.num_states))

    def step(self, inputs_BI: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step, by the cell inside the layer."""
        layer = self.get_layer(self.weights[0].dtype).cell
        outputs_BH, new_state = self.call_layer(layer, inputs_BI, list(state))
        return outputs_BH, tuple(new_state)

    def run_grid(self, grid_TBI: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Call the layer on a grid."""
        layer = self.get_layer(self.weights[0].dtype)
        initial_state = None if state is None else list(state)
        outputs_BTH, *last = self.call_layer(
            layer, grid_TBI.transpose(0, 1), initial_state=initial_state
        )
        return outputs_BTH.transpose(0, 1), tuple(last)

    def call_layer(self, layer: Any, *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - Keras has no types
        """Call a layer with the weights of this module."""
        constants = [variable.value for variable in layer.non_trainable_variables]
        with use_device(self.weights[0].device):
            outputs, _ = layer.stateless_call(list(self.weights), constants, *args, **kwargs)
        return outputs


class KerasRnn(KerasCell):
    """`keras.layers.SimpleRNN`."""

    layer_name = "SimpleRNN"


class KerasGru(KerasCell):
    """`keras.layers.GRU`."""

    layer_name = "GRU"


class KerasLstm(KerasCell):
    """`keras.layers.LSTM`."""

    layer_name = "LSTM"
    num_states = 2
