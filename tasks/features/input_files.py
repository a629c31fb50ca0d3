"""Files and packages that an input is read with: part of the key of the features.

The files are those with pretrained embeddings and, for the networks that are trained on the
features, the weights of a backbone.
"""

from collections.abc import Sequence
from pathlib import Path

from models.errors import UnlearnableError
from models.features.config import Layout, TargetConfig
from models.features.kinds import KINDS
from tasks.environment import find_installed_version
from tasks.errors import JobError
from tasks.facts import FileEntry
from tasks.storage.artifacts import hash_files
from tasks.storage.file_hashes import hash_changed_files

_DECODERS = {"image": ("pillow",)}
"""Packages of the core that read cells, by kind of input."""


def hash_input_files(layout: Layout) -> str | None:
    """Return the hash of the files that the input is read with; None where it has none.

    Of a single file it is the SHA-256 of its content.

    Raises:
        JobError: a file is missing or cannot be read.
    """
    try:
        files = KINDS[layout.input.kind].list_files(layout.input)
        if not files:
            return None
        hashes = hash_changed_files(files, group=str(files[0].absolute()))
    except UnlearnableError as error:
        raise JobError.of(f"inputs.{error}") from error
    except OSError as error:
        raise JobError.of(
            f"inputs.{_find_setting(layout)[0]}: {error.filename} cannot be read: {error.strerror}",
            hint="correct the path, which is taken from where the command runs, or let the user "
            "of this process read it",
        ) from error
    if len(files) == 1:
        return hashes[files[0]]
    root = _find_common_folder(files)
    return hash_files(
        {
            path.relative_to(root).as_posix(): FileEntry(bytes=0, sha256=hashes[path])
            for path in files
        }
    )


def list_reading_packages(layout: Layout, target: TargetConfig) -> dict[str, str]:
    """Return the versions of the installed packages by which cells are decoded or split."""
    kind = layout.input.kind
    names = {*KINDS[kind].list_packages(layout.input, None), *_DECODERS.get(kind, ())}
    if target.tokenizer == "bpe":
        names.add("tokenizers")
    versions = {name: find_installed_version(name) for name in sorted(names)}
    return {name: version for name, version in versions.items() if version}


def check_input_files(layout: Layout, *, expected: str | None, title: str) -> None:
    """Check that the files of the input are those that a version was trained with.

    Args:
        layout: with the input.
        expected: hash of its files then; None where there were none.
        title: of the version, for errors.

    Raises:
        JobError: they are missing, or are others.
    """
    if expected is None:
        return
    setting, name = _find_setting(layout)
    what = setting.replace("_", " ")
    try:
        found = hash_input_files(layout)
    except JobError as error:
        raise JobError.of(
            f"{title} cannot be reproduced without its {what} '{name}'",
            found=str(error),
            hint=f"restore the files with the hash {expected}, to where the command runs",
        ) from error
    if found != expected:
        raise JobError.of(
            f"{title} cannot be reproduced: its {what} '{name}' are other files now",
            found=f"Hash {found}, expected {expected}",
            hint="restore the files that it was trained with",
        )


def _find_setting(layout: Layout) -> tuple[str, str | None]:
    """Return the key that names the input's files in the job, and its value."""
    for setting in ("pretrained_embeddings", "pretrained_weights"):
        if value := getattr(layout.input, setting, None):
            return setting, value
    return "pretrained_embeddings", None


def _find_common_folder(files: Sequence[Path]) -> Path:
    """Return the folder that all files are in."""
    return min((path.parent for path in files), key=lambda folder: len(folder.parts))
