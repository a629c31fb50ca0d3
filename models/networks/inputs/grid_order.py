"""Orders in which the cells of a grid are read.

Shapes: H rows, W columns.
"""

from collections.abc import Iterator
from typing import NamedTuple


class _Vector(NamedTuple):
    """A place in the grid, or a way through it."""

    row: int
    column: int

    def add(self, other: "_Vector") -> "_Vector":
        """Go further."""
        return _Vector(self.row + other.row, self.column + other.column)

    def subtract(self, other: "_Vector") -> "_Vector":
        """Go back."""
        return _Vector(self.row - other.row, self.column - other.column)

    @property
    def length(self) -> int:
        """Cells that a way along one side of the grid spans."""
        return abs(self.row + self.column)

    @property
    def unit(self) -> "_Vector":
        """One cell of that way."""
        return _Vector(_sign(self.row), _sign(self.column))

    def half(self, *, even: bool) -> "_Vector":
        """Half of that way, toward zero; made longer by a cell where it must be even."""
        half = _Vector(_halve(self.row), _halve(self.column))
        odd = even and half.length % 2 and self.length > 2
        return half.add(self.unit) if odd else half


def _sign(number: int) -> int:
    """Give 1, 0 or -1."""
    return (number > 0) - (number < 0)


def _halve(number: int) -> int:
    """Halve toward zero."""
    return _sign(number) * (abs(number) // 2)


def order_raster(height: int, width: int) -> list[int]:
    """Read line by line: the cells' numbers, row * W + column, in reading order."""
    return list(range(height * width))


def order_hilbert(height: int, width: int) -> list[int]:
    """Read along a Hilbert curve, drawn over a rectangle of any sides.

    Each step goes to a neighbour; where a side is odd, one step may go diagonally. On
    squares whose side is a power of two it is Hilbert's own curve (Hilbert 1891); for others the
    halves are taken uneven, as in the generalised Hilbert curve (Cerveny 2018).
    """
    down, right = _Vector(height, 0), _Vector(0, width)
    along, across = (right, down) if width >= height else (down, right)
    return [
        cell.row * width + cell.column for cell in _fill_rectangle(_Vector(0, 0), along, across)
    ]


def _fill_rectangle(start: _Vector, along: _Vector, across: _Vector) -> Iterator[_Vector]:
    """Fill the rectangle that two ways span, from `start` to the far end of `along`."""
    if 1 in {along.length, across.length}:
        way = along if across.length == 1 else across
        yield from (
            _Vector(start.row + n * way.unit.row, start.column + n * way.unit.column)
            for n in range(way.length)
        )
    elif 2 * along.length > 3 * across.length:
        half = along.half(even=True)
        yield from _fill_rectangle(start, half, across)
        yield from _fill_rectangle(start.add(half), along.subtract(half), across)
    else:
        yield from _fill_in_three(start, along, across)


def _fill_in_three(start: _Vector, along: _Vector, across: _Vector) -> Iterator[_Vector]:
    """Go up one half of the near side, along the far half, and back down."""
    near, far = along.half(even=False), across.half(even=True)
    yield from _fill_rectangle(start, far, near)
    yield from _fill_rectangle(start.add(far), along, across.subtract(far))
    corner = start.add(along.subtract(along.unit)).add(far.subtract(across.unit))
    yield from _fill_rectangle(corner, _Vector(-far.row, -far.column), near.subtract(along))
