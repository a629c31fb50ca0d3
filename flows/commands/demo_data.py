"""The demonstration's data, written as Parquet: sets that our dependencies ship, or are.

Digits and share prices come with scikit-learn and matplotlib; texts and trees are the docstrings
and the syntax of the installed libraries themselves; chords are made.
"""

import ast
import io
import wave
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tasks.errors import JobError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIBRARIES = ("numpy", "pandas", "sklearn", "torch", "matplotlib", "prefect", "mlflow")

MOST_FILES = 100
"""Source files that are read of each library."""

MOST_WORDS = 150
"""Nodes of a syntax tree; longer functions are left out."""


def write_demo_data(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write the sets of these names unless they are there, digits and prices first of all.

    Raises:
        JobError: a name is none.
    """
    for name in names:
        if name not in SETS:
            known = ", ".join(SETS)
            raise JobError.of(f"'{name}' is no set of the demonstration", mend=f"choose of {known}")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names or ("digits", "volume"):
        make, path = SETS[name], folder / f"{name}.parquet"
        if not path.exists():
            partial = path.with_suffix(".partial")
            make().write_parquet(partial, compression="zstd")
            partial.replace(path)
        written.append(path)
    return written


def digits() -> pl.DataFrame:
    """Scikit-learn's 1,797 handwritten digits (Alpaydin and Kaynak 1998) as PNG files."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    images = []
    for pixels in data.images:
        buffer = io.BytesIO()
        Image.fromarray((pixels * 15).astype("uint8")).save(buffer, "PNG")
        images.append(buffer.getvalue())
    return pl.DataFrame({"image": images, "digit": data.target.tolist()})


def prices() -> pl.DataFrame:
    """Matplotlib's 1,047 days of one company's share, 2004 to 2008."""
    import matplotlib.cbook
    import numpy as np

    path = str(matplotlib.cbook.get_sample_data("goog.npz", asfileobj=False))
    days = np.load(path)["price_data"]
    columns = {name: days[name] for name in days.dtype.names or ()}
    return pl.DataFrame(columns).with_columns(pl.col("date").cast(pl.Date))


def sources(library: str) -> Iterator[tuple[str, ast.Module]]:
    """Parse some of a library's source files, spread evenly; nothing of it is run."""
    spec = find_spec(library)
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    files = sorted(path for path in folder.rglob("*.py") if "test" not in path.as_posix())
    for path in files[:: max(1, len(files) // MOST_FILES)]:
        name = path.relative_to(folder.parent).as_posix()
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def docstrings() -> pl.DataFrame:
    """Give first paragraphs of the libraries' docstrings, to tell the library from."""
    rows = []
    for library in LIBRARIES:
        for module, tree in sources(library):
            owners = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef))
            texts = ((ast.get_docstring(owner) or "").partition("\n\n")[0] for owner in owners)
            rows += [(text, library, module) for text in texts if len(text) > 40]
    table = pl.DataFrame(rows, schema=["text", "library", "module"], orient="row")
    return table.unique("text", maintain_order=True)


def syntax() -> pl.DataFrame:
    """Give syntax trees of the libraries' short functions, to tell the library from."""
    rows = []
    for library in LIBRARIES:
        for module, tree in sources(library):
            functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
            rows += [(bracketed(node), library, module) for node in functions]
    table = pl.DataFrame(rows, schema=["tree", "library", "module"], orient="row")
    short = pl.col("tree").str.count_matches(r"\(") <= MOST_WORDS
    return table.filter(short).unique("tree", maintain_order=True)


def bracketed(node: ast.AST) -> str:
    """Write a syntax tree in brackets: kinds of nodes, and the names in them as words."""
    names = (getattr(node, key, None) for key in ("name", "attr", "id", "arg"))
    own = [f"(name {name})" for name in names if isinstance(name, str)]
    below = [
        bracketed(child)
        for child in ast.iter_child_nodes(node)
        if not isinstance(child, ast.expr_context)
    ]
    kind = type(node).__name__
    parts = own + below
    return f"({kind} {' '.join(parts)})" if parts else f"({kind} {kind.lower()})"


def chords() -> pl.DataFrame:
    """Make 1,200 chords of four kinds, at any pitch, in noise, to tell the kind from."""
    import numpy as np

    kinds = {
        "major": (0, 4, 7),
        "minor": (0, 3, 7),
        "diminished": (0, 3, 6),
        "augmented": (0, 4, 8),
    }
    draw = np.random.default_rng(0)
    rows = []
    for place in range(1_200):
        kind = list(kinds)[place % len(kinds)]
        seconds = np.arange(int(8_000 * draw.uniform(0.3, 0.8))) / 8_000
        root = 110 * 2 ** draw.uniform(0, 2)
        sound = draw.normal(0, 0.05, len(seconds))
        for step in kinds[kind]:
            for harmonic in (1, 2, 3):
                pitch = root * 2 ** (step / 12) * harmonic
                sound += np.sin(2 * np.pi * (pitch * seconds + draw.uniform())) / harmonic**2
        rows.append((wav(sound / np.abs(sound).max()), kind))
    return pl.DataFrame(rows, schema={"sound": pl.Binary, "chord": pl.String}, orient="row")


def wav(samples: "NDArray[np.float64]", rate: int = 8_000) -> bytes:
    """Write samples between -1 and 1 as a WAV file of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32_767).astype("<i2").tobytes())
    return buffer.getvalue()


SETS: dict[str, Callable[[], pl.DataFrame]] = {
    "digits": digits,
    "volume": prices,
    "docstrings": docstrings,
    "syntax": syntax,
    "chords": chords,
}
