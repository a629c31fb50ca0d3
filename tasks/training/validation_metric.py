"""The metric of each epoch of training, on the validation rows.

Shapes: S sequences, M target numbers, T steps of a forecast.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluation.epoch_scores import (
    EXPENSIVE_KINDS,
    ValidationTargets,
    build_metric_function,
    get_default_metric,
    is_higher_better,
)
from models.features.config import SELF_SUPERVISED
from models.features.featurizer import Featurizer
from models.features.splitting.split import VALIDATION
from models.features.target import Target
from models.learning.callbacks import ValidationMetric
from models.learning.config import TrainingConfig
from models.networks.heads.config import HeadConfig
from tasks.dataset.feature_files import map_targets, read_sequences
from tasks.dataset.labels import encode_tags, read_scaled_targets
from tasks.training.folds import read_fold_table


def build_validation_metric(
    features_dir: Path,
    featurizer: Featurizer,
    head: HeadConfig,
    training: TrainingConfig,
    *,
    rows_S: NDArray[np.int64] | None = None,
    fold: int | None = None,
) -> ValidationMetric | None:
    """Build the validation metric; None where decoding each epoch would take too long.

    Targets that are scaled series by series, or column by column, are measured on that scale, so
    that none outweighs the others.

    Args:
        features_dir: with the targets.
        featurizer: with the fitted target.
        head: how predictions are made.
        training: with the name of the metric.
        rows_S: indices of the validation rows that are measured; None for all of them.
        fold: the fold whose rows are measured; None for the validation split.
    """
    table = read_sequences(features_dir, VALIDATION, known_only=True)
    if fold is not None:
        table = read_fold_table(features_dir, featurizer, training, fold)
    elif rows_S is not None:
        table = table[rows_S]
    target, stops_training = featurizer.target, training.early_stopping_metric != "loss"
    if not stops_training and target.kind in EXPENSIVE_KINDS:
        return None
    name = training.early_stopping_metric if stops_training else get_default_metric(target.kind)
    unscaled = _remove_scale(target)
    targets = ValidationTargets(
        load_validation_targets(features_dir, featurizer, unscaled, table), unscaled, head
    )
    return ValidationMetric(
        name, is_higher_better(name), build_metric_function(name, targets), stops_training
    )


def _remove_scale(target: Target) -> Target:
    """Return a target whose errors are measured as they are scaled, where series are one by one."""
    if target.parts:
        return replace(target, parts=tuple(_standardize(part) for part in target.parts))
    return _standardize(target) if target.entities else target


def _standardize(target: Target) -> Target:
    """Return a target whose numbers are as the network sees them."""
    return replace(target, mean=0.0, std=1.0, entities={}, log_range=None)


def load_validation_targets(
    features_dir: Path,
    featurizer: Featurizer,
    target: Target,
    table: pl.DataFrame,
) -> Any:  # noqa: ANN401 - by the kind
    """Load the targets in the form that `ValidationTargets` takes; None if self-supervised."""
    if target.kind in SELF_SUPERVISED:
        return None
    if target.kind == "tags":
        return encode_tags(table["target"], target)
    if target.kind == "text":
        return table["target"].cast(pl.String)
    if target.kind == "forecast":
        scaled_ST = read_scaled_targets(table, features_dir, featurizer).astype(np.float64)
        return target.from_units(scaled_ST * target.std + target.mean)
    values_S = map_targets(features_dir)[table["target_start"].to_numpy()].astype(np.float64)
    return values_S if target.kind == "category" else values_S * target.std + target.mean
