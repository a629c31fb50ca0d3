"""Search for better settings on the training and validation rows; the test rows are never seen."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from prefect import task

from models.features.config import Layout, TargetConfig
from tasks.errors import DataError
from tasks.facts import StudyFacts
from tasks.records import Accepted, Features, Study
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger, publish_page
from tasks.training.pretrain import hash_pretrained_weights
from tasks.tuning.mlflow_runs import SearchRuns, open_search_runs
from tasks.tuning.optuna_sampler import TrialSampler, build_pruning_check
from tasks.tuning.search_space import Domain, Settings, TuningConfig, build_search_space
from tasks.tuning.study_report import PLOT_FILES, count_states, draw_study, format_study_page
from tasks.tuning.trials import Trial, TrialContext, TrialRequest, find_best_trial, make_trial

VERSION = 1


def run_trials(context: TrialContext, sampler: TrialSampler) -> Iterator[Trial]:
    """Run trials until their number or the budget is used up."""
    tuning = context.tuning
    spent, previous_key = 0.0, "none"
    budget = tuning.budget if tuning.budget is not None else float("inf")
    for number in range(tuning.n_trials):
        if spent >= budget:
            return
        params, optuna_trial = sampler.ask(number)
        trial = make_trial(
            context,
            TrialRequest(number, params, previous_key, budget - spent),
            build_pruning_check(optuna_trial),
        )
        sampler.tell(optuna_trial, trial)
        spent, previous_key = spent + trial.seconds, trial.key
        yield trial
        if trial.state == "stopped":
            return


def run_search(context: TrialContext, space: Mapping[str, Domain], runs: SearchRuns) -> Study:
    """Run the trials, log each in MLflow, and publish the study.

    Raises:
        DataError: no trial could be trained at all.
    """
    metric, trials = context.tuning.metric, list[Trial]()
    sampler = TrialSampler(space, context.base, pruner=context.tuning.pruner, metric=metric)
    for trial in run_trials(context, sampler):
        trials.append(trial)
        runs.log_trial(trial.key, trial, _format_settings(context.base, trial))
        best = find_best_trial(trials, metric)
        logger().info(
            "trial %s: %s, %s%s; best so far: trial %s",
            trial.number,
            trial.state,
            "no value" if trial.value is None else f"{metric} {trial.value:.4f}",
            f" ({trial.reason})" if trial.reason else "",
            best.number if best else "none",
        )
    if find_best_trial(trials, metric) is None:
        raise DataError.of(
            f"none of {len(trials)} trials could be trained; the last one: {trials[-1].reason}",
            hint="correct `tuning.search_space`, or try the job itself with `ostinato run`",
        )
    return _publish_study(context, trials, sampler, space)


def _publish_study(
    context: TrialContext,
    trials: Sequence[Trial],
    sampler: TrialSampler,
    space: Mapping[str, Domain],
) -> Study:
    """Write the trials and their plots into the store."""
    metric = context.tuning.metric

    def build(folder: Path) -> StudyFacts:
        shares = draw_study(folder, trials, sampler.study, space=space, metric=metric)
        rows = [asdict(trial) for trial in trials]
        (folder / "trials.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
        best = find_best_trial(trials, metric)
        assert best is not None  # noqa: S101 - checked by the caller
        assert best.value is not None  # noqa: S101 - a best trial has a value
        return StudyFacts(
            metric=metric,
            trials=len(trials),
            states=count_states(trials),
            best_trial=best.number,
            best_value=best.value,
            initial_value=trials[0].value,
            best_params=dict(best.params),
            importance=shares,
        )

    recipe = Recipe(
        stage="tune",
        version=VERSION,
        config={"metric": metric, "trials": len(trials)},
        inputs={"features": context.features.key, "trial": trials[-1].key},
    )
    return produce(context.store, recipe, build, StudyFacts)


def _format_settings(base: Settings, trial: Trial) -> dict[str, str]:
    """Format all settings of a trial by their dotted keys."""
    settings = {
        f"{section}.{name}": value
        for section, config in base._asdict().items()
        for name, value in asdict(config).items()
    }
    return {key: str(value) for key, value in (settings | dict(trial.params)).items()}


def _compute_search_key(context: TrialContext, space: Mapping[str, Domain]) -> str:
    """Compute the key of a search; it does not depend on the number of trials and the budget."""
    config = {
        **context.base._asdict(),
        "space": {key: repr(domain) for key, domain in space.items()},
        "metric": context.tuning.metric,
        "pruner": context.tuning.pruner,
    }
    inputs = {"features": context.features.key, **hash_pretrained_weights(context.base.model)}
    return Recipe(stage="tune", version=VERSION, config=config, inputs=inputs).key


@task(name="search", task_run_name="search {name}", timeout_seconds=72 * HOUR, **STAGE)
def search_settings(
    features: Features,
    *,
    accepted: Accepted,
    name: str,
    base: Settings,
    tuning: TuningConfig,
    layout: Layout,
    target: TargetConfig,
    season_length: int,
    artifact_root: str | None,
    store: StoreConfig,
) -> Study:
    """Search for better settings than the job's own, and show a page of the study."""
    context = TrialContext(open_store(store), accepted, features, base, tuning, season_length)
    space = build_search_space(tuning, base, layout, target)
    root = Path(artifact_root) if artifact_root else None
    with open_search_runs(
        _compute_search_key(context, space),
        name=name,
        metric=tuning.metric,
        features=features,
        artifact_root=root,
    ) as runs:
        study = run_search(context, space, runs)
        folder = local_dir(context.store, study)
        files = (*(folder / picture for picture in PLOT_FILES), folder / "trials.json")
        runs.log_study(study.facts, files)
    trials = [Trial(**row) for row in json.loads((folder / "trials.json").read_text("utf-8"))]
    publish_page(
        f"{name}-tune", format_study_page(name, trials, metric=tuning.metric, folder=folder)
    )
    return study
