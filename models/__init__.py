"""What a model is, from raw row to prediction. Knows nothing of Prefect, MLflow or jobs."""
