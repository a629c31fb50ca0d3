"""Occlusion: what is hidden no longer counts, whatever the model."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.evaluation.attribution import SequenceInput
from models.evaluation.occlusion import MAX_GROUPS, compute_occlusion
from models.networks.inputs.front import StaticBatch
from models.networks.jagged import Offsets

NO_STATICS = StaticBatch(torch.zeros(1, 0, dtype=torch.int32), torch.zeros(1, 0))


class WeightedSum(nn.Module):
    """A linear model of the steps, with one output for each channel."""

    def __init__(self, weight_N: Tensor) -> None:
        super().__init__()
        self.weight_N = weight_N

    def forward(self, values_NC: Tensor, offsets: Offsets, _statics: StaticBatch) -> Tensor:
        grid_TBC = offsets.to_grid(values_NC.float())
        return (grid_TBC * self.weight_N[:, None, None]).sum(dim=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_linear_model_is_divided_exactly(channels: int) -> None:
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(20, channels, generator=draw)
    weights = torch.randn(20, generator=draw)

    result = compute_occlusion(
        WeightedSum(weights), SequenceInput(values, NO_STATICS), torch.ones(channels)
    )

    np.testing.assert_allclose(result.contributions, (values * weights[:, None]).numpy(), atol=1e-5)
    assert result.baseline_output == pytest.approx(0)
    assert result.unattributed == pytest.approx(0, abs=1e-4)


def test_a_long_sequence_is_hidden_in_groups_that_share_their_change() -> None:
    values = torch.ones(5 * MAX_GROUPS, 1)

    result = compute_occlusion(
        WeightedSum(torch.ones(5 * MAX_GROUPS)), SequenceInput(values, NO_STATICS), torch.ones(1)
    )

    np.testing.assert_allclose(result.contributions, 1.0, atol=1e-5)


def test_of_ids_the_token_alone_is_hidden() -> None:
    nodes = torch.tensor([[4, 1, 0], [6, 2, 0], [2, 0, 1]], dtype=torch.int32)

    result = compute_occlusion(
        WeightedSum(torch.ones(3)), SequenceInput(nodes, NO_STATICS), torch.ones(3)
    )

    assert result.contributions.tolist() == [[4], [6], [2]]
