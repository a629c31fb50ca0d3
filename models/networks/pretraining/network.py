"""A network that predicts the next step: its front and its layers are those of another network.

Texts are pretrained on as in ULMFiT (Howard and Ruder 2018), with the regularisation of AWD-LSTM
(Merity, Keskar and Socher 2018). A network that reads in both directions is pretrained as two that
share the embeddings, one for each direction, as in ELMo (Peters et al. 2018): no prediction is made
from a step that comes after it in the direction of reading. (A window that is normalized by its
last values tells their level, here as in the network that is trained later.)

Shapes: N steps of all sequences, B sequences, D directions, H units of a direction, C channels.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import UnlearnableError
from models.features.feature_spec import Tokens, Trees
from models.networks.config import ModelConfig
from models.networks.families import FAMILIES
from models.networks.heads.base import Encoded, Targets
from models.networks.heads.config import HeadConfig
from models.networks.inputs.front import StaticBatch, TokenFront
from models.networks.jagged import Offsets
from models.networks.layer import Layer, VariationalDropout
from models.networks.network import DEFAULT_HEAD, NO_STATICS, Network, NetworkSpec
from models.networks.pretraining.loss import NextStepLoss
from models.networks.pretraining.weight_drop import drop_recurrent_weights

EMBEDDING_DROPOUT, INPUT_DROPOUT, LAYER_DROPOUT, WEIGHT_DROPOUT = 0.1, 0.4, 0.25, 0.5
"""Share of the tokens whose vector is zero, of the numbers of the vectors and between the layers
that are zero in a whole sequence, and of the recurrent weights; those of AWD-LSTM."""

_PRETRAINED_PARTS = ("front.", "encoder.")


class NextStepNetwork(Network):
    """The front and the layers of a network, and predictions of the next step."""

    def __init__(self, config: ModelConfig, spec: NetworkSpec, *, fresh: bool = False) -> None:
        """Build the parts.

        Args:
            config: of the network that is pretrained.
            spec: the features that it reads.
            fresh: start from pretrained weights where the input or the model sets them.

        Raises:
            UnlearnableError: this network would see what it predicts, or learn it.
        """
        _check_causal(config, spec)
        # Any pooling and any head serve: both are replaced.
        bare = replace(config, pooling="last", parallel_branch="none", dropout=0.0)
        head = replace(
            DEFAULT_HEAD, config=HeadConfig(normalization=spec.head.config.normalization)
        )
        bare_spec = replace(spec, head=head, statics=NO_STATICS, label_codes=())
        super().__init__(bare, bare_spec, fresh=fresh)
        self.tokens = spec.features if isinstance(spec.features, Tokens) else None
        reads_tokens = isinstance(self.front, TokenFront)
        if not reads_tokens and any(weight.requires_grad for weight in self.front.parameters()):
            raise UnlearnableError(
                "training.pretrain next_step: the steps must not be learned themselves; "
                "set pretrain: none, or use pixels without a learned front"
            )
        self.head: NextStepLoss = NextStepLoss(
            units=_count_direction_units(self.layers),
            channels=self.front.channels,
            embedding=self.front.embedding if isinstance(self.front, TokenFront) else None,
        )
        self.input_dropout = VariationalDropout(INPUT_DROPOUT if reads_tokens else 0.0)
        self.layer_dropout = VariationalDropout(LAYER_DROPOUT)

    @property
    def layers(self) -> list[Layer]:
        """The recurrent layers."""
        return [layer for layer in self.encoder.layers if isinstance(layer, Layer)]

    def encode(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None = None
    ) -> Encoded:
        """Encode whole sequences, each direction for itself and in its own order of reading.

        Outside of training, the errors of each sequence take the place of its vector.
        """
        del statics
        values_NC, _ = self.anchor(values_NC, offsets)
        steps_NC, offsets = self.front(values_NC, offsets)
        known_NC = self.select_input_steps(values_NC, steps_NC)
        if isinstance(self.front, TokenFront):
            # Predicted are the tokens with an embedding of their own, which is an output weight.
            known_NC = self.front.find_learned_ids(known_NC)
            steps_NC = self.drop_tokens(steps_NC, values_NC)
        steps_NC = self.input_dropout(steps_NC, offsets)
        directions = len(self.layers[0].cells)
        units_NH = torch.cat(
            [self.read(steps_NC, offsets, direction=index) for index in range(directions)], dim=1
        )
        encoded = Encoded(
            units_NH, units_NH.new_empty(len(offsets), 0), offsets, input_steps_NC=known_NC
        )
        if self.training:
            return encoded
        return encoded._replace(pooled_BP=self.head.sum_errors(encoded))

    def drop_tokens(self, steps_NC: Tensor, values_NC: Tensor) -> Tensor:
        """Set the vectors of random tokens to zero, wherever in the batch they occur."""
        if not self.training:
            return steps_NC
        assert isinstance(self.front, TokenFront)  # noqa: S101 - only tokens are dropped
        assert self.tokens is not None  # noqa: S101 - of the same input
        ones_V1 = steps_NC.new_ones(self.tokens.size, 1)
        kept_V1 = functional.dropout(ones_V1, EMBEDDING_DROPOUT)
        return steps_NC * kept_V1[values_NC[:, 0].long()]

    def read(self, steps_NC: Tensor, offsets: Offsets, *, direction: int) -> Tensor:
        """Return the last layer's outputs in one direction, [N, H], in its order of reading.

        Where a deeper layer expects the outputs of both directions, those of the other are zeros.
        """
        own_NH = offsets.reverse(steps_NC) if direction else steps_NC
        width = 0
        for depth, layer in enumerate(self.layers):
            if depth:
                own_NH = self.layer_dropout(own_NH, offsets)
                own_NH = _pad_other_direction(own_NH, width, direction=direction)
            cell = layer.cells[direction]
            state = layer.split_state(None, len(offsets))[direction]
            rate = WEIGHT_DROPOUT if self.training else 0.0
            with drop_recurrent_weights(cell, rate):  # type: ignore[arg-type]
                outputs_NH: Tensor = cell.outputs(own_NH, offsets, state)  # type: ignore[operator]
            width = layer.channels
            if layer.residual:
                first = direction * outputs_NH.shape[1]
                outputs_NH = outputs_NH + own_NH[:, first : first + outputs_NH.shape[1]]
            own_NH = outputs_NH
        return own_NH

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean loss of a batch."""
        return self.head.loss(encoded, targets)


def build_next_step_network(
    config: ModelConfig, spec: NetworkSpec, *, seed: int
) -> NextStepNetwork:
    """Build a network whose initial weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return NextStepNetwork(config, spec, fresh=True)


def select_pretrained_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights that a network takes over from pretraining, by name."""
    return {
        name: weight
        for name, weight in network.state_dict().items()
        if name.startswith(_PRETRAINED_PARTS)
    }


def load_pretrained_weights(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Start a network from pretraining: its front and its layers."""
    own = network.state_dict()
    missing = select_pretrained_weights(network).keys() ^ weights.keys()
    if missing:
        raise ValueError(f"weights of another network: {', '.join(sorted(missing))}")
    network.load_state_dict({**own, **weights})


def _pad_other_direction(own_NH: Tensor, width: int, *, direction: int) -> Tensor:
    """Return the outputs of both directions, [N, width], with zeros for the other one."""
    other = width - own_NH.shape[1]
    return functional.pad(own_NH, (other, 0) if direction else (0, other))


def _count_direction_units(layers: list[Layer]) -> tuple[int, ...]:
    """Return the units of each direction of the last layer."""
    return tuple(int(cell.hidden) for cell in layers[-1].cells)  # type: ignore[arg-type]


def _check_causal(config: ModelConfig, spec: NetworkSpec) -> None:
    """Check that no step is predicted from itself.

    Raises:
        UnlearnableError: says what does not fit, and the fix.
    """
    if isinstance(spec.features, Trees) or not FAMILIES[config.cell].causal:
        raise UnlearnableError(
            f"training.pretrain next_step: a {config.cell} does not read step by step; "
            "set pretrain: none, or another model.cell"
        )
    if config.stride > 1:
        raise UnlearnableError(
            "training.pretrain next_step: every step is predicted; set model.downsample: 1, "
            "or pretrain: none"
        )
