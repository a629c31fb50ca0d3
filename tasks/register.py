"""Register a candidate in MLflow, prove that it answers as it did, and move the aliases last."""

import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from prefect import task

from models.bundle import Bundle, load
from models.features.split import TEST
from tasks import tracking
from tasks.artifacts import Candidate, Features, Report, Snapshot, Version
from tasks.errors import RegistryError
from tasks.publish import local_dir
from tasks.rows import scan_rows
from tasks.stage import HOUR, STAGE, logger
from tasks.store import Store, StoreConfig, open_store
from tasks.tracking import TAG, RunRecord

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

GOLDEN_ROWS = 5
"""Rows whose answers are stored with a version and compared after it is loaded back."""

REQUIREMENTS = (
    "torch",
    "polars",
    "pyarrow",
    "numpy",
    "pandas",
    "pillow",
    "safetensors",
    "pydantic",
)
"""What a served model imports."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The artifacts that a version comes from."""

    snapshot: Snapshot
    features: Features
    candidate: Candidate
    report: Report

    def tags(self, job_text: str) -> dict[str, str]:
        """Every key that is needed to make the version again."""
        return {
            f"{TAG}snapshot_key": self.snapshot.key,
            f"{TAG}snapshot_hash": self.snapshot.content_hash,
            f"{TAG}features_key": self.features.key,
            f"{TAG}model_key": self.candidate.key,
            f"{TAG}model_hash": self.candidate.content_hash,
            f"{TAG}report_key": self.report.key,
            f"{TAG}code_version": installed_version("ostinato"),
            f"{TAG}job": job_text,
            f"{TAG}decision": self.report.facts["decision"],
            f"{TAG}reason": self.report.facts["reason"],
        }


def golden_frame(bundle: Bundle, rows_dir: Path, features_dir: Path) -> pl.DataFrame:
    """Take raw rows that the model can answer: single rows, or the end of one series."""
    layout = bundle.featurizer.layout
    sequences = pl.read_parquet(features_dir / "sequences.parquet")
    rows = sequences.filter(pl.col("split") == TEST)["row"].head(GOLDEN_ROWS)
    frame = scan_rows(rows_dir).select(layout.raw_columns)
    if layout.window is None:
        return (
            frame.with_row_index("row")
            .filter(pl.col("row").is_in(rows.implode()))
            .drop("row")
            .collect(engine="streaming")
        )
    if layout.entity:
        entity = frame.select(layout.entity).slice(int(rows[0]), 1).collect().item()
        frame = frame.filter(pl.col(layout.entity) == entity)
    if layout.time:
        frame = frame.sort(layout.time, maintain_order=True)
    return frame.tail(layout.window.length + GOLDEN_ROWS - 1).collect(engine="streaming")


def save_served(bundle_dir: Path, folder: Path, golden: pl.DataFrame) -> None:
    """Save the model as MLflow serves it: code and data, no pickle."""
    import mlflow.pyfunc

    answers = load(bundle_dir).predict(golden)
    inputs, outputs = golden.to_pandas(), answers.to_pandas()
    packages = Path(__file__).parent.parent
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(packages / "tasks" / "serving.py"),
        artifacts={"bundle": str(bundle_dir)},
        code_paths=[str(packages / "models")],
        signature=open_signature(inputs, outputs),
        input_example=inputs,
        pip_requirements=[f"{name}=={public_version(name)}" for name in REQUIREMENTS],
    )
    golden.write_parquet(folder / "golden_inputs.parquet")
    answers.write_parquet(folder / "golden_answers.parquet")


def open_signature(inputs: "pd.DataFrame", outputs: "pd.DataFrame") -> "ModelSignature":
    """Describe the columns, every input optional and whole numbers of any type.

    Otherwise MLflow refuses the whole table for one gap in one row (which also turns whole numbers
    into floats); the model itself answers that row with its status.
    """
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    whole = (DataType.integer, DataType.long)

    with warnings.catch_warnings():
        # MLflow's hint that whole numbers cannot be missing: here they can.
        warnings.filterwarnings("ignore", message=".*integer column", category=UserWarning)
        inferred = infer_signature(inputs, outputs)
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(AnyType() if spec.type in whole else spec.type, spec.name, required=False)
        for spec in inferred.inputs
    ]
    return ModelSignature(inputs=Schema(columns), outputs=inferred.outputs)


def public_version(name: str) -> str:
    """Version of an installed package as the registry names it, without a build's own suffix."""
    return installed_version(name).partition("+")[0]


def check_golden(name: str, version: str) -> None:
    """Load a version back from MLflow and compare its answers with those stored beside it.

    Raises:
        RegistryError: it does not answer as it did.
    """
    import mlflow.pyfunc
    from mlflow.artifacts import download_artifacts

    uri = f"models:/{name}/{version}"
    with tracking.answers_named():
        folder = Path(download_artifacts(artifact_uri=uri))
        served = mlflow.pyfunc.load_model(str(folder))
    answers = served.predict(pl.read_parquet(folder / "golden_inputs.parquet").to_pandas())
    stored = pl.read_parquet(folder / "golden_answers.parquet")
    if not same_answers(pl.from_pandas(answers), stored):
        raise RegistryError.of(
            f"{name} version {version} does not answer as it did before it was registered",
            found=f"stored {stored.head(2).to_dicts()}, now {answers.head(2).to_dict('records')}",
            mend="no alias was moved; check that MLflow's storage is intact, then run again",
        )


def same_answers(now: pl.DataFrame, stored: pl.DataFrame) -> bool:
    """Compare answers: texts and classes exactly, numbers to float32's last digits."""
    for name, column in stored.to_dict().items():
        other = now[name]
        if column.dtype.is_float():
            ours, theirs = (c.fill_null(float("nan")).to_numpy() for c in (column, other))
            if not np.allclose(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True):
                return False
        elif not column.dtype.is_nested() and column.to_list() != other.to_list():
            return False
    return True


def run_record(
    origin: Origin, store: Store, *, params: Mapping[str, str], job_text: str, job_name: str
) -> RunRecord:
    """Collect what the run tells."""
    facts = origin.report.facts
    report_dir = local_dir(store, origin.report)
    report = json.loads((report_dir / "report.json").read_text(encoding="utf-8"))
    metrics = {f"test_{name}": value for name, value in facts["metrics"].items()}
    for baseline, scores in facts["baselines"].items():
        key = baseline.replace(" ", "_")
        metrics[f"baseline_{key}_{facts['metric']}"] = scores[facts["metric"]]
    curves: dict[str, list[float]] = {
        name: [epoch[name] for epoch in report["history"]]
        for name in ("training_loss", "validation_loss", "learning_rate")
    }
    return RunRecord(
        params=params,
        metrics=metrics,
        curves=curves,
        tags=origin.tags(job_text),
        dataset_name=job_name,
        dataset_hash=origin.snapshot.content_hash,
        dataset_facts=json.dumps(origin.snapshot.facts),
        files=tuple(sorted(path for path in report_dir.iterdir() if path.is_file())),
    )


def register_candidate(
    origin: Origin,
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
    found = tracking.find_version(name, origin.candidate.key)
    if found and found.tags.get(done) == origin.report.key:
        return version_of(found, facts, recomputed=False)
    experiment = tracking.open_experiment(name, artifact_root)
    run_id = tracking.open_run(experiment, origin.report.key, name)
    record = run_record(origin, store, params=params, job_text=job_text, job_name=name)
    tracking.write_run(run_id, record)
    if found is None:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            bundle_dir = local_dir(store, origin.candidate) / "bundle"
            golden = golden_frame(
                load(bundle_dir),
                local_dir(store, origin.snapshot),
                local_dir(store, origin.features),
            )
            save_served(bundle_dir, folder, golden)
            found = tracking.create_version(
                name, experiment=experiment, run_id=run_id, folder=folder, tags=record.tags
            )
    number = str(found.version)
    check_golden(name, number)
    tracking.tag_version(name, number, record.tags)
    move_aliases(name, number, decision=facts["decision"])
    tracking.close_run(run_id)
    tracking.tag_version(name, number, {done: origin.report.key})
    return version_of(found, facts, recomputed=True)


def move_aliases(name: str, number: str, *, decision: str) -> None:
    """Make the version the challenger, and the champion if the gate said so."""
    champion = tracking.find_champion(name)
    tracking.move_alias(name, "challenger", number)
    if decision != "promote" or (champion and champion.version == number):
        return
    if champion:
        tracking.move_alias(name, "previous", champion.version)
    tracking.move_alias(name, "champion", number)


def version_of(found: Any, facts: Mapping[str, Any], *, recomputed: bool) -> Version:  # noqa: ANN401
    """Build the record of a registered version."""
    return Version(
        name=found.name,
        version=str(found.version),
        decision=facts["decision"],
        reason=facts["reason"],
        run_id=found.run_id,
        experiment_id=tracking.experiment_of(found.run_id),
        recomputed=recomputed,
    )


@task(name="register", task_run_name="register {name}", timeout_seconds=HOUR, **STAGE)
def register(
    report: Report,
    *,
    snapshot: Snapshot,
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
        Origin(snapshot, features, candidate, report),
        open_store(store),
        name=name,
        params=params,
        job_text=job_text,
        artifact_root=Path(artifact_root) if artifact_root else None,
    )
    logger().info("%s version %s: %s", name, version.version, version.decision)
    return version
