"""Weight averaging, which often predicts better than the last weights.

The exponential moving average spans the last twentieth of the planned steps (Polyak and Juditsky
1992); stochastic weight averaging (Izmailov et al. 2018) takes the end of each of the last epochs.
"""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.learning.config import TrainingConfig
from models.networks.network import Network

EMA_SHARE = 0.05
"""Span of the exponential average, as a share of the steps."""
MAX_DECAY = 0.999
"""Largest decay rate of the exponential average."""
SWA_SHARE = 0.25
"""Share of the epochs that stochastic weight averaging covers."""


class WeightAverage:
    """The averaged network, where the job has `weight_averaging`."""

    def __init__(
        self, network: Network, config: TrainingConfig, *, epochs: int, steps: int
    ) -> None:
        """Create the average.

        Args:
            network: whose weights are averaged.
            config: with the kind of average.
            epochs: planned epochs.
            steps: planned steps of all epochs.
        """
        self.method, self.network = config.weight_averaging, network
        self.first_epoch = int(epochs * (1 - SWA_SHARE)) if config.weight_averaging == "swa" else 0
        self.averaged: AveragedModel | None = None
        if config.weight_averaging == "ema":
            decay = min(MAX_DECAY, 1 - 1 / max(1.0, EMA_SHARE * steps))
            self.averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
        elif config.weight_averaging == "swa":
            self.averaged = AveragedModel(network)

    def update_after_step(self) -> None:
        """Update an exponential average."""
        if self.averaged is not None and self.method == "ema":
            self.averaged.update_parameters(self.network)

    def update_after_epoch(self, epoch: int) -> None:
        """Update a stochastic weight average."""
        if self.averaged is not None and self.method == "swa" and epoch >= self.first_epoch:
            self.averaged.update_parameters(self.network)

    @property
    def prediction_network(self) -> Network:
        """The network to validate and predict with: the average, once it has begun."""
        if self.averaged is None or not int(self.averaged.n_averaged):
            return self.network
        module: nn.Module = self.averaged.module
        assert isinstance(module, Network)  # noqa: S101 - a copy of the network
        return module
