"""Tables as they are found: every one is drafted right, or refused in one clear line."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from flows.commands.check import check_job
from flows.commands.drafting.column_kinds import find_number_format
from flows.commands.drafting.draft import DraftOptions
from flows.commands.init import DraftedFiles, draft_job_files
from flows.job.job import Job, load_job
from tasks.errors import DataError

DAYS = [date(2021, 1, 1) + timedelta(days=day) for day in range(250)]

WORDS = ["".join(np.random.default_rng(row).choice(list("abcdefgh"), 5)) for row in range(90)]


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def draft(path: Path, **options: Any) -> tuple[DraftedFiles, Job]:
    files = draft_job_files(
        str(path), DraftOptions(**options), name=None, folder=path.parent / "out", force=True
    )
    return files, load_job(files.job)


def draw_season(steps: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.3, steps)
    return np.round(10 + 3 * np.sin(2 * np.pi * np.arange(steps) / 7) + noise, 2)


def write_sentence(draw: np.random.Generator, words: int) -> str:
    return " ".join(draw.choice(WORDS, words))


def make_notes() -> pl.DataFrame:
    draw = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "note_id": [f"N-{row}" for row in range(240)],
            "patientId": np.repeat(np.arange(40), 6),
            "clinic": ["St. Anna"] * 240,
            "note": [write_sentence(draw, 9) for _ in range(240)],
            "finding": draw.choice(["flu", "cold"], 240),
        }
    )


def test_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    lines = ["Datum;Umsatz;Filiale"]
    for shop in ("Graz", "Wien"):
        lines += [
            f"{day:%d.%m.%Y};{str(value * 1).replace('.', ',')};{shop}"
            for day, value in zip(DAYS, draw_season(250), strict=True)
        ]
    (tmp_path / "sales.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    _, job = draft(tmp_path / "sales.csv")

    assert job.source.parse == {"Umsatz": "decimal_comma", "Datum": "%d.%m.%Y"}
    assert (job.source.time, job.source.entity, job.target.column) == ("Datum", "Filiale", "Umsatz")
    assert check_job(job)["test"] > 0


def test_the_index_of_a_written_frame_is_no_input(tmp_path: Path) -> None:
    lines = [",date,value"]
    lines += [
        f"{row},{day},{value}"
        for row, (day, value) in enumerate(zip(DAYS, draw_season(250), strict=True))
    ]
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    files, job = draft(tmp_path / "index.csv")

    assert job.layout.input.columns == ("value",)
    assert "(a column without a name)" in files.notes[0]
    assert check_job(job)["unreadable"] == 0


def test_a_few_repeated_times_are_averaged(tmp_path: Path) -> None:
    frame = pl.DataFrame({"when": DAYS, "sales": draw_season(250)})
    mixed = pl.concat([frame, frame.head(5)]).sample(fraction=1.0, shuffle=True, seed=1)
    mixed.write_csv(tmp_path / "sales.csv")

    files, job = draft(tmp_path / "sales.csv")

    assert job.inputs[0].frequency == "1d"
    assert "5 rows repeat the 'when' of another row" in files.notes[0]
    assert check_job(job)["test"] > 0


def test_two_columns_that_identify_a_series_are_named(tmp_path: Path) -> None:
    parts = [
        pl.DataFrame({"day": DAYS, "qty": draw_season(250)}).with_columns(
            store=pl.lit(store), item=pl.lit(item)
        )
        for store in ("s1", "s2")
        for item in ("a", "b", "c")
    ]
    pl.concat(parts).write_parquet(tmp_path / "stock.parquet")

    with pytest.raises(DataError, match=r"(?s)several rows at one 'day'.*'store' and 'item'"):
        draft(tmp_path / "stock.parquet")


def test_rows_of_a_patient_stay_in_one_split(tmp_path: Path) -> None:
    make_notes().write_parquet(tmp_path / "notes.parquet")

    files, job = draft(tmp_path / "notes.parquet")

    assert (job.split.by, job.split.group) == ("hash", "patientId")
    assert (job.layout.input.columns, job.target.column) == (("note",), "finding")
    assert "stay in one split" in files.job.read_text(encoding="utf-8")
    assert check_job(job)["test"] > 0


def test_the_group_can_be_given(tmp_path: Path) -> None:
    notes = make_notes().rename({"patientId": "bed"})
    notes.write_parquet(tmp_path / "notes.parquet")

    _, plain = draft(tmp_path / "notes.parquet")
    _, job = draft(tmp_path / "notes.parquet", entity="bed")

    assert plain.split.group is None
    assert job.split.group == "bed"


def test_a_group_is_not_the_target(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pl.DataFrame(
        {
            "signal": [draw.normal(size=30).tolist() for _ in range(120)],
            "score": [f"{value:.3f}" for value in draw.normal(5, 2, 120)],
            "subject": [f"p{row % 20}" for row in range(120)],
        }
    ).write_parquet(tmp_path / "signals.parquet")

    _, job = draft(tmp_path / "signals.parquet")

    assert (job.target.column, job.target.kind) == ("score", "number")
    assert job.source.parse == {"score": "number"}
    assert job.split.group == "subject"
    assert check_job(job)["training"] > 0


def test_numbers_among_marks_of_missing_ones_are_numbers(tmp_path: Path) -> None:
    lines = ["time,pressure,flow"]
    for row, value in enumerate(draw_season(250)):
        at = datetime.fromisoformat("2024-05-01T00:00:00") + timedelta(minutes=10 * row)
        lines.append(f"{at},{'n/a' if row % 29 == 0 else value},{value + 1}")
    (tmp_path / "flow.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    _, job = draft(tmp_path / "flow.csv", target="flow")

    assert job.layout.input.columns == ("pressure", "flow")
    assert job.source.parse == {"pressure": "number"}
    assert check_job(job)["unreadable"] == 0


def test_a_small_table_of_sentences_is_text(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pl.DataFrame(
        {
            "sentence": [write_sentence(draw, 7) for _ in range(40)],
            "mood": draw.choice(["good", "bad"], 40),
        }
    ).write_parquet(tmp_path / "moods.parquet")

    _, job = draft(tmp_path / "moods.parquet")

    assert (job.layout.input.columns, job.target.column) == (("sentence",), "mood")


def test_reviews_in_json_lines(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = [
        {
            "id": row,
            "title": write_sentence(draw, 3) if row % 9 else None,
            "review": write_sentence(draw, 15),
            "verified": bool(row % 3),
            "posted": f"2023-0{1 + row % 9}-1{row % 10}T10:00:00Z",
        }
        for row in range(300)
    ]
    text = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "reviews.jsonl").write_text(text, encoding="utf-8")

    _, job = draft(tmp_path / "reviews.jsonl")

    assert job.layout.input.columns == ("title", "review")
    assert (job.split.by, job.source.time, job.target.column) == ("time", "posted", "verified")
    assert check_job(job)["unreadable"] == 0


def test_thirty_channels_are_read_together(tmp_path: Path) -> None:
    hours = [datetime.fromisoformat("2024-01-01T00:00:00") + timedelta(hours=n) for n in range(250)]
    sensors = {f"sensor_{number}": draw_season(250, number) for number in range(29)}
    pl.DataFrame({"timestamp": hours, **sensors}).write_parquet(tmp_path / "wide.parquet")

    _, job = draft(tmp_path / "wide.parquet")

    assert set(job.layout.input.columns) == set(sensors)
    assert check_job(job)["unreadable"] == 0


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_separator_is_found_in_the_header(separator: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"when": DAYS, "sales, net": draw_season(250)})
    frame.write_csv(tmp_path / "sales.csv", separator=separator, quote_style="always")

    _, job = draft(tmp_path / "sales.csv")

    assert (job.source.time, job.target.column) == ("when", "sales, net")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([f"{row},5" for row in range(60)], "decimal_comma"),
        ([f"1.{row + 100},25" for row in range(60)], "decimal_comma"),
        ([f"{row}.5" for row in range(60)], "number"),
        ([f"{row + 1},234" for row in range(60)], None),
        ([f"{1 + row % 28:02}.0{1 + row // 28}.2024" for row in range(60)], None),
        ([f"10.0.0.{row}" for row in range(60)], None),
        ([*(f"{row}" for row in range(60)), "n/a", "-", ""], "number"),
        ([*(f"{row}" for row in range(60)), "about 5"], None),
    ],
)
def test_the_format_of_numbers_in_texts(texts: list[str], expected: str | None) -> None:
    assert find_number_format(pl.Series(texts)) == expected
