"""Orders in which the cells of a grid are read.

Shapes: H rows, W columns.
"""

from collections.abc import Iterator
from typing import NamedTuple


def order_raster(height: int, width: int) -> list[int]:
    """Return the cells of a grid row by row, each as row * W + column."""
    return list(range(height * width))


def order_hilbert(height: int, width: int) -> list[int]:
    """Return the cells of a grid along a Hilbert curve, each as row * W + column.

    Each step goes to a neighbor; where a side is odd, one step may go diagonally. On
    squares whose side is a power of two it is Hilbert's own curve (Hilbert 1891); for others the
    halves are taken uneven, as in the generalised Hilbert curve (Cerveny 2018).
    """
    down, right = _Vector(height, 0), _Vector(0, width)
    along, across = (right, down) if width >= height else (down, right)
    return [
        cell.row * width + cell.column for cell in _fill_rectangle(_Vector(0, 0), along, across)
    ]


class _Vector(NamedTuple):
    """A cell of the grid, or a vector between two cells along one side."""

    row: int
    column: int

    def add(self, other: "_Vector") -> "_Vector":
        """Return the sum of both vectors."""
        return _Vector(self.row + other.row, self.column + other.column)

    def subtract(self, other: "_Vector") -> "_Vector":
        """Return the difference of both vectors."""
        return _Vector(self.row - other.row, self.column - other.column)

    @property
    def length(self) -> int:
        """Number of cells that the vector spans."""
        return abs(self.row + self.column)

    @property
    def unit(self) -> "_Vector":
        """The vector of the same direction that spans one cell."""
        return _Vector(_sign(self.row), _sign(self.column))

    def half(self, *, even: bool) -> "_Vector":
        """Half of the vector, rounded toward zero; longer by a cell where it must be even."""
        half = _Vector(_halve(self.row), _halve(self.column))
        is_odd = even and half.length % 2 and self.length > 2
        return half.add(self.unit) if is_odd else half


def _sign(number: int) -> int:
    """Return 1, 0 or -1."""
    return (number > 0) - (number < 0)


def _halve(number: int) -> int:
    """Return half of the number, rounded toward zero."""
    return _sign(number) * (abs(number) // 2)


def _fill_rectangle(start: _Vector, along: _Vector, across: _Vector) -> Iterator[_Vector]:
    """Yield the cells of the rectangle of two vectors, from `start` to the end of `along`."""
    if 1 in {along.length, across.length}:
        vector = along if across.length == 1 else across
        yield from (
            _Vector(start.row + n * vector.unit.row, start.column + n * vector.unit.column)
            for n in range(vector.length)
        )
    elif 2 * along.length > 3 * across.length:
        half = along.half(even=True)
        yield from _fill_rectangle(start, half, across)
        yield from _fill_rectangle(start.add(half), along.subtract(half), across)
    else:
        yield from _fill_in_three(start, along, across)


def _fill_in_three(start: _Vector, along: _Vector, across: _Vector) -> Iterator[_Vector]:
    """Yield the cells in three parts: half of the near side, the far half, and back."""
    near, far = along.half(even=False), across.half(even=True)
    yield from _fill_rectangle(start, far, near)
    yield from _fill_rectangle(start.add(far), along, across.subtract(far))
    corner = start.add(along.subtract(along.unit)).add(far.subtract(across.unit))
    yield from _fill_rectangle(corner, _Vector(-far.row, -far.column), near.subtract(along))
