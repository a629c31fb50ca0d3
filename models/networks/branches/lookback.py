"""Linear models of the last steps, for windows: forecasts, numbers and classes.

A forecast is the better of the naive forecasts (the last value, the value one season before) and a
ridge regression on some of the last steps, measured from the last value, from the seasonal naive
forecast, or from nothing. Which one, on how many steps and with which penalty, is chosen by rolling
origins within the rows; the naive forecast stays unless the regression is better by more than two
standard errors. Classes are predicted by logistic regression on all steps.

Shapes: N steps, B sequences, R rows, C channels, L steps of a window, F features, T steps ahead,
O outputs.
"""

import itertools
import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.networks.branches.base import Branch, BranchSpec, SequenceBatch, encode_statics
from models.networks.branches.ridge import RidgeSolver

Anchor = Literal["none", "last", "season"]

Others = Literal["none", "last", "all"]
"""No step, the last one (which has the calendar and the covariates of now), or as many."""

ORIGINS = 4
"""Blocks of the last rows, each forecast from the rows before it."""

_BLOCK_SHARE = 0.1
"""Share of the rows in each block."""

_PENALTIES = tuple(float(10.0**exponent) for exponent in range(-5, 3))

_INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""C of the logistic regression of classes."""

_MAX_ROWS = 20_000

_MAX_SEASON, _SEASON_ROWS = 400, 1_000
"""Longest season, and rows by which seasons are compared."""

_SEASON_GAIN = 0.98
"""Error of a seasonal naive forecast, relative to the last value, below which there is a season."""

MAX_FEATURES = 2_000
"""Features up to which the steps of all channels are read; else only those of the target."""


class _Candidate(NamedTuple):
    """What a regression reads, and from where it measures."""

    anchor: Anchor
    steps: int
    """Last steps that are read; 0 for the naive forecast itself."""
    others: Others
    """Which steps of the channels other than the target's own past are read."""


class LookbackBranch(Branch):
    """A linear model of the steps of a window."""

    weight_FO: Tensor
    bias_O: Tensor
    column_F: Tensor
    anchor_code: Tensor
    season_length: Tensor

    def __init__(
        self,
        spec: BranchSpec,
        *,
        channels: int,
        steps: int,
        own_channel: int,
        inverse_penalty: float,
    ) -> None:
        """Take the settings.

        Args:
            spec: what is predicted.
            channels: of a step.
            steps: of a window.
            own_channel: the channel with the past of the target on its scale; -1 for none.
            inverse_penalty: C of the logistic regression of classes.
        """
        super().__init__(spec, inverse_penalty=inverse_penalty)
        self.inverse_penalties = _INVERSE_PENALTIES if spec.kind == "category" else ()
        self.channels, self.steps, self.own_channel = channels, steps, own_channel
        self.register_buffer("weight_FO", torch.zeros(0, spec.num_outputs))
        self.register_buffer("bias_O", torch.zeros(spec.num_outputs))
        self.register_buffer("column_F", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("anchor_code", torch.zeros((), dtype=torch.int64))
        self.register_buffer("season_length", torch.ones((), dtype=torch.int64))

    def fit_features(self, batches: Iterable[SequenceBatch]) -> None:
        """Fit nothing: steps are scaled already."""

    def compute_features(self, batch: SequenceBatch) -> Tensor:
        """Return the last steps and the static covariates, [B, F].

        Where a window at the beginning of a series is shorter, zeros stand before its first step,
        or copies of that step if the target's own past is among the channels: its level is not
        that of all series.
        """
        values_NC = batch.values_NC.float().cpu()
        bounds = batch.offsets.bounds
        index_BL = torch.from_numpy(bounds[1:, None] - self.steps + np.arange(self.steps))
        first_B1 = torch.from_numpy(bounds[:-1, None])
        flat_BLC = values_NC[index_BL.maximum(first_B1)]
        if self.own_channel < 0:
            flat_BLC = flat_BLC * (index_BL >= first_B1)[:, :, None]
        statics = encode_statics(batch.statics, self.spec.static_sizes)
        return torch.cat([flat_BLC.nan_to_num().flatten(1), statics], dim=1)

    def fit(self, features: Tensor, target_RO: NDArray[np.float64]) -> None:
        """Choose and fit the model."""
        if self.spec.kind == "category":
            self._fit_classes(features, target_RO)
            return
        known_R = np.isfinite(target_RO).all(axis=1)
        features, target_RO = features[torch.from_numpy(known_R)], target_RO[known_R]
        if len(target_RO) > _MAX_ROWS:
            features, target_RO = features[-_MAX_ROWS:], target_RO[-_MAX_ROWS:]
        targets = torch.from_numpy(target_RO).float()
        self.set_buffer("season_length", torch.tensor(self._find_season(features, targets)))
        candidate, penalty = self._choose(features, targets)
        self._set(candidate, features, targets, penalty=penalty)

    def predict(self, features: Tensor) -> Tensor:
        """Return the outputs, [B, O]."""
        anchor: Anchor = _ANCHORS[int(self.anchor_code)]
        read_RF = self._read(features, anchor)[:, self.column_F]
        return read_RF @ self.weight_FO + self.bias_O + self._compute_anchor(features, anchor)

    @property
    def season(self) -> int:
        """Steps of the season that was found; 1 for none."""
        return int(self.season_length)

    @property
    def is_naive(self) -> bool:
        """Whether it repeats the last value, or that of the season before."""
        return self.own_channel >= 0 and not len(self.column_F)

    def _find_season(self, features: Tensor, targets: Tensor) -> int:
        """Return the season of the best seasonal naive forecast; 1 where none beats the last value.

        The forecasts of every season that fits into a window are compared on evenly spread rows.
        """
        if self.own_channel < 0:
            return 1
        spread = torch.linspace(0, len(features) - 1, min(_SEASON_ROWS, len(features))).long()
        past_BL, target_BO = self._get_past(features[spread]), targets[spread]
        last = float((target_BO - past_BL[:, -1:]).abs().mean())
        ahead = torch.arange(self.spec.num_outputs)
        errors = {
            season: float(
                (target_BO - past_BL[:, self.steps - season + ahead % season]).abs().mean()
            )
            for season in range(2, min(self.steps, _MAX_SEASON) + 1)
        }
        if not errors:
            return 1
        season = min(errors, key=lambda each: errors[each])
        return season if errors[season] < _SEASON_GAIN * last else 1

    def _choose(self, features: Tensor, targets: Tensor) -> tuple[_Candidate, float]:
        """Choose candidate and penalty by the errors over the rolling origins."""
        blocks = _cut_blocks(len(features), gap=self.spec.num_outputs)
        naive = {
            anchor: [
                self._measure_naive(features[test], targets[test], anchor) for _, test in blocks
            ]
            for anchor in self._list_anchors()
        }
        naive_anchor = min(naive, key=lambda anchor: sum(naive[anchor]))
        best, best_score = (_Candidate(naive_anchor, 0, "none"), 0.0), math.inf
        for candidate in self._list_candidates():
            errors = self._measure_candidate(features, targets, candidate, blocks)
            for penalty, error_K in zip(_PENALTIES, errors, strict=True):
                gain_K = np.log(np.maximum(error_K, 1e-12)) - np.log(
                    np.maximum(naive[naive_anchor], 1e-12)
                )
                score = float(gain_K.mean())
                standard_error = float(gain_K.std(ddof=1) / math.sqrt(len(gain_K)))
                proven = self.own_channel < 0 or score + 2 * standard_error < 0
                if proven and score < best_score:
                    best, best_score = (candidate, penalty), score
        return best

    def _measure_naive(self, features: Tensor, targets: Tensor, anchor: Anchor) -> float:
        """Return the mean absolute error of an anchor as the forecast."""
        return float((targets - self._compute_anchor(features, anchor)).abs().mean())

    def _measure_candidate(
        self,
        features: Tensor,
        targets: Tensor,
        candidate: _Candidate,
        blocks: list[tuple[slice, slice]],
    ) -> list[NDArray[np.float64]]:
        """Return the mean absolute error of each penalty in each block."""
        columns = self._list_columns(candidate, features.shape[1])
        read_RF = self._read(features, candidate.anchor)[:, columns]
        moved_RO = targets - self._compute_anchor(features, candidate.anchor)
        errors = []
        for training, test in blocks:
            solver = RidgeSolver(read_RF[training], moved_RO[training])
            errors.append(
                [
                    float(
                        (moved_RO[test] - solver.solve(penalty).predict(read_RF[test])).abs().mean()
                    )
                    for penalty in _PENALTIES
                ]
            )
        return list(np.array(errors).T)

    def _set(
        self, candidate: _Candidate, features: Tensor, targets: Tensor, *, penalty: float
    ) -> None:
        """Fit the chosen candidate on all rows."""
        columns = self._list_columns(candidate, features.shape[1])
        self.set_buffer("column_F", columns)
        self.set_buffer("anchor_code", torch.tensor(_ANCHORS.index(candidate.anchor)))
        outputs = self.spec.num_outputs
        weight_FO, bias_O = torch.zeros(len(columns), outputs), torch.zeros(outputs)
        if len(columns):
            read_RF = self._read(features, candidate.anchor)[:, columns]
            moved_RO = targets - self._compute_anchor(features, candidate.anchor)
            weight_FO, bias_O = RidgeSolver(read_RF, moved_RO).solve(penalty)
        elif candidate.anchor == "none":
            bias_O = targets.mean(dim=0)
        self.set_buffer("weight_FO", weight_FO)
        self.set_buffer("bias_O", bias_O)

    def _fit_classes(self, features: Tensor, target_RO: NDArray[np.float64]) -> None:
        """Fit a logistic regression on standardized features."""
        from sklearn.linear_model import LogisticRegression

        if len(features) > _MAX_ROWS:
            kept = np.linspace(0, len(features) - 1, _MAX_ROWS).round().astype(np.int64)
            features, target_RO = features[torch.from_numpy(kept)], target_RO[kept]
        columns = torch.arange(features.shape[1])
        mean_F, std_F = features.mean(dim=0), features.std(dim=0, correction=0)
        std_F = torch.where(std_F > 1e-6, std_F, 1.0)
        codes_R = target_RO[:, 0].astype(np.int64)
        present = np.unique(codes_R)
        weight_FO = torch.zeros(len(columns), self.spec.num_outputs)
        bias_O = torch.full((self.spec.num_outputs,), -20.0)
        bias_O[present] = 0.0
        if len(present) > 1:
            model = LogisticRegression(C=self.inverse_penalty, max_iter=300, tol=1e-4)
            model.fit(((features - mean_F) / std_F).numpy(), codes_R)
            weights, biases = model.coef_, model.intercept_
            if len(present) == 2:
                weights, biases = (np.concatenate([-each, each]) / 2 for each in (weights, biases))
            own_FO = torch.from_numpy(np.float32(weights.T)) / std_F[:, None]
            weight_FO[:, present] = own_FO
            bias_O[present] = torch.from_numpy(np.float32(biases)) - mean_F @ own_FO
        self.set_buffer("column_F", columns)
        self.set_buffer("weight_FO", weight_FO)
        self.set_buffer("bias_O", bias_O)

    def _list_anchors(self) -> list[Anchor]:
        """Return the anchors that this target has."""
        if self.own_channel < 0:
            return ["none"]
        return ["last", "season"] if self.season > 1 else ["last"]

    def _list_candidates(self) -> list[_Candidate]:
        """Return the regressions that are tried."""
        season, horizon = self.season, self.spec.num_outputs
        lengths = {self.steps, horizon, *(count * season for count in (1, 2, 4) if season > 1)}
        anchors: list[Anchor] = ["none", *(a for a in self._list_anchors() if a != "none")]
        others: list[Others] = ["none", "last", "all"] if self.channels > 1 else ["none"]
        candidates = [
            _Candidate(anchor, steps, read)
            for anchor, steps, read in itertools.product(
                anchors, sorted(length for length in lengths if length <= self.steps), others
            )
            if read != "all" or steps * self.channels <= MAX_FEATURES
        ]
        if self.own_channel < 0:
            candidates = [each for each in candidates if each.others == "all" or self.channels == 1]
        return candidates

    def _list_columns(self, candidate: _Candidate, features: int) -> Tensor:
        """Return the columns of the features that a candidate reads, static covariates last."""
        if not candidate.steps:
            return torch.zeros(0, dtype=torch.int64)
        grid_LC = torch.arange(self.steps * self.channels).view(self.steps, self.channels)
        recent = grid_LC[self.steps - candidate.steps :]
        statics = torch.arange(self.steps * self.channels, features)
        if candidate.others == "all" or self.own_channel < 0:
            return torch.cat([recent.flatten(), statics])
        last = torch.cat([grid_LC[-1, : self.own_channel], grid_LC[-1, self.own_channel + 1 :]])
        last = last if candidate.others == "last" else last[:0]
        return torch.cat([recent[:, self.own_channel], last, statics])

    def _read(self, features: Tensor, anchor: Anchor) -> Tensor:
        """Return the features, the target's own past as distances from its last value."""
        if anchor == "none" or self.own_channel < 0:
            return features
        moved = features.clone()
        stop = self.steps * self.channels
        moved[:, self.own_channel : stop : self.channels] -= self._get_past(features)[:, -1:]
        return moved

    def _get_past(self, features: Tensor) -> Tensor:
        """Return the past of the target, [B, L]."""
        stop = self.steps * self.channels
        return features[:, self.own_channel : stop : self.channels]

    def _compute_anchor(self, features: Tensor, anchor: Anchor) -> Tensor:
        """Return the naive forecast, [B, O]; zeros for no anchor."""
        outputs = self.spec.num_outputs
        if anchor == "none" or self.own_channel < 0:
            return torch.zeros(len(features), outputs)
        past_BL = self._get_past(features)
        if anchor == "last":
            return past_BL[:, -1:].expand(-1, outputs)
        return past_BL[:, self.steps - self.season + torch.arange(outputs) % self.season]


_ANCHORS: tuple[Anchor, ...] = ("none", "last", "season")


def _cut_blocks(rows: int, *, gap: int) -> list[tuple[slice, slice]]:
    """Cut the last rows into blocks, each with the rows before it less a gap."""
    size = max(1, int(rows * _BLOCK_SHARE))
    blocks = []
    for start in range(rows - ORIGINS * size, rows, size):
        before = max(2, start - gap) if start > 4 else start
        if before >= 2:
            blocks.append((slice(0, before), slice(start, start + size)))
    return blocks
