"""Charts as SVG: one drawing for the page and for the file that MLflow shows."""
