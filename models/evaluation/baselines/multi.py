"""Cheap baselines for targets of more than one value: tags, forecasts and texts.

Tags: the majority of each label, and a logistic regression for each. Forecasts: ridge regression,
on the values and on their differences from the last value. Texts: the most frequent one, and that
of the nearest training row.
Shapes: S sequences, K labels, T steps of a forecast, F features.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.baselines.features import SplitRows, find_max_length
from models.evaluation.baselines.fitted import (
    LOG_ZERO,
    ConstantBaseline,
    FittedBaseline,
    LinearBaseline,
    NearestBaseline,
)
from models.evaluation.baselines.readers import fit_reader
from models.evaluation.baselines.single import ID_STRENGTH, MAX_ROWS, fit_ridge

FORECAST_ROWS = 10_000
"""Largest number of training windows for a regression of many steps."""

_NO_SYMBOL = -1.0
"""Fills the ids of a text after its end, as the heads do."""


class TextTargets(NamedTuple):
    """The texts of training rows as ids, concatenated."""

    values_M: NDArray[np.float32]
    starts_S: NDArray[np.int64]
    stops_S: NDArray[np.int64]

    def select(self, rows: NDArray[np.int64]) -> "TextTargets":
        """Select rows by index."""
        return TextTargets(self.values_M, self.starts_S[rows], self.stops_S[rows])

    def build_outputs(self, log_probability: float) -> NDArray[np.float32]:
        """Build the outputs that stand for these texts, [S, 1 + L]."""
        lengths_S = self.stops_S - self.starts_S
        outputs = np.full((len(lengths_S), 1 + int(lengths_S.max(initial=0))), _NO_SYMBOL)
        outputs[:, 0] = log_probability
        for row, (start, stop) in enumerate(zip(self.starts_S, self.stops_S, strict=True)):
            outputs[row, 1 : 1 + stop - start] = self.values_M[start:stop]
        return outputs.astype(np.float32)


def fit_tags(training: SplitRows) -> dict[str, FittedBaseline]:
    """Fit each label's share, and a logistic regression for each; `target_S` is [S, K]."""
    from sklearn.linear_model import LogisticRegression

    shares_K = np.clip(training.target_S.mean(axis=0), np.exp(LOG_ZERO), 1 - 1e-12)
    logit_K = np.log(shares_K) - np.log1p(-shares_K)
    fitted: dict[str, FittedBaseline] = {"shares": ConstantBaseline(logit_K)}
    sample = training.subsample(MAX_ROWS)
    varied = np.flatnonzero(sample.target_S.any(axis=0) & ~sample.target_S.all(axis=0))
    if not len(varied):
        return fitted
    reader = fit_reader(sample, flat_steps=find_max_length(training))
    features = reader.transform(sample)
    weight_FK, bias_K = np.zeros((features.shape[1], len(logit_K))), logit_K.copy()
    for label in varied:
        model = LogisticRegression(C=ID_STRENGTH if training.vocab_size else 1.0, max_iter=1000)
        model.fit(features, sample.target_S[:, label])
        weight_FK[:, label], bias_K[label] = model.coef_[0], model.intercept_[0]
    baseline = LinearBaseline(reader)
    baseline.set_weights(weight_FK, bias_K)
    return {**fitted, "logistic regression": baseline}


def fit_forecasts(training: SplitRows, *, channel: int) -> dict[str, FittedBaseline]:
    """Fit ridge regressions of all steps; `target_S` is [S, T], scaled.

    Args:
        training: windows to fit on; those with unknown steps are left out.
        channel: index of the target's own past among the inputs; -1 where it is not an input.
    """
    complete = np.flatnonzero(np.isfinite(training.target_S).all(axis=1))
    if not len(complete):
        return {}
    sample = training.select(complete).subsample(FORECAST_ROWS)
    fitted: dict[str, FittedBaseline] = {"ridge regression": fit_ridge(sample)}
    if channel >= 0 and not training.vocab_size:
        last_S = sample.values_NC[sample.stops_S - 1, channel]
        differenced = sample._replace(target_S=sample.target_S - last_S[:, None])
        fitted["ridge from the last value"] = fit_ridge(differenced, channel=channel)
    return fitted


def fit_texts(training: SplitRows, texts: TextTargets) -> dict[str, FittedBaseline]:
    """Fit the most frequent text, and the text of the nearest training row."""
    codes = [
        texts.values_M[start:stop].tobytes()
        for start, stop in zip(texts.starts_S, texts.stops_S, strict=True)
    ]
    _, first, counts = np.unique(
        np.array(codes, dtype=object), return_index=True, return_counts=True
    )
    most = counts.argmax()
    share = float(np.log(counts[most] / len(codes)))
    frequent = texts.select(first[most : most + 1]).build_outputs(share)
    indices = training.choose_row_indices(MAX_ROWS)
    nearest = NearestBaseline(
        fit_reader(training.select(indices), flat_steps=find_max_length(training))
    )
    # How likely the text of the nearest row is, nothing says.
    nearest.set_rows(training.select(indices), texts.select(indices).build_outputs(np.nan))
    return {"most frequent": ConstantBaseline(frequent[0]), "nearest row": nearest}
