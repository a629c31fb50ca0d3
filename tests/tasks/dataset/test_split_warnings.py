"""Splits of few rows, and classes that a split lacks, are warned of."""

from pathlib import Path

import polars as pl
import pytest

from flows.commands.check import check_job, format_check
from flows.job.job import load_job
from models.features.target import Target
from tasks.dataset.split_warnings import list_absent_classes, list_split_warnings
from tasks.facts import FeatureFacts
from tests.support.sample_jobs import make_waves, write_job

ENOUGH = {"training": 100, "validation": 30, "test": 30}


def build_facts(**changes) -> FeatureFacts:
    return FeatureFacts(
        **(ENOUGH | {"steps": 9, "channels": 1, "classes": ("a", "b"), "unreadable": 0,
           "first_unreadable": None, "unseen_classes": 0, "duplicates": {}} | changes)
    )  # fmt: skip


@pytest.mark.parametrize("split", ["training", "validation", "test"])
def test_a_split_of_few_rows_is_warned_of(split: str) -> None:
    assert list_split_warnings(build_facts(), in_folds=False) == []

    (warning,) = list_split_warnings(build_facts(**{split: 29}), in_folds=False)

    assert f"the {split} split has 29 rows only" in warning


def test_folds_do_not_use_the_validation_split() -> None:
    facts = build_facts(validation=3, absent_classes={"validation": ["a"]})

    assert list_split_warnings(facts, in_folds=True) == []
    assert len(list_split_warnings(facts, in_folds=False)) == 2


def test_absent_classes_are_named() -> None:
    facts = build_facts(absent_classes={"test": list("abcdefg")})

    (warning,) = list_split_warnings(facts, in_folds=False)

    assert "without a row in the test split: a, b, c, d, e and 2 more" in warning


def test_classes_are_absent_where_no_sequence_has_them(tmp_path: Path) -> None:
    rows = [(0, 1), (0, 2), (0, 3), (1, 1), (2, 2), (2, 1), (2, 9)]
    frame = pl.DataFrame(rows, schema=["split", "target"], orient="row")
    known = frame.with_columns(known=pl.col("target") < 9, split=pl.col("split").cast(pl.Int8))
    known.write_parquet(tmp_path / "sequences.parquet")

    absent = list_absent_classes(tmp_path, Target(column="y", kind="category", classes=(1, 2, 3)))

    assert absent == {"validation": ("2", "3"), "test": ("3",)}
    assert list_absent_classes(tmp_path, Target(column="y", kind="number")) == {}


def test_check_shows_them(tmp_path: Path) -> None:
    waves = make_waves(80).with_columns(
        label=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("rare")).otherwise("label"),
        split=pl.Series((["train"] * 6 + ["dev"] + ["test"]) * 10),
    )
    waves.write_parquet(tmp_path / "rows.parquet")
    job = {
        "name": "few",
        "source": {"uri": str(tmp_path / "rows.parquet")},
        "inputs": [{"column": "wave", "kind": "series"}],
        "target": {"column": "label", "kind": "category"},
        "split": {"by": "column", "column": "split"},
        "contract": str(tmp_path / "contract.yaml"),
        "store": {"uri": str(tmp_path / "store")},
        "training": {"folds": 1},
    }

    text = format_check(check_job(load_job(write_job(tmp_path, job))))

    assert "warning: the test split has 10 rows only" in text
    assert "warning: the validation split has 10 rows only" in text
    assert "classes without a row in the test split: rare" in text
