"""Batch scoring: predict every row of a source with a registered version, as a Parquet dataset.

The dataset is a folder of parts and a `manifest.json`. Its name is the version and a hash of the
input, so that equal requests share one dataset. A reader sees a complete dataset or none, and a
killed scoring resumes after its finished parts. `latest.json` names the newest dataset.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from prefect import task

from tasks.dataset.rowset import RowSet, open_snapshot
from tasks.errors import RegistryError
from tasks.evaluation.observed_quality import score_dataset
from tasks.gate.comparison import GateConfig
from tasks.prediction.predict import (
    LazyPredictions,
    PredictionRequest,
    Scorer,
    check_columns,
    open_scorer,
    predict_rows,
)
from tasks.prediction.predict_windows import WindowEnds, predict_windows
from tasks.records import Snapshot
from tasks.registry import versions
from tasks.scoring.config import RowSelection
from tasks.scoring.output_dataset import (
    MAX_SHOWN_ROWS,
    ScoringFacts,
    open_work_dir,
    publish_dataset,
    read_dataset_facts,
    summarize_parts,
    write_parts,
)
from tasks.storage.artifacts import MANIFEST, Recipe
from tasks.storage.integrity import list_files
from tasks.storage.store import (
    Store,
    StoreConfig,
    open_staging_dir,
    open_store,
    read_bytes,
    translate_os_errors,
    write_bytes,
)
from tasks.task_options import HOUR, STAGE, logger
from tasks.tracking.mlflow_client import TAG

_VERSION = 1

_LATEST = "latest.json"


class ScoringRequest(NamedTuple):
    """Which version scores which rows."""

    name: str
    version: str
    passthrough_columns: tuple[str, ...]
    rows: RowSelection
    gate: GateConfig
    """Its metric and interval are those of the quality, where targets are known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredDataset:
    """A dataset of predictions; the last line of `ostinato score --json`."""

    model: str
    version: str
    run_id: str
    folder: str
    """Path or URI of the dataset."""
    facts: ScoringFacts
    """As in its manifest."""
    recomputed: bool
    """False if the same version had scored the same rows before."""


def resolve_version(name: str, alias_or_number: str) -> str:
    """Return the number of the version with an alias or a number.

    Raises:
        RegistryError: the model has no such version.
    """
    aliases = versions.get_aliases(name)
    if found := aliases.get(alias_or_number):
        return found
    numbers = {str(each.version) for each in versions.list_versions(name)}
    if alias_or_number in numbers:
        return alias_or_number
    listed = ", ".join(f"{alias} ({number})" for alias, number in sorted(aliases.items()))
    raise RegistryError.of(
        f"'{name}' has no version '{alias_or_number}'",
        found=f"Versions: {', '.join(sorted(numbers, key=int)) or 'none'}; aliases: "
        f"{listed or 'none'}",
        hint="name one of these, or train one: ostinato run" if numbers else "ostinato run JOB",
    )


def score_snapshot(
    request: ScoringRequest, snapshot: Snapshot, store: Store, output: Store
) -> ScoredDataset:
    """Return the dataset of a version's predictions for a snapshot, computed unless it exists.

    Raises:
        RegistryError: the version's files are not those that were registered.
        SourceError: the rows lack columns that the model reads.
        StoreError: the output cannot be written.
    """
    found = versions.get_version(request.name, request.version)
    recipe = Recipe(
        stage="score",
        version=_VERSION,
        config={
            "passthrough_columns": list(request.passthrough_columns),
            "rows": request.rows,
            "quality": _select_quality_settings(request.gate),
        },
        inputs={
            "rows": snapshot.key,
            "model": found.tags.get(f"{TAG}files_hash", ""),
            "version": f"{request.name}/{request.version}",
        },
    )
    dataset_name = f"v{request.version}-{recipe.key[:12]}"
    facts, recomputed = read_dataset_facts(output, dataset_name), False
    if facts is None:
        work, recomputed = open_work_dir(output, dataset_name), True
        facts = _predict_all(
            request, str(found.run_id), snapshot, stores=(store, output), work=work
        )
        publish_dataset(output, work, dataset_name)
        # Of two equal scorings at once, both return the facts of the first that was published.
        facts = read_dataset_facts(output, dataset_name) or facts
    _write_latest(output, dataset_name, facts)
    return ScoredDataset(
        model=request.name,
        version=request.version,
        run_id=str(found.run_id),
        folder=f"{output.root}/{dataset_name}",
        facts=facts,
        recomputed=recomputed,
    )


def open_output_store(name: str, output: str | None, store: StoreConfig) -> Store:
    """Open the store of a model's datasets: `output`, else `scores/<name>` in the job's store."""
    uri = output or f"{store.uri.rstrip('/')}/scores/{name}"
    return open_store(StoreConfig(uri=uri, cache=store.cache))


class ScoringPreview(NamedTuple):
    """A dataset, and its first predictions."""

    dataset: ScoredDataset
    first_rows: list[dict[str, Any]]


@task(name="score", task_run_name="score {request.name}", timeout_seconds=24 * HOUR, **STAGE)
def score_rows(
    request: ScoringRequest, snapshot: Snapshot, *, output: str | None, store: StoreConfig
) -> ScoringPreview:
    """Score a snapshot's rows with a version."""
    opened = open_output_store(request.name, output, store)
    scored = score_snapshot(request, snapshot, open_store(store), opened)
    facts = scored.facts
    verb = "scored" if scored.recomputed else "had scored, and nothing has changed:"
    logger().info("version %s %s %s rows", scored.version, verb, facts.rows)
    if facts.failed:
        logger().warning("%s rows have no prediction; their status gives the reason", facts.failed)
    return ScoringPreview(scored, _read_first_rows(opened, scored).to_dicts())


def _write_latest(output: Store, dataset_name: str, facts: ScoringFacts) -> None:
    """Write the name of a dataset into `latest.json`, unless it is there."""
    latest = {"folder": dataset_name, "version": facts.version, "written_at": facts.written_at}
    text = json.dumps(latest, indent=2).encode()
    if read_bytes(output, _LATEST) != text:
        write_bytes(output, _LATEST, text)


def _select_quality_settings(gate: GateConfig) -> dict[str, Any]:
    """Select the settings of the gate that the quality in a manifest depends on."""
    return {name: getattr(gate, name) for name in ("metric", "confidence", "bootstrap_samples")}


def _predict_all(
    request: ScoringRequest,
    run_id: str,
    snapshot: Snapshot,
    *,
    stores: tuple[Store, Store],
    work: Path,
) -> ScoringFacts:
    """Write the missing parts, then the manifest; `stores` are the snapshot's and the dataset's."""
    began, resumed_parts = time.perf_counter(), len(list(work.glob("part-*.parquet")))
    store, output = stores
    if resumed_parts:
        logger().info("resuming an interrupted scoring: %s parts are written", resumed_parts)
    prediction_request = _build_prediction_request(request, snapshot, store)
    featurizer = prediction_request.scorer.featurizer
    classes = [str(name) for name in featurizer.target.classes]
    metadata = {
        "model": request.name,
        "version": request.version,
        "run_id": run_id,
        "snapshot": snapshot.content_hash,
        "classes": classes,
    }
    with open_staging_dir(output) as folder, translate_os_errors(output):
        batches = _predict(prediction_request, request.rows, folder)
        write_parts(batches, work, metadata, folder=folder)
    facts = ScoringFacts(
        model=request.name,
        version=request.version,
        run_id=run_id,
        snapshot=snapshot.content_hash,
        classes=classes,
        snapshot_key=snapshot.key,
        **summarize_parts(work)._asdict(),
        source_rows=snapshot.facts.rows,
        quality=score_dataset(work, featurizer, request.gate),
        seconds=round(time.perf_counter() - began, 3),
        resumed_parts=resumed_parts,
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
        parts={n: entry for n, entry in list_files(work).items() if n.startswith("part-")},
    )
    (work / MANIFEST).write_text(json.dumps(asdict(facts), indent=2), encoding="utf-8")
    return facts


def _build_prediction_request(
    request: ScoringRequest, snapshot: Snapshot, store: Store
) -> PredictionRequest:
    """Load the version, and check the snapshot's columns.

    Raises:
        RegistryError: the version's files are not those that were registered.
        SourceError: the rows lack columns that the model reads.
    """
    files = versions.fetch_files(request.name, request.version)
    scorer, rows = open_scorer(files, request.version), open_snapshot(store, snapshot)
    prediction_request = PredictionRequest(
        scorer, rows, _select_passthrough_columns(request, scorer, rows)
    )
    check_columns(prediction_request)
    return prediction_request


def _select_passthrough_columns(
    request: ScoringRequest, scorer: Scorer, rows: RowSet
) -> tuple[str, ...]:
    """List the columns that are copied to the predictions: entity, time and the requested ones."""
    layout = scorer.featurizer.layout
    own = (layout.entity, layout.time) if layout.window else ()
    wanted = dict.fromkeys([*(name for name in own if name), *request.passthrough_columns])
    if missing := [name for name in wanted if name not in rows.schema]:
        logger().warning(
            "the source has no column %s to copy to the predictions", ", ".join(missing)
        )
    return tuple(name for name in wanted if name in rows.schema)


def _predict(
    request: PredictionRequest, rows: RowSelection, folder: Path
) -> Iterator[LazyPredictions]:
    """Predict every row, or the selected windows; `folder` is for temporary files."""
    featurizer = request.scorer.featurizer
    if featurizer.layout.window is None:
        return predict_rows(request)
    default: WindowEnds = "last" if featurizer.target.kind == "forecast" else "all"
    return predict_windows(request, default if rows == "auto" else rows, folder)


def _read_first_rows(output: Store, scored: ScoredDataset) -> pl.DataFrame:
    """Read the first predictions of a dataset."""
    name = scored.folder.rpartition("/")[2]
    with output.fs.open(f"{output.root}/{name}/part-00000.parquet", "rb") as file:
        return pl.read_parquet(file, n_rows=MAX_SHOWN_ROWS)
