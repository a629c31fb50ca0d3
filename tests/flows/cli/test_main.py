"""The commands besides `run` and `ui`: text for people, and JSON for programs."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from models.networks.families import FAMILIES
from tests.support.sample_jobs import SALES, make_sales, run_ostinato, write_job


def test_check_reports_what_a_run_would_read_and_trains_nothing(tmp_path: Path) -> None:
    make_sales(200).write_parquet(tmp_path / "sales.parquet")
    write_job(tmp_path, SALES)

    text = run_ostinato(tmp_path, "check", "sales.yaml")
    as_json = run_ostinato(tmp_path, "check", "sales.yaml", "--json")

    result = json.loads(as_json.stdout.splitlines()[-1])
    assert text.returncode == as_json.returncode == 0, text.stderr
    assert "job sales: valid" in text.stdout
    assert "without early stopping" in text.stdout
    assert (result["rows"], result["broken"]) == (200, 0)
    assert result["training"] > result["test"] > result["validation"] > 0
    assert result["training_seconds_at_most"] > result["epoch_seconds"] > 0
    assert not list(tmp_path.glob(".ostinato/store/train/*"))

    listed = run_ostinato(tmp_path, "artifacts", "--json")
    dry = run_ostinato(tmp_path, "prune")

    assert [row["stage"] for row in json.loads(listed.stdout)] == [
        "part", "ingest", "validate", "featurize",
    ]  # fmt: skip
    assert "nothing to delete" in dry.stdout


@pytest.mark.slow
def test_a_preset_is_chosen_by_one_word_and_a_setting_overrides_it(tmp_path: Path) -> None:
    make_sales(200).write_parquet(tmp_path / "sales.parquet")
    write_job(tmp_path, SALES)

    wrong = run_ostinato(tmp_path, "run", "sales.yaml", "--preset", "fast")
    arguments = ("--preset", "quick", "--set", "training.epochs=2")
    alone = ("--set", "model.parallel_branch=none", "--set", "gate.fallback=none")
    done = run_ostinato(tmp_path, "run", "sales.yaml", *arguments, *alone, "--json")

    assert wrong.returncode == 2
    assert "quick" in wrong.stderr
    assert done.returncode == 0, done.stderr
    [trained] = (tmp_path / ".ostinato" / "store" / "train").glob("*/manifest.json")
    training = json.loads(trained.read_text())["recipe"]["config"]["training"]
    assert (training["epochs"], training["patience"], training["budget"]) == (2, "auto", 30.0)


def test_init_drafts_a_job_that_check_accepts(tmp_path: Path) -> None:
    make_sales(200).write_csv(tmp_path / "sales.csv")

    drafted = run_ostinato(tmp_path, "init", "sales.csv", "--output", "jobs")
    checked = run_ostinato(tmp_path, "check", "jobs/sales.yaml")

    assert drafted.stdout.splitlines()[:2] == [
        "wrote jobs/sales.yaml", "wrote jobs/contracts/sales.yaml",
    ]  # fmt: skip
    assert checked.returncode == 0, checked.stderr


def test_benchmark_cells_shows_the_speed_of_every_cell(tmp_path: Path) -> None:
    as_json = run_ostinato(
        tmp_path, "benchmark-cells", "--hidden-size", "8", "--device", "cpu", "--json"
    )
    text = run_ostinato(tmp_path, "benchmark-cells", "--hidden-size", "8")

    rows = {row["family"]: row for row in json.loads(as_json.stdout)}
    assert list(rows) == list(FAMILIES)
    assert all(row["steps_per_second"] > 0 for row in rows.values())
    assert rows["gru"]["parameters"] == 3 * (8 * 32 + 8 * 8 + 2 * 8)
    assert rows["mingru"]["parallel"]
    assert not rows["lstm"]["parallel"]
    assert [line.split()[0] for line in text.stdout.splitlines()[1:-1]] == list(FAMILIES)


def test_the_schema_is_written_and_checked(tmp_path: Path) -> None:
    wrote = run_ostinato(tmp_path, "schema", "--output", "schema.json")
    fresh = run_ostinato(tmp_path, "schema", "--check", "--output", "schema.json")
    (tmp_path / "schema.json").write_text("{}", encoding="utf-8")
    stale = run_ostinato(tmp_path, "schema", "--check", "--output", "schema.json")

    assert (wrote.returncode, fresh.returncode, stale.returncode) == (0, 0, 2)
    assert "ostinato schema" in stale.stderr


def test_the_demo_data_is_what_the_example_jobs_read(tmp_path: Path) -> None:
    done = run_ostinato(tmp_path, "demo")

    folder = tmp_path / ".ostinato" / "data"
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(folder / "digits.parquet").shape == (1797, 2)
    assert pl.read_parquet(folder / "volume.parquet").shape == (1047, 7)
    assert pl.read_parquet(folder / "volume.parquet")["date"].is_sorted()


def test_wrong_arguments_are_rejected_like_a_wrong_job(tmp_path: Path) -> None:
    write_job(tmp_path, SALES)

    no_sign = run_ostinato(tmp_path, "run", "sales.yaml", "--set", "training.epochs")
    no_job = run_ostinato(tmp_path, "run", "other.yaml", "--json")

    assert (no_sign.returncode, no_job.returncode) == (2, 2)
    assert "not KEY=VALUE" in no_sign.stderr
    assert json.loads(no_job.stdout)["error"] == "JobError"


def test_an_ephemeral_server_may_start_slowly_on_a_busy_machine(tmp_path: Path) -> None:
    code = (
        "from flows.environment import configure_environment; configure_environment()\n"
        "from prefect.settings import get_current_settings\n"
        "print(get_current_settings().server.ephemeral.startup_timeout_seconds)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert int(done.stdout) >= 120


def test_a_full_disk_is_an_error_of_the_store_in_every_command(tmp_path: Path) -> None:
    done = run_ostinato(tmp_path, "schema", "--output", "/dev/full")

    assert done.returncode == 7
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
