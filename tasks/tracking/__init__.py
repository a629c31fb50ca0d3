"""The only door to MLflow's runs: parameters, metrics, curves, files."""
