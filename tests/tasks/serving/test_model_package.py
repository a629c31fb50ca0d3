"""What MLflow serves: it answers as the model did, whatever kind of answer it gives."""

from dataclasses import dataclass
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
from tests.support.input_tables import KINDS, table
from tests.support.trained_models import (
    ALONE,
    BY_TIME,
    TOLD,
    features,
    tagged,
    tides,
    trained,
    turned,
    weekly,
)


def kinds() -> pl.DataFrame:
    """Waves of three lengths, with gaps, and which of them each is."""
    draw = np.random.default_rng(4)
    cells = [[*np.sin(np.arange(5 + row % 3) * (1 + row % 3)), None] for row in range(90)]
    cells = [[float(x) + draw.normal(0, 0.1) if x is not None else x for x in c] for c in cells]
    split = ["test" if at % 5 == 0 else "dev" if at % 5 == 1 else "train" for at in range(90)]
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


READ = SeriesInput(column="sales", scale_per="entity")

CASES = {
    "forecast": Case(
        tides(),
        weekly(READ, horizon=7),
        TargetConfig(column="sales", kind="forecast"),
        BY_TIME,
        HeadConfig(loss="student_t"),
        "gru",
        {"scipy"},
    ),
    "tags": Case(
        tagged(),
        ALONE,
        TargetConfig(column="tags", kind="tags"),
        TOLD,
        HeadConfig(),
        "keras-gru",
        {"keras"},
    ),
    "text": Case(
        turned(),
        ALONE,
        TargetConfig(column="y", kind="text", tokenizer="bpe", vocab_size=300),
        SplitConfig(by="column", column="split", duplicates="keep"),
        HeadConfig(decoder="attention"),
        "gru",
        {"tokenizers"},
    ),
    "reconstruction": Case(
        tides(),
        weekly(READ, horizon=1),
        TargetConfig(kind="reconstruction"),
        BY_TIME,
        HeadConfig(),
        "gru",
        set(),
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_what_is_served_answers_as_the_model_did(tmp_path: Path, kind: str) -> None:
    case = CASES[kind]
    rows = features(tmp_path / "f", case.frame, case.layout, case.target, case.split)
    bundle = trained(tmp_path / "f", cell=case.cell, head=case.head)
    golden = choose_golden_rows(bundle, rows, tmp_path / "f")

    save_package(tmp_path / "f" / "model" / "bundle", tmp_path / "served", golden)

    served = mlflow.pyfunc.load_model(str(tmp_path / "served"))
    answers = pl.from_pandas(served.predict(golden.to_pandas()))
    stored = pl.read_parquet(tmp_path / "served" / "golden_predictions.parquet")
    assert are_predictions_equal(answers, stored)
    assert (stored["status"] == "ok").any()
    needed = (tmp_path / "served" / "requirements.txt").read_text()
    optional = {"scipy", "keras", "tokenizers"}
    assert {name for name in optional if f"{name}==" in needed} == case.packages


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
def test_answers_that_are_lists_are_compared_value_by_value(name: str, values: list) -> None:
    nearly = LISTS.with_columns(pl.col("a").list.eval(pl.element() + 1e-9))

    assert are_predictions_equal(nearly, LISTS)
    assert not are_predictions_equal(LISTS.with_columns(pl.Series(name, values)), LISTS)
    assert not are_predictions_equal(LISTS.drop(name), LISTS)


@pytest.fixture(scope="module", params=["tags", "series"])
def asked(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    """A served model of texts or of lists, and three rows for it."""
    folder, case = tmp_path_factory.mktemp("asked"), CASES["tags"]
    frame, layout, target = case.frame, case.layout, case.target
    if request.param == "series":
        frame, target = kinds(), TargetConfig(column="label", kind="category")
        layout = Layout(input=SeriesInput(column="wave"), window=None, time=None, entity=None)
    rows = features(folder / "f", frame, layout, target, case.split)
    golden = choose_golden_rows(trained(folder / "f", epochs=1), rows, folder / "f").head(3)
    save_package(folder / "f" / "model" / "bundle", folder / "served", golden)
    return folder / "served", golden


def test_an_image_that_cannot_be_decoded_is_its_own_rows_error_alone(tmp_path: Path) -> None:
    layout, cells = KINDS["image"]
    target = TargetConfig(column="town", kind="category")
    rows = features(tmp_path / "f", table(cells), layout, target, TOLD)
    golden = choose_golden_rows(trained(tmp_path / "f", epochs=1), rows, tmp_path / "f").head(4)
    save_package(tmp_path / "f" / "model" / "bundle", tmp_path / "served", golden)
    served = mlflow.pyfunc.load_model(str(tmp_path / "served"))
    right = pl.from_pandas(served.predict(golden.to_pandas()))
    asked = golden.to_pandas()
    asked.at[1, "x"], asked.at[2, "x"] = b"no image", asked.at[2, "x"][:40]

    answers = pl.from_pandas(served.predict(asked))

    assert answers["status"].to_list()[0::3] == ["ok", "ok"]
    assert answers["status"][1] == "the image is neither PNG, JPEG nor WebP"
    assert "damaged" in answers["status"][2]
    assert answers["prediction"][1:3].is_null().all()
    assert are_predictions_equal(answers[[0, 3]], right[[0, 3]])


GAP = float("nan")
MISSING = (None, GAP)
WRONG = [None, "abc", 3.5, 7, ["a"], [[1.0]], [3.5], b"x", {"a": 1}, object(), GAP]


def test_a_wrong_type_in_one_row_is_that_rows_error_alone(
    asked: tuple[Path, pl.DataFrame],
) -> None:
    served, golden = mlflow.pyfunc.load_model(str(asked[0])), asked[1]
    [name] = golden.columns
    right = pl.from_pandas(served.predict(golden.to_pandas()))
    fitting = str if golden[name].dtype == pl.String else list
    for bad in [bad for bad in WRONG if type(bad) is not fitting or bad in (["a"], [[1.0]])]:
        rows = golden.to_pandas().astype(object)
        rows.at[1, name] = bad

        answers = pl.from_pandas(served.predict(rows))

        assert answers["status"][1] != "ok", bad
        assert bad in MISSING or f"column '{name}' holds" in answers["status"][1]
        assert answers.drop("status").row(1) == (None,) * (answers.width - 1)
        assert are_predictions_equal(answers[[0, 2]], right[[0, 2]])
