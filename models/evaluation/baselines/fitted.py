"""Fitted baselines: what each needs for predictions, as arrays that a bundle can hold.

The outputs have the form of a network's: log probabilities of classes, logits of labels, scaled
numbers, and for texts a log probability with the ids of symbols. So what the evaluation scores is
what can serve.
Shapes: S sequences, R training rows, F features, O outputs, K classes.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.evaluation.baselines.features import SplitRows
from models.evaluation.baselines.readers import (
    IdReader,
    Reader,
    ReaderKind,
    build_reader,
    read_last_value,
)

Outputs = NDArray[np.float32]

LOG_ZERO = float(np.log(1e-30))
"""Log probability of a class that a baseline cannot predict, so that it is finite."""

_BLOCK_ROWS = 256
"""Rows whose nearest rows are searched at a time."""


class FittedBaseline(nn.Module):
    """Base class."""

    kind: Literal["constant", "linear", "naive", "nearest", "columns", "errors"]

    def compute_outputs(self, rows: SplitRows) -> Outputs:
        """Return the outputs for sequences, [S, O]."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Return the settings that `build_fitted` needs, as JSON."""
        return {}

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that prediction needs besides those of every model."""
        return ()


class ConstantBaseline(FittedBaseline):
    """The same outputs for every row."""

    kind = "constant"
    output_O: Tensor

    def __init__(self, output_O: NDArray[Any] | None = None) -> None:
        """Take the outputs."""
        super().__init__()
        values = np.zeros(0) if output_O is None else output_O
        self.register_buffer("output_O", torch.from_numpy(np.asarray(values, np.float32)))

    def compute_outputs(self, rows: SplitRows) -> Outputs:
        """Return the outputs, [S, O]."""
        return np.tile(self.output_O.numpy(), (len(rows.starts_S), 1))


class LinearBaseline(FittedBaseline):
    """A linear model of scaled features."""

    kind = "linear"
    weight_FO: Tensor
    bias_O: Tensor
    code_O: Tensor

    def __init__(self, reader: Reader, *, num_classes: int = 0, channel: int = -1) -> None:
        """Take the settings.

        Args:
            reader: of the features.
            num_classes: K; 0 for labels and numbers.
            channel: the channel whose last value is added to each output; -1 for none.
        """
        super().__init__()
        self.reader, self.num_classes, self.channel = reader, num_classes, channel
        for name in ("weight_FO", "bias_O"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))
        self.register_buffer("code_O", torch.zeros(0, dtype=torch.int64))

    def set_weights(
        self,
        weight_FO: NDArray[np.float64],
        bias_O: NDArray[np.float64],
        codes: NDArray[np.int64] | None = None,
    ) -> None:
        """Set the weights.

        Args:
            weight_FO: of the features.
            bias_O: added to each output.
            codes: class of each output; those of all other classes are never predicted.
        """
        # Of a text there are many ids, and each has but a small weight.
        dtype = np.float32 if isinstance(self.reader, IdReader) else np.float64
        self.register_buffer("weight_FO", torch.from_numpy(np.ascontiguousarray(weight_FO, dtype)))
        self.register_buffer("bias_O", torch.from_numpy(np.asarray(bias_O, np.float64)))
        if codes is not None:
            self.register_buffer("code_O", torch.from_numpy(codes))

    def compute_outputs(self, rows: SplitRows) -> Outputs:
        """Return the outputs, [S, O], or the log probabilities of all classes, [S, K]."""
        scores_SO = self.reader.transform(rows) @ self.weight_FO.numpy() + self.bias_O.numpy()
        if self.channel >= 0:
            scores_SO = scores_SO + read_last_value(rows, self.channel)[:, None]
        if not self.num_classes:
            return np.asarray(scores_SO, np.float32)
        log_SK = np.full((len(scores_SO), self.num_classes), LOG_ZERO)
        log_SK[:, self.code_O.numpy()] = _compute_log_softmax(scores_SO)
        return np.asarray(np.maximum(log_SK, LOG_ZERO), np.float32)

    def describe(self) -> dict[str, Any]:
        """Return the settings."""
        return {
            "num_classes": self.num_classes,
            "channel": self.channel,
            **_describe_reader(self.reader),
        }

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages of the reader."""
        return self.reader.packages


class NaiveBaseline(FittedBaseline):
    """Earlier values of one channel: the last one, or those one season before."""

    kind = "naive"

    def __init__(
        self, *, channel: int, steps_back: list[int], slope: float = 1.0, intercept: float = 0.0
    ) -> None:
        """Take the settings.

        Args:
            channel: with the past of the target.
            steps_back: for each output, how many steps before the last one its value is.
            slope: by which values are multiplied, from the scale of the channel to the target's.
            intercept: added to them then.
        """
        super().__init__()
        self.channel, self.steps_back = channel, steps_back
        self.slope, self.intercept = slope, intercept

    def compute_outputs(self, rows: SplitRows) -> Outputs:
        """Return the earlier values, [S, O]."""
        index_SO = rows.stops_S[:, None] - 1 - np.array(self.steps_back)
        index_SO = np.maximum(index_SO, rows.starts_S[:, None])
        values_SO = rows.values_NC[index_SO, self.channel].astype(np.float64)
        return np.asarray(self.slope * values_SO + self.intercept, np.float32)

    def describe(self) -> dict[str, Any]:
        """Return the settings."""
        return {
            "channel": self.channel,
            "steps_back": self.steps_back,
            "slope": self.slope,
            "intercept": self.intercept,
        }


class NearestBaseline(FittedBaseline):
    """The outputs of the nearest training row: by cosine of ids, else by Euclidean distance."""

    kind = "nearest"
    output_RO: Tensor

    def __init__(self, reader: Reader) -> None:
        """Take the reader of the features."""
        super().__init__()
        self.reader = reader
        self.register_buffer("output_RO", torch.zeros(0, dtype=torch.float32))
        for name, dtype in _FEATURE_BUFFERS.items():
            self.register_buffer(name, torch.zeros(0, dtype=dtype))

    def set_rows(self, rows: SplitRows, output_RO: NDArray[np.float32]) -> None:
        """Set the training rows, and the outputs of each."""
        features = self.reader.transform(rows)
        self.register_buffer("output_RO", torch.from_numpy(output_RO))
        if isinstance(self.reader, IdReader):
            parts = {
                "data_I": features.data.astype(np.float32),
                "column_I": features.indices.astype(np.int32),
                "start_R": features.indptr.astype(np.int64),
            }
        else:
            parts = {"data_I": features.astype(np.float32).ravel()}
        for name, values in parts.items():
            self.register_buffer(name, torch.from_numpy(values))

    def find_nearest(self, rows: SplitRows) -> NDArray[np.int64]:
        """Return the index of the nearest training row of each row, [S]; the first of equals."""
        features, known = self.reader.transform(rows), self._load_features()
        is_cosine = isinstance(self.reader, IdReader)
        square_R = known.multiply(known).sum(axis=1).A1 if is_cosine else (known**2).sum(axis=1)
        length_R = np.sqrt(np.where(square_R > 0, square_R, 1.0))
        nearest = []
        for start in range(0, features.shape[0], _BLOCK_ROWS):
            product_SR = features[start : start + _BLOCK_ROWS] @ known.T
            if is_cosine:
                # A row's own length does not change which row is nearest.
                nearest.append((product_SR.toarray() / length_R).argmax(axis=1))
            else:
                nearest.append((square_R - 2 * product_SR).argmin(axis=1))
        return np.concatenate(nearest).astype(np.int64)

    def compute_outputs(self, rows: SplitRows) -> Outputs:
        """Return the outputs of the nearest rows, [S, O]."""
        return np.asarray(self.output_RO.numpy()[self.find_nearest(rows)])

    def describe(self) -> dict[str, Any]:
        """Return the settings."""
        return _describe_reader(self.reader)

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages of the reader."""
        return self.reader.packages

    def _load_features(self) -> Any:  # noqa: ANN401 - an array, or a sparse matrix
        """Return the features of the training rows, [R, F]."""
        data_I = self.get_buffer("data_I").numpy().astype(np.float64)
        if not isinstance(self.reader, IdReader):
            return data_I.reshape(len(self.output_RO), -1)
        from scipy.sparse import csr_matrix

        columns = len(self.reader.seen_U) + len(self.reader.static_scale_G)
        parts = data_I, self.get_buffer("column_I").numpy(), self.get_buffer("start_R").numpy()
        return csr_matrix(parts, shape=(len(self.output_RO), columns))


class ColumnwiseBaseline(FittedBaseline):
    """Forecasts of several columns, each by a baseline of its own."""

    kind = "columns"

    def __init__(self, parts: Sequence[FittedBaseline], channels: Sequence[list[int]]) -> None:
        """Take the parts.

        Args:
            parts: the baseline of each column.
            channels: that each of them reads.
        """
        super().__init__()
        self.parts, self.channels = nn.ModuleList(parts), channels

    def compute_outputs(self, rows: SplitRows) -> Outputs:
        """Return the outputs of each step, column after column, [S, O]."""
        outputs = [
            part.compute_outputs(rows._replace(values_NC=rows.values_NC[:, channels]))
            for part, channels in zip(self.list_parts(), self.channels, strict=True)
        ]
        return np.stack(outputs, axis=2).reshape(len(rows.starts_S), -1)

    def list_parts(self) -> list[FittedBaseline]:
        """List the baselines of the columns."""
        return [part for part in self.parts if isinstance(part, FittedBaseline)]

    def describe(self) -> dict[str, Any]:
        """Return kind and settings of each part, and the channels that it reads."""
        parts = [{"kind": each.kind, "settings": each.describe()} for each in self.list_parts()]
        return {"parts": parts, "channels": list(self.channels)}

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages of the parts."""
        return tuple(dict.fromkeys(name for part in self.list_parts() for name in part.packages))


_FEATURE_BUFFERS = {
    "data_I": torch.float32,
    "column_I": torch.int32,
    "start_R": torch.int64,
}
"""The features of training rows; of dense ones all in the first."""


def build_fitted(kind: str, settings: dict[str, Any]) -> FittedBaseline:
    """Build a baseline whose arrays are restored next.

    Raises:
        KeyError: there is no such kind, or a setting is missing.
    """
    if kind == "constant":
        return ConstantBaseline()
    if kind == "naive":
        return NaiveBaseline(**settings)
    if kind == "columns":
        parts = [build_fitted(each["kind"], each["settings"]) for each in settings["parts"]]
        return ColumnwiseBaseline(parts, settings["channels"])
    reader_kind: ReaderKind = settings["reader"]
    reader = build_reader(reader_kind, settings["reader_settings"])
    if kind == "nearest":
        return NearestBaseline(reader)
    return {"linear": LinearBaseline}[kind](
        reader, num_classes=settings["num_classes"], channel=settings["channel"]
    )


def _describe_reader(reader: Reader) -> dict[str, Any]:
    """Return kind and settings of a reader."""
    return {"reader": reader.kind, "reader_settings": reader.describe()}


def _compute_log_softmax(scores_SO: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log probabilities."""
    shifted_SO = scores_SO - scores_SO.max(axis=1, keepdims=True)
    return np.asarray(shifted_SO - np.log(np.exp(shifted_SO).sum(axis=1, keepdims=True)))
