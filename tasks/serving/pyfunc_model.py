"""The model that MLflow serves: this file is logged as code, with the bundle as an artifact."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import polars as pl
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from models.bundle import Bundle, load_bundle
from models.mixed_types import build_type_check, clean_column


class ServedBundle(PythonModel):
    """Predicts raw rows: one row of predictions with a status for each row."""

    bundle: Bundle

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle."""
        self.bundle = load_bundle(Path(context.artifacts["bundle"]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - MLflow's signature
    ) -> pd.DataFrame:
        """Return the table of `Bundle.predict`, with the status of rows of wrong types too."""
        frame, reasons = _convert_rows(model_input, self.bundle)
        return _add_failed_rows(self.bundle.predict(frame), reasons).to_pandas()


def _convert_rows(rows: pd.DataFrame, bundle: Bundle) -> tuple[pl.DataFrame, dict[int, str]]:
    """Convert a table to Polars; return with it why single rows have values of a wrong type.

    Such values become null, so that the other rows can be predicted.
    """
    columns: list[pl.Series] = []
    reasons: dict[int, str] = {}
    for name in rows.columns:
        try:
            columns.append(pl.from_pandas(rows[[name]])[name])
        except (TypeError, ValueError, pl.exceptions.PolarsError):
            cleaned = clean_column(
                name, rows[name].tolist(), build_type_check(bundle.featurizer.layout, name)
            )
            columns.append(cleaned.column)
            reasons = cleaned.reasons | reasons
    return pl.DataFrame(columns), reasons


def _add_failed_rows(predictions: pl.DataFrame, reasons: dict[int, str]) -> pl.DataFrame:
    """Replace the predictions of rows with wrong values by null, their status by the reason."""
    if not reasons:
        return predictions
    row = pl.int_range(pl.len())
    status = row.replace_strict(reasons, default=pl.col("status"), return_dtype=pl.String)
    return predictions.with_columns(
        pl.when(~row.is_in(list(reasons))).then(pl.all().exclude("status")), status.alias("status")
    )


mlflow.models.set_model(ServedBundle())
