"""A baseline that serves: a fitted baseline in the place of a network.

It reads the same arrays as a network and returns outputs in the form of the job's head, so that
featurizer, table of predictions, intervals and the served model are those of any version.
Shapes: N steps of all sequences, B sequences, C channels, O outputs, T steps of a forecast, P
numbers of each step's prediction.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.evaluation.baselines.features import SplitRows
from models.evaluation.baselines.fitted import FittedBaseline, build_fitted
from models.evaluation.baselines.naive_errors import NaiveErrors
from models.features.feature_spec import Pixels, Tokens, Trees
from models.features.featurizer import Featurizer
from models.features.image import ImageInput
from models.networks.blend import Numbers
from models.networks.inputs.front import StaticBatch
from models.networks.inputs.pixels import PixelFront
from models.networks.jagged import Offsets

MAX_ONE_HOT_VALUES = 200
"""Values of a static category up to which a baseline has one column for each."""


class RowFormat(NamedTuple):
    """What a baseline has to know about the arrays of a featurizer."""

    vocab_size: int
    """Where steps are ids; 0 where they are numbers."""
    with_bigrams: bool
    static_sizes: tuple[int, ...]
    """Number of categories of each categorical static covariate."""


class NumberParts(NamedTuple):
    """What makes the numbers of a head's prediction of a baseline's number."""

    offsets: Numbers
    """Of each step, [T][P]: what is added to the number, or stands instead of it."""
    num_locations: int
    """How many of the P numbers, the first ones, move with the baseline's number."""
    minimum: float | None
    """The smallest number, where the head predicts counts."""


class Baseline(nn.Module):
    """Sequences in, outputs in the form of a network's out."""

    def __init__(
        self,
        name: str,
        fitted: FittedBaseline,
        row_format: RowFormat,
        number_parts: NumberParts | None = None,
    ) -> None:
        """Take the parts.

        Args:
            name: of the baseline, such as `logistic regression`.
            fitted: what predicts.
            row_format: of the arrays.
            number_parts: of numbers and forecasts.
        """
        super().__init__()
        self.name, self.fitted, self.row_format = name, fitted, row_format
        self.number_parts = number_parts

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that prediction needs besides those of every model."""
        return self.fitted.packages

    @torch.no_grad()
    def forward(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None = None
    ) -> Tensor:
        """Return the outputs, [B, O]."""
        rows = self.build_rows(values_NC, offsets, statics)
        outputs_BO = torch.from_numpy(self.fitted.compute_outputs(rows))
        return self.add_parts(outputs_BO).to(values_NC.device)

    def build_rows(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None
    ) -> SplitRows:
        """Build the rows that the baseline reads."""
        count, bounds = len(offsets), np.asarray(offsets.bounds, np.int64)
        static_features = np.empty((count, 0))
        if statics is not None:
            static_features = encode_statics(
                statics.codes_BK.cpu().numpy(),
                statics.numbers_BF.cpu().numpy(),
                self.row_format.static_sizes,
            )
        return SplitRows(
            values_NC.cpu().numpy(),
            bounds[:-1],
            bounds[1:],
            np.zeros(count),
            static_features,
            self.row_format.vocab_size,
            self.row_format.with_bigrams,
        )

    def describe(self) -> dict[str, Any]:
        """Return all but the arrays, as JSON."""
        return {
            "name": self.name,
            "kind": self.fitted.kind,
            "settings": self.fitted.describe(),
            "number_parts": self.number_parts._asdict() if self.number_parts else None,
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the arrays of a saved baseline, whatever their sizes."""
        modules = dict(self.named_modules())
        for name, tensor in tensors.items():
            owner, _, own = name.rpartition(".")
            modules[owner].register_buffer(own, tensor)

    def add_parts(self, outputs_BO: Tensor) -> Tensor:
        """Return all numbers of the prediction, where the head has several for each step."""
        parts = self.number_parts
        if parts is None:
            return outputs_BO
        if parts.minimum is not None:
            outputs_BO = outputs_BO.clamp_min(parts.minimum)
        offset_TP = outputs_BO.new_tensor(parts.offsets)
        moves_P = (torch.arange(offset_TP.shape[1]) < parts.num_locations).to(outputs_BO)
        return (outputs_BO[:, :, None] * moves_P + offset_TP).flatten(1)


def build_baseline(spec: Mapping[str, Any], featurizer: Featurizer) -> Baseline:
    """Build a baseline from its description; its arrays are restored next.

    Raises:
        KeyError: the description lacks a field.
        TypeError: it has a wrong one.
    """
    settings, parts = dict(spec["settings"]), spec["number_parts"]
    if spec["kind"] == NaiveErrors.kind:
        fitted: FittedBaseline = NaiveErrors(**settings, front=build_pixel_front(featurizer))
    else:
        fitted = build_fitted(spec["kind"], settings)
    offsets = tuple(tuple(row) for row in parts["offsets"]) if parts else ()
    number_parts = NumberParts(**{**parts, "offsets": offsets}) if parts else None
    return Baseline(spec["name"], fitted, describe_rows(featurizer), number_parts)


def describe_rows(featurizer: Featurizer) -> RowFormat:
    """Return the format of a featurizer's arrays."""
    signal = featurizer.feature_spec
    return RowFormat(
        signal.size if isinstance(signal, (Tokens, Trees)) else 0,
        isinstance(signal, Tokens),
        featurizer.static_state.sizes,
    )


def build_pixel_front(featurizer: Featurizer) -> PixelFront | None:
    """Build what turns images into steps; None for other inputs."""
    pixels, config = featurizer.feature_spec, featurizer.layout.input
    if not isinstance(pixels, Pixels) or not isinstance(config, ImageInput):
        return None
    return PixelFront(pixels, config, pretrained=False)


def encode_statics(
    codes_SK: NDArray[Any], numbers_SF: NDArray[Any], sizes: tuple[int, ...]
) -> NDArray[np.float64]:
    """Encode static covariates as numbers [S, F], a category one-hot."""
    parts = [numbers_SF.astype(np.float64)]
    for column, size in enumerate(sizes):
        if size <= MAX_ONE_HOT_VALUES:
            parts.append(np.eye(size)[codes_SK[:, column]])
    return np.concatenate(parts, axis=1)
