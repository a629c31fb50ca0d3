"""Orders in which the cells of a grid are read.

Shapes: H rows, W columns.
"""

from collections.abc import Iterator
from typing import NamedTuple


class Vector(NamedTuple):
    """A place in the grid, or a way through it."""

    row: int
    column: int

    def plus(self, other: "Vector") -> "Vector":
        """Go further."""
        return Vector(self.row + other.row, self.column + other.column)

    def minus(self, other: "Vector") -> "Vector":
        """Go back."""
        return Vector(self.row - other.row, self.column - other.column)

    @property
    def length(self) -> int:
        """Cells that a way along one side of the grid spans."""
        return abs(self.row + self.column)

    @property
    def unit(self) -> "Vector":
        """One cell of that way."""
        return Vector(sign(self.row), sign(self.column))

    def half(self, *, even: bool) -> "Vector":
        """Half of that way, toward zero; made longer by a cell where it must be even."""
        half = Vector(halve(self.row), halve(self.column))
        odd = even and half.length % 2 and self.length > 2
        return half.plus(self.unit) if odd else half


def sign(number: int) -> int:
    """Give 1, 0 or -1."""
    return (number > 0) - (number < 0)


def halve(number: int) -> int:
    """Halve toward zero."""
    return sign(number) * (abs(number) // 2)


def raster(height: int, width: int) -> list[int]:
    """Read line by line: the cells' numbers, row * W + column, in reading order."""
    return list(range(height * width))


def hilbert(height: int, width: int) -> list[int]:
    """Read along a Hilbert curve, drawn over a rectangle of any sides.

    Each step goes to a neighbour; where a side is odd, one step may go diagonally. On
    squares whose side is a power of two it is Hilbert's own curve (Hilbert 1891); for others the
    halves are taken uneven, as in the generalised Hilbert curve (Cerveny 2018).
    """
    down, right = Vector(height, 0), Vector(0, width)
    along, across = (right, down) if width >= height else (down, right)
    return [cell.row * width + cell.column for cell in curve(Vector(0, 0), along, across)]


def curve(start: Vector, along: Vector, across: Vector) -> Iterator[Vector]:
    """Fill the rectangle that two ways span, from `start` to the far end of `along`."""
    if 1 in {along.length, across.length}:
        way = along if across.length == 1 else across
        yield from (
            Vector(start.row + n * way.unit.row, start.column + n * way.unit.column)
            for n in range(way.length)
        )
    elif 2 * along.length > 3 * across.length:
        half = along.half(even=True)
        yield from curve(start, half, across)
        yield from curve(start.plus(half), along.minus(half), across)
    else:
        yield from turn(start, along, across)


def turn(start: Vector, along: Vector, across: Vector) -> Iterator[Vector]:
    """Go up one half of the near side, along the far half, and back down."""
    near, far = along.half(even=False), across.half(even=True)
    yield from curve(start, far, near)
    yield from curve(start.plus(far), along, across.minus(far))
    corner = start.plus(along.minus(along.unit)).plus(far.minus(across.unit))
    yield from curve(corner, Vector(-far.row, -far.column), near.minus(along))
