"""How a recurrent part and its branches are joined, fitted on rows that none of them has seen.

Shapes: R rows, O outputs, T steps of a forecast, P numbers of each, M mixes, K blocks of rows.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.features.config import TargetKind
from models.networks.blend import Mix, Numbers, mix_outputs
from models.networks.heads.config import HeadConfig

_SHARES = 10
"""Weights are multiples of one by this number."""

_BLOCKS = 8
"""Contiguous blocks of rows by which a gain is judged for numbers."""

_TEMPERATURES = tuple(float(10.0**exponent) for exponent in np.linspace(-2, 1, 61))

_MIN_SCALE = 1e-3

_STUDENT_FREEDOM = 5.0
"""Degrees of freedom of a branch's errors under Student's distribution."""


class PartOutputs(NamedTuple):
    """Outputs for rows that no part was fitted on, and their targets."""

    outputs: Sequence[Tensor]
    """Of the recurrent part, then of each branch, [R, O]."""
    target_RT: Tensor
    """Codes of classes [R, 1], labels as 0 and 1, or scaled numbers; NaN where one is missing."""
    chose_epochs: bool = False
    """Whether these rows also chose the epochs of the recurrent part, which flatters it."""


def fit_mix(parts: PartOutputs, kind: TargetKind, head: HeadConfig) -> Mix:
    """Fit temperatures, or the numbers of a branch's prediction, and the weights."""
    if kind in {"category", "tags"}:
        return _fit_logits_mix(parts, kind)
    return _fit_number_mix(parts, kind, head)


def measure_log_loss(outputs_RO: Tensor, target_RT: Tensor, kind: TargetKind) -> float:
    """Return the log loss of classes or labels at their best temperature."""
    scaled_RO = outputs_RO / _fit_temperature(outputs_RO, target_RT, kind)
    return float(_compute_log_loss(scaled_RO, target_RT, kind).mean())


def _list_weights(parts: int) -> list[tuple[float, ...]]:
    """Return all weights of so many parts that are multiples of the share and sum to one."""
    cuts = itertools.combinations(range(_SHARES + parts - 1), parts - 1)
    return [
        tuple(
            (stop - start - 1) / _SHARES
            for start, stop in itertools.pairwise((-1, *cut, _SHARES + parts - 1))
        )
        for cut in cuts
    ]


def _fit_logits_mix(parts: PartOutputs, kind: TargetKind) -> Mix:
    """Fit a temperature of each part, then the weights by the log loss, then a shared temperature.

    A part is dropped where the equally weighted mean of the others is better by more than one
    standard error. The weights of those that stay are equal unless others are better by as much: on
    few rows fitted weights are rarely better. Where the rows chose the epochs of the recurrent
    part, its weight is at most an equal share.
    """
    count, targets = len(parts.outputs), parts.target_RT
    temperatures = tuple(_fit_temperature(each, targets, kind) for each in parts.outputs)
    mix = Mix(weights=(1 / count,) * count, temperatures=temperatures)

    def compute_losses(weights: Sequence[float]) -> Tensor:
        mixed_RO = mix_outputs(parts.outputs, replace(mix, weights=tuple(weights)), kind)
        return _compute_log_loss(mixed_RO, targets, kind)

    weights = _drop_parts(mix.weights, compute_losses)
    if max(weights) < 1:
        limit = weights[0] if parts.chose_epochs else 1.0
        weights = _weigh_parts(weights, compute_losses, max_recurrent=limit)
    mix = replace(mix, weights=weights)
    # Independent errors make a mean of calibrated parts too cautious (Ranjan and Gneiting 2010).
    shared = _fit_temperature(
        mix_outputs(parts.outputs, mix, kind), targets, kind, doubt=1 / (len(targets) + 2)
    )
    return replace(mix, temperatures=tuple(shared * each for each in temperatures))


def _drop_parts(
    weights: tuple[float, ...], compute_losses: Callable[[Sequence[float]], Tensor]
) -> tuple[float, ...]:
    """Return equal weights of the parts without those that make their mean clearly worse."""
    kept = [index for index, weight in enumerate(weights) if weight]
    if len(kept) == 1:
        return weights
    fewer = []
    for dropped in kept:
        share = 1 / (len(kept) - 1)
        fewer.append(
            tuple(
                share if index in kept and index != dropped else 0.0
                for index in range(len(weights))
            )
        )
    best = _choose_weights(weights, fewer, compute_losses)
    return weights if best == weights else _drop_parts(best, compute_losses)


def _weigh_parts(
    weights: tuple[float, ...],
    compute_losses: Callable[[Sequence[float]], Tensor],
    *,
    max_recurrent: float,
) -> tuple[float, ...]:
    """Return the best weights of several parts: no branch alone is better than their mean.

    Args:
        weights: equal ones; parts without weight stay without.
        compute_losses: returns the log loss of each row.
        max_recurrent: most weight of the recurrent part.
    """
    candidates = [
        each
        for each in _list_weights(len(weights))
        if each[0] <= max_recurrent
        and all(own or not other for own, other in zip(weights, each, strict=True))
    ]
    chosen = _choose_weights(weights, candidates, compute_losses)
    branches = [each for each in candidates if 1.0 in each[1:]]
    best_branch = min(float(compute_losses(each).mean()) for each in branches)
    if float(compute_losses(chosen).mean()) <= best_branch:
        return chosen
    return min(candidates, key=lambda each: float(compute_losses(each).mean()))


def _choose_weights(
    weights: tuple[float, ...],
    candidates: Sequence[tuple[float, ...]],
    compute_losses: Callable[[Sequence[float]], Tensor],
) -> tuple[float, ...]:
    """Return the best candidate if it is better by more than one standard error, else `weights`."""
    excess_MR = compute_losses(weights) - torch.stack([compute_losses(each) for each in candidates])
    best = int(excess_MR.mean(dim=1).argmax())
    excess_R = excess_MR[best]
    error = float(excess_R.std()) / math.sqrt(len(excess_R)) if len(excess_R) > 1 else math.inf
    return candidates[best] if float(excess_R.mean()) > error else weights


def _fit_temperature(
    outputs_RO: Tensor, target_RT: Tensor, kind: TargetKind, *, doubt: float | None = None
) -> float:
    """Return the temperature of the least log loss, of targets that are smoothed as Platt's.

    Of each target a share is given to the other classes, so that few rows that are all classified
    correctly leave room for doubt.

    Args:
        outputs_RO: logits.
        target_RT: codes of classes, or labels as 0 and 1.
        kind: of the target.
        doubt: the share; by default 1 / (n / C + 2) for n rows of C classes.
    """
    rows, classes = outputs_RO.shape
    if doubt is None:
        doubt = 1 / (rows / max(classes, 1) + 2)

    def compute_cost(temperature: float) -> float:
        scaled_RO = outputs_RO.double() / temperature
        if kind == "tags":
            smoothed = target_RT.double() * (1 - 2 * doubt) + doubt
            return float(functional.binary_cross_entropy_with_logits(scaled_RO, smoothed))
        log_RO = scaled_RO.log_softmax(dim=1)
        own_R = log_RO.gather(1, target_RT.long())[:, 0]
        others_R = (log_RO.sum(dim=1) - own_R) / max(classes - 1, 1)
        return -float(((1 - doubt) * own_R + doubt * others_R).mean())

    return min(_TEMPERATURES, key=compute_cost)


def _compute_log_loss(outputs_RO: Tensor, target_RT: Tensor, kind: TargetKind) -> Tensor:
    """Return the log loss of each row, [R]."""
    if kind == "tags":
        return functional.binary_cross_entropy_with_logits(
            outputs_RO.double(), target_RT.double(), reduction="none"
        ).mean(dim=1)
    return functional.cross_entropy(outputs_RO.double(), target_RT[:, 0].long(), reduction="none")


def _fit_number_mix(parts: PartOutputs, kind: TargetKind, head: HeadConfig) -> Mix:
    """Fit the numbers of each branch's prediction, then the weights by blocks of rows.

    The best branch stays alone unless a mix is better by more than one standard error of the log
    ratio of their errors over the blocks.
    """
    _, *branches = parts.outputs
    targets = parts.target_RT.double()
    mix = Mix(
        weights=(0.0, 1.0, *(0.0 for _ in branches[1:])),
        offsets=tuple(fit_offsets(targets - each.double(), head) for each in branches),
        num_locations=len(head.quantiles) if head.loss == "quantile" else 1,
    )
    candidates = [replace(mix, weights=weights) for weights in _list_weights(1 + len(branches))]
    losses_MK = np.stack([_compute_block_losses(parts, each, kind, head) for each in candidates])
    log_MK = np.log(np.maximum(losses_MK, 1e-12))
    alone = [index for index, each in enumerate(candidates) if 1.0 in each.weights[1:]]
    first = min(alone, key=lambda index: float(log_MK[index].mean()))
    gain_MK = log_MK - log_MK[first]
    best = int(gain_MK.mean(axis=1).argmin())
    error = gain_MK[best].std(ddof=1) / math.sqrt(gain_MK.shape[1]) if gain_MK.shape[1] > 1 else 0
    return candidates[best] if gain_MK[best].mean() + error < 0 else candidates[first]


def _compute_block_losses(
    parts: PartOutputs, mix: Mix, kind: TargetKind, head: HeadConfig
) -> NDArray[np.float64]:
    """Return the mean error of each block of rows, squared where the head's loss is, [K]."""
    rows, steps = parts.target_RT.shape
    mixed_RO = mix_outputs(parts.outputs, mix, kind).double()
    column = head.quantiles.index(0.5) if head.loss == "quantile" else 0
    error_RT = (parts.target_RT.double() - mixed_RO.view(rows, steps, -1)[:, :, column]).abs()
    if head.loss == "mse":
        error_RT = error_RT.square()
    blocks = np.array_split(np.arange(rows), min(_BLOCKS, rows))
    return np.array([float(error_RT[torch.from_numpy(block)].nanmean()) for block in blocks])


def fit_offsets(error_RT: Tensor, head: HeadConfig) -> Numbers:
    """Return what makes the numbers of the head's prediction of a branch's number, [T][P].

    Args:
        error_RT: targets less the branch's numbers.
        head: whose loss says what the numbers are.
    """
    zero_T = torch.zeros(error_RT.shape[1], dtype=torch.float64)
    scale_T = torch.nanmean(error_RT.square(), dim=0).sqrt().clamp_min(_MIN_SCALE)
    if head.loss == "quantile":
        levels = error_RT.new_tensor(head.quantiles)
        return _to_tuples(torch.nanquantile(error_RT, levels, dim=0).T)
    if head.loss == "gaussian_nll":
        return _to_tuples(torch.stack([zero_T, scale_T], dim=1))
    if head.loss == "student_t":
        freedom_T = torch.full_like(zero_T, _STUDENT_FREEDOM)
        own_T = scale_T * math.sqrt((_STUDENT_FREEDOM - 2) / _STUDENT_FREEDOM)
        return _to_tuples(torch.stack([zero_T, own_T, freedom_T], dim=1))
    return _to_tuples(zero_T[:, None])


def _to_tuples(offset_TP: Tensor) -> Numbers:
    """Return the rows as tuples."""
    return tuple(tuple(row) for row in offset_TP.tolist())
