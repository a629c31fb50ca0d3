"""`model: auto` from the job file to the registered version."""

import json
from pathlib import Path

import jsonschema
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from flows.commands.check import check_job
from flows.job.job import JOB_ADAPTER, format_schema, load_job
from flows.retrain import retrain
from flows.tune import tune
from models.networks.config import ModelConfig
from tasks.errors import JobError
from tests.support.sample_jobs import WAVES, make_waves, write_job

AUTO = WAVES | {"model": "auto", "training": {"epochs": 4, "learning_rate": 0.02, "batch_size": 64}}

CANDIDATES = [
    ModelConfig(hidden_size=8),
    ModelConfig(cell="mingru", hidden_size=8, pooling=("mean", "max")),
    ModelConfig(cell="cnn", hidden_size=8, pooling="mean"),
]


@pytest.fixture
def auto_job(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job over 300 waves that chooses among three small networks."""

    def list_few_candidates(
        *_: object, champion: ModelConfig | None = None, **__: object
    ) -> list[ModelConfig]:
        return [*CANDIDATES, champion] if champion and champion not in CANDIDATES else CANDIDATES

    monkeypatch.setattr("tasks.tuning.auto_model.list_candidate_models", list_few_candidates)
    make_waves(300).write_parquet(home / "waves.parquet")
    return write_job(home, AUTO)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_version_contains_the_chosen_network_like_a_configured_one(
    auto_job: Path,
) -> None:
    outcome = retrain(str(auto_job))
    again = retrain(str(auto_job))

    # The search finished the network; folds and branches are the training's.
    stages = ["ingest", "validate", "featurize", "choose", "train", "evaluate", "register"]
    assert outcome.recomputed == stages
    assert again.recomputed == []
    version = MlflowClient().get_model_version("waves", outcome.version)
    job = JOB_ADAPTER.validate_json(version.tags["ostinato.job"])
    assert job.model in CANDIDATES
    params = MlflowClient().get_run(version.run_id).data.params
    assert params["model.cell"] == job.model.cell
    folder = Path(download_artifacts(run_id=version.run_id))
    table = json.loads((folder / "networks.json").read_text("utf-8"))
    assert {"network", "parameters", "epochs", "value", "seconds", "rung"} <= set(table["columns"])
    assert len(table["data"]) == len(CANDIDATES)
    page = (folder / "report.html").read_text("utf-8")
    assert "Networks tried" in page
    assert "(chosen)" in page
    assert "chosen among 3 networks" in (folder / "model_card.md").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_the_network_of_the_champion_is_a_candidate(auto_job: Path) -> None:
    configured_job = write_job(auto_job.parent, WAVES)
    assert retrain(str(configured_job)).decision == "promote"

    outcome = retrain(str(write_job(auto_job.parent, AUTO)))

    run = MlflowClient().get_model_version("waves", outcome.version).run_id
    table = json.loads((Path(download_artifacts(run_id=run)) / "networks.json").read_text("utf-8"))
    column = table["columns"].index("model")
    assert WAVES["model"]["hidden_size"] in [row[column]["hidden_size"] for row in table["data"]]


def test_check_accepts_a_job_with_an_auto_model(auto_job: Path) -> None:
    result = check_job(load_job(auto_job))

    assert result["epoch_seconds"] > 0
    assert result["training_seconds_at_most"] > result["epoch_seconds"]


def test_tune_needs_a_configured_network(auto_job: Path) -> None:
    with pytest.raises(JobError, match="model: auto searches for a network itself"):
        tune.fn(str(auto_job))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "gru"}, "model: 'gru' is no section; write model: {cell: gru}, or auto"),
        (
            {"model": {"hiden_size": 3}},
            "model.hiden_size is not a key; did you mean 'hidden_size'?",
        ),
        ({"model": {"cell": "transformer"}}, "model.cell: 'transformer' is not a cell"),
        ({"model": {"hidden_size": 0}}, "model.hidden_size: 0 is too small"),
        ({"model": "auto", "tuning": {}}, "tuning: model: auto is a search already"),
    ],
)
def test_an_invalid_network_is_rejected_in_one_line(
    home: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(JobError) as error:
        load_job(write_job(home, WAVES | changes))

    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 2


def test_the_schema_accepts_auto_and_a_configured_network() -> None:
    schema = json.loads(format_schema())

    for model in ("auto", {"cell": "gru"}):
        jsonschema.validate(WAVES | {"model": model}, schema)
    for model in ("gru", {"cel": "gru"}, 3):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(WAVES | {"model": model}, schema)
