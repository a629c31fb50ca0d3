"""The form in the Prefect UI: plain fields, and wrong values are rejected before a run starts."""

from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.schema_tools.validation import ValidationError, validate

from flows.job.presets import FORM_FIELDS, PRESETS, load_requested_job
from flows.retrain import retrain
from tests.support.sample_jobs import WAVES, write_job

FORM = retrain.parameters.model_dump()
EXAMPLES = sorted(Path(__file__).parents[3].glob("deployments/jobs/**/*.yaml"))


def find_error(**parameters: Any) -> str | None:
    """Return the error of the validation that the server makes before it creates a run."""
    try:
        validate({"job_file": "waves.yaml", **parameters}, FORM, raise_on_error=True)
    except ValidationError as error:
        return str(error)
    return None


def test_every_field_is_a_box_or_a_drop_down_with_its_description() -> None:
    fields = FORM["properties"]

    for name, field in fields.items():
        assert {"anyOf", "oneOf", "allOf", "$ref"}.isdisjoint(field), name
        assert isinstance(field["type"], str)
        assert len(field["description"]) > 20
    assert sorted(fields, key=lambda name: fields[name]["position"])[:2] == ["job_file", "preset"]
    assert sorted(fields, key=lambda name: fields[name]["position"])[-2:] == ["overrides", "as_of"]
    assert [name for name in fields if "enum" in fields[name]] == ["preset", "cell", "metric"]


def test_fields_may_be_left_empty() -> None:
    empty = {name: None for name, field in FORM["properties"].items() if "default" not in field}
    del empty["job_file"]

    assert set(empty) >= {"hidden_size", "epochs", "learning_rate", "budget", "seed", "as_of"}
    assert find_error(**empty) is None


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"job_file": "waves.parquet"}, "job_file"),
        ({"preset": "fast"}, "'fast' is not one of ['job', 'quick', 'balanced', 'best']"),
        ({"cell": "gruu"}, "'gru'"),
        ({"epochs": 0}, "less than the minimum of 1"),
        ({"epochs": "ten"}, "'epochs'"),
        ({"learning_rate": 0}, "'learning_rate'"),
        ({"budget": "10 minutes"}, "'budget'"),
        ({"metric": "f1"}, "'macro_f1'"),
        ({"as_of": "yesterday"}, "'as_of'"),
        ({"overrides": {"training.epoks": 3}}, "'training.epochs'"),
        ({"overrides": {"trainin.epochs": 3}}, "training"),
        ({"overrides": {"inputs.column": "wave"}}, "'inputs'"),
        ({"overrides": {"training.batch_size": "many"}}, "training.batch_size"),
        ({"overrides": {"source.on_change.missing": "halt"}}, "['ignore', 'warn', 'fail']"),
        ({"overrides": [1]}, "'overrides'"),
        ({"overrides": {"source.uri": "postgresql://me:s3cret@host/db"}}, "does not match"),
        ({"overrides": {"source": {"uri": "postgresql://me:s3cret@host/db"}}}, "does not match"),
        ({"overrides": {"store.uri": "s3://AKIA:s3cret@bucket/store"}}, "does not match"),
    ],
)
def test_a_wrong_value_is_rejected_with_a_message(parameters: dict[str, Any], message: str) -> None:
    assert message in (find_error(**parameters) or "accepted")


def test_settings_of_all_depths_are_accepted() -> None:
    assert find_error(
        preset="best",
        cell="lstm",
        budget="10m",
        as_of="2026-01-31T06:00:00Z",
        overrides={
            "training.epochs": 3,
            "source.on_change.max_row_loss": "20%",
            "window.lookback": 4,
            "contract": "contracts/waves.yaml",
            "inputs": [{"column": "wave", "kind": "series"}],
        },
    ) is None  # fmt: skip


def test_the_more_specific_setting_takes_precedence(tmp_path: Path) -> None:
    path = write_job(tmp_path, WAVES)

    job = load_requested_job(
        path, {"training.patience": 4}, preset="quick", epochs=6, cell="job", seed=None
    )

    assert (job.training.epochs, job.training.patience) == (6, 4)
    assert (job.training.budget, job.training.learning_rate) == (30.0, 0.02)
    assert (job.model.cell, job.training.seed) == ("gru", 7)


def test_an_unchanged_form_is_the_job_file(tmp_path: Path) -> None:
    path = write_job(tmp_path, WAVES)

    empty = load_requested_job(path, None, preset="job", **dict.fromkeys(FORM_FIELDS))

    assert empty == load_requested_job(path, {}, preset="job")
    assert empty.training.epochs == WAVES["training"]["epochs"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_preset_is_valid_for_every_example(path: Path) -> None:
    jobs = {name: load_requested_job(path, None, preset=name) for name in PRESETS}

    assert jobs["quick"].training.budget < jobs["best"].training.budget
    assert len({job.model for job in jobs.values()}) == 1
