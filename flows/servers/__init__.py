"""The Prefect and MLflow servers that we start, their processes and ports."""
