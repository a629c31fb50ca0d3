"""Which settings are tried next, and which trials fall behind: Optuna's part of a search.

The study lies in memory and is made anew by every run: what is told in the same order is answered
in the same way, so that the records of the trials are all that has to be kept.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tasks.tuning.default_space import holds
from tasks.tuning.search_space import Domain, Range, Settings, takes
from tasks.tuning.trials import Trial, cost

Plain = bool | int | float | str | None

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as Place
    from optuna.pruners import BasePruner

STARTUP = 8
"""Trials before the sampler draws from what it has learned, and before one is pruned."""

WARMUP = 0.25
"""Share of the epochs in which no trial is pruned by the median."""

FACTOR = 3
"""Of the trials of a rung, one in so many goes on."""

RUNGS = 9
"""The first rung of successive halving is after one epoch in so many."""


class Sampling:
    """A study that asks for settings and is told what came of them."""

    def __init__(
        self, space: Mapping[str, Domain], own: Settings, *, pruner: str, metric: str
    ) -> None:
        """Begin the study.

        Args:
            space: what is tried, the cell first.
            own: the settings of the job, which are the first trial.
            pruner: how trials are ended early.
            metric: that is improved.
        """
        self.space, self.own, self.metric = space, own, metric
        self.study = make_study(pruner, own)
        self.inside = {key: own.get(key) for key in space if takes(own.model.cell, key)}
        self.own_fits = all(holds(space[key], value) for key, value in self.inside.items())
        if self.own_fits:
            self.study.enqueue_trial({key: encoded(value) for key, value in self.inside.items()})
        for params in spread(space, STARTUP - 1, seed=own.training.seed):
            self.study.enqueue_trial(params)

    def ask(self, number: int) -> tuple[dict[str, Any], "Place | None"]:
        """Choose the settings of a trial; the job's own, which may lie outside, are the first."""
        if number == 0 and not self.own_fits:
            return {}, None
        place = self.study.ask()
        chosen: dict[str, Any] = {}
        for key, domain in self.space.items():
            if takes(chosen.get("model.cell", self.own.model.cell), key):
                chosen[key] = draw(place, key, domain)
        return (self.inside if number == 0 else chosen), place

    def tell(self, place: "Place | None", trial: Trial) -> None:
        """Tell what came of a trial."""
        from optuna.trial import TrialState

        if place is None:
            return
        place.set_user_attr("number", trial.number)
        if trial.state == "complete":
            self.study.tell(place, cost(trial, self.metric))
        else:
            self.study.tell(place, state=TrialState.PRUNED)


def spread(space: Mapping[str, Domain], count: int, *, seed: int) -> list[dict[str, Plain]]:
    """Spread the first trials evenly over every setting (a Latin hypercube, McKay et al. 1979).

    Drawn apart from each other, so few trials may all have the same cell.
    """
    random = np.random.default_rng(seed)
    columns = {
        key: [placed(domain, (place + 0.5) / count) for place in random.permutation(count).tolist()]
        for key, domain in space.items()
    }
    return [{key: column[row] for key, column in columns.items()} for row in range(count)]


def placed(domain: Domain, share: float) -> Plain:
    """Return what lies at a share of the way through a domain, as Optuna takes it."""
    if not isinstance(domain, Range):
        return encoded(domain[int(share * len(domain))])
    low, high = domain.low, domain.high
    value = low * (high / low) ** share if domain.log else low + share * (high - low)
    step = domain.step or (1 if domain.whole and not domain.log else None)
    if step:
        value = low + step * round((value - low) / step)
    return min(int(high), round(value)) if domain.whole else min(high, value)


def keeps_up(place: "Place | None") -> Callable[[int, float], bool]:
    """Make the function that tells whether a trial is worth going on."""

    def told(epoch: int, loss: float) -> bool:
        if place is None:
            return True
        place.report(loss, epoch + 1)
        return not place.should_prune()

    return told


def make_study(pruner: str, own: Settings) -> "Study":
    """Make an empty study whose choices depend on the job's seed and what it is told alone."""
    import optuna
    from optuna.samplers import TPESampler

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # Settings that hang on the cell are drawn together; Optuna calls that experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = TPESampler(
            seed=own.training.seed,
            multivariate=True,
            group=True,
            n_startup_trials=STARTUP,
            constant_liar=False,
        )
    return optuna.create_study(
        study_name="tune", sampler=sampler, pruner=make_pruner(pruner, own.training.epochs)
    )


def make_pruner(name: str, epochs: int) -> "BasePruner":
    """Make what ends trials early; epochs are its resource."""
    from optuna import pruners

    first = max(1, epochs // RUNGS)
    if name == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=FACTOR)
    if name == "hyperband":
        return pruners.HyperbandPruner(
            min_resource=first, max_resource=epochs, reduction_factor=FACTOR
        )
    if name == "median":
        return pruners.MedianPruner(
            n_startup_trials=STARTUP, n_warmup_steps=max(1, round(WARMUP * epochs))
        )
    return pruners.NopPruner()


def draw(place: "Place", key: str, domain: Domain) -> Any:  # noqa: ANN401 - of any setting
    """Let the study choose a value."""
    if not isinstance(domain, Range):
        values = {encoded(value): value for value in domain}
        return values[place.suggest_categorical(key, list(values))]
    if domain.whole:
        step = 1 if domain.step is None else int(domain.step)
        return place.suggest_int(key, int(domain.low), int(domain.high), log=domain.log, step=step)
    drawn = place.suggest_float(key, domain.low, domain.high, log=domain.log, step=domain.step)
    return domain.near(drawn)


def encoded(value: object) -> Plain:
    """Write a value as Optuna takes it: a list in one word."""
    plain = value is None or isinstance(value, bool | int | float | str)
    return cast("Plain", value) if plain else json.dumps(value)
