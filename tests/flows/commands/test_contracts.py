"""Contracts and past dates on the command line; quarantine and drift through a whole run."""

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest

from flows.commands.backfill import list_times
from flows.job.job import load_job
from flows.retrain import retrain
from tasks.errors import JobError
from tests.support.sample_jobs import SALES, WAVES, make_sales, make_waves, run_ostinato, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")


def remove_labels(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    return frame.with_columns(
        label=pl.when(pl.col("id") < rows).then(None).otherwise(pl.col("label"))
    )


def test_a_contract_is_drafted_and_data_is_validated_against_it(tmp_path: Path) -> None:
    make_waves(300).write_parquet(tmp_path / "good.parquet")
    remove_labels(make_waves(300), 2).write_parquet(tmp_path / "few.parquet")
    remove_labels(make_waves(300), 9).write_parquet(tmp_path / "many.parquet")
    options = ("--contract", "waves.yaml", "--json")

    draft = run_ostinato(
        tmp_path, "contract", "draft", "good.parquet", "--output", "waves.yaml", "--target", "label"
    )
    good, few, many = (
        run_ostinato(tmp_path, "contract", "check", f"{name}.parquet", *options)
        for name in ("good", "few", "many")
    )

    assert draft.returncode == 0, draft.stderr
    assert [done.returncode for done in (good, few, many)] == [0, 0, 4]
    result = [json.loads(done.stdout.splitlines()[-1]) for done in (good, few, many)]
    assert [(f["accepted"], f["quarantined"], f["verdict"]) for f in result] == [
        (300, 0, "accepted"),
        (298, 2, "accepted"),
        (0, 9, "refused"),
    ]
    assert result[0]["reasons"] == []
    assert result[1]["reasons"][0]["column"] == "label"


def test_the_rows_that_break_a_contract_can_be_written(tmp_path: Path) -> None:
    make_waves(300).write_parquet(tmp_path / "good.parquet")
    remove_labels(make_waves(300), 2).write_parquet(tmp_path / "few.parquet")
    run_ostinato(
        tmp_path, "contract", "draft", "good.parquet", "--output", "w.yaml", "--target", "label"
    )

    done = run_ostinato(
        tmp_path, "contract", "check", "few.parquet",
        "--contract", "w.yaml", "--quarantine", "bad.parquet",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "298 accepted, 2 bad" in done.stdout
    assert pl.read_parquet(tmp_path / "bad.parquet")["__source_row__"].to_list() == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("check", "none.parquet", "--contract", "w.yaml"), 2, "w.yaml"),
        (("draft", "none.parquet", "--output", "w.yaml"), 3, "names no file"),
        (("draft", "good.parquet", "--output", "taken.yaml"), 2, "exists already"),
        (("draft", "good.parquet", "--output", "w.yaml", "--target", "y"), 2, "'y' is missing"),
        (("diff", "waves.yaml"), 2, "has no contract yet"),
    ],
)
def test_the_errors_of_the_contract_commands_have_their_reasons(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    make_waves(50).write_parquet(tmp_path / "good.parquet")
    (tmp_path / "taken.yaml").write_text("mine", encoding="utf-8")
    write_job(tmp_path, WAVES)

    done = run_ostinato(tmp_path, "contract", *arguments)

    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert (tmp_path / "taken.yaml").read_text(encoding="utf-8") == "mine"


def test_a_few_bad_rows_are_quarantined_and_the_run_continues(waves_job: Path) -> None:
    retrain(str(waves_job))
    remove_labels(pl.read_parquet("waves.parquet"), 2).write_parquet("waves.parquet")

    retrain(str(waves_job))

    [quarantine] = Path(".ostinato/store/validate").glob("*/*/quarantine.parquet")
    assert pl.read_parquet(quarantine)["id"].to_list() == [0, 1]
    facts = read_newest_facts("featurize")
    assert facts["training"] + facts["validation"] + facts["test"] == 298


def read_newest_facts(stage: str) -> dict:
    newest = max(
        Path(f".ostinato/store/{stage}").glob("*/manifest.json"),
        key=lambda path: path.stat().st_mtime_ns,
    )
    return json.loads(newest.read_text(encoding="utf-8"))["facts"]


def test_the_report_shows_the_drift_from_the_data_of_the_champion(waves_job: Path) -> None:
    first = retrain(str(waves_job))
    assert first.decision == "promote"
    assert read_newest_facts("evaluate")["drift"] is None
    shifted = pl.read_parquet("waves.parquet").with_columns(
        pl.col("wave").list.eval(pl.element() + 3.0)
    )
    shifted.write_parquet("waves.parquet")

    retrain(str(waves_job))

    [drift] = read_newest_facts("evaluate")["drift"]
    assert (drift["column"], drift["severity"]) == ("wave", "large")
    newest = max(
        Path(".ostinato/store/evaluate").glob("*/*/drift.json"), key=lambda p: p.stat().st_mtime_ns
    )
    figures = json.loads(newest.read_text(encoding="utf-8"))
    assert {each["column"]: each["severity"] for each in figures} == {
        "wave": "large",
        "label": "none",
    }


def test_diff_shows_what_changed_since_the_last_run(waves_job: Path) -> None:
    retrain(str(waves_job))
    contract = Path(".ostinato/contracts/waves.yaml")
    text = contract.read_text(encoding="utf-8").replace(
        "max_quarantined: 1%", "max_quarantined: 5%"
    )
    contract.write_text(text, encoding="utf-8")
    grown = pl.concat([pl.read_parquet("waves.parquet")] * 2)
    grown.with_columns(
        label=pl.when(pl.col("id") == 1).then(pl.lit("kind 2")).otherwise(pl.col("label")),
        new=pl.lit(1),
    ).write_parquet("waves.parquet")

    done = run_ostinato(Path.cwd(), "contract", "diff", "waves.yaml", "--json")

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["contract"] == ["~ max_quarantined: 0.01 -> 0.05"]
    assert result["columns"] == "added new (Int32)"
    assert result["rows"] == [300, 600]
    assert any("kind 2" in line for line in result["draft"])


def test_a_run_as_of_a_time_reads_the_data_of_that_time(sales_job: Path) -> None:
    past = dt.datetime(2024, 12, 1, tzinfo=dt.UTC)

    retrain(str(sales_job), as_of=past)
    then = read_newest_facts("ingest")
    again = retrain(str(sales_job), as_of=past)
    retrain(str(sales_job))

    assert then["rows"] == 336
    assert again.recomputed == []
    assert read_newest_facts("ingest")["rows"] == 400


def test_backfill_runs_each_date_once(tmp_path: Path) -> None:
    make_sales(400).write_parquet(tmp_path / "sales.parquet")
    write_job(tmp_path, SALES)
    arguments = ("backfill", "sales.yaml", "--from", "2024-12-01", "--to", "2024-12-15")

    done = run_ostinato(tmp_path, *arguments, "--every", "7d", "--json")
    again = run_ostinato(tmp_path, *arguments, "--every", "14d", "--json")

    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [run["as_of"][:10] for run in runs] == ["2024-12-01", "2024-12-08", "2024-12-15"]
    assert [run["version"] for run in runs] == ["1", "2", "3"]
    repeated = [json.loads(line) for line in again.stdout.splitlines() if line.startswith("{")]
    assert all("train" not in run["recomputed"] for run in repeated)


def test_backfill_uses_the_times_of_the_schedule(tmp_path: Path) -> None:
    schedule = {"cron": "30 3 * * 1", "timezone": "Europe/Vienna"}
    job = load_job(write_job(tmp_path, SALES | {"schedule": schedule}))

    result = list_times(
        job,
        dt.datetime(2024, 3, 24, tzinfo=dt.UTC),
        dt.datetime(2024, 4, 8, tzinfo=dt.UTC),
        every=None,
    )

    # The clocks there went forward on 31 March.
    assert [f"{moment:%m-%d %H:%M}" for moment in result] == ["03-25 02:30", "04-01 01:30"]


def test_backfill_without_a_time_column_is_rejected(tmp_path: Path) -> None:
    job = load_job(write_job(tmp_path, WAVES))
    day = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)

    with pytest.raises(JobError, match=r"source\.time or source\.watermark"):
        list_times(job, day, day, every=None)


def test_backfill_of_no_dates_is_rejected(tmp_path: Path) -> None:
    job = load_job(write_job(tmp_path, SALES))
    day = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)

    with pytest.raises(JobError, match="give --from a time before --to"):
        list_times(job, day, day - dt.timedelta(days=1), every=None)
