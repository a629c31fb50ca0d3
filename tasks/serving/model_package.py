"""The model as MLflow keeps and serves it: code, data, and golden rows with their answers."""

import operator
import warnings
from collections.abc import Callable
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from models.bundle import Bundle, load
from models.errors import UnlearnableError
from models.features.kinds import KINDS
from models.features.series import ROW, context, is_resampled, resample
from models.features.splitting.split import TEST
from models.networks.families import FAMILIES
from models.networks.heads.config import DISTRIBUTION_LOSSES
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.rowset import RowSet
from tasks.errors import RegistryError
from tasks.storage.artifacts import hash_files, list_files

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

PredictFunction = Callable[[pl.DataFrame], pl.DataFrame]
"""Answers raw rows, a row for a row."""

GOLDEN_ROWS = 5
"""Rows whose answers are stored with a version and compared after it is loaded back."""

REQUIREMENTS = (
    "torch",
    "polars",
    "pyarrow",
    "numpy",
    "pandas",
    "pillow",
    "safetensors",
    "pydantic",
)
"""What a served model imports."""


def choose_golden_rows(bundle: Bundle, rows: RowSet, features_dir: Path) -> pl.DataFrame:
    """Take raw rows that the model can answer: single rows, or the end of one series."""
    layout = bundle.featurizer.layout
    chosen = read_sequences(features_dir, TEST)["row"].head(GOLDEN_ROWS)
    frame = rows.scan().select(layout.raw_columns)
    if layout.window is None:
        return (
            frame.with_row_index("row")
            .filter(pl.col("row").is_in(chosen.implode()))
            .drop("row")
            .collect(engine="streaming")
        )
    if layout.entity:
        entity = frame.select(layout.entity).slice(int(chosen[0]), 1).collect().item()
        frame = frame.filter(pl.col(layout.entity) == entity)
    if layout.time:
        frame = frame.sort(layout.time, maintain_order=True)
    around = context(layout)
    steps = around.past_steps + around.future_steps + GOLDEN_ROWS
    if not is_resampled(layout):
        return frame.tail(steps).collect(engine="streaming")
    bins = resample(frame.collect().with_row_index(ROW), layout, target=None)
    since = bins[layout.time or ROW].tail(steps).head(1).item()
    return frame.filter(pl.col(layout.time or ROW) >= since).collect(engine="streaming")


def save_package(bundle_dir: Path, folder: Path, golden: pl.DataFrame) -> None:
    """Save the model as MLflow serves it: code and data, no pickle."""
    import mlflow.pyfunc

    bundle = load(bundle_dir)
    answers = bundle.predict(golden)
    inputs, outputs = golden.to_pandas(), answers.to_pandas()
    packages = Path(__file__).parents[2]
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(packages / "tasks" / "serving" / "pyfunc_model.py"),
        artifacts={"bundle": str(bundle_dir)},
        code_paths=[str(packages / "models")],
        signature=build_signature(inputs, outputs),
        input_example=inputs,
        pip_requirements=[
            f"{name}=={_strip_local_version(name)}" for name in _list_requirements(bundle)
        ],
    )
    golden.write_parquet(folder / "golden_inputs.parquet")
    answers.write_parquet(folder / "golden_predictions.parquet")


def _list_requirements(bundle: Bundle) -> tuple[str, ...]:
    """Name the packages that a served model of this kind imports."""
    layout, target = bundle.featurizer.layout, bundle.featurizer.target
    names = [*REQUIREMENTS, *KINDS[layout.input.kind].packages(layout.input)]
    if target.tokenizer == "bpe":
        names.append("tokenizers")
    if bundle.head.loss in DISTRIBUTION_LOSSES:
        names.append("scipy")
    if extra := FAMILIES[bundle.model.cell].extra:
        names.append(extra)
    return tuple(dict.fromkeys(names))


def build_signature(inputs: "pd.DataFrame", outputs: "pd.DataFrame") -> "ModelSignature":
    """Describe the columns, every input optional and of any type.

    Otherwise MLflow refuses the whole table for a gap or a wrong type in one row; the model itself
    answers that row with its status. Bytes and times keep their type, for from JSON MLflow reads
    them by it.
    """
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    typed = (DataType.binary, DataType.datetime)

    with warnings.catch_warnings():
        # MLflow's hint that whole numbers cannot be missing: here they can.
        warnings.filterwarnings("ignore", message=".*integer column", category=UserWarning)
        inferred = infer_signature(inputs, outputs)
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(spec.type if spec.type in typed else AnyType(), spec.name, required=False)
        for spec in inferred.inputs
    ]
    return ModelSignature(inputs=Schema(columns), outputs=inferred.outputs)


def _strip_local_version(name: str) -> str:
    """Version of an installed package as the registry names it, without a build's own suffix."""
    return installed_version(name).partition("+")[0]


def hash_package(folder: Path) -> str:
    """Hash a served model's files, without those that MLflow and Python add when it is loaded."""
    table = list_files(folder)
    added = {name for name in table if "__pycache__" in name or name == "registered_model_meta"}
    return hash_files({name: entry for name, entry in table.items() if name not in added})


def check_golden(folder: Path, title: str) -> None:
    """Load a served model and compare its answers with those stored beside it.

    Args:
        folder: the model's files.
        title: what a refusal calls it.

    Raises:
        RegistryError: it does not answer as it did.
    """
    import mlflow.pyfunc

    served = mlflow.pyfunc.load_model(str(folder))
    answers = served.predict(
        pl.read_parquet(folder / "golden_inputs.parquet", glob=False).to_pandas()
    )
    stored = pl.read_parquet(folder / "golden_predictions.parquet", glob=False)
    if not are_predictions_equal(pl.from_pandas(answers), stored):
        raise RegistryError.of(
            f"{title} does not answer as it did before it was registered",
            found=f"stored {stored.head(2).to_dicts()}, now {answers.head(2).to_dict('records')}",
            hint="no alias was moved; check that MLflow's storage is intact, then run again",
        )


def open_package(folder: Path) -> PredictFunction:
    """Open a served model as MLflow does."""
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    served = mlflow.pyfunc.load_model(str(folder))

    def ask(frame: pl.DataFrame) -> pl.DataFrame:
        try:
            return pl.from_pandas(served.predict(to_pandas(frame)))
        except MlflowException as error:
            # Its message shows the whole table before it says what is wrong with it.
            raise UnlearnableError(str(error).rpartition("Error: ")[2]) from error

    return ask


def to_pandas(frame: pl.DataFrame) -> "pd.DataFrame":
    """Hand a table over with every value as it is.

    Pandas' own types know no missing whole number, and lists are objects there; such columns are
    Arrow's. MLflow takes bytes and times in pandas' own types alone.
    """
    arrows = [
        each.name
        for each in frame
        if each.dtype.is_nested() or (each.null_count() and not each.dtype.is_float())
        if each.dtype != pl.Binary and not each.dtype.is_temporal()
    ]
    table = frame.drop(arrows).to_pandas()
    exact = frame.select(arrows).to_pandas(use_pyarrow_extension_array=True)
    for name in arrows:
        table[name] = exact[name]
    return table[frame.columns]


def are_predictions_equal(now: pl.DataFrame, stored: pl.DataFrame) -> bool:
    """Compare answers: texts and classes exactly, numbers to float32's last digits."""
    return now.columns == stored.columns and all(
        _are_values_equal(now[name].cast(stored[name].dtype), stored[name])
        for name in stored.columns
    )


def _are_values_equal(now: pl.Series, stored: pl.Series) -> bool:
    """Compare two columns; of lists, their lengths and what is in them."""
    if isinstance(stored.dtype, pl.List):
        lengths = (each.list.len().to_list() for each in (now, stored))
        return operator.eq(*lengths) and _are_values_equal(now.explode(), stored.explode())
    if stored.dtype.is_float():
        ours, theirs = (each.fill_null(float("nan")).to_numpy() for each in (stored, now))
        return np.allclose(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True)
    return now.to_list() == stored.to_list()
