"""Linear models of the last steps, one for each of several columns that are forecast together.

Every column chooses its own season, anchor, look-back and penalty. It reads its own past, and the
channels that are not forecast, such as the calendar; the past of the other columns too where all
steps are few enough. Sharing no weights between columns is what linear forecasts of many columns
win by (Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?").

Shapes: B sequences, R rows, C channels, L steps of a window, F features, K columns, H steps ahead,
O outputs: H times K, step by step.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.networks.branches.base import Branch, BranchSpec, SequenceBatch
from models.networks.branches.lookback import MAX_FEATURES, LookbackBranch


class ColumnsBranch(Branch):
    """A `LookbackBranch` for each column."""

    def __init__(
        self,
        spec: BranchSpec,
        *,
        channels: int,
        steps: int,
        num_columns: int,
        own_channels: Sequence[int],
    ) -> None:
        """Take the settings.

        Args:
            spec: what is predicted, the numbers of all columns.
            channels: of a step.
            steps: of a window.
            num_columns: that are forecast.
            own_channels: those with the past of each column on its scale; empty for none.
        """
        super().__init__(spec)
        self.channels, self.steps, self.num_columns = channels, steps, num_columns
        self.read_channels = [
            _choose_channels(own, own_channels, channels, steps=steps) for own in own_channels
        ] or [list(range(channels))] * num_columns
        own = [
            read.index(each) for read, each in zip(self.read_channels, own_channels, strict=False)
        ]
        own = own or [-1] * num_columns
        column_spec = spec._replace(num_outputs=spec.num_outputs // num_columns)
        self.columns = nn.ModuleList(
            LookbackBranch(
                column_spec,
                channels=len(read),
                steps=steps,
                own_channel=channel,
                inverse_penalty=self.inverse_penalty,
            )
            for read, channel in zip(self.read_channels, own, strict=True)
        )

    def fit_features(self, batches: Iterable[SequenceBatch]) -> None:
        """Fit nothing: steps are scaled already."""

    def compute_features(self, batch: SequenceBatch) -> Tensor:
        """Return the last steps and the static covariates, [B, F]; see `LookbackBranch`."""
        reader = LookbackBranch(
            self.spec,
            channels=self.channels,
            steps=self.steps,
            own_channel=-1,
            inverse_penalty=self.inverse_penalty,
        )
        return reader.compute_features(batch)

    def fit(self, features: Tensor, target_RO: NDArray[np.float64]) -> None:
        """Choose and fit the model of each column, on the rows in which its target is known."""
        target_RHK = target_RO.reshape(len(target_RO), -1, self.num_columns)
        for index, column in enumerate(self._list_columns()):
            column.fit(self._select_features(features, index), target_RHK[:, :, index])

    def predict(self, features: Tensor) -> Tensor:
        """Return the outputs, [B, O]."""
        outputs = [
            column.predict(self._select_features(features, index))
            for index, column in enumerate(self._list_columns())
        ]
        return torch.stack(outputs, dim=2).flatten(1)

    def _list_columns(self) -> list[LookbackBranch]:
        """List the models of the columns."""
        return [each for each in self.columns if isinstance(each, LookbackBranch)]

    def _select_features(self, features: Tensor, index: int) -> Tensor:
        """Return the features that a column's model reads."""
        read, flat = self.read_channels[index], self.steps * self.channels
        if len(read) == self.channels:
            return features
        grid_BLC = features[:, :flat].view(len(features), self.steps, self.channels)
        return torch.cat([grid_BLC[:, :, read].flatten(1), features[:, flat:]], dim=1)


def _choose_channels(
    own: int, own_channels: Sequence[int], channels: int, *, steps: int
) -> list[int]:
    """Return the channels that the model of one column reads."""
    if steps * channels * len(own_channels) <= MAX_FEATURES:
        return list(range(channels))
    others = set(own_channels) - {own}
    return [channel for channel in range(channels) if channel not in others]
