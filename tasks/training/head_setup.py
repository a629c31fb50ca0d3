"""Checks and statistics before training: targets that the head cannot learn, class weights.

Shapes: S sequences, M target numbers, O classes or labels.
"""

from dataclasses import replace

import numpy as np

from models.errors import UnlearnableError
from models.learning.data_source import Sequences, gather_rows
from models.networks.config import ModelConfig
from models.networks.heads.category import CategoryHead
from models.networks.heads.ctc import CtcHead, count_min_steps
from models.networks.heads.forecast import ForecastHead
from models.networks.heads.number import NumberHead
from models.networks.heads.outputs import _NegativeBinomialOutput
from models.networks.heads.tags import TagsHead
from models.networks.inputs.pixels import PixelFront
from models.networks.network import Network

_FITTING_SEQUENCES = 500
"""Training sequences on which fixed parts of the network are fitted."""

_MAX_TOO_LONG_SHARE = 0.05
"""Share of target texts that may be longer than CTC can align with their sequence."""

_COUNT_TOLERANCE = 1e-2
"""How far a count may be from a whole number: scaling and its inverse round."""


def prepare_network(
    network: Network, training: Sequences, *, model: ModelConfig, seed: int
) -> None:
    """Check that the head can learn the targets, and fit what is not trained by gradients.

    Raises:
        UnlearnableError: target texts are longer than their sequences, or targets are no counts.
    """
    _check_ctc_lengths(network, training, downsample=model.stride)
    _check_counts(network, training)
    _set_class_weights(network, training)
    _fit_fixed_layers(network, training, seed=seed)


def _check_counts(network: Network, training: Sequences) -> None:
    """Check that the targets of a negative binomial are whole numbers from 0 on.

    Raises:
        UnlearnableError: they are not.
    """
    head = network.head
    form = head.form if isinstance(head, (NumberHead, ForecastHead)) else None
    if not isinstance(form, _NegativeBinomialOutput):
        return
    values_M = training.select_targets(np.arange(len(training))).values_M.cpu().numpy()
    counts_M = values_M[np.isfinite(values_M)].astype(np.float64) * form.std + form.mean
    rounding_error_M = np.abs(counts_M - counts_M.round())
    bad = np.flatnonzero(
        (rounding_error_M > _COUNT_TOLERANCE * np.maximum(1, counts_M / 1000))
        | (counts_M < -_COUNT_TOLERANCE)
    )
    if len(bad):
        raise UnlearnableError(
            f"head.loss negative_binomial: targets must be counts, and {len(bad)} of "
            f"{len(counts_M)} in training are not, such as {counts_M[bad[0]]:.4g}; "
            "set head.loss: student_t or quantile"
        )


def _set_class_weights(network: Network, training: Sequences) -> None:
    """Set the weights of the classes in the loss from their frequencies in training."""
    if isinstance(network.head, (CategoryHead, TagsHead)):
        codes_M = training.select_targets(np.arange(len(training))).values_M.cpu().long()
        counts_O = codes_M.bincount(minlength=len(network.head.weight_O))
        network.head.set_class_weights(counts_O, len(training))


def _check_ctc_lengths(network: Network, training: Sequences, *, downsample: int) -> None:
    """Check that CTC can align the target texts with their sequences.

    Raises:
        UnlearnableError: too many texts have more tokens than their sequence has steps.
    """
    if not isinstance(network.head, CtcHead):
        return
    lengths_S = training.lengths_S
    if isinstance(network.front, PixelFront):
        lengths_S = np.full(len(training), network.front.steps)
    available_S = -(-lengths_S // downsample)
    too_long_S = count_min_steps(training.select_targets(np.arange(len(training)))) > available_S
    if too_long_S.mean() > _MAX_TOO_LONG_SHARE:
        raise UnlearnableError(
            f"head.decoder ctc: {too_long_S.sum()} of {len(training)} training texts have more "
            "tokens than their sequence has steps; set head.decoder: attention, or lower "
            "model.downsample"
        )


def _fit_fixed_layers(network: Network, training: Sequences, *, seed: int) -> None:
    """Fit the network's fixed layers on a random sample of the training sequences."""
    draw = np.random.default_rng([seed, len(training)])
    rows = np.sort(draw.permutation(len(training))[:_FITTING_SEQUENCES])
    batch = gather_rows(replace(training, augmentation=None), rows)
    network.fit_fixed_parts(batch.values_NC, batch.offsets)
