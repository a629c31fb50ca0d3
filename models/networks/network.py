"""The network: a front for its kind of steps, recurrent layers, poolings, a head.

Shapes: N steps of all sequences, B sequences, C channels, H units, P numbers of the poolings.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.errors import UnlearnableError
from models.features.config import MINED, SequenceInput
from models.features.feature_spec import Pixels, Signal, Tokens, Trees
from models.features.image import ImageInput
from models.features.static_covariates import StaticState
from models.networks.cell import Cell
from models.networks.config import ModelConfig
from models.networks.convolution import Fcn
from models.networks.encoder import Encoder
from models.networks.families import FAMILIES
from models.networks.heads.face import Answers, Encoded
from models.networks.heads.make import Asked, Read, make_head, refuse_seen
from models.networks.heads.mining import MiningHead
from models.networks.inputs.front import PlainFront, SideFront, Statics, TokenFront
from models.networks.inputs.pixels import PixelFront
from models.networks.inputs.window_norm import WindowNormalization
from models.networks.jagged import Offsets
from models.networks.keras_weights import start_from
from models.networks.native.kernels import TORCH, chosen
from models.networks.pooling import Several
from models.networks.rocket import Rocket

NO_STATICS = StaticState(values={}, means={}, spreads={})


NOTHING_ASKED = Asked()


@dataclass(frozen=True, slots=True)
class Face:
    """What a network has to fit: its input's steps, what stands beside them, its answers."""

    signal: Signal
    input: SequenceInput | None = None
    statics: StaticState = NO_STATICS
    asked: Asked = NOTHING_ASKED
    label_codes: tuple[int, ...] = ()
    """Which class each label of a tree's nodes is, -1 for none."""
    channel: int = -1
    """Which channel is the past of a forecast, on its scale; -1 where none is."""
    observed: int = 0
    """How many channels, the first ones, show what was measured."""


class Network(nn.Module):
    """Sequences in, answers out."""

    label_codes: Tensor

    def __init__(self, config: ModelConfig, face: Face, *, fresh: bool = False) -> None:
        """Make the parts.

        Args:
            config: names and sizes of the parts.
            face: what they have to fit.
            fresh: begin with pretrained weights where the input or the model asks for them.
        """
        super().__init__()
        self.front: Front = make_front(config, face, fresh=fresh)
        self.encoder = Encoder(
            config, self.front.channels, learned_inputs=isinstance(self.front, TokenFront)
        )
        if fresh and config.pretrained_weights:
            start_from(self.encoder.layers, Path(config.pretrained_weights), config.cell)
        self.pooling = Several(config.poolings, self.encoder.channels, heads=config.num_heads)
        self.beside = make_beside(config, self.front)
        self.side = SideFront(face.statics)
        self.dropout = nn.Dropout(config.dropout)
        more = self.side.channels + (self.beside.channels if self.beside is not None else 0)
        if face.label_codes and (config.poolings != ("last",) or more):
            raise UnlearnableError(
                "supervise_nodes: nodes are answered as roots are, so it needs pooling: last and "
                "nothing beside the trees"
            )
        codes = torch.tensor([*face.label_codes, -1])
        self.register_buffer("label_codes", codes, persistent=False)
        self.anchor = WindowNormalization(
            face.asked.head.normalization, face.channel, face.observed
        )
        if mined := face.asked.kind in MINED:
            refuse_mining(config, face, self.front)
        self.mined = mined
        self.head = make_head(
            face.asked,
            Read(
                units=self.encoder.channels,
                pooled=self.pooling.channels + more,
                hidden=config.hidden_size,
                dropout=config.dropout,
                channels=self.front.channels,
                ids=face.signal.size if isinstance(face.signal, Tokens) else 0,
            ),
        )

    def encode(
        self, values_NC: Tensor, offsets: Offsets, statics: Statics | None = None
    ) -> Encoded:
        """Read whole sequences."""
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
            return Encoded(self.dropout(steps_NH), pooled_BP, ends, self.taught(values_NC, ends))
        seen_NC = self.seen(values_NC, steps_NC) if self.mined else None
        return Encoded(steps_NH, pooled_BP, ends, seen_NC=seen_NC, origin=origin)

    def seen(self, values_NC: Tensor, steps_NC: Tensor) -> Tensor:
        """Return the steps as a head can tell them again: ids, or the numbers that are read."""
        return values_NC if isinstance(self.front, TokenFront) else steps_NC

    def taught(self, values_NC: Tensor, offsets: Offsets) -> Tensor:
        """Return the class of each node that has one, else -1; roots are answered as wholes."""
        # A node without a label meets the -1 at the end.
        return self.label_codes[values_NC[:, 3].long()].index_fill(0, offsets.last_B, -1)

    def forward(
        self, values_NC: Tensor, offsets: Offsets, statics: Statics | None = None
    ) -> Tensor:
        """Return the head's answers."""
        answers: Tensor = self.head(self.encode(values_NC, offsets, statics))
        return answers

    @torch.no_grad()
    def prepare(self, values_NC: Tensor, offsets: Offsets) -> None:
        """Fit what is not learned by gradients on a sample of the training sequences."""
        if not isinstance(self.beside, Rocket) and not self.mined:
            return
        steps_NC, own = self.front(self.anchor(values_NC, offsets)[0], offsets)
        if isinstance(self.beside, Rocket):
            self.beside.fit(steps_NC, own)
        if isinstance(self.head, MiningHead):
            self.head.telling.fit(self.seen(values_NC, steps_NC))

    def loss(self, encoded: Encoded, answers: Answers) -> Tensor:
        """Return the mean loss of a batch."""
        return self.head.loss(encoded, answers)


Front = PlainFront | TokenFront | PixelFront


def make_front(config: ModelConfig, face: Face, *, fresh: bool) -> Front:
    """Make the front that reads these steps."""
    if isinstance(face.signal, (Tokens, Trees)):
        return TokenFront(face.signal, config.embedding_dim)
    if isinstance(face.signal, Pixels):
        assert isinstance(face.input, ImageInput)  # noqa: S101 - pixels come from images
        return PixelFront(face.signal, face.input, pretrained=fresh)
    return PlainFront(face.signal.channels)


def make_beside(config: ModelConfig, front: Front) -> Fcn | Rocket | None:
    """Make what reads the steps beside the recurrent layers, if anything does.

    Raises:
        UnlearnableError: fixed convolutions would read what changes while it is learned.
    """
    if config.parallel_branch == "rocket":
        if any(weight.requires_grad for weight in front.parameters()):
            raise UnlearnableError(
                "beside: rocket reads numbers as they are, and these steps are learned; choose fcn"
            )
        return Rocket(front.channels)
    return Fcn(front.channels, config.hidden_size) if config.parallel_branch == "fcn" else None


def refuse_mining(config: ModelConfig, face: Face, front: Front) -> None:
    """Refuse to mine what cannot be told again.

    Raises:
        UnlearnableError: names the mend.
    """
    kind = face.asked.kind
    if isinstance(face.signal, Trees):
        raise UnlearnableError(f"target.kind {kind}: trees are not told again; give texts")
    learned = any(weight.requires_grad for weight in front.parameters())
    refuse_seen(
        kind,
        same_steps=config.downsample == 1,
        learned=learned and not isinstance(front, TokenFront),
        causal=FAMILIES[config.cell].causal and not config.bidirectional,
    )


def build(config: ModelConfig, face: Face, *, seed: int) -> Network:
    """Make a network whose first weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(config, face, fresh=True)


def computes_with(network: nn.Module) -> str:
    """Name the kernels that this network's cells are read with."""
    cells = [cell for cell in network.modules() if isinstance(cell, Cell) and cell.compiles]
    on_host = all(weight.device.type == "cpu" for weight in network.parameters())
    return chosen() if cells and on_host else TORCH


def parameter_count(network: nn.Module) -> int:
    """Count the numbers that are learned."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
