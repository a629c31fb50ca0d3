"""Selection of the networks and branches that predict together, on rows that none has learned from.

Greedy ensemble selection with replacement (Caruana et al. 2004): from a good start, the part that
lowers the loss of the mean most is added again and again, until none does; how often a part was
added is its weight. On few rows it fits the noise of these rows. There the best networks, those
within one standard error of the best one, count equally, and are joined with the branches as a
single network is. Greedy weights are taken only where they are better than that by more than one
standard error. What is chosen is never worse on these rows than the best single part, nor than the
first network joined with the branches.

Shapes: P parts, networks first; N networks, R rows, O outputs, K losses (of rows, or of blocks).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.features.config import TargetKind
from models.mixing import PartOutputs, fit_mix
from models.networks.blend import Mix, mix_outputs
from models.networks.heads.config import HeadConfig
from models.networks.selected_ensemble import scale_outputs

_FEW_ROWS = 400
"""Rows below which greedy weights are not considered."""

_MAX_ROUNDS = 25

_START_SIZE = 10
"""How often the start counts: the first parts that are added change its weights by a tenth."""

_MIN_GAIN = 1e-4
"""Share of the loss by which a part has to lower it; of parts within it the simplest is taken."""

_BLOCKS = 8
"""Contiguous blocks of rows by which losses of numbers are compared: neighbors are alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which parts predict together, and what each way of joining them lost."""

    method: str
    """`default`, `single`, `equal` or `greedy`."""
    network_weights: tuple[float, ...]
    """Of each network, relative to each other; their sum is 1."""
    temperatures: tuple[float, ...]
    """Of each network, before they are joined; empty for numbers."""
    mix: Mix
    """How the joined networks and the branches predict together."""
    part_losses: tuple[float, ...]
    """Of each part alone."""
    losses: dict[str, float]
    """Of each method that was considered."""

    @property
    def part_weights(self) -> tuple[float, ...]:
        """Weight of each network and of each branch in the predictions."""
        own = self.mix.recurrent_weight
        return (*(own * weight for weight in self.network_weights), *self.mix.weights[1:])


def select_parts(
    networks: Sequence[Tensor],
    branches: Sequence[Tensor],
    target_RT: Tensor,
    *,
    kind: TargetKind,
    head: HeadConfig,
) -> Selection:
    """Select networks and branches, and their weights.

    Args:
        networks: outputs of each for rows that it has not learned from, [R, O], simplest first.
        branches: the same of each branch.
        target_RT: codes of classes [R, 1], labels as 0 and 1, or scaled numbers; NaN where missing.
        kind: of the target.
        head: whose loss says what the numbers are.
    """
    rows = _Rows(target_RT, kind, head)
    parts = _Parts(networks, branches, rows)
    found = {
        "default": parts.build_default(),
        "single": parts.build_single(),
    }
    if len(networks) > 1:
        found["equal"] = parts.build_equal()
    best = min(found.values(), key=lambda each: each.losses[each.method])
    losses = {name: each.losses[name] for name, each in found.items()}
    if len(target_RT) >= _FEW_ROWS and len(parts.scaled) > 1:
        greedy = parts.build_greedy(found["default"], found["single"])
        losses["greedy"] = greedy.losses["greedy"]
        gain_K = rows.compute_losses(parts.join(best)) - rows.compute_losses(parts.join(greedy))
        best = greedy if float(gain_K.mean()) > _standard_error(gain_K) else best
    return replace(best, losses=losses)


def join_outputs(
    networks: Sequence[Tensor], branches: Sequence[Tensor], selection: Selection, kind: TargetKind
) -> Tensor:
    """Return the outputs of what was selected, [R, O]."""
    recurrent_RO = _join_networks(networks, selection.network_weights, selection.temperatures, kind)
    return mix_outputs([recurrent_RO, *branches], selection.mix, kind)


def _join_networks(
    networks: Sequence[Tensor],
    weights: Sequence[float],
    temperatures: Sequence[float],
    kind: TargetKind,
) -> Tensor:
    """Return the weighted mean of the networks' outputs, [R, O]."""
    scales = temperatures or [1.0] * len(networks)
    return torch.stack(
        [
            weight * scale_outputs(each_RO, scale, kind)
            for weight, each_RO, scale in zip(weights, networks, scales, strict=True)
            if weight
        ]
    ).sum(dim=0)


class _Rows:
    """The rows by which parts are compared."""

    def __init__(self, target_RT: Tensor, kind: TargetKind, head: HeadConfig) -> None:
        """Take the targets."""
        self.target_RT, self.kind, self.head = target_RT, kind, head

    def compute_losses(self, outputs_RO: Tensor) -> Tensor:
        """Return the log loss of each row, or the head's loss of each block of numbers, [K]."""
        outputs_RO, targets = outputs_RO.double(), self.target_RT
        if self.kind == "category":
            return functional.cross_entropy(outputs_RO, targets[:, 0].long(), reduction="none")
        if self.kind == "tags":
            return functional.binary_cross_entropy_with_logits(
                outputs_RO, targets.double(), reduction="none"
            ).mean(dim=1)
        loss_RT = self._compute_number_losses(outputs_RO)
        blocks = np.array_split(np.arange(len(loss_RT)), min(_BLOCKS, len(loss_RT)))
        losses_K = torch.stack([loss_RT[torch.from_numpy(block)].nanmean() for block in blocks])
        return losses_K[~losses_K.isnan()]

    def _compute_number_losses(self, outputs_RO: Tensor) -> Tensor:
        """Return squared, pinball or absolute errors, [R, T]."""
        rows, steps = self.target_RT.shape
        error_RTP = self.target_RT.double()[:, :, None] - outputs_RO.view(rows, steps, -1)
        if self.head.loss == "quantile":
            levels_P = error_RTP.new_tensor(self.head.quantiles)
            return torch.maximum(levels_P * error_RTP, (levels_P - 1) * error_RTP).mean(dim=2)
        point_RT = error_RTP[:, :, 0]
        return point_RT.square() if self.head.loss == "mse" else point_RT.abs()


class _Parts:
    """Networks and branches with their outputs, each on the scale on which they are joined."""

    def __init__(self, networks: Sequence[Tensor], branches: Sequence[Tensor], rows: _Rows) -> None:
        """Fit the temperature of each network, and how each is joined with the branches alone."""
        self.networks, self.branches, self.rows = networks, branches, rows
        self.mixes = [self._fit_mix(each_RO) for each_RO in networks]
        self.temperatures = tuple(mix.temperatures[0] for mix in self.mixes if mix.temperatures)
        self.scaled = [
            self._scale([each_RO, *branches], mix, 0)
            for each_RO, mix in zip(networks, self.mixes, strict=True)
        ]
        for index in range(len(branches)):
            self.scaled.append(self._scale([networks[0], *branches], self.mixes[0], 1 + index))
        self.losses = torch.stack([rows.compute_losses(each) for each in self.scaled])
        self.means = [float(each) for each in self.losses.mean(dim=1)]

    def _fit_mix(self, network_RO: Tensor) -> Mix:
        """Fit how one network is joined with the branches."""
        if not self.branches and self.rows.kind not in {"category", "tags"}:
            return Mix(weights=(1.0,))
        parts = PartOutputs([network_RO, *self.branches], self.rows.target_RT)
        return fit_mix(parts, self.rows.kind, self.rows.head)

    def _scale(self, outputs: Sequence[Tensor], mix: Mix, index: int) -> Tensor:
        """Return the outputs of one part as if it had all the weight."""
        weights = tuple(float(other == index) for other in range(len(outputs)))
        return mix_outputs(outputs, replace(mix, weights=weights), self.rows.kind).double()

    def build(self, network_weights: Sequence[float], mix: Mix, method: str) -> Selection:
        """Build a selection with its loss; every network is calibrated before it is joined."""
        selection = Selection(
            method=method,
            network_weights=tuple(network_weights),
            temperatures=self.temperatures,
            mix=mix,
            part_losses=tuple(self.means),
            losses={},
        )
        loss = float(self.rows.compute_losses(self.join(selection)).mean())
        return replace(selection, losses={method: loss})

    def join(self, selection: Selection) -> Tensor:
        """Return the outputs of a selection, [R, O]."""
        return join_outputs(self.networks, self.branches, selection, self.rows.kind)

    def build_default(self) -> Selection:
        """Select the first network, joined with the branches as without a library."""
        own = self.mixes[0].weights
        rest = [0.0] * (len(self.networks) - 1)
        return self._build_weighted([own[0], *rest, *own[1:]], "default")

    def build_single(self) -> Selection:
        """Select the best part alone."""
        best = min(range(len(self.means)), key=self.means.__getitem__)
        return self._build_weighted([float(index == best) for index in range(len(self.means))])

    def build_equal(self) -> Selection:
        """Select the networks within one standard error of the best, all with the same weight."""
        count = len(self.networks)
        best = min(range(count), key=self.means.__getitem__)
        excess_NK = self.losses[:count] - self.losses[best]
        near = [float(each_K.mean()) <= _standard_error(each_K) for each_K in excess_NK]
        weights = [float(each) / sum(near) for each in near]
        joined_RO = _join_networks(self.networks, weights, self.temperatures, self.rows.kind)
        return self.build(weights, self._fit_mix(joined_RO), "equal")

    def build_greedy(self, *starts: Selection) -> Selection:
        """Add parts with replacement to the better start, while they lower the loss."""
        start = min(starts, key=lambda each: each.losses[each.method])
        weights = np.array(start.part_weights)
        size = _START_SIZE
        scaled_PRO = torch.stack(self.scaled)
        mean_RO = torch.einsum("p,pro->ro", torch.from_numpy(weights), scaled_PRO)
        loss = float(self.rows.compute_losses(mean_RO).mean())
        for _ in range(_MAX_ROUNDS):
            tried = [
                float(self.rows.compute_losses((size * mean_RO + each_RO) / (size + 1)).mean())
                for each_RO in scaled_PRO
            ]
            least = min(tried)
            if not least < loss - _MIN_GAIN * abs(loss):
                break
            close = [p for p, value in enumerate(tried) if value <= least + _MIN_GAIN * abs(loss)]
            added = min(close, key=lambda part: (weights[part] == 0, part))
            mean_RO = (size * mean_RO + scaled_PRO[added]) / (size + 1)
            weights = size * weights / (size + 1)
            weights[added] += 1 / (size + 1)
            size, loss = size + 1, tried[added]
        return self._build_weighted(weights.tolist(), "greedy")

    def _build_weighted(self, weights: Sequence[float], method: str = "single") -> Selection:
        """Select parts by their weights in the predictions."""
        count = len(self.networks)
        own = float(sum(weights[:count]))
        networks = [weight / own for weight in weights[:count]] if own else [1.0]
        networks += [0.0] * (count - len(networks))
        mix = replace(self.mixes[0], weights=(own, *weights[count:]))
        if mix.temperatures:
            # The networks are calibrated already.
            mix = replace(mix, temperatures=(1.0, *mix.temperatures[1:]))
        return self.build(networks, mix, method)


def _standard_error(values_K: Tensor) -> float:
    """Return the standard error of a mean."""
    count = len(values_K)
    return float(values_K.std()) / math.sqrt(count) if count > 1 else math.inf
