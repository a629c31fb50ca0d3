"""The model package in MLflow: code, bundle, and golden rows with their predictions."""

import warnings
from collections.abc import Callable, Collection
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from models.bundle import Bundle, load_bundle
from models.errors import UnlearnableError
from models.evaluation.baselines.served import Baseline
from models.features.kinds import KINDS
from models.features.series import ROW_COLUMN, compute_context, is_resampled, resample_series
from models.features.splitting.split import TEST
from models.networks.blend import Blend
from models.networks.families import FAMILIES
from models.networks.heads.config import DISTRIBUTION_LOSSES
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.rowset import RowSet
from tasks.errors import RegistryError
from tasks.serving.package_files import seal_package

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import PyFuncModel
    from mlflow.pyfunc.model import PythonModelContext

    from tasks.serving.pyfunc_model import ServedBundle

PredictFunction = Callable[[pl.DataFrame], pl.DataFrame]
"""Predicts raw rows: one row of predictions for each row, in the same order."""

_GOLDEN_ROWS = 5
"""Rows whose predictions are stored with a version, and compared when it is loaded."""

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
"""Packages that every served model imports."""


def choose_golden_rows(bundle: Bundle, rows: RowSet, features_dir: Path) -> pl.DataFrame:
    """Choose raw rows that the model can predict: single test rows, or the end of one series.

    Args:
        bundle: the trained model.
        rows: all accepted rows.
        features_dir: with the split of its training.
    """
    layout = bundle.featurizer.layout
    test_rows = read_sequences(features_dir, TEST)["row"].head(_GOLDEN_ROWS)
    frame = rows.scan().select(layout.raw_columns)
    if layout.window is None:
        return (
            frame.with_row_index("row")
            .filter(pl.col("row").is_in(test_rows.implode()))
            .drop("row")
            .collect(engine="streaming")
        )
    if layout.entity:
        entity = frame.select(layout.entity).slice(int(test_rows[0]), 1).collect().item()
        frame = frame.filter(pl.col(layout.entity) == entity)
    if layout.time:
        frame = frame.sort(layout.time, maintain_order=True)
    context = compute_context(layout)
    steps = context.past_steps + context.future_steps + _GOLDEN_ROWS
    if not is_resampled(layout):
        return frame.tail(steps).collect(engine="streaming")
    bins = resample_series(frame.collect().with_row_index(ROW_COLUMN), layout, averaged=())
    since = bins[layout.time or ROW_COLUMN].tail(steps).head(1).item()
    return frame.filter(pl.col(layout.time or ROW_COLUMN) >= since).collect(engine="streaming")


def save_package(bundle_dir: Path, folder: Path, golden: pl.DataFrame) -> str:
    """Save a bundle as a model package, with the predictions of its golden rows.

    Args:
        bundle_dir: the trained model.
        folder: of the package; must not exist.
        golden: raw rows.

    Returns:
        The SHA-256 of the list of its files.
    """
    import mlflow.pyfunc

    bundle = load_bundle(bundle_dir)
    predictions = bundle.predict(golden)
    inputs, outputs = golden.to_pandas(), predictions.to_pandas()
    packages = Path(__file__).parents[2]
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(packages / "tasks" / "serving" / "pyfunc_model.py"),
        artifacts={"bundle": str(bundle_dir)},
        code_paths=[str(packages / "models")],
        signature=_build_signature(inputs, outputs, texts=bundle.featurizer.layout.parse),
        input_example=inputs,
        pip_requirements=[
            f"{name}=={_strip_local_version(name)}" for name in _list_requirements(bundle)
        ],
    )
    golden.write_parquet(folder / "golden_inputs.parquet")
    predictions.write_parquet(folder / "golden_predictions.parquet")
    return seal_package(folder)


def _list_requirements(bundle: Bundle) -> tuple[str, ...]:
    """List the packages that this model imports when it is served."""
    layout, target = bundle.featurizer.layout, bundle.featurizer.target
    kind, state = KINDS[layout.input.kind], bundle.featurizer.state
    names = [*REQUIREMENTS, *kind.list_packages(layout.input, state)]
    if target.tokenizer == "bpe":
        names.append("tokenizers")
    if bundle.head.loss in DISTRIBUTION_LOSSES:
        names.append("scipy")
    if isinstance(bundle.network, Baseline):
        return tuple(dict.fromkeys([*names, *bundle.network.packages]))
    if isinstance(bundle.network, Blend):
        names += bundle.network.packages
    if extra := FAMILIES[bundle.model.cell].extra:
        names.append(extra)
    return tuple(dict.fromkeys(names))


def _build_signature(
    inputs: "pd.DataFrame", outputs: "pd.DataFrame", *, texts: Collection[str]
) -> "ModelSignature":
    """Describe the columns, every input optional and of any type.

    Otherwise MLflow refuses the whole table for one missing value or one wrong type, where the
    model itself returns a status for that row. Binary and datetime columns keep their types,
    because MLflow parses them from JSON by it; but not `texts`, columns that the model parses.
    """
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    typed = (DataType.binary, DataType.datetime)

    with warnings.catch_warnings():
        # MLflow warns that integers cannot be missing; here they can.
        warnings.filterwarnings("ignore", message=".*integer column", category=UserWarning)
        inferred = infer_signature(inputs, outputs)
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(
            spec.type if spec.type in typed and spec.name not in texts else AnyType(),
            spec.name,
            required=False,
        )
        for spec in inferred.inputs
    ]
    return ModelSignature(inputs=Schema(columns), outputs=inferred.outputs)


def _strip_local_version(name: str) -> str:
    """Return the version of an installed package without a local build's suffix, such as +cpu."""
    return installed_version(name).partition("+")[0]


def load_package(folder: Path) -> "PyFuncModel":
    """Load a model package as MLflow does, but run the installed code, not that in the package.

    MLflow would put the package's code before the installed one on Python's path.

    Args:
        folder: of a package whose files were checked.
    """
    from mlflow.models import Model
    from mlflow.pyfunc import PyFuncModel
    from mlflow.pyfunc.model import PythonModelContext

    from tasks.serving.pyfunc_model import ServedBundle

    context = PythonModelContext({"bundle": str(folder / "artifacts" / "bundle")}, {})
    model = ServedBundle()
    model.load_context(context)
    return PyFuncModel(Model.load(str(folder / "MLmodel")), _InstalledModel(model, context))


class _InstalledModel:
    """The implementation of a model for MLflow, which checks the columns and calls `predict`."""

    def __init__(self, model: "ServedBundle", context: "PythonModelContext") -> None:
        self._model, self._context = model, context

    def predict(
        self, model_input: "pd.DataFrame", params: dict[str, Any] | None = None
    ) -> "pd.DataFrame":
        """Predict raw rows."""
        return self._model.predict(self._context, model_input, params)


def check_golden_predictions(folder: Path, title: str) -> None:
    """Load a model package, and compare its golden predictions with the stored ones.

    Args:
        folder: of the package, whose files were checked.
        title: what the error message calls it.

    Raises:
        RegistryError: the predictions differ.
    """
    model = load_package(folder)
    golden = pl.read_parquet(folder / "golden_inputs.parquet", glob=False)
    stored = pl.read_parquet(folder / "golden_predictions.parquet", glob=False)
    predictions = pl.from_pandas(model.predict(golden.to_pandas()))
    if not are_predictions_equal(predictions, stored):
        raise RegistryError.of(
            f"{title} no longer predicts what it did before it was registered",
            found=f"stored {stored.head(2).to_dicts()}, now {predictions.head(2).to_dicts()}",
            hint="no alias was moved; check that MLflow's storage is intact, then run again",
        )


def open_package(folder: Path) -> PredictFunction:
    """Load a checked model package, and return its function of raw rows."""
    from mlflow.exceptions import MlflowException

    model = load_package(folder)

    def predict(frame: pl.DataFrame) -> pl.DataFrame:
        try:
            return pl.from_pandas(model.predict(to_pandas(frame)))
        except MlflowException as error:
            # MLflow's message repeats the whole table before the reason.
            raise UnlearnableError(str(error).rpartition("Error: ")[2]) from error

    return predict


def to_pandas(frame: pl.DataFrame) -> "pd.DataFrame":
    """Convert a table to pandas without changing a value.

    Pandas' own types have no missing integers, and lists become objects, so such columns get Arrow
    types. MLflow takes binary and datetime columns in pandas' own types only.
    """
    arrow_names = [
        each.name
        for each in frame
        if each.dtype.is_nested() or (each.null_count() and not each.dtype.is_float())
        if each.dtype != pl.Binary and not each.dtype.is_temporal()
    ]
    table = frame.drop(arrow_names).to_pandas()
    arrow_table = frame.select(arrow_names).to_pandas(use_pyarrow_extension_array=True)
    for name in arrow_names:
        table[name] = arrow_table[name]
    return table[frame.columns]


def are_predictions_equal(predictions: pl.DataFrame, stored: pl.DataFrame) -> bool:
    """Compare predictions: texts and classes exactly, numbers to float32's last digits."""
    return predictions.columns == stored.columns and all(
        _are_values_equal(predictions[name].cast(stored[name].dtype), stored[name])
        for name in stored.columns
    )


def _are_values_equal(values: pl.Series, stored: pl.Series) -> bool:
    """Compare two columns; of lists, their lengths and their values."""
    if isinstance(stored.dtype, pl.List):
        lengths, stored_lengths = (each.list.len().to_list() for each in (values, stored))
        return lengths == stored_lengths and _are_values_equal(values.explode(), stored.explode())
    if stored.dtype.is_float():
        expected, numbers = (each.fill_null(float("nan")).to_numpy() for each in (stored, values))
        return np.allclose(expected, numbers, rtol=1e-5, atol=1e-6, equal_nan=True)
    return values.to_list() == stored.to_list()
