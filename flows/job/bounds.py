"""Values that no setting may have, refused before the sections see them."""

import math
from collections.abc import Iterator
from pathlib import Path

_MAX_INTEGER = 2**63 - 1
_MAX_SHOWN = 40


def list_unusable_numbers(node: object, key: str = "") -> Iterator[str]:
    """Yield a line for each number that is not finite, or beyond 64 bits.

    Comparisons with NaN are false, so that range checks would let it pass.
    """
    children: list[tuple[str, object]] = []
    if isinstance(node, dict):
        children = [(f"{key}.{name}" if key else str(name), value) for name, value in node.items()]
    if isinstance(node, list | tuple):
        children = [(f"{key}[{index}]", value) for index, value in enumerate(node)]
    for name, value in children:
        yield from list_unusable_numbers(value, name)
    if problem := _describe_problem(node):
        yield f"  {key}: {problem}"


def _describe_problem(value: object) -> str | None:
    """Return why a value is refused as a number; None for anything else."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number; give one"
    if not isinstance(value, int) or abs(value) <= _MAX_INTEGER:
        return None
    digits = str(value) if value.bit_length() < 10_000 else "a number of thousands of digits"
    shown = digits if len(digits) <= _MAX_SHOWN else f"{digits[:_MAX_SHOWN]}..."
    return f"{shown} is larger than 64 bits hold; give a smaller number"


def describe_outside_path(name: str, roots: list[Path]) -> str | None:
    """Return why a path of a job file is refused: None where it lies in one of the folders."""
    path = Path(name).resolve()
    if any(path.is_relative_to(root.resolve()) for root in roots):
        return None
    return "lies outside of the job's folder; name a file within it"
