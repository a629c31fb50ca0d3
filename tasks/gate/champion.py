"""The reigning champion, asked now the same questions, and on which rows that is fair."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.bundle import Bundle, load
from models.errors import BundleError, UnlearnableError
from models.evaluation.predictions import Floats, Judged
from models.features.featurizer import Featurizer
from models.features.splitting.training_rows import load_learned
from tasks.dataset.labels import TestRows
from tasks.dataset.rowset import RowSet
from tasks.dataset.training_membership import edges_of, learned_any
from tasks.prediction.test_predictions import answered_by, judged, same_question
from tasks.records import Champion


class Question(NamedTuple):
    """What everybody is asked, and the measure of it."""

    rows: RowSet
    test: TestRows
    featurizer: Featurizer
    scale_R: Floats
    """Of forecasts, what the naive ones err by in each row's past."""


class Reigning(NamedTuple):
    """A champion that was asked."""

    name: str
    fair_F: NDArray[np.int64]
    """Places among the test rows of those that it never learned from."""
    answers: Judged | None
    """To these rows; None where it could not be asked."""
    incomparable: str | None = None
    """Why it could not."""


def ask(champion: Champion, bundle_dir: Path, question: Question) -> Reigning:
    """Let the champion answer now, or say why it cannot be compared."""
    name, nowhere = f"champion {champion.name} v{champion.version}", np.empty(0, np.int64)
    try:
        bundle = load(bundle_dir)
    except BundleError as error:
        return Reigning(name, nowhere, None, f"{name} cannot be loaded: {error}")
    if not same_question(question.featurizer, bundle.featurizer):
        told = f"{name} predicts another target or other classes"
        return Reigning(name, nowhere, None, told)
    try:
        answered = answered_by(bundle, question.rows, question.test)
        answers = judged(answered, question.test, bundle.featurizer, question.scale_R)
        fair_F = np.flatnonzero(never_learned(bundle, bundle_dir, question))
    except (BundleError, UnlearnableError, pl.exceptions.PolarsError) as error:
        return Reigning(name, nowhere, None, f"{name} cannot read today's rows: {error}")
    return Reigning(name, fair_F, answers.pick(fair_F))


def never_learned(bundle: Bundle, bundle_dir: Path, question: Question) -> NDArray[np.bool_]:
    """Tell which test rows a model never learned from, by what it carries about them.

    One that was made before models carried that is asked how its own split was made.

    Raises:
        UnlearnableError: nobody can tell any more.
        BundleError: what it carries is damaged.
    """
    rows, test, learned = question.rows, question.test, load_learned(bundle_dir)
    if learned is not None:
        table = pl.DataFrame({"row": test.rows_R, "answer_row": test.answers_R})
        return ~learned_any(rows, learned, edges_of(table, question.featurizer))
    frame = told_apart_by(rows, bundle.featurizer.split.needed, test)
    return bundle.featurizer.never_learned(frame, test.times)


def told_apart_by(rows: RowSet, columns: list[str], test: TestRows) -> pl.DataFrame:
    """Read of the answers' rows what tells whether a model has learned from them."""
    if not columns:
        return pl.DataFrame(height=len(test.answers_R))
    return rows.scan().select(columns).collect(engine="streaming")[test.answers_R]
