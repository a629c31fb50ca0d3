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

_BLOCKS, _MIN_BLOCKS = 8, 4
"""Contiguous blocks of rows by which a gain is judged for numbers; with fewer, weights are not
fitted to it."""

_MIN_ROWS = 10
"""Rows from which weights of classes are fitted."""

_MAX_RECURRENT_SHARE = 0.5
"""Weight of the recurrent part up to which a forecast is mixed without a clear proof."""

_CLEAR_GAIN = 0.1
"""Share of the error that more weight has to save: less may be what the recurrent part owes to its
choice of the epoch, and what it lacks of the newest rows is not seen on them."""

_LEAST_SHARE = 0.2
"""Of few rows, the weight below which a part is left out."""

_TEMPERATURES = tuple(float(10.0**exponent) for exponent in np.linspace(-2, 1, 61))

_MIN_SCALE = 1e-3

_STUDENT_FREEDOM = 5.0
"""Degrees of freedom of a branch's errors under Student's distribution."""


Restore = Callable[[Tensor], Tensor]
"""From scaled numbers of all rows, [R, T], to the unit of the target."""


class PartOutputs(NamedTuple):
    """Outputs for rows that no part was fitted on, and their targets."""

    outputs: Sequence[Tensor]
    """Of the recurrent part, then of each branch, [R, O]."""
    target_RT: Tensor
    """Codes of classes [R, 1], labels as 0 and 1, or scaled numbers; NaN where one is missing."""
    chose_epochs: bool = False
    """Whether these rows also chose the epochs of the recurrent part, which flatters it."""
    restore: Restore | None = None
    """Where errors count in the unit of the target; None where they count as they are scaled."""
    is_naive: bool = False
    """Whether the best branch is a naive forecast, against which chance finds the most gains."""
    horizon: int = 0
    """Steps that a window reaches ahead, by which neighbouring windows depend on each other; 0 for
    rows that do not."""


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
    part, its weight is at most an equal share. Of less than ten rows nothing can be told: the first
    branch, which has the strongest prior, predicts alone.
    """
    count, targets = len(parts.outputs), parts.target_RT
    temperatures = tuple(_fit_temperature(each, targets, kind) for each in parts.outputs)
    mix = Mix(weights=(1 / count,) * count, temperatures=temperatures)
    if len(targets) < _MIN_ROWS and count > 1:
        return replace(mix, weights=tuple(float(index == 1) for index in range(count)))

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

    Where the best branch is a naive forecast it stays alone unless a mix is better by more than two
    standard errors of the log ratio of their errors over the blocks; of other branches a mean with
    what errs differently is the safer forecast, and the best mix is taken. The recurrent part of
    windows has at most a half, unless more saves a tenth of the error and three standard errors: it
    chose its epoch by these rows and does not learn from them, where the branch is fitted again
    with them. Where the windows are too few for that, both are weighed by their squared errors.
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
    if parts.horizon and losses_MK.shape[1] < _MIN_BLOCKS:
        return _weigh_by_errors(candidates, losses_MK, is_squared=_is_squared(parts, head))
    log_MK = np.log(np.maximum(losses_MK, 1e-12))
    alone = [index for index, each in enumerate(candidates) if 1.0 in each.weights[1:]]
    first = min(alone, key=lambda index: float(log_MK[index].mean()))
    every = list(range(len(candidates)))
    safe = [
        index
        for index, each in enumerate(candidates)
        if not parts.horizon or each.recurrent_weight <= _MAX_RECURRENT_SHARE
    ]
    best = _choose_better(log_MK, first, safe, standard_errors=2.0 if parts.is_naive else 0.0)
    return candidates[
        _choose_better(log_MK, best, every, standard_errors=3.0, least_gain=_CLEAR_GAIN)
    ]


def _choose_better(
    log_MK: NDArray[np.float64],
    first: int,
    others: Sequence[int],
    *,
    standard_errors: float,
    least_gain: float = 0.0,
) -> int:
    """Return the best of some mixes, or the first where that is not better by so much.

    Args:
        log_MK: logarithms of the errors of each mix in each block.
        first: the mix that stays without evidence.
        others: mixes to choose from.
        standard_errors: of the mean log ratio over the blocks.
        least_gain: least share of the error that the mix saves.
    """
    best = min(others, key=lambda index: float(log_MK[index].mean()))
    gain_K = log_MK[best] - log_MK[first]
    error = gain_K.std(ddof=1) / math.sqrt(len(gain_K)) if len(gain_K) > 1 else 0.0
    needed = max(standard_errors * error, -math.log1p(-least_gain))
    return best if -gain_K.mean() > needed else first


def _is_squared(parts: PartOutputs, head: HeadConfig) -> bool:
    """Return whether errors are squared."""
    return head.loss == "mse" and parts.restore is None


def _weigh_by_errors(
    candidates: Sequence[Mix], losses_MK: NDArray[np.float64], *, is_squared: bool
) -> Mix:
    """Weigh the recurrent part and the best branch by the inverse of their squared errors.

    As Bates and Granger (1969) combine forecasts whose errors are not correlated.
    """
    loss_M = losses_MK.mean(axis=1)
    alone = {each.weights.index(1.0): i for i, each in enumerate(candidates) if 1.0 in each.weights}
    branch = min((part for part in alone if part), key=lambda part: float(loss_M[alone[part]]))
    power = 1 if is_squared else 2
    own, other = (float(max(loss_M[alone[part]], 1e-12) ** power) for part in (0, branch))
    share = min(round(_SHARES * other / (own + other)) / _SHARES, _MAX_RECURRENT_SHARE)
    share = share if share >= _LEAST_SHARE else 0.0
    weights = [0.0] * len(candidates[0].weights)
    weights[0], weights[branch] = share, 1 - share
    return replace(candidates[0], weights=tuple(weights))


def _compute_block_losses(
    parts: PartOutputs, mix: Mix, kind: TargetKind, head: HeadConfig
) -> NDArray[np.float64]:
    """Return the mean error of each block of rows, [K].

    In the unit of the target it is absolute, as the metric of a forecast, else squared where the
    head's loss is.
    """
    rows, steps = parts.target_RT.shape
    mixed_RO = mix_outputs(parts.outputs, mix, kind).double()
    column = head.quantiles.index(0.5) if head.loss == "quantile" else 0
    numbers = (parts.target_RT.double(), mixed_RO.view(rows, steps, -1)[:, :, column])
    target_RT, mixed_RT = (parts.restore(each) if parts.restore else each for each in numbers)
    error_RT = (target_RT - mixed_RT).abs()
    if _is_squared(parts, head):
        error_RT = error_RT.square()
    count = max(1, min(_BLOCKS, rows // max(1, parts.horizon)))
    blocks = np.array_split(np.arange(rows), count)
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
