"""How good a model is: scores, baselines, calibration, slices and leakage checks."""
