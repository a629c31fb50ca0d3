"""The recurrent layers on top of each other, and what shortens the sequence before them.

Shapes: N steps of all sequences, C channels of the front, H units.
"""

from torch import Tensor, nn

from models.networks.config import ModelConfig
from models.networks.convolution import Downsample
from models.networks.families import FAMILIES
from models.networks.inputs.segments import Patches
from models.networks.jagged import Offsets
from models.networks.layer import Layer, LockedDropout, PlainDropout, make_cell


class Encoder(nn.Module):
    """Steps in, the last layer's outputs at every step out."""

    def __init__(self, config: ModelConfig, inputs: int, *, learned_inputs: bool) -> None:
        """Make the layers.

        Args:
            config: names and sizes of the parts.
            inputs: channels of a step.
            learned_inputs: the steps are learned vectors, which are silenced like units.
        """
        super().__init__()
        self.reads_trees = FAMILIES[config.cell].reads == "trees"
        self.learned_inputs = learned_inputs
        self.shorten: Downsample | Patches | None = None
        if config.downsample > 1:
            ways = {"conv": Downsample, "patch": Patches}
            self.shorten = ways[config.downsample_by](
                inputs, config.hidden_size, stride=config.downsample
            )
            inputs = config.hidden_size
        self.layers = nn.ModuleList()
        for depth in range(config.num_layers):
            if self.reads_trees:
                layer = make_cell(config, inputs=inputs)
                inputs = config.hidden_size
            else:
                layer = Layer(config, inputs=inputs, depth=depth)
                inputs = layer.channels
            self.layers.append(layer)
        self.channels = inputs
        silence = LockedDropout if config.variational_dropout else PlainDropout
        self.between = silence(config.dropout)

    def forward(
        self, steps_NC: Tensor, offsets: Offsets, nodes_NK: Tensor
    ) -> tuple[Tensor, Offsets]:
        """Return the outputs, [M, H], and their offsets; M is N unless steps are brought together.

        Args:
            steps_NC: what the front made.
            offsets: of the sequences.
            nodes_NK: what the features hold, which for trees says how nodes hang together.
        """
        if self.shorten is not None:
            steps_NC, offsets = self.shorten(steps_NC, offsets)
        for depth, layer in enumerate(self.layers):
            if depth or self.learned_inputs:
                steps_NC = self.between(steps_NC, offsets)
            beside = (nodes_NK,) if self.reads_trees else ()
            steps_NC = layer.outputs(steps_NC, *beside, offsets)  # type: ignore[operator]
        return steps_NC, offsets
