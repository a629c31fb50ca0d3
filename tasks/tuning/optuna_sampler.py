"""Which settings are tried next, and which trials are pruned: the Optuna study of `ostinato tune`.

The study is kept in memory and built again by every run. Results that are reported in the same
order give the same settings, so the records of the trials in the store are all that a killed search
needs to continue.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tasks.tuning.search_space import Domain, Range, Settings, accepts_setting, contains_value
from tasks.tuning.trials import Trial, compute_cost

_ParamValue = bool | int | float | str | None

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as OptunaTrial
    from optuna.pruners import BasePruner

_TYPICAL_EPOCHS = 100
"""Epochs by which pruners are set where each training plans its own."""

_STARTUP_TRIALS = 8
"""Trials before the sampler uses earlier results, and before the median prunes."""

_MEDIAN_WARMUP_SHARE = 0.25
"""Share of the epochs during which the median prunes no trial."""

_REDUCTION_FACTOR = 3
"""One of this many trials of a rung is continued."""

_FIRST_RUNG_DIVISOR = 9
"""The first rung of successive halving is after this fraction of the epochs, 1 / 9."""


class TrialSampler:
    """An Optuna study that chooses the settings of each trial from the results of those before."""

    def __init__(
        self, space: Mapping[str, Domain], base: Settings, *, pruner: str, metric: str
    ) -> None:
        """Begin the study.

        Args:
            space: the search space, the cell first.
            base: the settings of the job, which are the first trial.
            pruner: which trials are ended early.
            metric: that is optimised.
        """
        self.space, self.base, self.metric = space, base, metric
        self.study = _create_study(pruner, base)
        self.base_params = {
            key: base.get(key) for key in space if accepts_setting(base.model.cell, key)
        }
        self.base_in_space = all(
            contains_value(space[key], value) for key, value in self.base_params.items()
        )
        if self.base_in_space:
            self.study.enqueue_trial(
                {key: _encode_value(value) for key, value in self.base_params.items()}
            )
        for params in draw_latin_hypercube(space, _STARTUP_TRIALS - 1, seed=base.training.seed):
            self.study.enqueue_trial(params)

    def ask(self, number: int) -> tuple[dict[str, Any], "OptunaTrial | None"]:
        """Choose the settings of a trial.

        The first are the job's own; where they lie outside the space, the study has no trial of
        them, and None is returned.
        """
        if number == 0 and not self.base_in_space:
            return {}, None
        trial = self.study.ask()
        params: dict[str, Any] = {}
        for key, domain in self.space.items():
            if accepts_setting(params.get("model.cell", self.base.model.cell), key):
                params[key] = _suggest_value(trial, key, domain)
        return (self.base_params if number == 0 else params), trial

    def tell(self, optuna_trial: "OptunaTrial | None", trial: Trial) -> None:
        """Report the result of a trial to the study."""
        from optuna.trial import TrialState

        if optuna_trial is None:
            return
        optuna_trial.set_user_attr("number", trial.number)
        if trial.state == "complete":
            self.study.tell(optuna_trial, compute_cost(trial, self.metric))
        else:
            self.study.tell(optuna_trial, state=TrialState.PRUNED)


def draw_latin_hypercube(
    space: Mapping[str, Domain], count: int, *, seed: int
) -> list[dict[str, _ParamValue]]:
    """Draw parameters that cover each setting evenly (Latin hypercube, McKay et al. 1979).

    Independent draws of few trials could all have the same cell.
    """
    random = np.random.default_rng(seed)
    columns = {
        key: [
            interpolate_domain(domain, (position + 0.5) / count)
            for position in random.permutation(count).tolist()
        ]
        for key, domain in space.items()
    }
    return [{key: column[row] for key, column in columns.items()} for row in range(count)]


def interpolate_domain(domain: Domain, share: float) -> _ParamValue:
    """Return the value at a share in [0, 1) of the way through a domain, encoded for Optuna."""
    if not isinstance(domain, Range):
        return _encode_value(domain[int(share * len(domain))])
    low, high = domain.low, domain.high
    value = low * (high / low) ** share if domain.log else low + share * (high - low)
    step = domain.step or (1 if domain.is_integer and not domain.log else None)
    if step:
        value = low + step * round((value - low) / step)
    return min(int(high), round(value)) if domain.is_integer else min(high, value)


def build_pruning_check(trial: "OptunaTrial | None") -> Callable[[int, float], bool]:
    """Build the function that reports each epoch's loss, and returns whether to go on."""

    def should_continue(epoch: int, loss: float) -> bool:
        if trial is None:
            return True
        trial.report(loss, epoch + 1)
        return not trial.should_prune()

    return should_continue


def _create_study(pruner: str, base: Settings) -> "Study":
    """Create an empty study, which depends on the job's seed and the reported results alone."""
    import optuna
    from optuna.samplers import TPESampler

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # `group` draws settings that depend on the cell jointly; Optuna calls it experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = TPESampler(
            seed=base.training.seed,
            multivariate=True,
            group=True,
            n_startup_trials=_STARTUP_TRIALS,
            constant_liar=False,
        )
    epochs = base.training.epochs
    return optuna.create_study(
        study_name="tune",
        sampler=sampler,
        pruner=_create_pruner(pruner, _TYPICAL_EPOCHS if epochs == "auto" else epochs),
    )


def _create_pruner(name: str, epochs: int) -> "BasePruner":
    """Create the pruner of a name; its resource is the number of epochs."""
    from optuna import pruners

    first = max(1, epochs // _FIRST_RUNG_DIVISOR)
    if name == "halving":
        return pruners.SuccessiveHalvingPruner(
            min_resource=first, reduction_factor=_REDUCTION_FACTOR
        )
    if name == "hyperband":
        return pruners.HyperbandPruner(
            min_resource=first, max_resource=epochs, reduction_factor=_REDUCTION_FACTOR
        )
    if name == "median":
        return pruners.MedianPruner(
            n_startup_trials=_STARTUP_TRIALS,
            n_warmup_steps=max(1, round(_MEDIAN_WARMUP_SHARE * epochs)),
        )
    return pruners.NopPruner()


def _suggest_value(trial: "OptunaTrial", key: str, domain: Domain) -> Any:  # noqa: ANN401 - of any setting
    """Return the value of a domain that the study chooses."""
    if not isinstance(domain, Range):
        values = {_encode_value(value): value for value in domain}
        return values[trial.suggest_categorical(key, list(values))]
    if domain.is_integer:
        step = 1 if domain.step is None else int(domain.step)
        return trial.suggest_int(key, int(domain.low), int(domain.high), log=domain.log, step=step)
    value = trial.suggest_float(key, domain.low, domain.high, log=domain.log, step=domain.step)
    return domain.round_value(value)


def _encode_value(value: object) -> _ParamValue:
    """Encode a value for Optuna: a list as its JSON text."""
    plain = value is None or isinstance(value, bool | int | float | str)
    return cast("_ParamValue", value) if plain else json.dumps(value)
