"""The model as MLflow serves it: this file is logged as code, and reads the bundle beside it."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import polars as pl
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from models.bundle import Bundle, load


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
        return self.bundle.predict(pl.from_pandas(model_input)).to_pandas()


mlflow.models.set_model(ServedBundle())
