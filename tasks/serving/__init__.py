"""The model package that MLflow serves: code and data, no pickle."""
