"""The whole loop on a real Prefect server and a real MLflow database."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import polars as pl
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.sorting import FlowRunSort

import flows.retrain as retrain_module
from flows.retrain import retrain
from tasks.dataset.rowset import open_snapshot
from tasks.errors import ContractError, RegistryDownError, RegistryError, SourceError
from tasks.evaluation.evaluate import evaluate
from tasks.facts import SnapshotFacts
from tasks.registry.promotion import check_champion_unchanged
from tasks.storage.artifacts import find_by_key
from tasks.storage.store import StoreConfig, open_store
from tests.support.sample_jobs import wait_until

STAGES = ["ingest", "validate", "featurize", "train", "evaluate", "register"]

pytestmark = pytest.mark.usefixtures("prefect_server")


def read_aliases(name: str) -> dict[str, str]:
    return {k: str(v) for k, v in MlflowClient().get_registered_model(name).aliases.items()}


def test_a_first_run_trains_and_registers_a_champion_from_raw_rows(waves_job: Path) -> None:
    outcome = retrain(str(waves_job))

    assert outcome.decision == "promote", outcome.reason
    assert outcome.recomputed == STAGES
    assert outcome.metrics["macro_f1"] > 0.95
    assert outcome.baseline["name"] == "random convolutions"
    assert read_aliases("waves") == {"challenger": "1", "champion": "1"}


def test_a_second_run_on_unchanged_data_does_nothing_and_reports_the_same(waves_job: Path) -> None:
    first = retrain(str(waves_job))

    second = retrain(str(waves_job))

    assert second.recomputed == []
    assert (second.version, second.decision, second.metrics) == (
        first.version,
        first.decision,
        first.metrics,
    )
    assert len(MlflowClient().search_model_versions("name = 'waves'")) == 1


def test_an_equal_challenger_never_replaces_the_champion(waves_job: Path) -> None:
    retrain(str(waves_job))

    outcome = retrain(str(waves_job), {"training.seed": 8})

    assert outcome.decision == "keep"
    assert "champion" in outcome.reason
    assert outcome.recomputed == ["train", "evaluate", "register"]
    assert read_aliases("waves") == {"challenger": "2", "champion": "1"}


def test_a_clearly_better_challenger_replaces_the_champion(waves_job: Path) -> None:
    # After one epoch at a tiny rate a version may not beat the baseline, so the alias is set.
    weak = {"training.epochs": 1, "training.learning_rate": 1e-5, "model.parallel_branch": "none"}
    retrain(str(waves_job), weak | {"gate.fallback": "none"})
    MlflowClient().set_registered_model_alias("waves", "champion", "1")

    outcome = retrain(str(waves_job))

    assert outcome.decision == "promote", outcome.reason
    assert "champion waves v1" in outcome.reason
    assert read_aliases("waves") == {"challenger": "2", "champion": "2", "previous": "1"}


def test_the_champion_predicts_raw_rows_in_plain_mlflow_without_pickle(waves_job: Path) -> None:
    retrain(str(waves_job))
    rows = pl.read_parquet("waves.parquet").select("wave").head(4)
    broken = rows.with_columns(
        wave=pl.when(pl.int_range(pl.len()) == 2).then(None).otherwise(pl.col("wave"))
    )

    served = mlflow.pyfunc.load_model("models:/waves@champion")
    whole = served.predict(rows.to_pandas())
    partial = served.predict(broken.to_pandas())

    assert list(whole["status"]) == ["ok"] * 4
    assert set(whole["prediction"]) <= {"kind 0", "kind 1"}
    assert partial["status"][2] == "column 'wave' is empty"
    assert list(partial["prediction"][[0, 1, 3]]) == list(whole["prediction"][[0, 1, 3]])
    files = MlflowClient().list_artifacts(MlflowClient().search_runs(["1"])[0].info.run_id)
    assert not [file.path for file in files if file.path.endswith((".pkl", ".pt"))]


SERVE_WITHOUT_OSTINATO = """
import sys
sys.meta_path = [f for f in sys.meta_path if not f.__module__.startswith("__editable__")]
try:
    import tasks
except ImportError:
    pass
else:
    raise SystemExit("ostinato can still be imported")
import mlflow, pandas
model = mlflow.pyfunc.load_model("models:/waves@champion")
print(model.predict(pandas.read_parquet("waves.parquet")[["wave"]]).status.value_counts().ok)
"""


def test_a_version_serves_where_ostinato_is_not_installed(waves_job: Path, tmp_path: Path) -> None:
    retrain(str(waves_job))

    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    served = subprocess.run(
        [sys.executable, "-c", SERVE_WITHOUT_OSTINATO],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert served.stdout.split() == ["300"], served.stderr


def test_the_store_can_be_in_object_storage(waves_job: Path, s3_bucket: str) -> None:
    overrides = {"store.uri": f"s3://{s3_bucket}/store"}

    first = retrain(str(waves_job), overrides)
    second = retrain(str(waves_job), overrides)

    assert first.recomputed == STAGES
    assert second.recomputed == []
    assert not Path(".ostinato/store").exists()


def test_a_champion_of_other_classes_is_neither_beaten_nor_replaced(waves_job: Path) -> None:
    retrain(str(waves_job))
    frame = pl.read_parquet("waves.parquet")
    frame.with_columns(pl.col("label").str.replace("kind", "type")).write_parquet("waves.parquet")

    outcome = retrain(str(waves_job))

    assert outcome.decision == "not-comparable"
    assert "other classes" in outcome.reason
    assert read_aliases("waves") == {"challenger": "2", "champion": "1"}


def test_a_champion_whose_files_are_missing_is_not_replaced(waves_job: Path) -> None:
    retrain(str(waves_job))
    for path in Path().rglob("*.safetensors"):
        if "mlflow" in path.parts or "mlruns" in path.parts:
            path.unlink()

    outcome = retrain(str(waves_job), {"training.seed": 8})

    assert outcome.decision == "not-comparable"
    assert read_aliases("waves")["champion"] == "1"


def test_a_promotion_is_rejected_if_the_champion_changed_during_the_evaluation(
    waves_job: Path,
) -> None:
    retrain(str(waves_job))
    retrain(str(waves_job), {"training.seed": 8})
    store, tags = open_store(StoreConfig()), MlflowClient().get_model_version("waves", "1").tags
    evaluated_tags = {name: tags[f"ostinato.{name}"] for name in ("report_key", "model_key")}
    check_champion_unchanged(store, "waves", **evaluated_tags)

    MlflowClient().set_registered_model_alias("waves", "champion", "2")

    with pytest.raises(RegistryError, match="changed since its challenger was evaluated"):
        check_champion_unchanged(store, "waves", **evaluated_tags)


def test_a_run_in_mlflow_records_all_that_a_reproduction_needs(
    waves_job: Path,
) -> None:
    outcome = retrain(str(waves_job), {"training.folds": 1})
    version = MlflowClient().get_model_version("waves", outcome.version)

    run = MlflowClient().get_run(version.run_id)

    assert run.info.status == "FINISHED"
    assert run.data.params["training.seed"] == "7"
    assert run.data.metrics["test_accuracy"] == outcome.metrics["accuracy"]
    assert len(MlflowClient().get_metric_history(version.run_id, "validation_loss")) == 8
    assert run.inputs.dataset_inputs[0].dataset.name == "waves"
    job = json.loads(version.tags["ostinato.job"])
    assert job["source"]["uri"] == "waves.parquet"
    for tag in ("snapshot_hash", "features_key", "model_key", "report_key", "code_version"):
        assert version.tags[f"ostinato.{tag}"]
    pictures = {file.path for file in MlflowClient().list_artifacts(version.run_id)}
    assert {"report.json", "learning_curve.svg", "confusion.svg"} <= pictures


def test_prefect_shows_the_result_with_readable_names(waves_job: Path) -> None:
    retrain(str(waves_job))

    with get_client(sync_client=True) as client:
        [run] = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
        of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        artifacts = client.read_artifacts(flow_run_filter=of_run)
        # task runs reach the server asynchronously
        wait_until(lambda: {"ingest waves.parquet", "train gru"} <= list_task_names(client, of_run))
    [artifact] = [result for result in artifacts if result.key == "waves-result"]

    assert "waves: promote" in artifact.data
    assert "logistic regression" in artifact.data
    assert run.name.startswith("waves-")


def list_task_names(client: SyncPrefectClient, of_run: FlowRunFilter) -> set[str]:
    return {task.name for task in client.read_task_runs(flow_run_filter=of_run)}


def test_a_forecast_is_compared_with_the_seasonal_naive(sales_job: Path) -> None:
    outcome = retrain(str(sales_job))

    report = next(Path(".ostinato/store/evaluate").glob("*/*/report.json"))
    baselines = json.loads(report.read_text(encoding="utf-8"))["baselines"]
    assert set(baselines) == {"mean", "ridge regression", "last value", "seasonal naive"}
    assert baselines["seasonal naive"]["mae"] < baselines["last value"]["mae"]
    assert outcome.metrics["mae"] > 0


def test_growing_data_moves_no_row_to_another_split(waves_job: Path) -> None:
    retrain(str(waves_job))
    before = read_splits()
    grown = pl.concat([pl.read_parquet("waves.parquet"), make_more_waves()])
    grown.sample(fraction=1.0, shuffle=True, seed=5).write_parquet("waves.parquet")

    retrain(str(waves_job))

    after = read_splits()
    assert len(after) > len(before)
    assert {name: after[name] for name in before} == before


def make_more_waves() -> pl.DataFrame:
    frame = pl.read_parquet("waves.parquet").head(60)
    return frame.with_columns(
        pl.col("id") + 10_000, pl.col("wave").list.eval(pl.element() * 1.01).alias("wave")
    )


def read_splits() -> dict[int, int]:
    """Return the split of each row of the newest features, by the id of the row."""
    newest = max(
        Path(".ostinato/store/featurize").glob("*/*/sequences.parquet"),
        key=lambda path: path.stat().st_mtime_ns,
    )
    snapshot = json.loads((newest.parents[1] / "manifest.json").read_text(encoding="utf-8"))
    store = open_store(StoreConfig())
    taken = find_by_key(store, "ingest", snapshot["recipe"]["inputs"]["rows"], SnapshotFacts)
    ids = open_snapshot(store, taken).scan().collect()["id"]
    table = pl.read_parquet(newest)
    return dict(zip(ids.gather(table["row"]), table["split"], strict=True))


def test_bad_data_stops_at_its_stage_and_no_artifact_is_lost(waves_job: Path) -> None:
    good = retrain(str(waves_job))
    frame = pl.read_parquet("waves.parquet")
    frame.with_columns(
        label=pl.when(pl.col("id") < 7).then(None).otherwise(pl.col("label"))
    ).write_parquet("waves.parquet")

    with pytest.raises(ContractError, match="label"):
        retrain(str(waves_job))

    frame.write_parquet("waves.parquet")
    again = retrain(str(waves_job))
    assert again.recomputed == []
    assert again.version == good.version


def test_an_unreachable_mlflow_promotes_nothing_and_the_next_run_resumes(
    waves_job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = os.environ["MLFLOW_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    # Without retries, because retries during an outage are tested elsewhere.
    monkeypatch.setattr(retrain_module, "evaluate", evaluate.with_options(retries=0))

    with pytest.raises(RegistryDownError, match="cannot be reached"):
        retrain(str(waves_job))

    monkeypatch.setenv("MLFLOW_TRACKING_URI", working)
    outcome = retrain(str(waves_job))
    assert outcome.recomputed == ["evaluate", "register"]
    assert outcome.decision == "promote"


def test_the_error_for_a_missing_source_names_the_path(waves_job: Path) -> None:
    Path("waves.parquet").unlink()

    with pytest.raises(SourceError, match="names no file"):
        retrain(str(waves_job))
