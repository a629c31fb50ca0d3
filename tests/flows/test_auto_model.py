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
from tests.support.sample_jobs import WAVES, waves, write_job

AUTO = WAVES | {"model": "auto", "training": {"epochs": 4, "learning_rate": 0.02, "batch_size": 64}}

TRIED = [
    ModelConfig(hidden_size=8),
    ModelConfig(cell="mingru", hidden_size=8, pooling=("mean", "max")),
    ModelConfig(cell="cnn", hidden_size=8, pooling="mean"),
]


@pytest.fixture
def auto_job(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job over 300 waves that leaves its network open, among three small ones."""

    def few(*_: object, champion: ModelConfig | None = None) -> list[ModelConfig]:
        return [*TRIED, champion] if champion and champion not in TRIED else TRIED

    monkeypatch.setattr("tasks.tuning.auto_model.list_candidate_models", few)
    waves(300).write_parquet(home / "waves.parquet")
    return write_job(home, AUTO)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_version_holds_the_network_that_was_chosen_as_if_it_had_been_named(
    auto_job: Path,
) -> None:
    outcome = retrain(str(auto_job))
    again = retrain(str(auto_job))

    # The training was finished by the search.
    stages = ["ingest", "validate", "featurize", "choose", "evaluate", "register"]
    assert outcome.recomputed == stages
    assert again.recomputed == []
    version = MlflowClient().get_model_version("waves", outcome.version)
    job = JOB_ADAPTER.validate_json(version.tags["ostinato.job"])
    assert job.model in TRIED
    params = MlflowClient().get_run(version.run_id).data.params
    assert params["model.cell"] == job.model.cell
    folder = Path(download_artifacts(run_id=version.run_id))
    table = json.loads((folder / "networks.json").read_text("utf-8"))
    assert {"network", "parameters", "epochs", "value", "seconds", "rung"} <= set(table["columns"])
    assert len(table["data"]) == len(TRIED)
    page = (folder / "report.html").read_text("utf-8")
    assert "Networks tried" in page
    assert "(chosen)" in page
    assert "chosen among 3 networks" in (folder / "model_card.md").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_the_champions_network_is_among_those_tried(auto_job: Path) -> None:
    named = write_job(auto_job.parent, WAVES)
    assert retrain(str(named)).decision == "promote"

    outcome = retrain(str(write_job(auto_job.parent, AUTO)))

    run = MlflowClient().get_model_version("waves", outcome.version).run_id
    table = json.loads((Path(download_artifacts(run_id=run)) / "networks.json").read_text("utf-8"))
    column = table["columns"].index("model")
    assert WAVES["model"]["hidden_size"] in [row[column]["hidden_size"] for row in table["data"]]


def test_check_accepts_a_job_that_leaves_its_network_open(auto_job: Path) -> None:
    found = check_job(load_job(auto_job))

    assert found["epoch_seconds"] > 0
    assert found["training_seconds_at_most"] > found["epoch_seconds"]


def test_tune_needs_a_named_network(auto_job: Path) -> None:
    with pytest.raises(JobError, match="model: auto searches for a network itself"):
        tune.fn(str(auto_job))


@pytest.mark.parametrize(
    ("changes", "words"),
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
def test_an_invalid_network_is_refused_in_one_line(
    home: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(JobError) as refusal:
        load_job(write_job(home, WAVES | changes))

    assert words in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 2


def test_the_schema_knows_both_ways_to_name_a_network() -> None:
    schema = json.loads(format_schema())

    for model in ("auto", {"cell": "gru"}):
        jsonschema.validate(WAVES | {"model": model}, schema)
    for model in ("gru", {"cel": "gru"}, 3):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(WAVES | {"model": model}, schema)
