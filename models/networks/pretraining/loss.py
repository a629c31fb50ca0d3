"""Predictions of the next step and their loss, for each direction of reading.

Tokens are predicted by a softmax whose weights are the embeddings (Press and Wolf 2017; Inan et al.
2017); with a large vocabulary, training estimates its normalizing sum from a sample (Bengio and
Senecal 2008). Of numbers, the difference to the last step is predicted.

Shapes: N steps of all sequences, B sequences, P pairs of a step and the next one, H units, V ids,
D numbers of an embedding, C channels, K sampled ids.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.heads.base import Encoded, Head, Targets
from models.networks.jagged import Offsets
from models.networks.layer import VariationalDropout

OUTPUT_DROPOUT, ACTIVATION_PENALTY, CHANGE_PENALTY = 0.4, 2.0, 1.0
"""Share of a sequence's outputs that are zero, and the weights of the squares of the outputs (AR)
and of their changes (TAR); those of AWD-LSTM."""

MAX_FULL_SOFTMAX, SAMPLED_IDS = 2_048, 1_024
"""The largest vocabulary that training compares with as a whole, and the size of a sample."""

MAX_PAIRS = 8_192
"""Predictions of a direction in a training step; of more, random ones: memory is bounded."""

_MAX_LOGITS = 2**23
"""Logits that are computed at once outside of training."""


class _Pairs(NamedTuple):
    """What is predicted in one direction of reading, from what."""

    units_PH: Tensor
    before_PC: Tensor
    """The step that was read last."""
    next_PC: Tensor
    """The step to predict."""
    sequence_P: Tensor
    """Index of its sequence."""


class NextStepLoss(Head):
    """A decoder for each direction; outputs are, by sequence, the sum of errors and their count."""

    def __init__(
        self, units: tuple[int, ...], *, channels: int, embedding: nn.Embedding | None
    ) -> None:
        """Build the decoders.

        Args:
            units: of each direction.
            channels: numbers of a step.
            embedding: of the ids, where a step is an id.
        """
        super().__init__()
        self.units = units
        self.dropout = VariationalDropout(OUTPUT_DROPOUT)
        self.decoders = nn.ModuleList(
            _NumberDecoder(size, channels) if embedding is None else _TokenDecoder(size, embedding)
            for size in units
        )

    def forward(self, encoded: Encoded) -> Tensor:
        """Return the sum of the errors of each sequence and their count, [B, 2]."""
        return encoded.pooled_BP

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean error; in training with the penalties of AWD-LSTM."""
        del targets
        if not self.training:
            errors_B, counts_B = encoded.pooled_BP.unbind(dim=1)
            return errors_B.sum() / counts_B.sum().clamp(min=1)
        losses = []
        for decoder, units_NH, offsets, steps_NC in self._split_directions(encoded):
            dropped_NH = self.dropout(units_NH, offsets)
            pairs = _limit_pairs(_pair_steps(dropped_NH, offsets, steps_NC))
            error = decoder(pairs).sum() / max(1, len(pairs.units_PH))
            changes_NH = units_NH - offsets.shift(units_NH, 1)
            losses.append(
                error
                + ACTIVATION_PENALTY * dropped_NH.float().square().mean()
                + CHANGE_PENALTY
                * changes_NH[offsets.step_N > 0].float().square().sum()
                / units_NH.numel()
            )
        return torch.stack(losses).mean()

    def sum_errors(self, encoded: Encoded) -> Tensor:
        """Return the sum of the errors of each sequence and their count, [B, 2]."""
        sums_B2 = encoded.steps_NH.new_zeros(len(encoded.offsets), 2, dtype=torch.float32)
        for decoder, units_NH, offsets, steps_NC in self._split_directions(encoded):
            pairs = _pair_steps(units_NH, offsets, steps_NC)
            errors_P = decoder(pairs)
            both_P2 = torch.stack([errors_P, torch.ones_like(errors_P)], dim=1)
            sums_B2 = sums_B2.index_add(0, pairs.sequence_P, both_P2)
        return sums_B2

    def fit_frequencies(self, counts_V: Tensor) -> None:
        """Start from the frequencies of the ids, and draw samples by them."""
        for decoder in self.decoders:
            if isinstance(decoder, _TokenDecoder):
                decoder.fit_frequencies(counts_V)

    def _split_directions(
        self, encoded: Encoded
    ) -> Iterator[tuple[nn.Module, Tensor, Offsets, Tensor]]:
        """Yield each direction's decoder, outputs, offsets and steps, in its order of reading."""
        offsets, steps_NC = encoded.offsets, encoded.input_steps_NC
        assert steps_NC is not None  # noqa: S101 - the network gives them to this head
        parts = zip(self.decoders, encoded.steps_NH.split(self.units, dim=1), strict=True)
        for direction, (decoder, units_NH) in enumerate(parts):
            own_NC = offsets.reverse(steps_NC) if direction else steps_NC
            yield decoder, units_NH, offsets, own_NC


class _NumberDecoder(nn.Module):
    """Predicts the difference of the next step to the last."""

    def __init__(self, units: int, channels: int) -> None:
        super().__init__()
        self.output = nn.Linear(units, channels)

    def forward(self, pairs: _Pairs) -> Tensor:
        """Return the squared error of each pair, the mean over channels, [P]."""
        predicted_PC = pairs.before_PC.float() + self.output(pairs.units_PH).float()
        error_P: Tensor = (predicted_PC - pairs.next_PC.float()).square().mean(dim=1)
        return error_P


class _TokenDecoder(nn.Module):
    """Predicts the next id; the output weights are the embeddings."""

    log_share_V: Tensor
    """Logarithm of the share of each id in the training steps."""

    def __init__(self, units: int, embedding: nn.Embedding) -> None:
        super().__init__()
        ids, size = embedding.weight.shape
        self.embedding = embedding
        self.projection = nn.Linear(units, size, bias=False)
        # Of zeros, the first predictions are the frequencies of the ids, at any size of vectors.
        nn.init.zeros_(self.projection.weight)
        self.bias_V = nn.Parameter(torch.zeros(ids))
        self.register_buffer("log_share_V", torch.zeros(ids))

    @torch.no_grad()
    def fit_frequencies(self, counts_V: Tensor) -> None:
        """Start from the frequencies of the ids."""
        smoothed_V = counts_V.to(self.bias_V.device).double() + 1.0
        self.log_share_V.copy_((smoothed_V / smoothed_V.sum()).log())
        self.bias_V.copy_(self.log_share_V)

    def forward(self, pairs: _Pairs) -> Tensor:
        """Return the error of each pair in nats, [P]; an estimate where the softmax is sampled."""
        vectors_PD, next_P = self.projection(pairs.units_PH), pairs.next_PC[:, 0].long()
        if self.training and len(self.bias_V) > MAX_FULL_SOFTMAX:
            return self.compute_sampled_errors(vectors_PD, next_P)
        rows = max(1, _MAX_LOGITS // len(self.bias_V))
        parts = zip(vectors_PD.split(rows), next_P.split(rows), strict=True)
        return torch.cat([self.compute_full_errors(*part) for part in parts])

    def compute_full_errors(self, vectors_PD: Tensor, next_P: Tensor) -> Tensor:
        """Return the cross entropy of the softmax over all ids, [P]."""
        logits_PV = functional.linear(vectors_PD, self.embedding.weight, self.bias_V)
        return functional.cross_entropy(logits_PV.float(), next_P, reduction="none")

    def compute_sampled_errors(self, vectors_PD: Tensor, next_P: Tensor) -> Tensor:
        """Return the cross entropy, [P], with the sum over the other ids estimated from a sample.

        Ids are drawn by their frequency; each counts by the inverse of how often it is expected, so
        that the sum is right in the mean.
        """
        drawn_K = torch.multinomial(self.log_share_V.exp(), SAMPLED_IDS, replacement=True)
        offset_K = self.bias_V[drawn_K] - self.log_share_V[drawn_K] - math.log(SAMPLED_IDS)
        drawn_PK = functional.linear(vectors_PD, self.embedding.weight[drawn_K], offset_K).float()
        drawn_PK = drawn_PK.masked_fill(drawn_K == next_P[:, None], -torch.inf)
        own_P = (vectors_PD * self.embedding.weight[next_P]).sum(dim=1) + self.bias_V[next_P]
        both_PK = torch.cat([own_P[:, None].float(), drawn_PK], dim=1)
        return both_PK.logsumexp(dim=1) - both_PK[:, 0]


def _pair_steps(units_NH: Tensor, offsets: Offsets, steps_NC: Tensor) -> _Pairs:
    """Pair the outputs at each step with the step after it, within each sequence."""
    next_P = torch.nonzero(offsets.step_N > 0)[:, 0]
    return _Pairs(
        units_PH=units_NH.index_select(0, next_P - 1),
        before_PC=steps_NC.index_select(0, next_P - 1),
        next_PC=steps_NC.index_select(0, next_P),
        sequence_P=offsets.sequence_N.index_select(0, next_P),
    )


def _limit_pairs(pairs: _Pairs) -> _Pairs:
    """Return the pairs, of many of them random ones."""
    count = len(pairs.units_PH)
    if count <= MAX_PAIRS:
        return pairs
    chosen = torch.randperm(count)[:MAX_PAIRS].to(pairs.units_PH.device)
    return _Pairs(*(part.index_select(0, chosen) for part in pairs))
