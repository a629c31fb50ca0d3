"""Cells of any kind of input beyond the bounds: errors of their own rows, and never read."""

import polars as pl
import pytest

from models.features import row_bounds
from models.features.config import Layout
from models.features.featurizer import Featurizer
from models.features.kinds import KINDS
from models.features.row_bounds import MAX_TEXT_BYTES, drop_oversized_rows, find_oversized_rows
from models.features.series import SeriesInput
from models.features.splitting.split import SplitConfig
from models.features.splitting.unseen_rows import SplitRecord
from models.features.static_covariates import StaticState
from models.features.target import Target
from models.features.text import TextInput

NO_WINDOW = {"window": None, "time": None, "entity": None}


def fit_featurizer(frame: pl.DataFrame, layout: Layout) -> Featurizer:
    return Featurizer(
        layout=layout,
        state=KINDS[layout.input.kind].fit([frame], layout),
        static_state=StaticState(values={}, means={}, stds={}),
        target=Target(column="y", kind="category"),
        split=SplitRecord(config=SplitConfig(), by="hash"),
    )


def test_a_text_beyond_the_bound_is_an_error_of_its_own_row() -> None:
    layout = Layout(input=TextInput(column=("title", "body"), tokenizer="byte"), **NO_WINDOW)
    small = pl.DataFrame({"title": ["a", "b", "c"], "body": ["x", "y", None]})
    largest = "z" * MAX_TEXT_BYTES
    frame = small.with_columns(body=pl.Series(["x", largest + "z", largest]))

    encoded = fit_featurizer(small, layout).transform(frame)

    assert encoded.steps.errors_R == [
        None,
        "column 'body' holds 10,485,761 bytes of text, and at most 10,485,760 are read",
        None,
    ]
    lengths_R = encoded.steps.stops_R - encoded.steps.starts_R
    assert lengths_R.tolist() == [3, 0, 512]
    assert lengths_R.sum() == len(encoded.steps.values_NC)


def test_a_list_beyond_the_bound_is_an_error_of_its_own_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_bounds, "MAX_LIST_LENGTH", 3)
    layout = Layout(input=SeriesInput(column=("a", "b")), **NO_WINDOW)
    frame = pl.DataFrame(
        {"a": [[1.0, 2.0], [1.0] * 4, [3.0] * 3], "b": [[0.0, 1.0], [1.0] * 4, [2.0] * 3]}
    )

    encoded = fit_featurizer(frame[[0, 2]], layout).transform(frame)

    assert encoded.steps.errors_R == [
        None, "column 'a' holds 4 elements, and at most 3 are read", None
    ]  # fmt: skip
    assert (encoded.steps.stops_R - encoded.steps.starts_R).tolist() == [2, 0, 3]


def test_files_and_structs_with_files_are_bounded_and_dropped_from_fitting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_bounds, "MAX_FILE_BYTES", 4)
    frame = pl.DataFrame(
        {
            "file": [b"1234", b"12345", None, b""],
            "image": [{"bytes": b"1", "path": "a"}, None, {"bytes": b"12345", "path": None}, None],
            "n": [1, 2, 3, 4],
        }
    )

    assert find_oversized_rows(frame, ["file", "image", "n", "absent"]) == {
        1: "column 'file' holds 5 bytes, and at most 4 are read",
        2: "column 'image' holds 5 bytes, and at most 4 are read",
    }
    assert drop_oversized_rows(frame, ["file"])["n"].to_list() == [1, 3, 4]
