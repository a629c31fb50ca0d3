"""What `ostinato cells` shows: every family of cells, and its speed on this machine."""

from typing import Any

from models.networks.families import FAMILIES


def describe(*, hidden: int, device: str) -> list[dict[str, Any]]:
    """Return a row a family; speed is None where a package is missing.

    Args:
        hidden: units of the layers that are measured.
        device: `auto`, `cpu` or `cuda`.
    """
    import torch

    from models.networks.benchmark import Shape, measure

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    speeds = measure(Shape(hidden=hidden), device=torch.device(chosen))
    rows = []
    for name, family in FAMILIES.items():
        speed = speeds.get(name)
        rows.append(
            {
                "family": name,
                "about": family.about,
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


def as_table(rows: list[dict[str, Any]]) -> str:
    """Lay the rows out for the terminal."""
    lines = [
        f"{'family':<12}{'parameters':>11}{'parallel':>10}{'ksteps/s':>10}{'of lstm':>9}  about"
    ]
    [lstm] = [row["steps_per_second"] for row in rows if row["family"] == "lstm"]
    for row in rows:
        speed = row["steps_per_second"]
        figures = (
            f"{speed / 1000:>10.0f}{speed / lstm:>9.2f}"
            if speed
            else f"{'pip install ' + repr('ostinato[' + str(row['extra']) + ']'):>19}"
        )
        parallel = "in time" if row["parallel"] else "-"
        parameters = row["parameters"] or "-"
        lines.append(f"{row['family']:<12}{parameters:>11}{parallel:>10}{figures}  {row['about']}")
    device = rows[0]["measured_on"]
    lines.append(
        f"One layer learning from 64 sequences of 100 steps of 32 numbers on {device}; all run on "
        "cpu and cuda."
    )
    return "\n".join(lines)
