"""The smallest report that can be read, as parsed JSON."""

GAIN = {
    "name": "majority",
    "is_champion": False,
    "rows": 90,
    "gain": 0.1,
    "low": -0.01,
    "high": 0.2,
    "score": 0.9,
    "reference_score": 0.8,
}

GATE = {
    "decision": "promote", "reason": "better", "metric": "accuracy", "mode": "superiority",
    "min_improvement": 0.0, "margin": 0.0, "confidence": 0.95, "baseline_margin": 0.01,
    "require_baseline": True, "min_rows": 50, "champion": None, "rows": 90, "excluded_rows": 0,
    "comparisons": [GAIN], "guardrails": [], "incomparable_reason": None, "block_reason": None,
    "is_tie": False,
    "fallback": "baseline",
    "holdout": {"hash": "abc", "rows": 90, "uses": 2, "limit": 20, "warning": None},
}  # fmt: skip

REPORT = {
    "headline": "",
    "decision": "promote",
    "reason": "first version, better than every baseline",
    "metric": "accuracy",
    "rows": 90,
    "metrics": {"accuracy": 0.9, "log_loss": 0.3},
    "baselines": {"majority": {"accuracy": 0.5, "log_loss": 0.7}},
    "best_baseline": "majority",
    "champion": None,
    "drift": None,
    "intervals": {"accuracy": {"value": 0.9, "low": 0.85, "high": 0.93}},
    "gate": GATE,
    "warnings": [],
    "leakage_checks": [],
    "explanations": [],
    "units": {},
    "slices": [],
    "worst_slice": None,
    "calibration": None,
    "conformal": None,
    "history": [{"epoch": e, "training_loss": 1 / (e + 1), "validation_loss": 1.0} for e in (0, 1)],
}
