"""What training tells a network before it learns: what cannot be learned, and what is just counted.

Shapes: S sequences, M numbers of all answers, O classes or labels.
"""

from dataclasses import replace

import numpy as np

from models.errors import UnlearnableError
from models.learning.data_source import Sequences, sample
from models.networks.config import ModelConfig
from models.networks.heads.category import CategoryHead
from models.networks.heads.ctc import CtcHead, least_steps
from models.networks.heads.forecast import ForecastHead
from models.networks.heads.forms import Counts
from models.networks.heads.number import NumberHead
from models.networks.heads.tags import TagsHead
from models.networks.inputs.pixels import PixelFront
from models.networks.network import Network

SHOWN = 500
"""Training sequences on which fixed parts of the network are fitted."""

MOST_CRAMPED = 0.05
"""Share of texts that may be too long to be written while their sequence is read."""

ROUNDING = 1e-2
"""How far a count may lie from a whole number, for it was scaled in between."""


def prepare(network: Network, training: Sequences, *, model: ModelConfig, seed: int) -> None:
    """Refuse answers that this head cannot give, and fit what is not learned by gradients.

    Raises:
        UnlearnableError: texts are longer than their sequences, or counts are none.
    """
    refuse_cramped(network, training, shorten=model.downsample)
    refuse_fractions(network, training)
    weigh_classes(network, training)
    show_some(network, training, seed=seed)


def refuse_fractions(network: Network, training: Sequences) -> None:
    """Refuse to count what is not whole, or below zero.

    Raises:
        UnlearnableError: says what was found.
    """
    head = network.head
    form = head.form if isinstance(head, (NumberHead, ForecastHead)) else None
    if not isinstance(form, Counts):
        return
    values_M = training.answers(np.arange(len(training))).values_M.cpu().numpy()
    counts_M = values_M[np.isfinite(values_M)].astype(np.float64) * form.spread + form.mean
    off_M = np.abs(counts_M - counts_M.round())
    bad = np.flatnonzero(
        (off_M > ROUNDING * np.maximum(1, counts_M / 1000)) | (counts_M < -ROUNDING)
    )
    if len(bad):
        raise UnlearnableError(
            f"head.loss negative_binomial: answers are counts, and {len(bad)} of "
            f"{len(counts_M)} in training are not, such as {counts_M[bad[0]]:.4g}; "
            "set head.loss: student or quantile"
        )


def weigh_classes(network: Network, training: Sequences) -> None:
    """Tell the head how often training shows each class."""
    if isinstance(network.head, (CategoryHead, TagsHead)):
        codes_M = training.answers(np.arange(len(training))).values_M.cpu().long()
        counts_O = codes_M.bincount(minlength=len(network.head.weight_O))
        network.head.weigh(counts_O, len(training))


def refuse_cramped(network: Network, training: Sequences, *, shorten: int) -> None:
    """Refuse to write texts while sequences are read that are shorter than they.

    Raises:
        UnlearnableError: says how many.
    """
    if not isinstance(network.head, CtcHead):
        return
    lengths_S = training.lengths_S
    if isinstance(network.front, PixelFront):
        lengths_S = np.full(len(training), network.front.steps)
    room_S = -(-lengths_S // shorten)
    cramped_S = least_steps(training.answers(np.arange(len(training)))) > room_S
    if cramped_S.mean() > MOST_CRAMPED:
        raise UnlearnableError(
            f"head.decoder ctc: {cramped_S.sum()} of {len(training)} training texts have more "
            "symbols than their sequence has steps; set decoder: attention, or lower model.downsample"
        )


def show_some(network: Network, training: Sequences, *, seed: int) -> None:
    """Show the network some training sequences before it learns."""
    draw = np.random.default_rng([seed, len(training)])
    rows = np.sort(draw.permutation(len(training))[:SHOWN])
    batch = sample(replace(training, change=None), rows)
    network.prepare(batch.values_NC, batch.offsets)
