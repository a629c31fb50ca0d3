"""The rows that each network of a model learns from, and those that it is validated on.

With many rows the validation split is held out from all networks. With few, the rows of training
and validation are cut into stratified folds: each network is validated on a fold of its own and
learns from the others, so that every row is learned from, and every row is predicted once by a
network that has not seen it (out of fold).

Shapes: S sequences of training and validation together, training first; O outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.features.featurizer import Featurizer, load_featurizer
from models.features.splitting.split import TRAINING, VALIDATION
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences
from models.learning.loop import predict
from models.networks.ensemble import Ensemble
from models.networks.network import Network
from tasks.dataset.feature_files import read_sequences
from tasks.training.calibration import compute_sequence_hashes
from tasks.training.data import choose_windows, load_split, load_splits

_FEW_ROWS = 1_000
"""Rows below which folds replace the validation split."""

_MAX_BAGGED_ROWS, _MAX_BAGGED_STEPS = 20_000, 2_000_000
"""Rows, and rows times steps of the longest, up to which `ensemble: auto` trains on folds: its time
is enough for five networks of a recipe."""

_FOLDS = 5

_MIN_ROWS = 2 * _FOLDS
"""Rows from which there are folds: two held out in each."""

_FOLDED_KINDS = {"category", "number", "tags"}

_SEED = 0
"""Of the shuffle of rows into folds: the same for all networks, whatever the seed of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Folds:
    """The rows of training and validation, and the fold that each is held out in."""

    rows: Sequences
    fold_S: NDArray[np.int64]
    """Of each row; -1 for rows that are always learned from."""
    count: int
    index_S: NDArray[np.int64] | None = None
    """Index of each row among those of training and validation; None where all are there."""

    def split(self, index: int) -> tuple[Sequences, Sequences]:
        """Return the rows that a network learns from, and those that it is validated on."""
        held_out_S = self.fold_S == index % self.count
        return self.rows.select(np.flatnonzero(~held_out_S)), self.rows.select(
            np.flatnonzero(held_out_S)
        )

    @property
    def held_out_rows(self) -> NDArray[np.int64]:
        """Indices of the rows that are held out from some network."""
        return np.flatnonzero(self.fold_S >= 0)

    def predict_out_of_fold(self, network: Network | Ensemble) -> Tensor:
        """Return the outputs for the held-out rows, each by the networks that did not learn it.

        Args:
            network: the network, or the ensemble whose members were trained fold after fold.
        """
        config = TrainingConfig(precision="fp32")
        if self.count == 1 or not isinstance(network, Ensemble):
            return predict(network, self.rows.select(self.held_out_rows), config).cpu()
        position_S = np.cumsum(self.fold_S >= 0) - 1
        outputs_SO: Tensor | None = None
        for index in range(self.count):
            rows_S = np.flatnonzero(self.fold_S == index)
            members = [
                member
                for member in list(network.members)[index :: self.count]
                if isinstance(member, Network)
            ]
            stacked = torch.stack(
                [predict(each, self.rows.select(rows_S), config) for each in members]
            )
            own_SO = network.mean(stacked)
            if outputs_SO is None:
                outputs_SO = own_SO.new_empty(len(self.held_out_rows), own_SO.shape[1])
            outputs_SO[torch.from_numpy(position_S[rows_S])] = own_SO
        assert outputs_SO is not None  # noqa: S101 - there are folds
        return outputs_SO


class RowSizes(NamedTuple):
    """The rows of training and validation, in numbers."""

    num_rows: int
    max_length: int
    """Steps of the longest sequence."""


def measure_rows(features_dir: Path) -> RowSizes:
    """Count the rows of training and validation, and the steps of the longest."""
    rows = pl.scan_parquet(features_dir / "sequences.parquet", glob=False).filter(
        pl.col("known") & pl.col("split").is_in([TRAINING, VALIDATION])
    )
    length = pl.col("stop") - pl.col("start")
    count, longest = rows.select(pl.len(), length.max()).collect(engine="streaming").row(0)
    return RowSizes(int(count), int(longest or 0))


def choose_fold_count(training: TrainingConfig, featurizer: Featurizer, sizes: RowSizes) -> int:
    """Return the number of folds; 1 where the validation split is held out."""
    if training.folds != "auto":
        return training.folds
    independent = (
        featurizer.layout.window is None
        and featurizer.split.by != "time"
        and featurizer.split.config.group is None
    )
    fits = independent and featurizer.target.kind in _FOLDED_KINDS
    few = sizes.num_rows < _FEW_ROWS
    if training.ensemble == "auto":
        steps = sizes.num_rows * sizes.max_length
        few = few or (sizes.num_rows <= _MAX_BAGGED_ROWS and steps <= _MAX_BAGGED_STEPS)
    return _FOLDS if fits and few and sizes.num_rows >= _MIN_ROWS else 1


def load_fold(
    features_dir: Path,
    featurizer: Featurizer,
    training: TrainingConfig,
    *,
    device: torch.device,
    streaming: bool,
    fold: int | None,
) -> tuple[Sequences, Sequences]:
    """Load the rows that a network learns from, and those that it is validated on.

    Without a fold these are the splits of training and validation.
    """
    if fold is None:
        learned, held_out = load_splits(features_dir, device, streaming=streaming)
        chosen = choose_windows(len(learned), featurizer, training)
        return learned if chosen is None else learned.select(chosen), held_out
    folds = build_folds(features_dir, featurizer, training, device=device, streaming=streaming)
    learned, held_out = folds.split(fold)
    return learned, replace(held_out, augmentation=None)


def read_training_row_numbers(
    features_dir: Path, training: TrainingConfig, *, fold: int | None
) -> pl.Series:
    """Return the numbers of the source's rows that a network learns from, in their order."""
    featurizer, device = load_featurizer(features_dir), torch.device("cpu")
    if fold is None:
        rows = read_sequences(features_dir, TRAINING, known_only=True, columns=["row"])["row"]
        chosen = choose_windows(len(rows), featurizer, training)
        return rows if chosen is None else rows.gather(chosen)
    folds = build_folds(features_dir, featurizer, training, device=device, streaming=False)
    return read_learning_table(features_dir, ["row"])["row"].filter(folds.fold_S != fold)


def read_fold_table(
    features_dir: Path, featurizer: Featurizer, training: TrainingConfig, fold: int
) -> pl.DataFrame:
    """Read the table of the sequences that are held out in a fold."""
    device = torch.device("cpu")
    folds = build_folds(features_dir, featurizer, training, device=device, streaming=False)
    return read_learning_table(features_dir, ("*",)).filter(folds.fold_S == fold)


def read_learning_table(features_dir: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read the table of the sequences of training and validation, in the order of `Folds`."""
    return pl.concat(
        read_sequences(features_dir, split, known_only=True, columns=columns)
        for split in (TRAINING, VALIDATION)
    )


def build_folds(
    features_dir: Path,
    featurizer: Featurizer,
    training: TrainingConfig,
    *,
    device: torch.device,
    streaming: bool,
) -> Folds:
    """Load the rows of training and validation, and assign them to folds."""
    rows = load_split(features_dir, TRAINING, VALIDATION, device=device, streaming=streaming)
    num_training = len(load_split(features_dir, TRAINING, device=device, streaming=streaming))
    count = choose_fold_count(training, featurizer, measure_rows(features_dir))
    if count == 1:
        fold_S = np.where(np.arange(len(rows)) < num_training, -1, 0)
        return Folds(rows=rows, fold_S=fold_S, count=1)
    classes_S = _read_classes(rows) if featurizer.target.kind == "category" else None
    fold_S = assign_folds(compute_sequence_hashes(rows), classes_S, count, seed=_SEED)
    return Folds(rows=rows, fold_S=fold_S, count=count)


def _read_classes(rows: Sequences) -> NDArray[np.int64]:
    """Return the code of each row's class."""
    return rows.select_targets(np.arange(len(rows))).values_M.cpu().numpy().astype(np.int64)


def assign_folds(
    hash_S: NDArray[np.uint64], classes_S: NDArray[np.int64] | None, count: int, *, seed: int
) -> NDArray[np.int64]:
    """Return the fold of each row: equal sequences together, classes evenly.

    Args:
        hash_S: equal for equal sequences.
        classes_S: by which folds are stratified; None without classes.
        count: of the folds.
        seed: of the shuffle.
    """
    hashes, first, inverse = np.unique(hash_S, return_index=True, return_inverse=True)
    order = np.random.default_rng([seed, count]).permutation(len(hashes))
    if classes_S is not None:
        order = order[np.argsort(classes_S[first[order]], kind="stable")]
    fold_of_hash = np.empty(len(hashes), np.int64)
    fold_of_hash[order] = np.arange(len(hashes)) % count
    return fold_of_hash[inverse]


def read_targets(rows: Sequences, featurizer: Featurizer) -> NDArray[np.float64]:
    """Return the targets, [S, T]: codes of classes, labels as 0 and 1, or scaled numbers."""
    targets = rows.select_targets(np.arange(len(rows)))
    values_M = targets.values_M.cpu().numpy().astype(np.float64)
    if featurizer.target.kind != "tags":
        return values_M.reshape(len(rows), -1)
    present_SK = np.zeros((len(rows), featurizer.target.num_codes))
    known_M = values_M >= 0
    present_SK[targets.sequence_M.cpu().numpy()[known_M], values_M[known_M].astype(int)] = 1
    return present_SK
