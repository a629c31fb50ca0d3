"""Synchronous successive halving as an Optuna study: the networks are its trials, rungs its steps.

The study is kept in memory. Costs that are reported in the same order give the same decisions, so
the records of the rungs in the store are all that a killed search needs to continue.
"""

from collections.abc import Iterable, Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

_NETWORK = "network"
"""Parameter of a trial: the index of its network."""
_PARAMETERS = "parameters"
"""User attribute of a trial: the number of the network's parameters."""


class HalvingStudy:
    """Decides which networks continue after each rung, by costs; the lower the better."""

    def __init__(self, rung_sizes: Sequence[int]) -> None:
        """Enqueue one trial for each network, in their order.

        Args:
            rung_sizes: number of networks on each rung; the first is that of all networks.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._rung_sizes = rung_sizes
        # Every trial is enqueued with its network, so the sampler never draws.
        self._study = optuna.create_study(
            study_name="model: auto", sampler=RandomSampler(seed=0), pruner=_RungPruner(rung_sizes)
        )
        networks = range(rung_sizes[0])
        for index in networks:
            self._study.enqueue_trial({_NETWORK: index})
        trials = [self._study.ask() for _ in networks]
        self._trials = {trial.suggest_categorical(_NETWORK, networks): trial for trial in trials}

    def report(self, index: int, rung: int, cost: float | None, *, parameters: int) -> None:
        """Report the cost of a network on a rung; without one its trial has failed."""
        trial = self._trials[index]
        trial.set_user_attr(_PARAMETERS, parameters)
        if cost is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            trial.report(cost, rung)

    def close_rung(self, rung: int) -> list[int]:
        """Return the networks that continue after a rung, the best first; the others are pruned.

        After the last rung it is the chosen one, whose trial is complete.
        """
        reached = _rank_trials(_find_reached(self._study, rung))
        indices = [trial.params[_NETWORK] for trial in reached]
        pruned = {index for index in indices if self._trials[index].should_prune()}
        is_last = rung == len(self._rung_sizes) - 1
        for index, trial in zip(indices, reached, strict=True):
            if index in pruned:
                self._study.tell(trial.number, state=TrialState.PRUNED)
            elif is_last:
                self._study.tell(trial.number, trial.intermediate_values[rung])
        return [index for index in indices if index not in pruned]

    def rank_networks(self) -> list[int]:
        """List the networks from best to worst, without those that failed or were not tried."""
        return [trial.params[_NETWORK] for trial in _rank_trials(self._study.get_trials())]


class _RungPruner(BasePruner):
    """Prunes all but the best of a rung once every network of the rung has reported.

    Optuna's own `SuccessiveHalvingPruner` is asynchronous: it compares a trial with those that came
    before it, so that the first ones always go on.
    """

    def __init__(self, rung_sizes: Sequence[int]) -> None:
        """Store the number of networks on each rung; one continues after the last."""
        self._next_sizes = [*rung_sizes[1:], 1]

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Decide whether a trial ends with its last rung."""
        rung = trial.last_step
        if rung is None:
            return False
        best = _rank_trials(_find_reached(study, rung))[: self._next_sizes[rung]]
        return trial.number not in {each.number for each in best}


def _find_reached(study: optuna.Study, rung: int) -> list[FrozenTrial]:
    """List the trials that have reported on a rung."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if rung in trial.intermediate_values]


def _rank_trials(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Order trials from best to worst, without those that failed or have reported nothing.

    Those that reached a higher rung are better; then those of lower cost, of fewer parameters, and
    earlier ones.
    """

    def compute_key(trial: FrozenTrial) -> tuple[int, float, int, int]:
        assert trial.last_step is not None  # noqa: S101 - the others are left out
        cost = trial.intermediate_values[trial.last_step]
        return -trial.last_step, cost, trial.user_attrs[_PARAMETERS], trial.number

    reported = [trial for trial in trials if trial.last_step is not None]
    return sorted((each for each in reported if each.state != TrialState.FAIL), key=compute_key)
