"""What training judges its epochs by: the truth of the validation rows, and a metric of it.

Shapes: S sequences, M numbers of all answers, T steps of a forecast.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluation.epoch_scores import DEAR, Truth, measure_of, more_is_better, usual_metric
from models.features.config import MINED
from models.features.featurizer import Featurizer
from models.features.splitting.split import VALIDATION
from models.features.target import Target
from models.learning.callbacks import Judge
from models.learning.config import TrainingConfig
from models.networks.heads.config import HeadConfig
from tasks.dataset.feature_files import map_answers, read_sequences
from tasks.dataset.labels import ahead, held_labels


def validation_judge(
    features_dir: Path,
    featurizer: Featurizer,
    head: HeadConfig,
    training: TrainingConfig,
    *,
    rows_S: NDArray[np.int64] | None = None,
) -> Judge | None:
    """Make what measures the validation's answers; None where that would cost too much.

    Answers that are scaled series by series are measured on that scale, so that no series
    outweighs the others.

    Args:
        features_dir: with the answers.
        featurizer: with the target.
        head: how answers are made.
        training: with the metric.
        rows_S: which of the validation rows are measured; all of them where left out.
    """
    target, decides = featurizer.target, training.early_stopping_metric != "loss"
    if not decides and target.kind in DEAR:
        return None
    name = training.early_stopping_metric if decides else usual_metric(target.kind)
    own = replace(target, mean=0.0, spread=1.0, entities={}) if target.entities else target
    truth = Truth(truth_of(features_dir, featurizer, own, rows_S), own, head)
    return Judge(name, more_is_better(name), measure_of(name, truth), decides)


def truth_of(
    features_dir: Path,
    featurizer: Featurizer,
    target: Target,
    rows_S: NDArray[np.int64] | None = None,
) -> Any:  # noqa: ANN401 - by the kind
    """Give the validation's answers, as `models.evaluation.epoch_scores.Truth` has them."""
    if target.kind in MINED:
        return None
    column = "answer" if target.kind in {"tags", "text"} else "answer_start"
    table = read_sequences(features_dir, VALIDATION, learned=True, columns=[column])
    if rows_S is not None:
        table = table[rows_S]
    if target.kind == "tags":
        return held_labels(table["answer"], target)
    if target.kind == "text":
        return table["answer"].cast(pl.String)
    if target.kind == "forecast":
        return ahead(table, features_dir, featurizer) * target.spread + target.mean
    values_S = map_answers(features_dir)[table["answer_start"].to_numpy()].astype(np.float64)
    return values_S if target.kind == "category" else values_S * target.spread + target.mean
