"""The network: a front for its kind of steps, recurrent layers, poolings, a head.

Shapes: N steps of all sequences, B sequences, C channels, H units, P numbers of the poolings.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.errors import UnlearnableError
from models.features import SequenceInput
from models.features.image import ImageInput
from models.features.signal import Pixels, Signal, Tokens, Trees
from models.features.statics import StaticState
from models.networks import ModelConfig
from models.networks.convolution import Fcn, Shorten
from models.networks.families import FAMILIES
from models.networks.front import PlainFront, SideFront, Statics, TokenFront
from models.networks.heads import HeadConfig
from models.networks.heads.category import CategoryHead
from models.networks.heads.face import Answers, Encoded, Head
from models.networks.heads.number import NumberHead
from models.networks.jagged import Offsets
from models.networks.layer import Layer, LockedDropout, PlainDropout, make_cell
from models.networks.pixels import PixelFront
from models.networks.pooling import Several
from models.networks.rocket import Rocket

NO_STATICS = StaticState(values={}, means={}, spreads={})


@dataclass(frozen=True, slots=True)
class Face:
    """What a network has to fit: its input's steps, what stands beside them, its answers."""

    signal: Signal
    input: SequenceInput | None = None
    statics: StaticState = NO_STATICS
    classes: int = 0
    """0 for a number."""
    label_codes: tuple[int, ...] = ()
    """Which class each label of a tree's nodes is, -1 for none."""
    head: HeadConfig = field(default_factory=HeadConfig)


class Network(nn.Module):
    """Sequences in, answers out."""

    label_codes: Tensor

    def __init__(self, config: ModelConfig, face: Face, *, fresh: bool = False) -> None:
        """Make the parts.

        Args:
            config: names and sizes of the parts.
            face: what they have to fit.
            fresh: begin with pretrained weights where the input asks for them.
        """
        super().__init__()
        self.front: Front = make_front(config, face, fresh=fresh)
        self.side = SideFront(face.statics)
        self.reads_trees = FAMILIES[config.cell].reads == "trees"
        self.layers = nn.ModuleList()
        width = self.front.channels
        self.shorten = None
        if config.shorten > 1:
            self.shorten = Shorten(width, config.hidden, stride=config.shorten)
            width = config.hidden
        for depth in range(config.layers):
            if self.reads_trees:
                self.layers.append(make_cell(config, inputs=width))
                width = config.hidden
            else:
                layer = Layer(config, inputs=width, depth=depth)
                self.layers.append(layer)
                width = layer.channels
        self.beside = make_beside(config, self.front)
        pooled = self.side.channels + (self.beside.channels if self.beside is not None else 0)
        make_dropout = LockedDropout if config.locked_dropout else PlainDropout
        self.between = make_dropout(config.dropout)
        self.pooling = Several(config.poolings, width, heads=config.heads)
        self.dropout = nn.Dropout(config.dropout)
        if face.label_codes and (config.poolings != ("last",) or self.side.channels):
            raise UnlearnableError(
                "teach_nodes: nodes are answered as roots are, so it needs pooling: last and "
                "nothing beside the trees"
            )
        codes = torch.tensor([*face.label_codes, -1])
        self.register_buffer("label_codes", codes, persistent=False)
        self.head = make_head(face, self.pooling.channels + pooled)

    def encode(
        self, values_NC: Tensor, offsets: Offsets, statics: Statics | None = None
    ) -> Encoded:
        """Read whole sequences."""
        steps_NH, offsets = self.front(values_NC, offsets)
        vectors = [] if self.beside is None else [self.beside(steps_NH, offsets)]
        if self.shorten is not None:
            steps_NH, offsets = self.shorten(steps_NH, offsets)
        for depth, layer in enumerate(self.layers):
            if depth or self.learns_vectors:
                steps_NH = self.between(steps_NH, offsets)
            if self.reads_trees:
                steps_NH = layer.outputs(steps_NH, values_NC, offsets)  # type: ignore[operator]
            else:
                steps_NH = layer.outputs(steps_NH, offsets)  # type: ignore[operator]
        if statics is not None and self.side.channels:
            vectors.append(self.side(statics))
        pooled_BP = torch.cat([self.pooling(steps_NH, offsets), *vectors], dim=1)
        taught_N = None
        if len(self.label_codes) > 1 and self.training:
            # Roots are answered as wholes; a node without a label meets the -1 at the end.
            taught_N = self.label_codes[values_NC[:, 3].long()]
            taught_N = taught_N.index_fill(0, offsets.last_B, -1)
            steps_NH = self.dropout(steps_NH)
        return Encoded(steps_NH, self.dropout(pooled_BP), offsets, taught_N)

    def forward(
        self, values_NC: Tensor, offsets: Offsets, statics: Statics | None = None
    ) -> Tensor:
        """Return the head's answers."""
        answers: Tensor = self.head(self.encode(values_NC, offsets, statics))
        return answers

    @torch.no_grad()
    def prepare(self, values_NC: Tensor, offsets: Offsets) -> None:
        """Fit what is not learned by gradients on a sample of the training sequences."""
        if isinstance(self.beside, Rocket):
            self.beside.fit(*self.front(values_NC, offsets))

    def loss(self, encoded: Encoded, answers: Answers) -> Tensor:
        """Return the mean loss of a batch."""
        return self.head.loss(encoded, answers)

    @property
    def learns_vectors(self) -> bool:
        """Whether the first layer reads vectors of ids, which are silenced like units."""
        return isinstance(self.front, TokenFront)


Front = PlainFront | TokenFront | PixelFront


def make_front(config: ModelConfig, face: Face, *, fresh: bool) -> Front:
    """Make the front that reads these steps."""
    if isinstance(face.signal, (Tokens, Trees)):
        return TokenFront(face.signal, config.embedding)
    if isinstance(face.signal, Pixels):
        assert isinstance(face.input, ImageInput)  # noqa: S101 - pixels come from images
        return PixelFront(face.signal, face.input, pretrained=fresh)
    return PlainFront(face.signal.channels)


def make_beside(config: ModelConfig, front: Front) -> Fcn | Rocket | None:
    """Make what reads the steps beside the recurrent layers, if anything does.

    Raises:
        UnlearnableError: fixed convolutions would read what changes while it is learned.
    """
    if config.beside == "rocket":
        if any(weight.requires_grad for weight in front.parameters()):
            raise UnlearnableError(
                "beside: rocket reads numbers as they are, and these steps are learned; choose fcn"
            )
        return Rocket(front.channels)
    return Fcn(front.channels, config.hidden) if config.beside == "fcn" else None


def make_head(face: Face, inputs: int) -> Head:
    """Make the head for these answers."""
    if face.classes:
        return CategoryHead(inputs, face.classes, face.head)
    return NumberHead(inputs, face.head)


def build(config: ModelConfig, face: Face, *, seed: int) -> Network:
    """Make a network whose first weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(config, face, fresh=True)


def parameter_count(network: nn.Module) -> int:
    """Count the numbers that are learned."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
