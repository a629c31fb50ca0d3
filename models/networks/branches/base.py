"""What branches have in common: from sequences to features, from features to outputs.

A branch is fitted without gradients. Its features are computed once for all rows; its outputs have
the form of the network's head: logits of classes and labels, numbers on the scale of the targets.

Shapes: N steps of all sequences, B sequences, R rows, C channels, F features, O outputs.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.networks.inputs.front import StaticBatch
from models.networks.jagged import Offsets

BranchTarget = Literal["category", "tags", "number"]
"""What a branch predicts: logits of classes, of labels, or scaled numbers."""


class SequenceBatch(NamedTuple):
    """Sequences end to end, with their static covariates."""

    values_NC: Tensor
    offsets: Offsets
    statics: StaticBatch


class BranchSpec(NamedTuple):
    """What a branch has to predict."""

    kind: BranchTarget
    num_outputs: int
    """Classes, labels, or numbers."""
    static_sizes: tuple[int, ...] = ()
    """Number of categories of each categorical static covariate."""


Features = Any
"""[R, F]: a tensor, or a sparse matrix of scipy."""


class Branch(nn.Module):
    """Base class."""

    packages: tuple[str, ...] = ()
    """Packages that prediction needs besides those of every model."""

    inverse_penalties: tuple[float, ...] = ()
    """Of its fit, to choose from by rows that it has not seen; none where it chooses itself."""

    def __init__(self, spec: BranchSpec, *, inverse_penalty: float = 1.0) -> None:
        """Take the settings.

        Args:
            spec: what is predicted.
            inverse_penalty: C of a logistic regression.
        """
        super().__init__()
        self.spec, self.inverse_penalty = spec, inverse_penalty

    def fit_features(self, batches: Iterable[SequenceBatch]) -> None:
        """Fit what the features need of the rows, without their targets."""
        raise NotImplementedError

    def compute_features(self, batch: SequenceBatch) -> Features:
        """Return the features of some sequences, [B, F]."""
        raise NotImplementedError

    def join_features(self, parts: list[Features]) -> Features:
        """Return the features of all batches, [R, F]."""
        return torch.cat(parts)

    def select_rows(self, features: Features, rows: NDArray[np.int64]) -> Features:
        """Return the features of some rows."""
        return features[torch.from_numpy(rows)]

    def fit(self, features: Features, target_RO: NDArray[np.float64]) -> None:
        """Fit the weights.

        Args:
            features: of the rows.
            target_RO: codes of classes [R, 1], labels as 0 and 1, or scaled numbers.
        """
        raise NotImplementedError

    def predict(self, features: Features) -> Tensor:
        """Return the outputs, [B, O]."""
        raise NotImplementedError

    def fit_rows(
        self, features: Features, rows: NDArray[np.int64], target_RO: NDArray[np.float64]
    ) -> None:
        """Fit the weights on some rows of features and targets."""
        self.fit(self.select_rows(features, rows), target_RO[rows])

    @torch.no_grad()
    def forward(
        self, values_NC: Tensor, offsets: Offsets, statics: StaticBatch | None = None
    ) -> Tensor:
        """Return the outputs of sequences, [B, O]."""
        batch = SequenceBatch(values_NC, offsets, statics or make_empty_statics(len(offsets)))
        return self.predict(self.compute_features(batch)).to(values_NC.device)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the buffers of a saved branch, whatever their sizes."""
        modules = dict(self.named_modules())
        for name, tensor in tensors.items():
            owner, _, own = name.rpartition(".")
            modules[owner].register_buffer(own, tensor)

    def set_buffer(self, name: str, tensor: Tensor) -> None:
        """Set a buffer, whatever its size was."""
        self.register_buffer(name, tensor.contiguous())


def make_empty_statics(rows: int) -> StaticBatch:
    """Return the static covariates of rows that have none."""
    return StaticBatch(torch.zeros(rows, 0, dtype=torch.int32), torch.zeros(rows, 0))


MAX_ONE_HOT = 100
"""Categories up to which a static covariate is read one-hot."""


def encode_statics(statics: StaticBatch, sizes: tuple[int, ...]) -> Tensor:
    """Encode static covariates as numbers [B, F], categories one-hot."""
    parts = [statics.numbers_BF.float().cpu()]
    for column, size in enumerate(sizes):
        if size <= MAX_ONE_HOT:
            codes_B = statics.codes_BK[:, column].long().cpu()
            parts.append(nn.functional.one_hot(codes_B, size).float())
    return torch.cat(parts, dim=1)


def code_targets(target_RO: NDArray[np.float64], spec: BranchSpec) -> Tensor:
    """Return the targets that a regression fits: classes and labels as -1 and 1, numbers as is."""
    if spec.kind == "number":
        return torch.from_numpy(target_RO)
    if spec.kind == "tags":
        return torch.from_numpy(2 * target_RO - 1)
    codes_R = torch.from_numpy(target_RO[:, 0]).long()
    return 2.0 * nn.functional.one_hot(codes_R, spec.num_outputs).double() - 1.0
