"""What turns sequences into the scaled features of a baseline, with fitted state that can be saved.

Steps are standardized as scikit-learn's `StandardScaler` does, counts of ids weighted as its
`TfidfTransformer` does with a sublinear frequency; both are fitted by scikit-learn, and computed
here without it. Random convolutions standardize themselves.
Shapes: S sequences, F features, U ids and bigrams that occur in training, G static features.
"""

import math
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.evaluation.baselines.features import (
    SplitRows,
    build_scaler,
    compute_step_features,
    count_ids,
)
from models.evaluation.baselines.minirocket import (
    SplitSequences,
    build_rocket,
    compute_convolution_features,
)
from models.networks.rocket import Rocket

ReaderKind = Literal["steps", "ids", "convolutions"]


class Reader(nn.Module):
    """Sequences in, scaled features out."""

    kind: ReaderKind
    packages: tuple[str, ...] = ()
    """Packages that prediction needs besides those of every model."""

    def transform(self, rows: SplitRows) -> Any:  # noqa: ANN401 - an array, or a sparse matrix
        """Return the scaled features, [S, F]."""
        raise NotImplementedError

    def describe(self) -> dict[str, int]:
        """Return the settings that `build_reader` needs."""
        return {}


class StepReader(Reader):
    """The last steps side by side, or summary statistics, standardized."""

    kind = "steps"

    mean_F: Tensor
    scale_F: Tensor

    def __init__(self, *, flat_steps: int, channel: int = -1) -> None:
        """Take the settings.

        Args:
            flat_steps: steps that are laid side by side, where these features are not too many.
            channel: the channel whose steps are read as differences from its last value; -1 for
                none.
        """
        super().__init__()
        self.flat_steps, self.channel = flat_steps, channel
        for name in ("mean_F", "scale_F"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    def fit(self, rows: SplitRows) -> None:
        """Fit mean and scale on the rows."""
        scaler = build_scaler(rows).fit(self.compute_features(rows))
        self.register_buffer("mean_F", torch.from_numpy(scaler.mean_))
        self.register_buffer("scale_F", torch.from_numpy(scaler.scale_))

    def describe(self) -> dict[str, int]:
        """Return the settings."""
        return {"flat_steps": self.flat_steps, "channel": self.channel}

    def transform(self, rows: SplitRows) -> NDArray[np.float64]:
        """Return the standardized features, [S, F]."""
        features_SF = self.compute_features(rows)
        features_SF -= self.mean_F.numpy()
        features_SF /= self.scale_F.numpy()
        return features_SF

    def compute_features(self, rows: SplitRows) -> NDArray[np.float64]:
        """Return the features before scaling, [S, F]."""
        steps_SF = compute_step_features(rows, flat_steps=self.flat_steps)
        channels = rows.values_NC.shape[1]
        if self.channel >= 0 and steps_SF.shape[1] == self.flat_steps * channels:
            steps_SF[:, self.channel :: channels] -= read_last_value(rows, self.channel)[:, None]
        return np.concatenate([steps_SF, rows.static_features_SF], axis=1)


class IdReader(Reader):
    """The ids of each sequence, and its bigrams in texts, weighted by TF-IDF."""

    kind = "ids"
    packages = ("scipy",)

    seen_U: Tensor
    idf_U: Tensor
    unseen_idf: Tensor
    static_scale_G: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen_U", torch.zeros(0, dtype=torch.int64))
        for name in ("idf_U", "static_scale_G"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))
        self.register_buffer("unseen_idf", torch.zeros((), dtype=torch.float64))

    def fit(self, rows: SplitRows) -> None:
        """Fit the inverse document frequencies on the rows."""
        from scipy.sparse import csr_matrix, hstack

        counts = count_ids(rows)
        features = hstack([counts, csr_matrix(rows.static_features_SF)], format="csr")
        fitted = build_scaler(rows).fit(features).named_transformers_
        seen_U = np.unique(counts.indices).astype(np.int64)
        self.register_buffer("seen_U", torch.from_numpy(seen_U))
        self.register_buffer("idf_U", torch.from_numpy(fitted["ids"].idf_[seen_U]))
        unseen_idf = math.log(1 + len(rows.starts_S)) + 1
        self.register_buffer("unseen_idf", torch.tensor(unseen_idf, dtype=torch.float64))
        if "static" in fitted:
            scale_G = np.asarray(fitted["static"].scale_, np.float64)
            self.register_buffer("static_scale_G", torch.from_numpy(scale_G))

    def transform(self, rows: SplitRows) -> Any:  # noqa: ANN401 - a sparse matrix
        """Return the weights of the seen ids and the scaled static features, [S, U + G], sparse.

        Ids that training has not seen have no column, but count in the length of a row, by which
        it is divided.
        """
        from scipy.sparse import csr_matrix, hstack

        counts, seen_U = count_ids(rows), self.seen_U.numpy()
        column_I = np.minimum(np.searchsorted(seen_U, counts.indices), len(seen_U) - 1)
        is_seen_I = seen_U[column_I] == counts.indices
        idf_I = np.where(is_seen_I, self.idf_U.numpy()[column_I], float(self.unseen_idf))
        weight_I = (np.log(counts.data) + 1) * idf_I
        row_I = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        length_S = np.sqrt(np.bincount(row_I, weight_I**2, minlength=counts.shape[0]))
        weight_I /= np.where(length_S > 0, length_S, 1.0)[row_I]
        seen = weight_I[is_seen_I], (row_I[is_seen_I], column_I[is_seen_I])
        ids = csr_matrix(seen, shape=(counts.shape[0], len(seen_U)))
        if not len(self.static_scale_G):
            return ids
        return hstack(
            [ids, csr_matrix(rows.static_features_SF / self.static_scale_G.numpy())], format="csr"
        )


class ConvolutionReader(Reader):
    """Features of random convolutions, after MiniRocket, and static features."""

    kind = "convolutions"

    def __init__(self, *, channels: int, rocket: Rocket | None = None) -> None:
        """Take the convolutions.

        Args:
            channels: of a step.
            rocket: fitted convolutions; None for such as are not fitted yet.
        """
        super().__init__()
        self.channels = channels
        self.rocket = rocket or build_rocket(channels)

    def describe(self) -> dict[str, int]:
        """Return the settings."""
        return {"channels": self.channels}

    def transform(self, rows: SplitRows) -> NDArray[np.float64]:
        """Return the features, [S, F]."""
        sequences = SplitSequences(rows.values_NC, rows.starts_S, rows.stops_S)
        shares_SF = compute_convolution_features(self.rocket, sequences)
        return np.concatenate([shares_SF, rows.static_features_SF], axis=1)


def read_last_value(rows: SplitRows, channel: int) -> NDArray[Any]:
    """Return the last value of a channel of each sequence, [S]."""
    return np.asarray(rows.values_NC[rows.stops_S - 1, channel])


def build_reader(kind: ReaderKind, settings: dict[str, int]) -> Reader:
    """Build a reader that is not fitted yet."""
    if kind == "steps":
        return StepReader(**settings)
    if kind == "ids":
        return IdReader()
    return ConvolutionReader(channels=settings["channels"])


def fit_reader(rows: SplitRows, *, flat_steps: int, channel: int = -1) -> StepReader | IdReader:
    """Fit the reader of steps or of ids on the rows.

    Args:
        rows: to fit on.
        flat_steps: see `StepReader`.
        channel: see `StepReader`.
    """
    reader = IdReader() if rows.vocab_size else StepReader(flat_steps=flat_steps, channel=channel)
    reader.fit(rows)
    return reader
