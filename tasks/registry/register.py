"""Register a candidate in MLflow, verify its predictions, and move the aliases last."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prefect import task

from models.bundle import load_bundle
from tasks.dataset.rowset import open_rows
from tasks.environment import describe_code, describe_environment
from tasks.facts import CandidateFacts, ReportFacts
from tasks.pretraining_record import PretrainingFacts
from tasks.records import Accepted, Candidate, Features, Report, Snapshot, Version
from tasks.registry import versions
from tasks.registry.aliases import AliasMove, move_aliases
from tasks.registry.promotion import check_champion_unchanged
from tasks.registry.verification import verify_version
from tasks.report_record import EpochRecord, read_report
from tasks.reporting import CARD
from tasks.serving.model_package import choose_golden_rows, save_package
from tasks.storage.artifacts import local_dir
from tasks.storage.lease import wait_for_lease
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
    fallback_for: Report | None = None
    """Of a baseline, the report of the network beside which it serves."""

    def build_tags(self, job_text: str) -> dict[str, str]:
        """Return the version's tags: everything that is needed to reproduce it."""
        baseline, network = self.candidate.facts.baseline, self.fallback_for
        pretraining = self.candidate.facts.pretraining
        return {
            **({f"{TAG}fallback": baseline.name} if baseline else {}),
            **({f"{TAG}fallback_for": network.key} if network else {}),
            **({f"{TAG}pretraining": _format_pretraining(pretraining)} if pretraining else {}),
            f"{TAG}snapshot_key": self.snapshot.key,
            f"{TAG}snapshot_hash": self.snapshot.content_hash,
            f"{TAG}accepted_key": self.accepted.key,
            f"{TAG}features_key": self.features.key,
            f"{TAG}model_key": self.candidate.key,
            f"{TAG}model_hash": self.candidate.content_hash,
            f"{TAG}report_key": self.report.key,
            f"{TAG}report_hash": self.report.content_hash,
            f"{TAG}code_version": describe_code(),
            f"{TAG}plans": json.dumps(self.candidate.facts.plans),
            f"{TAG}environment": json.dumps(describe_environment(self.candidate.facts.device)),
            f"{TAG}job": job_text,
            f"{TAG}decision": self.report.facts.decision,
            f"{TAG}reason": self.report.facts.reason,
            **self._build_file_tags(),
        }

    def _build_file_tags(self) -> dict[str, str]:
        """Return the hash of the files that the input is read with, and the embeddings' name."""
        facts = self.features.facts
        tags = {f"{TAG}embeddings": facts.embeddings.name} if facts.embeddings else {}
        return tags | ({f"{TAG}input_files_hash": facts.files_hash} if facts.files_hash else {})


def _build_run_record(
    inputs: VersionInputs, store: Store, *, params: Mapping[str, str], job_text: str, job_name: str
) -> RunRecord:
    """Build the record of the version's run in MLflow."""
    facts, snapshot = inputs.report.facts, inputs.snapshot.facts
    report_dir = local_dir(store, inputs.report)
    report = read_report(report_dir)
    metrics = {f"test_{name}": value for name, value in facts.metrics.items()}
    for baseline, scores in facts.baselines.items():
        key = baseline.replace(" ", "_")
        metrics[f"baseline_{key}_{facts.metric}"] = scores[facts.metric]
    metrics |= _collect_library(inputs.candidate.facts)
    return RunRecord(
        params=params,
        metrics=metrics,
        curves=_collect_curves(report.history)
        | _collect_pretraining_curves(inputs.candidate.facts.pretraining),
        tags=inputs.build_tags(job_text),
        dataset_name=job_name,
        dataset_hash=inputs.snapshot.content_hash,
        # The origins may be long, and quarantined rows have their own.
        dataset_facts=json.dumps(
            {name: value for name, value in asdict(snapshot).items() if name != "origins"}
        ),
        files=tuple(sorted(path for path in report_dir.iterdir() if path.is_file()))
        + _list_validation_files(inputs, store),
    )


def _collect_library(facts: CandidateFacts) -> dict[str, float]:
    """Return loss, weight and time of each part that an ensemble was selected from."""
    values = {
        f"{part.name}/{name}": getattr(part, field)
        for part in facts.library
        for name, field in (
            ("out_of_fold_loss", "loss"),
            ("weight", "weight"),
            ("training_seconds", "seconds"),
        )
    }
    return {name: value for name, value in values.items() if value is not None}


def _collect_curves(history: Sequence[EpochRecord]) -> dict[str, list[float]]:
    """Return each quantity's values by epoch."""
    names = ("training_loss", "validation_loss", "learning_rate", "padding_share")
    curves = {name: [getattr(epoch, name) for epoch in history] for name in names}
    if not history:
        return {}
    metrics = [epoch.metric for epoch in history if epoch.metric is not None]
    if len(metrics) == len(history):
        curves[f"validation_{history[0].metric_name}"] = metrics
    return curves


def _collect_pretraining_curves(pretraining: PretrainingFacts | None) -> dict[str, list[float]]:
    """Return the quantities of pretraining by its epochs; empty where there was none."""
    if pretraining is None:
        return {}
    return {
        "pretrain_loss": list(pretraining.training_losses),
        f"pretrain_{pretraining.metric}": list(pretraining.values),
    }


def _format_pretraining(pretraining: PretrainingFacts) -> str:
    """Format what the networks started from, and the plan by which it can be made again."""
    names = ("metric", "value", "steps", "rows", "start", "plan")
    return json.dumps({name: getattr(pretraining, name) for name in names})


def _list_validation_files(inputs: VersionInputs, store: Store) -> tuple[Path, ...]:
    """List the files with the results of validation: Great Expectations' page, and JSON."""
    folder = local_dir(store, inputs.accepted)
    return folder / "data_docs.html", folder / "validation.json"


_WAIT_SECONDS = 600.0
"""Time that another process may take to register a version of the same model."""


def register_candidate(
    inputs: VersionInputs,
    store: Store,
    *,
    name: str,
    params: Mapping[str, str],
    job_text: str,
    artifact_root: Path | None,
) -> Version:
    """Register a candidate, or complete the registration of a killed run; return its version.

    Args:
        inputs: the candidate, and what it comes from.
        store: where the artifacts are.
        name: of the registered model.
        params: settings, as the run shows them.
        job_text: the whole job as JSON.
        artifact_root: folder for the run's files where MLflow is a local database.

    Raises:
        RegistryError: MLflow cannot be reached, refuses, or returns another model.
    """
    facts, done = inputs.report.facts, f"{TAG}registered_report"
    found = versions.find_version_of_model(name, inputs.candidate.key)
    if found and found.tags.get(done) == inputs.report.key:
        return _build_version(found, facts, recomputed=False)
    experiment = mlflow_client.open_experiment(name, artifact_root)
    run_id = runs.open_report_run(
        experiment, inputs.report.key, model_key=inputs.candidate.key, run_name=name
    )
    record = _build_run_record(inputs, store, params=params, job_text=job_text, job_name=name)
    mlflow_client.write_run(run_id, record)
    if found is None:
        found = _create_version(
            inputs, store, name=name, experiment=experiment, run_id=run_id, tags=record.tags
        )
    number = str(found.version)
    verify_version(name, number)
    versions.tag_version(name, number, _select_changed_tags(record.tags, found.tags))
    _publish_model_card(inputs, store, name=name, number=number)
    _assign_aliases(inputs, store, name=name, number=number)
    mlflow_client.close_run(run_id)
    versions.tag_version(name, number, {done: inputs.report.key})
    return _build_version(found, facts, recomputed=True)


def _select_changed_tags(tags: Mapping[str, str], current: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that are not set yet; MLflow needs a request for each."""
    return {name: value for name, value in tags.items() if current.get(name) != value}


def _create_version(
    inputs: VersionInputs,
    store: Store,
    *,
    name: str,
    experiment: str,
    run_id: str,
    tags: Mapping[str, str],
) -> Any:  # noqa: ANN401 - MLflow's entity
    """Save the candidate as a model package, and register it as a version."""
    bundle_dir = local_dir(store, inputs.candidate) / "bundle"
    rows, features_dir = open_rows(store, inputs.accepted), local_dir(store, inputs.features)
    golden = choose_golden_rows(load_bundle(bundle_dir), rows, features_dir)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        all_tags = {**tags, f"{TAG}files_hash": save_package(bundle_dir, folder, golden)}
        return versions.create_version(
            name, experiment=experiment, run_id=run_id, folder=folder, tags=all_tags
        )


def _publish_model_card(inputs: VersionInputs, store: Store, *, name: str, number: str) -> None:
    """Show the model card on the version's page in MLflow, and in Prefect's UI."""
    card = (local_dir(store, inputs.report) / CARD).read_text(encoding="utf-8")
    versions.describe_version(name, number, shorten_text(card, MAX_DESCRIPTION))
    publish_page(f"{name}-model-card", card)


def shorten_text(text: str, max_length: int) -> str:
    """Cut a model card at the end of a line to `max_length` characters, with a note."""
    if len(text) <= max_length:
        return text
    note = "\n\n(the rest is in model_card.md)"
    return text[: max_length - len(note)].rpartition("\n")[0] + note


def _assign_aliases(inputs: VersionInputs, store: Store, *, name: str, number: str) -> None:
    """Make the version the challenger, and the champion if the gate promotes it.

    A baseline challenges nothing: the network that has not beaten it stays the challenger.
    """
    is_promoted = inputs.report.facts.decision == "promote"
    request = AliasMove(
        name,
        number,
        "promote" if is_promoted else "register",
        inputs.report.facts.reason,
        make_challenger=inputs.candidate.facts.baseline is None,
        once=True,
    )
    check = partial(
        check_champion_unchanged,
        store,
        name,
        report_key=inputs.report.key,
        model_key=inputs.candidate.key,
    )
    move_aliases(store, request, check=check if is_promoted else None)


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
    fallback_for: Report | None = None,
) -> Version:
    """Register the candidate, and make it the champion if the gate promotes it.

    Of a baseline that serves beside a network, `fallback_for` is the network's report.
    """
    opened = open_store(store)
    # Of runs that end at once, one makes the version, and the others find it.
    folder = f"history/{name}/registration"
    with wait_for_lease(opened, folder, holder="registration", seconds=_WAIT_SECONDS):
        version = register_candidate(
            VersionInputs(snapshot, accepted, features, candidate, report, fallback_for),
            opened,
            name=name,
            params=params,
            job_text=job_text,
            artifact_root=Path(artifact_root) if artifact_root else None,
        )
    logger().info("%s version %s: %s", name, version.version, version.decision)
    return version
