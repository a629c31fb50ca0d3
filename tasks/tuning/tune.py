"""Search for better settings on the training and validation rows; the test rows are never seen."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from prefect import task

from models.features.config import Layout, TargetConfig
from tasks.errors import DataError
from tasks.records import Accepted, Facts, Features, Study
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger, show
from tasks.tuning.default_space import space_of
from tasks.tuning.mlflow_runs import Runs, search_runs
from tasks.tuning.optuna_sampler import Sampling, keeps_up
from tasks.tuning.search_space import Domain, Settings, TuningConfig
from tasks.tuning.study_report import PICTURES, draw_study, page_of, states
from tasks.tuning.trials import Asked, Bench, Trial, best_of, make_trial

VERSION = 1


def run_trials(bench: Bench, sampling: Sampling) -> Iterator[Trial]:
    """Try settings until the trials or the time are used up."""
    tuning = bench.tuning
    spent, before = 0.0, "none"
    most = tuning.budget if tuning.budget is not None else float("inf")
    for number in range(tuning.n_trials):
        if spent >= most:
            return
        chosen, place = sampling.ask(number)
        trial = make_trial(bench, Asked(number, chosen, before, most - spent), keeps_up(place))
        sampling.tell(place, trial)
        spent, before = spent + trial.seconds, trial.key
        yield trial
        if trial.state == "stopped":
            return


def search(bench: Bench, space: Mapping[str, Domain], runs: Runs) -> Study:
    """Run the trials, note each in MLflow, and publish what they came to.

    Raises:
        DataError: no trial could be trained at all.
    """
    metric, trials = bench.tuning.metric, list[Trial]()
    sampling = Sampling(space, bench.own, pruner=bench.tuning.pruner, metric=metric)
    for trial in run_trials(bench, sampling):
        trials.append(trial)
        runs.record(trial.key, trial, settings_in_words(bench.own, trial))
        best = best_of(trials, metric)
        logger().info(
            "trial %s: %s, %s%s; best so far: trial %s",
            trial.number,
            trial.state,
            "no value" if trial.value is None else f"{metric} {trial.value:.4f}",
            f" ({trial.reason})" if trial.reason else "",
            best.number if best else "none",
        )
    if best_of(trials, metric) is None:
        raise DataError.of(
            f"none of {len(trials)} trials could be trained; the last one: {trials[-1].reason}",
            mend="correct `tuning.search_space`, or try the job itself with `ostinato run`",
        )
    return publish_study(bench, trials, sampling, space)


def publish_study(
    bench: Bench, trials: Sequence[Trial], sampling: Sampling, space: Mapping[str, Domain]
) -> Study:
    """Write the trials and their pictures into the store."""
    metric = bench.tuning.metric

    def build(folder: Path) -> Facts:
        shares = draw_study(folder, trials, sampling.study, space=space, metric=metric)
        rows = [asdict(trial) for trial in trials]
        (folder / "trials.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
        best = best_of(trials, metric)
        assert best is not None  # noqa: S101 - asked by the caller
        return {
            "metric": metric,
            "trials": len(trials),
            "states": states(trials),
            "best": best.number,
            "value": best.value,
            "own_value": trials[0].value,
            "chosen": dict(best.chosen),
            "importance": shares,
        }

    recipe = Recipe(
        stage="tune",
        version=VERSION,
        config={"metric": metric, "trials": len(trials)},
        inputs={"features": bench.features.key, "trial": trials[-1].key},
    )
    return Study(produce(bench.store, recipe, build))


def settings_in_words(own: Settings, trial: Trial) -> dict[str, str]:
    """Write all settings of a trial under their dotted keys."""
    told = {
        f"{section}.{name}": value
        for section, config in own._asdict().items()
        for name, value in asdict(config).items()
    }
    return {key: str(value) for key, value in (told | dict(trial.chosen)).items()}


def search_key(bench: Bench, space: Mapping[str, Domain]) -> str:
    """Name a search by what it depends on; more trials and more time are still the same one."""
    config = {
        **bench.own._asdict(),
        "space": {key: repr(domain) for key, domain in space.items()},
        "metric": bench.tuning.metric,
        "pruner": bench.tuning.pruner,
    }
    inputs = {"features": bench.features.key}
    return Recipe(stage="tune", version=VERSION, config=config, inputs=inputs).key


@task(name="search", task_run_name="search {name}", timeout_seconds=72 * HOUR, **STAGE)
def search_settings(
    features: Features,
    *,
    accepted: Accepted,
    name: str,
    own: Settings,
    tuning: TuningConfig,
    layout: Layout,
    target: TargetConfig,
    season: int,
    artifact_root: str | None,
    store: StoreConfig,
) -> Study:
    """Search for better settings than the job's own, and leave a page of what was found."""
    bench = Bench(open_store(store), accepted, features, own, tuning, season)
    space = space_of(tuning, own, layout, target)
    root = Path(artifact_root) if artifact_root else None
    with search_runs(
        search_key(bench, space),
        name=name,
        metric=tuning.metric,
        features=features,
        artifact_root=root,
    ) as runs:
        study = search(bench, space, runs)
        folder = local_dir(bench.store, study)
        files = (*(folder / picture for picture in PICTURES), folder / "trials.json")
        runs.close(study.facts, files)
    trials = [Trial(**row) for row in json.loads((folder / "trials.json").read_text("utf-8"))]
    show(f"{name}-tune", page_of(name, trials, metric=tuning.metric, folder=folder))
    return study
