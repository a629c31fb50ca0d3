"""The model as MLflow serves it: code and data, no pickle."""
