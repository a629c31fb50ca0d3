"""Everything that can go wrong, in one tree; each leaf says who can fix it.

    OstinatoError           exit
      JobError               2    the job file: its owner edits it
      SourceError            3    the source: missing, empty, damaged or not what it was said to be
        SourceDownError      3    the source's server could not be reached, or went away (transient)
      ContractError          4    the data breaks its contract
        ValidatorError       4    the check itself broke: says nothing about the data (transient)
      DataError              5    the data keeps its contract, but no model can be learned from it
      TrainingError          6    training failed: a loss that is not finite
      StoreError             7    the store: full, forbidden or damaged
        DamagedArtifactError 7    an artifact is not what was written
        MissingArtifactError 7    an artifact is not in the store
        LeaseHeldError       7    another process is training the same model (transient)
      RegistryError          8    MLflow refused
        DamagedVersionError  8    a version's files are not those that were registered
        RegistryDownError    8    MLflow could not be reached (transient)
      PagesError             9    a server of `ostinato ui` did not start
      PrefectDownError      11    the Prefect server could not be reached (transient)

A message has four parts: what was refused, where, what was found against what was expected, and
a hint how to fix it. Transient errors may not occur again and are retried; the others fail at once.
"""

import errno
from typing import Self

from models.errors import SetupError, UnlearnableError


class OstinatoError(Exception):
    """The root: an error whose message is meant for the user."""

    exit_code = 1
    transient = False

    @classmethod
    def of(cls, what: str, *, found: str | None = None, hint: str | None = None) -> Self:
        """Build the message.

        Args:
            what: what was refused, and where.
            found: what was found against what was expected.
            hint: how to fix it.
        """
        lines = [what]
        if found:
            lines.append(found)
        if hint:
            lines.append(f"Hint: {hint}")
        return cls("\n".join(lines))


class JobError(OstinatoError):
    """The job file is not valid."""

    exit_code = 2


class SourceError(OstinatoError):
    """The source cannot be read."""

    exit_code = 3


class SourceDownError(SourceError):
    """The source's server could not be reached, or went away in the middle of a read."""

    transient = True


class ContractError(OstinatoError):
    """The data breaks its contract."""

    exit_code = 4


class ValidatorError(ContractError):
    """An expectation could not be computed: this says nothing about the data."""

    transient = True


class DataError(OstinatoError):
    """No model can be learned from the data."""

    exit_code = 5


def translate_unlearnable(error: UnlearnableError) -> JobError | DataError:
    """Translate an error of the models: a missing package or file is the job's, not the data's."""
    return JobError(str(error)) if isinstance(error, SetupError) else DataError(str(error))


class TrainingError(OstinatoError):
    """Training failed."""

    exit_code = 6


class StoreError(OstinatoError):
    """The store cannot be read or written."""

    exit_code = 7

    @classmethod
    def from_os(cls, error: OSError, *, where: str) -> Self:
        """Translate an error of the operating system that hit the store at `where`."""
        hints = {
            errno.ENOSPC: "free some space (`ostinato prune` shows what can go), then run again",
            errno.EDQUOT: "free some space (`ostinato prune` shows what can go), then run again",
            errno.EACCES: "give this user the right to write there, or set store.uri",
            errno.EROFS: "set store.uri to a folder that can be written",
            errno.EFBIG: "raise the limit of file sizes (`ulimit -f`), then run again",
        }
        hint = hints.get(error.errno or 0, "see the cause above, then run again")
        return cls.of(
            f"the store cannot write to {where}: {error.strerror or error}",
            found="Nothing was published; what was finished before stays.",
            hint=hint,
        )


class DamagedArtifactError(StoreError):
    """An artifact is not what was written; it can be withdrawn, and made again."""

    stage: str
    """The stage that made it."""
    key: str


class MissingArtifactError(StoreError):
    """An artifact is not in the store."""


class LeaseHeldError(StoreError):
    """Another process holds the lease on this model's checkpoints."""

    transient = True


class RegistryError(OstinatoError):
    """MLflow refused a request."""

    exit_code = 8


class DamagedVersionError(RegistryError):
    """A version's files are not those that were registered."""


class RegistryDownError(RegistryError):
    """MLflow could not be reached."""

    transient = True


class PagesError(OstinatoError):
    """A server of `ostinato ui` did not start."""

    exit_code = 9


class PrefectDownError(OstinatoError):
    """The Prefect server could not be reached."""

    exit_code = 11
    transient = True


def is_transient(error: BaseException) -> bool:
    """Return whether the same call may succeed later without any change."""
    if isinstance(error, OstinatoError):
        return error.transient
    return isinstance(error, (ConnectionError, TimeoutError))
