"""The files with pretrained embeddings: part of the key of the features that are made with them."""

from pathlib import Path

from models.errors import UnlearnableError
from models.features.config import Layout
from models.features.kinds import KINDS
from tasks.errors import JobError
from tasks.storage.artifacts import hash_files
from tasks.storage.integrity import hash_file, list_entries


def hash_embeddings(layout: Layout) -> str | None:
    """Return the hash of the files of the input's pretrained embeddings; None where it has none.

    Of a single file it is the SHA-256 of its content.

    Raises:
        JobError: a file is missing or cannot be read.
    """
    try:
        files = KINDS[layout.input.kind].list_files(layout.input)
        if len(files) < 2:
            return hash_file(files[0]) if files else None
        return hash_files(list_entries(files, _find_common_folder(files)))
    except UnlearnableError as error:
        raise JobError.of(f"inputs.{error}") from error
    except OSError as error:
        raise JobError.of(
            f"inputs.pretrained_embeddings: {error.filename} cannot be read: {error.strerror}",
            hint="let the user of this process read it",
        ) from error


def check_embeddings(layout: Layout, *, expected: str | None, title: str) -> None:
    """Check that the pretrained embeddings are those that a version was trained with.

    Args:
        layout: with the input.
        expected: hash of their files then; None where there were none.
        title: of the version, for errors.

    Raises:
        JobError: they are missing, or are others.
    """
    if expected is None:
        return
    name = getattr(layout.input, "pretrained_embeddings", None)
    try:
        found = hash_embeddings(layout)
    except JobError as error:
        raise JobError.of(
            f"{title} cannot be reproduced without its pretrained embeddings '{name}'",
            found=str(error),
            hint=f"restore the files with the hash {expected}, to where the command runs",
        ) from error
    if found != expected:
        raise JobError.of(
            f"{title} cannot be reproduced: its pretrained embeddings '{name}' are other files now",
            found=f"Hash {found}, expected {expected}",
            hint="restore the files that it was trained with",
        )


def _find_common_folder(files: tuple[Path, ...]) -> Path:
    """Return the folder that all files are in."""
    return min((path.parent for path in files), key=lambda folder: len(folder.parts))
