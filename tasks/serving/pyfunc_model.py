"""The model as MLflow serves it: this file is logged as code, and reads the bundle beside it."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import polars as pl
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from models.bundle import Bundle, load
from models.mixed_types import build_type_check, clean_column


class ServedBundle(PythonModel):
    """Answers raw rows: one row in, one row out, with a status each."""

    bundle: Bundle

    def load_context(self, context: PythonModelContext) -> None:
        """Read the bundle once."""
        self.bundle = load(Path(context.artifacts["bundle"]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 - MLflow's signature
    ) -> pd.DataFrame:
        """Return `prediction`, for classes `probability` and `probabilities`, and `status`."""
        frame, reasons = _convert_rows(model_input, self.bundle)
        return _add_failed_rows(self.bundle.predict(frame), reasons).to_pandas()


def _convert_rows(rows: pd.DataFrame, bundle: Bundle) -> tuple[pl.DataFrame, dict[int, str]]:
    """Read a table; what is of a wrong type in some rows becomes a gap there, with its reason."""
    columns: list[pl.Series] = []
    reasons: dict[int, str] = {}
    for name in rows.columns:
        try:
            columns.append(pl.from_pandas(rows[[name]])[name])
        except (TypeError, ValueError, pl.exceptions.PolarsError):
            found = clean_column(
                name, rows[name].tolist(), build_type_check(bundle.featurizer.layout, name)
            )
            columns.append(found.column)
            reasons = found.reasons | reasons
    return pl.DataFrame(columns), reasons


def _add_failed_rows(answers: pl.DataFrame, reasons: dict[int, str]) -> pl.DataFrame:
    """Take back the answers to rows that held something wrong, and say what."""
    if not reasons:
        return answers
    row = pl.int_range(pl.len())
    status = row.replace_strict(reasons, default=pl.col("status"), return_dtype=pl.String)
    return answers.with_columns(
        pl.when(~row.is_in(list(reasons))).then(pl.all().exclude("status")), status.alias("status")
    )


mlflow.models.set_model(ServedBundle())
