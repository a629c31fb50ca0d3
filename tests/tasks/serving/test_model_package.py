"""The model package in MLflow predicts as the bundle does, for every kind of target."""

from dataclasses import dataclass, replace
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import polars as pl
import pytest

from models.features.config import Layout, TargetConfig
from models.features.series import SeriesInput
from models.features.splitting.split import SplitConfig
from models.networks.heads.config import HeadConfig
from tasks.serving.model_package import are_predictions_equal, choose_golden_rows, save_package
from tests.support.input_tables import KINDS, build_table
from tests.support.trained_models import (
    BY_COLUMN,
    BY_TIME,
    TEXT_LAYOUT,
    build_weekly_layout,
    make_tagged_texts,
    make_upper_case_texts,
    make_weekly_sales,
    train_bundle,
    write_features,
)


def make_labelled_waves() -> pl.DataFrame:
    """Return waves of three frequencies, each ending with a missing value, and their class."""
    draw = np.random.default_rng(4)
    cells = [[*np.sin(np.arange(5 + row % 3) * (1 + row % 3)), None] for row in range(90)]
    cells = [[float(x) + draw.normal(0, 0.1) if x is not None else x for x in c] for c in cells]
    split = ["test" if row % 5 == 0 else "dev" if row % 5 == 1 else "train" for row in range(90)]
    return pl.DataFrame(
        {"wave": cells, "label": [f"kind {row % 3}" for row in range(90)], "split": split}
    )


@dataclass
class Case:
    frame: pl.DataFrame
    layout: Layout
    target: TargetConfig
    split: SplitConfig
    head: HeadConfig
    cell: str
    packages: set[str]


SERIES = SeriesInput(column="sales", scale_per="entity")

CASES = {
    "forecast": Case(
        make_weekly_sales(),
        build_weekly_layout(SERIES, horizon=7),
        TargetConfig(column="sales", kind="forecast"),
        BY_TIME,
        HeadConfig(loss="student_t"),
        "gru",
        {"scipy"},
    ),
    "tags": Case(
        make_tagged_texts(),
        TEXT_LAYOUT,
        TargetConfig(column="tags", kind="tags"),
        BY_COLUMN,
        HeadConfig(),
        "keras-gru",
        {"keras"},
    ),
    "text": Case(
        make_upper_case_texts(),
        TEXT_LAYOUT,
        TargetConfig(column="y", kind="text", tokenizer="bpe", vocab_size=300),
        SplitConfig(by="column", column="split", duplicates="keep"),
        HeadConfig(decoder="attention"),
        "gru",
        {"tokenizers"},
    ),
    "reconstruction": Case(
        make_weekly_sales(),
        build_weekly_layout(SERIES, horizon=1),
        TargetConfig(kind="reconstruction"),
        BY_TIME,
        HeadConfig(),
        "gru",
        set(),
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_package_predicts_as_the_bundle_does(tmp_path: Path, kind: str) -> None:
    case = CASES[kind]
    rows = write_features(tmp_path / "f", case.frame, case.layout, case.target, case.split)
    bundle = train_bundle(tmp_path / "f", cell=case.cell, head=case.head)
    golden = choose_golden_rows(bundle, rows, tmp_path / "f")

    save_package(tmp_path / "f" / "model" / "bundle", tmp_path / "package", golden)

    model = mlflow.pyfunc.load_model(str(tmp_path / "package"))
    predictions = pl.from_pandas(model.predict(golden.to_pandas()))
    stored = pl.read_parquet(tmp_path / "package" / "golden_predictions.parquet")
    assert are_predictions_equal(predictions, stored)
    assert (stored["status"] == "ok").any()
    requirements = (tmp_path / "package" / "requirements.txt").read_text()
    optional = {"scipy", "keras", "tokenizers"}
    assert {name for name in optional if f"{name}==" in requirements} == case.packages


def test_dates_in_texts_are_served_in_the_format_of_the_source(tmp_path: Path) -> None:
    layout = replace(build_weekly_layout(SERIES, horizon=2), parse={"day": "%d/%m/%Y"})
    target = TargetConfig(column="sales", kind="forecast")
    rows = write_features(tmp_path / "f", make_weekly_sales(), layout, target, BY_TIME)
    golden = choose_golden_rows(train_bundle(tmp_path / "f", epochs=1), rows, tmp_path / "f")
    texts = golden.with_columns(pl.col("day").dt.strftime("%d/%m/%Y"))

    save_package(tmp_path / "f" / "model" / "bundle", tmp_path / "package", golden)

    model = mlflow.pyfunc.load_model(str(tmp_path / "package"))
    predictions = pl.from_pandas(model.predict(texts.to_pandas()))
    stored = pl.read_parquet(tmp_path / "package" / "golden_predictions.parquet")
    assert are_predictions_equal(predictions, stored)


LISTS = pl.DataFrame({"a": [[1.0, 2.0], [], None, [float("nan")]], "b": [["x"], [], None, ["y"]]})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a", [[1.0, 2.1], [], None, [float("nan")]]),
        ("a", [[1.0], [2.0], None, [float("nan")]]),
        ("a", [[1.0, 2.0], [], None, [0.0]]),
        ("a", [[1.0, 2.0], [], [], [float("nan")]]),
        ("b", [["x"], [], None, ["z"]]),
    ],
)
def test_predictions_that_are_lists_are_compared_by_element(name: str, values: list) -> None:
    nearly_equal = LISTS.with_columns(pl.col("a").list.eval(pl.element() + 1e-9))

    assert are_predictions_equal(nearly_equal, LISTS)
    assert not are_predictions_equal(LISTS.with_columns(pl.Series(name, values)), LISTS)
    assert not are_predictions_equal(LISTS.drop(name), LISTS)


@pytest.fixture(scope="module", params=["tags", "series"])
def package(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    """Save the package of a model of texts or of lists; return its folder and three rows."""
    folder, case = tmp_path_factory.mktemp("package"), CASES["tags"]
    frame, layout, target = case.frame, case.layout, case.target
    if request.param == "series":
        frame, target = make_labelled_waves(), TargetConfig(column="label", kind="category")
        layout = Layout(input=SeriesInput(column="wave"), window=None, time=None, entity=None)
    rows = write_features(folder / "f", frame, layout, target, case.split)
    golden = choose_golden_rows(train_bundle(folder / "f", epochs=1), rows, folder / "f").head(3)
    save_package(folder / "f" / "model" / "bundle", folder / "package", golden)
    return folder / "package", golden


def test_an_image_that_cannot_be_decoded_fails_only_its_row(tmp_path: Path) -> None:
    layout, cells = KINDS["image"]
    target = TargetConfig(column="town", kind="category")
    rows = write_features(tmp_path / "f", build_table(cells), layout, target, BY_COLUMN)
    golden = choose_golden_rows(train_bundle(tmp_path / "f", epochs=1), rows, tmp_path / "f").head(
        4
    )
    save_package(tmp_path / "f" / "model" / "bundle", tmp_path / "package", golden)
    model = mlflow.pyfunc.load_model(str(tmp_path / "package"))
    expected = pl.from_pandas(model.predict(golden.to_pandas()))
    rows = golden.to_pandas()
    rows.at[1, "x"], rows.at[2, "x"] = b"no image", rows.at[2, "x"][:40]

    predictions = pl.from_pandas(model.predict(rows))

    assert predictions["status"].to_list()[0::3] == ["ok", "ok"]
    assert predictions["status"][1] == "the image is neither PNG, JPEG nor WebP"
    assert "damaged" in predictions["status"][2]
    assert predictions["prediction"][1:3].is_null().all()
    assert are_predictions_equal(predictions[[0, 3]], expected[[0, 3]])


NAN = float("nan")
MISSING = (None, NAN)
WRONG = [None, "abc", 3.5, 7, ["a"], [[1.0]], [3.5], b"x", {"a": 1}, object(), NAN]


def test_a_value_of_a_wrong_type_fails_only_its_row(
    package: tuple[Path, pl.DataFrame],
) -> None:
    model, golden = mlflow.pyfunc.load_model(str(package[0])), package[1]
    [name] = golden.columns
    expected = pl.from_pandas(model.predict(golden.to_pandas()))
    valid_type = str if golden[name].dtype == pl.String else list
    for value in WRONG:
        if type(value) is valid_type and value not in (["a"], [[1.0]]):
            continue
        rows = golden.to_pandas().astype(object)
        rows.at[1, name] = value

        predictions = pl.from_pandas(model.predict(rows))

        assert predictions["status"][1] != "ok", value
        assert value in MISSING or f"column '{name}' holds" in predictions["status"][1]
        assert predictions.drop("status").row(1) == (None,) * (predictions.width - 1)
        assert are_predictions_equal(predictions[[0, 2]], expected[[0, 2]])
