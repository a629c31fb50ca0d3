"""Ask a served model for the answers to raw rows, frame by frame, and lay them out.

What is held does not grow with the rows. A row that cannot be answered stays, with its reason.
Shapes: R rows of a frame.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.config import MINED
from models.features.featurizer import Featurizer, load_featurizer
from models.features.splitting.training_rows import Learned, load_learned, were_learned
from tasks.dataset.rowset import RowSet
from tasks.dataset.series_positions import ROW, Places
from tasks.errors import SourceError
from tasks.serving.model_package import Ask, open_served

OK = "ok"

TRUTH, LEARNED, VERSION_COLUMN = "truth", "learned", "version"
"""Columns beside what is kept of a row and what the model says of it."""

FORECASTS = ("step", "at")
"""Columns of forecasts beside these."""

MOST_NUMBERS = 4_000_000
"""Numbers of all answers to one question."""

Delayed = Callable[[], pl.DataFrame]
"""Answers that are given when they are asked for, so that some can be skipped."""


Wanted = Callable[[pl.DataFrame], NDArray[np.bool_]]


class Scorer(NamedTuple):
    """A version that is asked."""

    ask: Ask
    featurizer: Featurizer
    schema: Mapping[str, pl.DataType]
    """Of its answers."""
    learned: Learned | None
    """What it learned from; None where that is not known."""
    version: str


def open_scorer(folder: Path, version: str) -> Scorer:
    """Open a version's files as MLflow does, and what they tell of it."""
    bundle = folder / "artifacts" / "bundle"
    schema = pl.read_parquet_schema(folder / "golden_answers.parquet")
    learned = load_learned(bundle)
    return Scorer(open_served(folder), load_featurizer(bundle), schema, learned, version)


class Question(NamedTuple):
    """What is asked of which rows."""

    scorer: Scorer
    rows: RowSet
    keep: tuple[str, ...] = ()
    """Columns that go with each answer."""
    wanted: Wanted | None = None
    """Tells of a frame which rows' answers are asked for; all where left out."""
    also: tuple[str, ...] = ()
    """Columns that this is told by."""

    def name_of(self, kept: str) -> str:
        """Name a column that goes with the answers so that it hides none of theirs."""
        taken = {*self.scorer.schema, ROW, TRUTH, LEARNED, VERSION_COLUMN, *FORECASTS}
        return f"source_{kept}" if kept in taken else kept

    @property
    def truth(self) -> str | None:
        """The column with the right answers, where the rows have it."""
        target = self.scorer.featurizer.target
        known = target.kind not in MINED and target.column in self.rows.schema
        return target.column if known else None

    @property
    def marks(self) -> list[str]:
        """Columns that tell whether the version has learned from a row; none where they lack."""
        learned = self.scorer.learned
        names = learned.marks.needed if learned else []
        return names if all(name in self.rows.schema for name in names) else []

    @property
    def columns(self) -> list[str]:
        """All that is read."""
        truth = [self.truth] if self.truth else []
        names = [*self.scorer.featurizer.layout.raw_columns, *self.keep, *truth, *self.marks]
        return list(dict.fromkeys([*names, *self.also]))

    @property
    def at_once(self) -> int:
        """How many rows are asked at once, so that they and their answers fit in memory."""
        featurizer = self.scorer.featurizer
        window = featurizer.layout.window
        width = max(len(featurizer.target.classes), window.horizon if window else 1, 1)
        return max(1, min(featurizer.rows_at_once, MOST_NUMBERS // width))


def refuse_unlike(question: Question) -> None:
    """Refuse rows that lack a column that the model reads.

    Raises:
        SourceError: names it.
    """
    needed = question.scorer.featurizer.layout.raw_columns
    if missing := [name for name in needed if name not in question.rows.schema]:
        raise SourceError.of(
            f"version {question.scorer.version} reads columns that the rows do not have: "
            f"{', '.join(missing)}",
            found=f"Columns: {', '.join(question.rows.schema.names())}",
            mend="name a source that has them, or rename its columns",
        )


def row_answers(question: Question) -> Iterator[Delayed]:
    """Answer rows that are sequences of their own, in their order."""
    start = 0
    for frame in question.rows.frames(question.columns):
        for piece in frame.iter_slices(question.at_once):
            rows = np.arange(start, start + len(piece))
            start += len(piece)
            if question.wanted:
                marked = question.wanted(piece)
                piece, rows = piece.filter(marked), rows[marked]  # noqa: PLW2901 - fewer of them
            if len(piece):
                yield delayed(question, piece, rows)


def delayed(question: Question, frame: pl.DataFrame, rows: Places) -> Delayed:
    """Answer these rows when asked."""

    def answer() -> pl.DataFrame:
        truth = frame[question.truth] if question.truth else None
        learned = learned_of(question, frame)
        said = asked(question, frame)
        return laid_out(question, frame, rows, said, truth=truth, learned=learned)

    return answer


def asked(question: Question, frame: pl.DataFrame) -> pl.DataFrame:
    """Ask the model, and bring what it says to the types that it always has.

    Raises:
        SourceError: a column is of a type that it cannot read.
    """
    scorer = question.scorer
    try:
        said = scorer.ask(frame.select(scorer.featurizer.layout.raw_columns))
    except UnlearnableError as error:
        raise SourceError.of(
            f"version {scorer.version} cannot read these rows: {error}",
            mend="bring the source's columns to the types that they had in training",
        ) from error
    return said.select(pl.col(name).cast(dtype) for name, dtype in scorer.schema.items())


def learned_of(question: Question, frame: pl.DataFrame) -> pl.Series:
    """Tell of each row whether the version learned from it; null where nobody can tell."""
    scorer = question.scorer
    if scorer.learned is None or not question.marks:
        return pl.Series([None] * len(frame), dtype=pl.Boolean)
    try:
        return pl.Series(were_learned(frame, scorer.learned))
    except UnlearnableError:
        # Written in another type than it was: the same value has another identity.
        return pl.Series([None] * len(frame), dtype=pl.Boolean)


def laid_out(
    question: Question,
    frame: pl.DataFrame,
    rows_R: Places,
    answers: pl.DataFrame,
    *,
    truth: pl.Series | None,
    learned: pl.Series,
) -> pl.DataFrame:
    """Put a row's number, what is kept of it, the answer and the truth side by side.

    Args:
        question: that was asked.
        frame: the rows.
        rows_R: their numbers.
        answers: to them.
        truth: what would have been right, where that is known.
        learned: whether the version learned from it.
    """
    columns = [
        pl.Series(ROW, rows_R, dtype=pl.Int64),
        *(frame[name].rename(question.name_of(name)) for name in question.keep),
        *answers.get_columns(),
    ]
    if truth is not None:
        columns.append(truth.rename(TRUTH))
    columns.append(learned.rename(LEARNED))
    version = pl.lit(question.scorer.version).alias(VERSION_COLUMN)
    return pl.DataFrame(columns).with_columns(version)
