"""Register a candidate in MLflow, prove that it answers as it did, and move the aliases last."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prefect import task

from models.bundle import load
from tasks.dataset.rowset import open_rows
from tasks.environment import describe_environment, find_installed_version
from tasks.facts import ReportFacts
from tasks.records import Accepted, Candidate, Features, Report, Snapshot, Version
from tasks.registry import versions
from tasks.registry.aliases import AliasMove, _allow, move_aliases
from tasks.registry.promotion import check_champion_unchanged
from tasks.registry.verification import verify_version
from tasks.report_record import EpochRecord, read_report
from tasks.reporting import CARD
from tasks.serving.model_package import choose_golden_rows, hash_package, save_package
from tasks.storage.artifacts import local_dir
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger, publish_page
from tasks.tracking import mlflow_client, runs
from tasks.tracking.mlflow_client import TAG, RunRecord

MAX_DESCRIPTION = 5_000
"""Characters of a version's description that MLflow's database holds."""


@dataclass(frozen=True, slots=True)
class VersionInputs:
    """The artifacts that a version comes from."""

    snapshot: Snapshot
    accepted: Accepted
    features: Features
    candidate: Candidate
    report: Report

    def build_tags(self, job_text: str) -> dict[str, str]:
        """Every key that is needed to make the version again."""
        return {
            f"{TAG}snapshot_key": self.snapshot.key,
            f"{TAG}snapshot_hash": self.snapshot.content_hash,
            f"{TAG}accepted_key": self.accepted.key,
            f"{TAG}features_key": self.features.key,
            f"{TAG}model_key": self.candidate.key,
            f"{TAG}model_hash": self.candidate.content_hash,
            f"{TAG}report_key": self.report.key,
            f"{TAG}report_hash": self.report.content_hash,
            f"{TAG}code_version": find_installed_version("ostinato"),
            f"{TAG}plans": json.dumps(self.candidate.facts.plans),
            f"{TAG}made_by": json.dumps(describe_environment(self.candidate.facts.device)),
            f"{TAG}job": job_text,
            f"{TAG}decision": self.report.facts.decision,
            f"{TAG}reason": self.report.facts.reason,
        }


def _build_run_record(
    origin: VersionInputs, store: Store, *, params: Mapping[str, str], job_text: str, job_name: str
) -> RunRecord:
    """Collect what the run tells."""
    facts, snapshot = origin.report.facts, origin.snapshot.facts
    report_dir = local_dir(store, origin.report)
    report = read_report(report_dir)
    metrics = {f"test_{name}": value for name, value in facts.metrics.items()}
    for baseline, scores in facts.baselines.items():
        key = baseline.replace(" ", "_")
        metrics[f"baseline_{key}_{facts.metric}"] = scores[facts.metric]
    return RunRecord(
        params=params,
        metrics=metrics,
        curves=_collect_curves(report.history),
        tags=origin.build_tags(job_text),
        dataset_name=job_name,
        dataset_hash=origin.snapshot.content_hash,
        # Which file each row came from would be long, and is told where rows are in quarantine.
        dataset_facts=json.dumps(
            {name: value for name, value in asdict(snapshot).items() if name != "origins"}
        ),
        files=tuple(sorted(path for path in report_dir.iterdir() if path.is_file()))
        + _list_validation_files(origin, store),
    )


def _collect_curves(history: Sequence[EpochRecord]) -> dict[str, list[float]]:
    """Lay the epochs out as curves."""
    names = ("training_loss", "validation_loss", "learning_rate", "padding_share")
    curves = {name: [getattr(epoch, name) for epoch in history] for name in names}
    metrics = [epoch.metric for epoch in history if epoch.metric is not None]
    if len(metrics) == len(history):
        curves[f"validation_{history[0].metric_name}"] = metrics
    return curves


def _list_validation_files(origin: VersionInputs, store: Store) -> tuple[Path, ...]:
    """Name what validation found: Great Expectations' page, and the same as data."""
    folder = local_dir(store, origin.accepted)
    return folder / "data_docs.html", folder / "validation.json"


def register_candidate(
    origin: VersionInputs,
    store: Store,
    *,
    name: str,
    params: Mapping[str, str],
    job_text: str,
    artifact_root: Path | None,
) -> Version:
    """Return the registered version of a candidate, continued where a killed run left it.

    Raises:
        RegistryError: MLflow cannot be reached, refuses, or gives back another model.
    """
    facts, done = origin.report.facts, f"{TAG}registered_report"
    found = versions.find_version_of_model(name, origin.candidate.key)
    if found and found.tags.get(done) == origin.report.key:
        return _build_version(found, facts, recomputed=False)
    experiment = mlflow_client.open_experiment(name, artifact_root)
    run_id = runs.open_report(
        experiment, origin.report.key, model_key=origin.candidate.key, run_name=name
    )
    record = _build_run_record(origin, store, params=params, job_text=job_text, job_name=name)
    mlflow_client.write_run(run_id, record)
    if found is None:
        found = _create_version(
            origin, store, name=name, experiment=experiment, run_id=run_id, tags=record.tags
        )
    number = str(found.version)
    verify_version(name, number)
    versions.tag_version(name, number, _select_changed_tags(record.tags, found.tags))
    _publish_model_card(origin, store, name=name, number=number)
    _assign_aliases(origin, store, name=name, number=number)
    mlflow_client.close_run(run_id)
    versions.tag_version(name, number, {done: origin.report.key})
    return _build_version(found, facts, recomputed=True)


def _select_changed_tags(tags: Mapping[str, str], held: Mapping[str, str]) -> dict[str, str]:
    """Leave out the tags that are there already: MLflow takes each by a request of its own."""
    return {name: value for name, value in tags.items() if held.get(name) != value}


def _create_version(
    origin: VersionInputs,
    store: Store,
    *,
    name: str,
    experiment: str,
    run_id: str,
    tags: Mapping[str, str],
) -> Any:  # noqa: ANN401 - MLflow's entity
    """Save the candidate as MLflow serves it, and register that."""
    bundle_dir = local_dir(store, origin.candidate) / "bundle"
    rows, features_dir = open_rows(store, origin.accepted), local_dir(store, origin.features)
    golden = choose_golden_rows(load(bundle_dir), rows, features_dir)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        save_package(bundle_dir, folder, golden)
        known = {**tags, f"{TAG}files_hash": hash_package(folder)}
        return versions.create_version(
            name, experiment=experiment, run_id=run_id, folder=folder, tags=known
        )


def _publish_model_card(origin: VersionInputs, store: Store, *, name: str, number: str) -> None:
    """Show the model card on the version's page in MLflow, and in Prefect's UI."""
    path = local_dir(store, origin.report) / CARD
    if not path.is_file():
        # A report of an older version.
        return
    card = path.read_text(encoding="utf-8")
    versions.describe_version(name, number, shorten_text(card, MAX_DESCRIPTION))
    publish_page(f"{name}-model-card", card)


def shorten_text(text: str, most: int) -> str:
    """Cut a text at the end of a line, and say so."""
    if len(text) <= most:
        return text
    end = "\n\n(the rest is in model_card.md)"
    return text[: most - len(end)].rpartition("\n")[0] + end


def _assign_aliases(origin: VersionInputs, store: Store, *, name: str, number: str) -> None:
    """Make the version the challenger, and the champion if the gate said so."""
    serve = origin.report.facts.decision == "promote"
    asked = AliasMove(
        name,
        number,
        "promote" if serve else "register",
        origin.report.facts.reason,
        make_challenger=True,
        once=True,
    )
    refuse = partial(
        check_champion_unchanged,
        store,
        name,
        report_key=origin.report.key,
        model_key=origin.candidate.key,
    )
    move_aliases(store, asked, check=refuse if serve else _allow)


def _build_version(found: Any, facts: ReportFacts, *, recomputed: bool) -> Version:  # noqa: ANN401
    """Build the record of a registered version."""
    return Version(
        name=found.name,
        version=str(found.version),
        decision=facts.decision,
        reason=facts.reason,
        run_id=found.run_id,
        experiment_id=mlflow_client.find_experiment_id(found.run_id),
        recomputed=recomputed,
    )


@task(name="register", task_run_name="register {name}", timeout_seconds=HOUR, **STAGE)
def register(
    report: Report,
    *,
    snapshot: Snapshot,
    accepted: Accepted,
    features: Features,
    candidate: Candidate,
    name: str,
    params: Mapping[str, str],
    job_text: str,
    artifact_root: str | None,
    store: StoreConfig,
) -> Version:
    """Register the candidate, and let it serve if the gate said so."""
    version = register_candidate(
        VersionInputs(snapshot, accepted, features, candidate, report),
        open_store(store),
        name=name,
        params=params,
        job_text=job_text,
        artifact_root=Path(artifact_root) if artifact_root else None,
    )
    logger().info("%s version %s: %s", name, version.version, version.decision)
    return version
