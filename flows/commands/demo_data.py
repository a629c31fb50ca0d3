"""`ostinato demo`: datasets for a demonstration, written as Parquet files without a download.

Digits and share prices come with scikit-learn and matplotlib; texts and trees are the docstrings
and the syntax trees of installed libraries; chords are synthesised.
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

_LIBRARIES = ("numpy", "pandas", "sklearn", "torch", "matplotlib", "prefect", "mlflow")

_MAX_FILES = 100
"""Source files per library."""

_MAX_NODES = 150
"""Nodes of a syntax tree; longer functions are skipped."""


def write_demo_data(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write the datasets of these names that do not exist yet; by default digits and volume.

    Raises:
        JobError: there is no dataset of a name.
    """
    for name in names:
        if name not in _DATASETS:
            known = ", ".join(_DATASETS)
            raise JobError.of(f"'{name}' is not a dataset of the demo", hint=f"choose from {known}")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names or ("digits", "volume"):
        make, path = _DATASETS[name], folder / f"{name}.parquet"
        if not path.exists():
            partial = path.with_suffix(".partial")
            make().write_parquet(partial, compression="zstd")
            partial.replace(path)
        written.append(path)
    return written


def make_digits() -> pl.DataFrame:
    """Return scikit-learn's 1,797 handwritten digits (Alpaydin and Kaynak 1998) as PNG files."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    images = []
    for pixels in data.images:
        buffer = io.BytesIO()
        Image.fromarray((pixels * 15).astype("uint8")).save(buffer, "PNG")
        images.append(buffer.getvalue())
    return pl.DataFrame({"image": images, "digit": data.target.tolist()})


def make_chords() -> pl.DataFrame:
    """Synthesise 1,200 chords of four kinds at random pitch in noise; the target is the kind."""
    import numpy as np

    kinds = {
        "major": (0, 4, 7),
        "minor": (0, 3, 7),
        "diminished": (0, 3, 6),
        "augmented": (0, 4, 8),
    }
    draw = np.random.default_rng(0)
    rows = []
    for index in range(1_200):
        kind = list(kinds)[index % len(kinds)]
        seconds = np.arange(int(8_000 * draw.uniform(0.3, 0.8))) / 8_000
        root = 110 * 2 ** draw.uniform(0, 2)
        sound = draw.normal(0, 0.05, len(seconds))
        for step in kinds[kind]:
            for harmonic in (1, 2, 3):
                pitch = root * 2 ** (step / 12) * harmonic
                sound += np.sin(2 * np.pi * (pitch * seconds + draw.uniform())) / harmonic**2
        rows.append((encode_wav(sound / np.abs(sound).max()), kind))
    return pl.DataFrame(rows, schema={"sound": pl.Binary, "chord": pl.String}, orient="row")


def encode_wav(samples: "NDArray[np.float64]", rate: int = 8_000) -> bytes:
    """Encode samples between -1 and 1 as a WAV file of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32_767).astype("<i2").tobytes())
    return buffer.getvalue()


def _make_prices() -> pl.DataFrame:
    """Return matplotlib's 1,047 days of one company's share, 2004 to 2008."""
    import matplotlib.cbook
    import numpy as np

    path = str(matplotlib.cbook.get_sample_data("goog.npz", asfileobj=False))
    days = np.load(path)["price_data"]
    columns = {name: days[name] for name in days.dtype.names or ()}
    return pl.DataFrame(columns).with_columns(pl.col("date").cast(pl.Date))


def _parse_sources(library: str) -> Iterator[tuple[str, ast.Module]]:
    """Parse an even selection of a library's source files, without running them."""
    spec = find_spec(library)
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    files = sorted(path for path in folder.rglob("*.py") if "test" not in path.as_posix())
    for path in files[:: max(1, len(files) // _MAX_FILES)]:
        name = path.relative_to(folder.parent).as_posix()
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def _make_docstrings() -> pl.DataFrame:
    """Return first paragraphs of docstrings; the target is the library."""
    rows = []
    for library in _LIBRARIES:
        for module, tree in _parse_sources(library):
            owners = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef))
            texts = ((ast.get_docstring(owner) or "").partition("\n\n")[0] for owner in owners)
            rows += [(text, library, module) for text in texts if len(text) > 40]
    table = pl.DataFrame(rows, schema=["text", "library", "module"], orient="row")
    return table.unique("text", maintain_order=True)


def _make_syntax_trees() -> pl.DataFrame:
    """Return syntax trees of short functions; the target is the library."""
    rows = []
    for library in _LIBRARIES:
        for module, tree in _parse_sources(library):
            functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
            rows += [(_format_tree(node), library, module) for node in functions]
    table = pl.DataFrame(rows, schema=["tree", "library", "module"], orient="row")
    short = pl.col("tree").str.count_matches(r"\(") <= _MAX_NODES
    return table.filter(short).unique("tree", maintain_order=True)


def _format_tree(node: ast.AST) -> str:
    """Format a syntax tree in brackets: types of nodes as labels, and names as words."""
    names = (getattr(node, key, None) for key in ("name", "attr", "id", "arg"))
    own = [f"(name {name})" for name in names if isinstance(name, str)]
    below = [
        _format_tree(child)
        for child in ast.iter_child_nodes(node)
        if not isinstance(child, ast.expr_context)
    ]
    kind = type(node).__name__
    parts = own + below
    return f"({kind} {' '.join(parts)})" if parts else f"({kind} {kind.lower()})"


_DATASETS: dict[str, Callable[[], pl.DataFrame]] = {
    "digits": make_digits,
    "volume": _make_prices,
    "docstrings": _make_docstrings,
    "syntax": _make_syntax_trees,
    "chords": make_chords,
}
