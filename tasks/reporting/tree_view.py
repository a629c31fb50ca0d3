"""An explained tree as a drawing: words below, their parents above, coloured by their shares."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from tasks.report_record import Explanation, ExplanationStep
from tasks.reporting.formatting import format_number

ACROSS, DOWN = 62, 46

MAX_HEIGHT = 300
"""Height that the levels of a tree share at most."""


class Node(NamedTuple):
    """Where a node stands."""

    x: float
    y: float
    parent: int
    """Index among the nodes; -1 for a root."""
    is_leaf: bool


def position_nodes(steps: Sequence[ExplanationStep]) -> list[Node]:
    """Position the nodes: leaves side by side, a parent above the middle of its children."""
    parents = [index + step.parent if step.parent else -1 for index, step in enumerate(steps)]
    below: list[list[int]] = [[] for _ in steps]
    for index, parent in enumerate(parents):
        if 0 <= parent < len(steps):
            below[parent].append(index)
    xs, heights, leaves = [0.0] * len(steps), [0] * len(steps), 0
    for index, children in enumerate(below):
        if children:
            xs[index] = sum(xs[child] for child in children) / len(children)
            heights[index] = 1 + max(heights[child] for child in children)
        else:
            xs[index] = (leaves + 0.5) * ACROSS
            leaves += 1
    top = max(heights)
    down = min(DOWN, MAX_HEIGHT / max(1, top))
    return [
        Node(xs[index], (top - heights[index]) * down + 16, parents[index], not below[index])
        for index in range(len(steps))
    ]


def draw_tree(row: Explanation) -> Markup:
    """Draw a tree whose nodes come in post-order."""
    steps = row.steps
    nodes = position_nodes(steps)
    largest = max((abs(step.share or 0.0) for step in steps), default=0.0) or 1.0
    links = "".join(
        f'<line class="link" x1="{node.x:.1f}" y1="{node.y:.1f}" x2="{nodes[node.parent].x:.1f}" '
        f'y2="{nodes[node.parent].y:.1f}"/>'
        for node in nodes
        if node.parent >= 0
    )
    marks = Markup("").join(
        _draw_node(node, step, largest) for node, step in zip(nodes, steps, strict=True)
    )
    wide = max(node.x for node in nodes) + ACROSS / 2
    high = max(node.y for node in nodes) + 26
    return Markup(
        '<div class="wide"><svg class="tree" width="{0:.0f}" height="{1:.0f}" '
        'viewBox="0 0 {0:.0f} {1:.0f}" role="img" aria-label="tree">{2}{3}</svg></div>'
    ).format(wide, high, Markup(links), marks)  # noqa: S704 - numbers only


def _draw_node(node: Node, step: ExplanationStep, largest: float) -> Markup:
    """Draw a node, and its word below a leaf or beside what has children."""
    way = "for" if (step.share or 0.0) >= 0 else "against"
    alpha = round(0.9 * min(1.0, abs(step.share or 0.0) / largest), 2)
    circle = Markup(
        '<circle class="node {}" style="--a:{}" cx="{:.1f}" cy="{:.1f}" r="7"><title>{}</title>'
        "</circle>"
    ).format(way, alpha, node.x, node.y, f"{step.token} {format_number(step.share, 3)}")
    if not step.token:
        return circle
    y = node.y + 21 if node.is_leaf else node.y - 11
    return circle + Markup('<text class="mid" x="{:.1f}" y="{:.1f}">{}</text>').format(
        node.x, y, (step.token or "")[:11]
    )
