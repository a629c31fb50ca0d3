"""The demonstration's data: real sets that our dependencies ship, written as Parquet."""

import io
from pathlib import Path

import polars as pl


def write_demo_data(folder: Path) -> list[Path]:
    """Write the digits and the share prices unless they are there; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, make in (("digits", digits), ("volume", prices)):
        path = folder / f"{name}.parquet"
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
