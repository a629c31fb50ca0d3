"""Averages of the weights, which often answer better than the last of them.

An exponential average follows the last twentieth of the planned steps (Polyak and Juditsky 1992);
the stochastic weight average (Izmailov et al. 2018) takes the end of each of the last epochs.
"""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.learning.config import TrainingConfig
from models.networks.network import Network

FOLLOWED = 0.05
"""Share of the steps over which an exponential average reaches."""
SLOWEST = 0.999
LAST = 0.25
"""Share of the epochs whose ends are averaged."""


class Average:
    """The averaged network, if the job asks for one and it has begun."""

    def __init__(
        self, network: Network, config: TrainingConfig, *, epochs: int, steps: int
    ) -> None:
        """Set up.

        Args:
            network: whose weights are averaged.
            config: which average.
            epochs: planned.
            steps: planned in all.
        """
        self.kind, self.network = config.weight_averaging, network
        self.from_epoch = int(epochs * (1 - LAST)) if config.weight_averaging == "swa" else 0
        self.held: AveragedModel | None = None
        if config.weight_averaging == "ema":
            decay = min(SLOWEST, 1 - 1 / max(1.0, FOLLOWED * steps))
            self.held = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
        elif config.weight_averaging == "swa":
            self.held = AveragedModel(network)

    def after_step(self) -> None:
        """Follow the weights of a step."""
        if self.held is not None and self.kind == "ema":
            self.held.update_parameters(self.network)

    def after_epoch(self, epoch: int) -> None:
        """Take in the weights that an epoch ended with."""
        if self.held is not None and self.kind == "swa" and epoch >= self.from_epoch:
            self.held.update_parameters(self.network)

    @property
    def best_known(self) -> Network:
        """The network to answer with: the average, once it has begun."""
        if self.held is None or not int(self.held.n_averaged):
            return self.network
        module: nn.Module = self.held.module
        assert isinstance(module, Network)  # noqa: S101 - a copy of the network
        return module
