"""The kinds of input: a new kind is a module of its own and an entry in `KINDS`."""

from collections.abc import Callable, Iterable
from pathlib import Path
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


_MAX_ROWS = 65_536


class InputKind(NamedTuple):
    """The functions of one kind of input."""

    state: type
    """Class of the fitted state."""
    check: Callable[[pl.Schema, Layout], None]
    """Checks the columns; raises UnlearnableError where they cannot be read."""
    fit: Callable[[Iterable[pl.DataFrame], Layout], Any]
    """Takes frames of training rows and returns the state."""
    transform: Callable[[pl.DataFrame, Layout, Any], Steps]
    build_spec: Callable[[Layout, Any], FeatureSpec]
    compute_max_rows: Callable[[Any], int]
    """Returns how many rows may be transformed at once, so that they fit in memory."""
    list_packages: Callable[[Any, Any], tuple[str, ...]]
    """Takes config and state; returns the packages that prediction needs beyond the core. Before
    fitting there is no state: it returns all that may be needed."""
    list_files: Callable[[Any], tuple[Path, ...]]
    """Takes the config; returns the files besides the rows that `fit` or the network reads."""


def _build_row_kind(
    module: Any,  # noqa: ANN401 - a module
    state: type,
    check: Callable[[pl.Schema, Layout], None],
) -> InputKind:
    """Return the kind of a module whose functions take the kind's own config, not the layout."""
    return InputKind(
        state=state,
        check=check,
        fit=lambda frames, layout: module.fit(frames, layout.input),
        transform=lambda frame, layout, state: module.transform(frame, layout.input, state),
        build_spec=lambda layout, state: module.build_spec(layout.input, state),
        compute_max_rows=getattr(module, "compute_max_rows", lambda _: _MAX_ROWS),
        list_packages=getattr(module, "list_packages", lambda *_: ()),
        list_files=getattr(module, "list_files", lambda _: ()),
    )


def _check_text_columns(schema: pl.Schema, layout: Layout) -> None:
    """Check that the columns contain texts.

    Raises:
        UnlearnableError: one contains something else.
    """
    for name in layout.input.columns:
        kind, dtype = layout.input.kind, schema[name]
        if not isinstance(dtype, (pl.String, pl.Categorical, pl.Enum, pl.Null)):
            raise UnlearnableError(
                f"inputs: column '{name}' holds {dtype}, and a {kind} is read from texts; "
                "name another column, or another kind"
            )


def _check_bytes_column(schema: pl.Schema, layout: Layout) -> None:
    """Check that the column contains files or lists of numbers.

    Raises:
        UnlearnableError: it contains something else.
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
        check=series.check_series,
        fit=series.fit,
        transform=series.transform,
        build_spec=series.build_spec,
        compute_max_rows=lambda _: _MAX_ROWS,
        list_packages=lambda *_: (),
        list_files=lambda _: (),
    ),
    "text": _build_row_kind(text, text.TextState, _check_text_columns),
    "image": _build_row_kind(image, image.ImageState, _check_bytes_column),
    "audio": _build_row_kind(audio, audio.AudioState, _check_bytes_column),
    "tree": _build_row_kind(tree, tree.TreeState, _check_text_columns),
}
