"""`ostinato benchmark-cells`: every family of cells, and its training speed on this machine."""

from typing import Any

from models.extras import describe_install
from models.networks.families import FAMILIES


def benchmark_cells(*, hidden_size: int, device: str) -> list[dict[str, Any]]:
    """Measure every family of cells, and return one row for each.

    The speed is None where a package is missing.

    Args:
        hidden_size: units of the measured layer.
        device: `auto`, `cpu` or `cuda`.
    """
    import torch

    from models.networks.benchmark import BenchmarkShape, measure_cells

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    speeds = measure_cells(BenchmarkShape(hidden=hidden_size), device=torch.device(chosen))
    rows = []
    for name, family in FAMILIES.items():
        speed = speeds.get(name)
        rows.append(
            {
                "family": name,
                "about": family.description,
                "reads": family.reads,
                "parallel": family.parallel,
                "causal": family.causal,
                "options": list(family.options),
                "devices": ["cpu", "cuda"],
                "extra": family.extra,
                "measured_on": chosen,
                "parameters": speed.parameters if speed else None,
                "milliseconds": round(speed.milliseconds, 2) if speed else None,
                "steps_per_second": round(speed.steps_per_second) if speed else None,
            }
        )
    return rows


def format_benchmark(rows: list[dict[str, Any]]) -> str:
    """Format the rows as a table for the terminal."""
    lines = [
        f"{'family':<12}{'parameters':>11}{'parallel':>10}{'ksteps/s':>10}{'of lstm':>9}  about"
    ]
    [lstm] = [row["steps_per_second"] for row in rows if row["family"] == "lstm"]
    for row in rows:
        speed = row["steps_per_second"]
        figures = (
            f"{speed / 1000:>10.0f}{speed / lstm:>9.2f}"
            if speed
            else f"{'needs ' + str(row['extra']):>19}"
        )
        parallel = "in time" if row["parallel"] else "-"
        parameters = row["parameters"] or "-"
        lines.append(f"{row['family']:<12}{parameters:>11}{parallel:>10}{figures}  {row['about']}")
    missing = sorted({row["extra"] for row in rows if not row["steps_per_second"]})
    lines += [f"{extra}: {describe_install(extra)}" for extra in missing]
    device = rows[0]["measured_on"]
    lines.append(
        f"Training of one layer on 64 sequences of 100 steps of 32 numbers on {device}; all cells "
        "run on cpu and cuda."
    )
    return "\n".join(lines)
