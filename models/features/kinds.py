"""The kinds of input: one line each. A new kind is a module of its own and a line here."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, NamedTuple

import polars as pl
from pydantic import Field

from models.errors import UnlearnableError
from models.features import audio, image, series, text, tree
from models.features.audio import AudioInput
from models.features.config import Layout
from models.features.feature_spec import FeatureSpec
from models.features.image import ImageInput
from models.features.series import SeriesInput
from models.features.static_covariates import CategoryInput, NumberInput
from models.features.steps import Steps
from models.features.text import TextInput
from models.features.tree import TreeInput

InputConfig = Annotated[
    SeriesInput | TextInput | ImageInput | AudioInput | TreeInput | CategoryInput | NumberInput,
    Field(discriminator="kind"),
]
"""One entry of a job's `inputs`; its keys depend on `kind`."""


FRAME_ROWS = 65_536


class InputKind(NamedTuple):
    """What a kind of input can do."""

    state: type
    """What its training fits."""
    check: Callable[[pl.Schema, Layout], None]
    """Refuses columns that cannot be read."""
    fit: Callable[[Iterable[pl.DataFrame], Layout], Any]
    """Takes training rows and gives the state."""
    transform: Callable[[pl.DataFrame, Layout, Any], Steps]
    signal: Callable[[Layout, Any], FeatureSpec]
    rows_at_once: Callable[[Any], int]
    """Tells how many rows of this state fit in memory, read."""
    packages: Callable[[Any], tuple[str, ...]]
    """Names what a served model of this kind needs beside the core."""


def of_rows(module: Any, state: type, check: Callable[[pl.Schema, Layout], None]) -> InputKind:  # noqa: ANN401 - a module
    """Make a kind of a module whose functions take the kind's own section."""
    return InputKind(
        state=state,
        check=check,
        fit=lambda frames, layout: module.fit(frames, layout.input),
        transform=lambda frame, layout, state: module.transform(frame, layout.input, state),
        signal=lambda layout, state: module.signal(layout.input, state),
        rows_at_once=getattr(module, "rows_at_once", lambda _: FRAME_ROWS),
        packages=getattr(module, "packages", lambda _: ()),
    )


def check_text(schema: pl.Schema, layout: Layout) -> None:
    """Refuse a column that holds no texts.

    Raises:
        UnlearnableError: says what it holds.
    """
    name = layout.input.columns[0]
    kind, dtype = layout.input.kind, schema[name]
    if not isinstance(dtype, (pl.String, pl.Categorical, pl.Enum, pl.Null)):
        raise UnlearnableError(
            f"inputs: column '{name}' holds {dtype}, and a {kind} is read from texts; "
            "name another column, or another kind"
        )


def check_bytes(schema: pl.Schema, layout: Layout) -> None:
    """Refuse a column that holds neither files nor numbers.

    Raises:
        UnlearnableError: says what it holds.
    """
    name = layout.input.columns[0]
    kind, dtype = layout.input.kind, schema[name]
    if not isinstance(dtype, (pl.Binary, pl.Struct, pl.List, pl.Array, pl.Null)):
        raise UnlearnableError(
            f"inputs: column '{name}' holds {dtype}, and an {kind} is read from the bytes of a "
            "file or from lists of numbers; name another column, or list the files under "
            "source.file_columns"
        )


KINDS: dict[str, InputKind] = {
    "series": InputKind(
        state=series.SeriesState,
        check=series.check,
        fit=series.fit,
        transform=series.transform,
        signal=series.signal,
        rows_at_once=lambda _: FRAME_ROWS,
        packages=lambda _: (),
    ),
    "text": of_rows(text, text.TextState, check_text),
    "image": of_rows(image, image.ImageState, check_bytes),
    "audio": of_rows(audio, audio.AudioState, check_bytes),
    "tree": of_rows(tree, tree.TreeState, check_text),
}
