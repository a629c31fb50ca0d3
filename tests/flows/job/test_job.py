"""Job files: every error is one line with the key, the value and the fix."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.job.error_messages import _OTHER_NAMES
from flows.job.job import JOB_ADAPTER, Job, format_job, format_schema, load_job
from tasks.errors import JobError

ROOT = Path(__file__).parents[3]

LEAST = {
    "name": "waves",
    "source": {"uri": "waves.parquet"},
    "inputs": [{"column": "wave", "kind": "series"}],
    "target": {"column": "label", "kind": "category"},
}

SERIES = LEAST | {
    "source": {"uri": "w.parquet", "time": "day"},
    "window": {"lookback": 7},
}


def write_job(folder: Path, job: object) -> Path:
    path = folder / "job.yaml"
    path.write_text(job if isinstance(job, str) else yaml.safe_dump(job), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "deployments" / "jobs").rglob("*.yaml")))
def test_the_example_jobs_load_and_fit_the_schema_that_editors_use(path: Path) -> None:
    schema = json.loads((ROOT / "deployments" / "job.schema.json").read_text(encoding="utf-8"))

    job = load_job(path)
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)

    assert job.name == path.stem


def test_the_schema_file_matches_the_code() -> None:
    schema = json.loads(format_schema())

    jsonschema.Draft202012Validator.check_schema(schema)
    assert (ROOT / "deployments" / "job.schema.json").read_text(encoding="utf-8") == format_schema()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(LEAST | {"modle": {}}, schema)
    assert schema["$defs"]["TrainingConfig"]["properties"]["epochs"]["description"]


def test_four_keys_are_enough(tmp_path: Path) -> None:
    job = load_job(write_job(tmp_path, LEAST))

    assert job.model.cell == "gru"
    assert job.contract_path == ".ostinato/contracts/waves.yaml"
    assert job.required_columns == ["wave", "label"]


def with_input(**changes: object) -> dict:
    return LEAST | {"inputs": [LEAST["inputs"][0] | changes]}


@pytest.mark.parametrize(
    ("job", "line"),
    [
        (LEAST | {"modle": {}}, "modle is not a key; did you mean 'model'?"),
        (LEAST | {"model": {"hiden": 3}}, "model.hiden is not a key; did you mean 'hidden_size'?"),
        (with_input(colour=1), "inputs[0].colour is not a key"),
        (with_input(kind="serie"), "inputs[0].kind: 'serie' is not a kind; did you mean 'series'?"),
        (
            LEAST | {"model": {"cell": "transformer"}},
            "model.cell: 'transformer' is not a cell; choose one of rnn, lstm, gru",
        ),
        ({k: v for k, v in LEAST.items() if k != "target"}, "target is missing; give it a value"),
        (LEAST | {"training": {"epochs": "many"}}, "training.epochs: 'many' is not valid"),
        (LEAST | {"training": {"epochs": 0}}, "training.epochs: 0 is too small; give at least 1"),
        (LEAST | {"model": {"dropout": 1.5}}, "model.dropout: 1.5 is not between 0 and 1"),
        (LEAST | {"split": {"test": "20 percent"}}, "split.test: '20 percent' is not a share"),
        (
            LEAST | {"training": {"checkpoint_every": "10"}},
            "training.checkpoint_every: '10' is not a duration; write it with its unit",
        ),
        (LEAST | {"schedule": {"cron": "daily"}}, "schedule.cron: 'daily' does not have five"),
        (
            LEAST | {"schedule": {"cron": "0 3 * * *", "timezone": "Mars"}},
            "schedule.timezone: 'Mars' is not known",
        ),
        (LEAST | {"inputs": LEAST["inputs"] * 2}, "inputs: found 2 sequences, expected one"),
        (LEAST | {"window": {"lookback": 3}}, "window: a series needs source.time"),
        (SERIES | {"window": {"lookback": 0}}, "window.lookback: 0 is too small"),
        (LEAST | {"name": "my job"}, "name: 'my job' is not a name"),
        (
            LEAST | {"target": {"column": "wave", "kind": "number"}},
            "target.column: 'wave' is also an input",
        ),
        (
            LEAST | {"target": {"column": ["y", "y"], "kind": "forecast"}},
            "target.column: 'y' is listed twice; remove it",
        ),
        (
            LEAST | {"target": {"column": ["y", "z"], "kind": "number"}},
            "target.column: several columns are predicted together by kind forecast alone",
        ),
        (
            LEAST | {"target": {"column": [], "kind": "forecast"}},
            "target.column: kind forecast needs one",
        ),
        (
            SERIES
            | {
                "source": {"uri": "rows.parquet", "time": "t"},
                "window": {"lookback": 3},
                "target": {"column": ["wave", "z"], "kind": "forecast"},
                "head": {"normalization": "revin"},
            },
            "head.normalization: it needs the target's past as an input; add 'z'",
        ),
        (
            LEAST | {"head": {"loss": "huber"}},
            "head.loss: a target of kind category does not have this setting",
        ),
        (
            LEAST
            | {"target": {"column": "y", "kind": "number"}, "training": {"sampler": "balanced"}},
            "training.sampler: a target of kind number has no classes",
        ),
        (LEAST | {"training": {"budget": "0s"}}, "training.budget: 0.0 is not above 0"),
        (
            LEAST
            | {
                "inputs": [{"column": "wave", "kind": "tree", "supervise_nodes": True}],
                "model": {"cell": "tree-lstm", "pooling": "mean"},
            },
            "inputs.supervise_nodes: a node is predicted as a root is",
        ),
        (
            LEAST
            | {
                "inputs": [{"column": "wave", "kind": "text"}],
                "model": {"parallel_branch": "rocket"},
            },
            "model.parallel_branch: rocket reads numbers",
        ),
        (
            LEAST | {"model": {"cell": "gur"}},
            "model.cell",
        ),
        (
            LEAST | {"target": {"column": "^w.*$", "kind": "category"}},
            "column: '^w.*$' is a pattern in Polars; rename it",
        ),
    ],
)
def test_an_error_names_its_key_its_value_and_the_fix(job: dict, line: str, tmp_path: Path) -> None:
    with pytest.raises(JobError) as refusal:
        load_job(write_job(tmp_path, job))

    [_, *errors] = str(refusal.value).splitlines()
    assert [error for error in errors if error.strip().startswith(line)], str(refusal.value)
    assert refusal.value.exit_code == 2


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    job = LEAST | {"model": {"cell": "gur", "hiden": 3}, "gate": {"metric": "acuracy"}}

    with pytest.raises(JobError) as refusal:
        load_job(write_job(tmp_path, job))

    assert [line.split()[0].rstrip(":") for line in str(refusal.value).splitlines()[1:]] == [
        "model.cell",
        "model.hiden",
        "gate.metric",
    ]


IMAGE = {"inputs": [{"column": "image", "kind": "image", "order": "hilbert"}]}


@pytest.mark.parametrize(
    ("section", "hint"),
    [
        ({"training": {"batch_sise": 8}}, "training.batch_sise is not a key; did you mean 'batch"),
        ({"training": {"batch": 8}}, "training.batch is not a key; did you mean 'batch_size'?"),
        ({"training": {"stop_on": "loss"}}, "did you mean 'early_stopping_metric'?"),
        ({"model": {"hidden": 8}}, "model.hidden is not a key; did you mean 'hidden_size'?"),
        ({"model": {"layers": 2}}, "model.layers is not a key; did you mean 'num_layers'?"),
        ({"evaluation": {"canaries": "warn"}}, "did you mean 'leakage_checks'?"),
        ({"score": {"keep": ["id"]}}, "did you mean 'passthrough_columns'?"),
        (IMAGE, "inputs[0].order is not a key; did you mean 'scan_order'?"),
    ],
)
def test_a_misspelled_key_or_a_synonym_gets_a_hint(
    section: dict, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(JobError) as refusal:
        load_job(write_job(tmp_path, LEAST | section))

    assert hint in str(refusal.value)


def test_every_synonym_refers_to_an_existing_key() -> None:
    sections = [JOB_ADAPTER.json_schema(), *JOB_ADAPTER.json_schema()["$defs"].values()]
    keys = {key for section in sections for key in section.get("properties", {})}

    assert {name for names in _OTHER_NAMES.values() for name in names} <= keys


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "is not YAML"), ("- a", "is of type list"), ("", "of type NoneType")],
)
def test_a_file_that_is_no_job_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=message):
        load_job(write_job(tmp_path, text))


def test_the_error_for_a_missing_file_says_how_to_create_one(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="ostinato init"):
        load_job(tmp_path / "none.yaml")


def test_units_are_read_as_people_write_them(tmp_path: Path) -> None:
    texts = {"split": {"test": "20%"}, "training": {"checkpoint_every": "10m"}}
    numbers = {"split": {"test": 0.2}, "training": {"checkpoint_every": 600}}

    first = load_job(write_job(tmp_path, LEAST | texts))
    second = load_job(write_job(tmp_path, LEAST | numbers))

    assert first == second
    assert first.training.checkpoint_every == 600.0


def test_settings_can_be_replaced_for_one_run(tmp_path: Path) -> None:
    path = write_job(tmp_path, LEAST)

    job = load_job(path, {"training.epochs": 3, "split.by": "hash", "gate.confidence": 0.9})

    assert (job.training.epochs, job.split.by, job.gate.confidence) == (3, "hash", 0.9)
    with pytest.raises(JobError, match=r"training.epoch is not a key; did you mean 'epochs'"):
        load_job(path, {"training.epoch": 3})
    with pytest.raises(JobError, match="'name' is not a section"):
        load_job(path, {"name.first": 3})


@given(
    st.integers(1, 500),
    st.floats(0.01, 0.4),
    st.sampled_from(["rnn", "lstm", "gru"]),
    st.one_of(st.none(), st.sampled_from(["\u00fc", "a b", "day"])),
)
def test_a_job_survives_serialization(hidden: int, test: float, cell: str, time) -> None:
    raw = LEAST | {
        "source": {"uri": "x", "time": time},
        "model": {"hidden_size": hidden, "cell": cell},
        "split": {"test": test},
    }
    job: Job = JOB_ADAPTER.validate_python(raw)

    assert JOB_ADAPTER.validate_python(json.loads(format_job(job))) == job


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate: nan is not a fin"),
        ({"training": {"max_grad_norm": float("inf")}}, "training.max_grad_norm: inf is not a fin"),
        (
            {"training": {"weight_decay": float("nan")}},
            "training.weight_decay: nan is not a fin",
        ),
        ({"training": {"budget": float("nan")}}, "training.budget: nan is not a finite number"),
        ({"training": {"seed": -1}}, "training.seed: -1 is not from 0 to"),
        ({"training": {"seed": 2**64}}, "training.seed: 18446744073709551616 is larger than 64"),
        ({"training": {"ensemble": 10**8}}, "training.ensemble: 100000000 is too large"),
        ({"model": {"hidden_size": 10**9}}, "model.hidden_size: 1 layers of 1000000000 units"),
        ({"model": {"num_layers": 10**6}}, "GB to train; give fewer"),
        ({"schedule": {"cron": "61 * * * *"}}, "schedule.cron: '61 * * * *' is no schedule"),
        ({"schedule": {"cron": "a b c d e"}}, "schedule.cron: 'a b c d e' is no schedule"),
        ({"schedule": {"cron": "0 0 31 2 *"}}, "schedule.cron: '0 0 31 2 *' is"),
        ({"store": {"uri": ""}}, "store.uri: name a folder"),
        ({"store": {"uri": "http://x/y"}}, "store.uri: 'http:' is not supported"),
        ({"source": {"uri": "ftp://x/y.parquet"}}, "source.uri: 'ftp:' is not supported"),
        ({"source": {"uri": "data:abc"}}, "source.uri: 'data:' is not supported"),
        ({"contract": "../../x.yaml"}, "contract: ../../x.yaml lies outside"),
        ({"contract": "/etc/passwd"}, "contract: /etc/passwd lies outside"),
        (
            {"gate": {"metric": "mae"}},
            "gate.metric: 'mae' does not fit a target of kind",
        ),
        ({"name": "x" * 9000}, "use letters, digits"),
        ({"inputs": [{"column": "values", "kind": "y" * 9000}]}, "is not a kind"),
    ],
)
def test_values_that_cannot_be_right_are_refused_briefly(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(JobError) as error:
        load_job(write_job(tmp_path, LEAST | change))

    assert message in str(error.value)
    assert len(str(error.value)) < 2000


def test_overrides_are_bounded_like_the_file(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="learning_rate: nan is not a finite number"):
        load_job(write_job(tmp_path, LEAST), {"training.learning_rate": float("nan")})


def test_a_windows_path_is_no_scheme(tmp_path: Path) -> None:
    job = load_job(write_job(tmp_path, LEAST | {"source": {"uri": "C:/data/x.parquet"}}))

    assert job.source.uri == "C:/data/x.parquet"
