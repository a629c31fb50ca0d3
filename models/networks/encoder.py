"""The stacked recurrent layers, after an optional downsampling of the sequences.

Shapes: N steps of all sequences, C channels of the front, H units.
"""

import torch
from torch import Tensor, nn

from models.networks.config import ModelConfig
from models.networks.convolution import Downsample
from models.networks.families import FAMILIES
from models.networks.inputs.patches import PatchDownsample
from models.networks.jagged import Offsets
from models.networks.layer import Layer, StepDropout, VariationalDropout, build_cell


class Encoder(nn.Module):
    """The stacked layers: steps [N, C] in, the last layer's outputs at every step out."""

    def __init__(self, config: ModelConfig, inputs: int, *, embeds_inputs: bool) -> None:
        """Make the layers.

        Args:
            config: names and sizes of the parts.
            inputs: channels of a step.
            embeds_inputs: the steps are learned embeddings, to which dropout is applied too.
        """
        super().__init__()
        self.reads_trees = FAMILIES[config.cell].reads == "trees"
        self.embeds_inputs = embeds_inputs
        self.shorten: Downsample | PatchDownsample | None = None
        if config.stride > 1:
            self.shorten = (
                Downsample(inputs, stride=config.stride)
                if config.downsample_by == "conv"
                else PatchDownsample(inputs, config.hidden_size, stride=config.stride)
            )
            inputs = self.shorten.channels
        self.layers = nn.ModuleList()
        for depth in range(config.num_layers):
            if self.reads_trees:
                layer = build_cell(config, inputs=inputs)
                inputs = config.hidden_size
            else:
                layer = Layer(config, inputs=inputs, depth=depth)
                inputs = layer.channels
            self.layers.append(layer)
        self.channels = inputs + self._count_skipping_channels()
        dropout = VariationalDropout if config.variational_dropout else StepDropout
        self.between = dropout(config.dropout)

    def forward(
        self, steps_NC: Tensor, offsets: Offsets, nodes_NK: Tensor
    ) -> tuple[Tensor, Offsets]:
        """Return the outputs, [M, H], and their offsets; M = N unless the steps are downsampled.

        After convolutions their own outputs stand beside the last layer's, so that what they find
        reaches the pooling directly.

        Args:
            steps_NC: the front's output.
            offsets: of the sequences.
            nodes_NK: the features as they are stored; for trees they contain each node's parent.
        """
        if self.shorten is not None:
            steps_NC, offsets = self.shorten(steps_NC, offsets)
        front_NC = steps_NC
        for depth, layer in enumerate(self.layers):
            if depth or self.embeds_inputs:
                steps_NC = self.between(steps_NC, offsets)
            nodes = (nodes_NK,) if self.reads_trees else ()
            steps_NC = layer.outputs(steps_NC, *nodes, offsets)  # type: ignore[operator]
        if self._count_skipping_channels():
            steps_NC = torch.cat([steps_NC, front_NC], dim=1)
        return steps_NC, offsets

    def _count_skipping_channels(self) -> int:
        """Return how many channels pass the layers by."""
        return self.shorten.channels if isinstance(self.shorten, Downsample) else 0
