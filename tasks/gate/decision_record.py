"""The gate's decision with its evidence, for people and programs: `gate.json` and `gate.png`."""

import json
import math
from pathlib import Path
from typing import Any

from tasks.gate.comparison import Gain, GateConfig
from tasks.gate.holdout_reuse import Window
from tasks.gate.rules import Evidence, Verdict
from tasks.reporting.plots import ACCENT, INK, blank, write


def gate_record(
    verdict: Verdict, evidence: Evidence, *, gate: GateConfig, metric: str, window: Window
) -> dict[str, Any]:
    """Lay out what was decided, on what, and by which rule."""
    rivals = [gain for gain in (evidence.over_champion, evidence.over_baseline) if gain]
    return {
        "decision": verdict.decision,
        "reason": verdict.reason,
        "metric": metric,
        "mode": gate.mode,
        "min_improvement": gate.min_improvement,
        "margin": gate.margin,
        "confidence": gate.confidence,
        "min_rows": gate.min_rows,
        "champion": evidence.champion,
        "rows": evidence.rows,
        "excluded_rows": evidence.excluded_rows,
        "rivals": [told(gain._asdict()) for gain in rivals],
        "guards": [told(guard._asdict()) for guard in evidence.guards],
        "incomparable": evidence.incomparable,
        "blocked": evidence.blocked,
        "window": {**window._asdict(), "warning": window.warning},
    }


def told(record: dict[str, Any]) -> dict[str, Any]:
    """Write what cannot be told as nothing, for JSON has no word for it."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }


def write_gate(folder: Path, record: dict[str, Any], gate: GateConfig) -> None:
    """Write the record, and draw it."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "gate.json").write_text(text + "\n", encoding="utf-8")
    rivals = [Gain(**rival) for rival in record["rivals"] if None not in rival.values()]
    gain_intervals(rivals, record, bound=gate.bound, path=folder / "gate.png")


def gain_intervals(gains: list[Gain], record: dict[str, Any], *, bound: float, path: Path) -> None:
    """Draw the gain over each rival with its interval, and the bound that it has to exceed.

    Over a baseline the gain itself has to be above 0; over the champion the whole interval.
    """
    figure = blank(7, 1.6 + 0.6 * max(len(gains), 1))
    axes = figure.subplots()
    for place, each in enumerate(gains):
        color = INK if each.champion else "grey"
        axes.plot([each.low, each.high], [place, place], color=color, linewidth=3)
        axes.plot([each.gain], [place], "o", color=color)
    axes.axvline(bound, color=ACCENT, linestyle=":", label=f"bound {bound:+g}")
    if bound:
        axes.axvline(0, color="grey", linewidth=0.8)
    names = [f"{each.name[:40]}\n{each.rows} rows" for each in gains]
    axes.set_yticks(range(len(gains)), names)
    axes.set_ylim(len(gains) - 0.4, -0.6)
    title = f"{record['decision']}: gain with its {record['confidence']:.0%} interval"
    axes.set(xlabel=f"gain in {record['metric']} (more is better)", title=title)
    axes.legend(frameon=False)
    write(figure, path)
