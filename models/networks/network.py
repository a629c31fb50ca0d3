"""The network: a front for its kind of steps, recurrent layers, poolings, and a head.

Shapes: N steps of all sequences, B sequences, C channels, H units, P numbers of the poolings.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.errors import UnlearnableError
from models.features.config import SELF_SUPERVISED, SequenceInput
from models.features.feature_spec import FeatureSpec, Pixels, Tokens, Trees
from models.features.image import ImageInput
from models.features.static_covariates import StaticState
from models.networks.cell import Cell
from models.networks.config import ModelConfig
from models.networks.convolution import Fcn
from models.networks.encoder import Encoder
from models.networks.families import FAMILIES
from models.networks.heads.base import Encoded, Targets
from models.networks.heads.build import EncoderSizes, HeadSpec, build_head, validate_self_supervised
from models.networks.heads.self_supervised import SelfSupervisedHead
from models.networks.inputs.front import IdentityFront, StaticBatch, StaticFront, TokenFront
from models.networks.inputs.pixels import PixelFront
from models.networks.inputs.window_norm import WindowNormalization
from models.networks.jagged import Offsets
from models.networks.keras_weights import load_keras_weights
from models.networks.native.kernels import TORCH, get_kernel_name
from models.networks.pooling import ConcatPooling

NO_STATICS = StaticState(values={}, means={}, stds={})
"""State of a network without static covariates."""

DEFAULT_HEAD = HeadSpec()


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """The features and the target that a network is built for."""

    features: FeatureSpec
    input: SequenceInput | None = None
    statics: StaticState = NO_STATICS
    head: HeadSpec = DEFAULT_HEAD
    label_codes: tuple[int, ...] = ()
    """The class of each label of a tree's nodes, -1 for none."""
    target_channels: tuple[int, ...] = ()
    """The channels with the past of the columns that are forecast, on their scale; empty where
    there are none."""
    label_channels: tuple[int, ...] = ()
    """The channels with the past classes of the target, one for each class; empty for none."""
    num_observed: int = 0
    """How many channels, the first ones, hold observed values."""


class Network(nn.Module):
    """Sequences in, predictions out."""

    label_codes: Tensor

    def __init__(self, config: ModelConfig, spec: NetworkSpec, *, fresh: bool = False) -> None:
        """Build the parts.

        Args:
            config: names and sizes of the parts.
            spec: the features and the target.
            fresh: start from pretrained weights where the input or the model sets them.
        """
        super().__init__()
        self.front: Front = _build_front(config, spec, fresh=fresh)
        self.encoder = Encoder(
            config, self.front.channels, embeds_inputs=isinstance(self.front, TokenFront)
        )
        if fresh and config.pretrained_weights:
            load_keras_weights(self.encoder.layers, Path(config.pretrained_weights), config.cell)
        self.pooling = ConcatPooling(config.poolings, self.encoder.channels, heads=config.num_heads)
        self.beside: Fcn | None = None
        if config.parallel_branch == "fcn":
            self.beside = Fcn(self.front.channels, config.hidden_size)
        self.side = StaticFront(spec.statics)
        self.dropout = nn.Dropout(config.dropout)
        extra_channels = self.side.channels + (
            self.beside.channels if self.beside is not None else 0
        )
        if spec.label_codes and (config.poolings != ("last",) or extra_channels):
            raise UnlearnableError(
                "supervise_nodes: nodes are classified as roots are; set pooling: last, and remove "
                "static covariates and parallel_branch"
            )
        codes = torch.tensor([*spec.label_codes, -1])
        self.register_buffer("label_codes", codes, persistent=False)
        self.anchor = WindowNormalization(
            spec.head.config.normalization, spec.target_channels, spec.num_observed
        )
        if is_self_supervised := spec.head.kind in SELF_SUPERVISED:
            _validate_self_supervised_input(config, spec, self.front)
        self.self_supervised = is_self_supervised
        self.head = build_head(
            spec.head,
            EncoderSizes(
                units=self.encoder.channels,
                pooled=self.pooling.channels + extra_channels,
                hidden=config.hidden_size,
                dropout=config.dropout,
                input_channels=self.front.channels,
                num_ids=spec.features.size if isinstance(spec.features, Tokens) else 0,
            ),
        )

    def encode(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None = None
    ) -> Encoded:
        """Encode whole sequences."""
        values_NC, origin = self.anchor(values_NC, offsets)
        steps_NC, offsets = self.front(values_NC, offsets)
        steps_NH, ends = self.encoder(steps_NC, offsets, values_NC)
        vectors = [self.pooling(steps_NH, ends)]
        if self.beside is not None:
            vectors.append(self.beside(steps_NC, offsets))
        if statics is not None and self.side.channels:
            vectors.append(self.side(statics))
        pooled_BP = self.dropout(torch.cat(vectors, dim=1))
        if len(self.label_codes) > 1 and self.training:
            return Encoded(
                self.dropout(steps_NH), pooled_BP, ends, self.select_node_targets(values_NC, ends)
            )
        input_NC = self.select_input_steps(values_NC, steps_NC) if self.self_supervised else None
        return Encoded(steps_NH, pooled_BP, ends, input_steps_NC=input_NC, origin=origin)

    def select_input_steps(self, values_NC: Tensor, steps_NC: Tensor) -> Tensor:
        """Return the steps that a self-supervised head predicts: ids, or the front's numbers."""
        return values_NC if isinstance(self.front, TokenFront) else steps_NC

    def select_node_targets(self, values_NC: Tensor, offsets: Offsets) -> Tensor:
        """Return each node's class, -1 where it has none; a root's target is its tree's."""
        # The code of a node without a label indexes the -1 at the end.
        return self.label_codes[values_NC[:, 3].long()].index_fill(0, offsets.last_B, -1)

    def forward(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None = None
    ) -> Tensor:
        """Return the head's outputs, [B, O]."""
        outputs_BO: Tensor = self.head(self.encode(values_NC, offsets, statics))
        return outputs_BO

    @torch.no_grad()
    def fit_fixed_parts(self, values_NC: Tensor, offsets: Offsets) -> None:
        """Fit the parts without gradients (naive predictions) on a sample of training sequences."""
        if isinstance(self.head, SelfSupervisedHead):
            steps_NC, _ = self.front(self.anchor(values_NC, offsets)[0], offsets)
            self.head.telling.fit(self.select_input_steps(values_NC, steps_NC))

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean loss of a batch."""
        return self.head.loss(encoded, targets)


Front = IdentityFront | TokenFront | PixelFront


def build_network(config: ModelConfig, spec: NetworkSpec, *, seed: int) -> Network:
    """Build a network whose initial weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(config, spec, fresh=True)


def find_kernel_name(network: nn.Module) -> str:
    """Return the name of the kernels that this network's cells run on."""
    cells = [cell for cell in network.modules() if isinstance(cell, Cell) and cell.has_kernel]
    on_host = all(weight.device.type == "cpu" for weight in network.parameters())
    return get_kernel_name() if cells and on_host else TORCH


def count_parameters(network: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _build_front(config: ModelConfig, spec: NetworkSpec, *, fresh: bool) -> Front:
    """Build the front that reads these steps."""
    if isinstance(spec.features, (Tokens, Trees)):
        return TokenFront(spec.features, config.embedding_dim)
    if isinstance(spec.features, Pixels):
        assert isinstance(spec.input, ImageInput)  # noqa: S101 - pixels come from images
        return PixelFront(spec.features, spec.input, pretrained=fresh)
    return IdentityFront(spec.features.channels)


def _validate_self_supervised_input(config: ModelConfig, spec: NetworkSpec, front: Front) -> None:
    """Check that a self-supervised target fits the input and the cell.

    Raises:
        UnlearnableError: says what does not fit, and the fix.
    """
    kind = spec.head.kind
    if isinstance(spec.features, Trees):
        raise UnlearnableError(f"target.kind {kind}: trees cannot be reconstructed; use texts")
    learned = any(weight.requires_grad for weight in front.parameters())
    validate_self_supervised(
        kind,
        same_steps=config.stride == 1,
        learned=learned and not isinstance(front, TokenFront),
        causal=FAMILIES[config.cell].causal and not config.bidirectional,
    )
