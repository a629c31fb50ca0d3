"""From features to a trained, calibrated candidate, resumable at any step."""
