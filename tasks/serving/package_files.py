"""The files of a model package: listed with their hashes when it is saved, checked when it is read.

`files.json` in the package lists every other file with its size and SHA-256; a tag of the version
holds the SHA-256 of the list. A package with one file more, fewer or other than the list is
refused, compiled code included: Python runs what it finds in a `__pycache__` in place of the
source. So that nothing has to be added where MLflow loads a package in place, the compiled code is
part of it; it names the hash of its source (PEP 552), not its time.
"""

import compileall
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from py_compile import PycInvalidationMode

from tasks.facts import FileEntry
from tasks.storage.integrity import find_damaged_file, hash_file, list_files

LISTING = "files.json"

_DOWNLOAD_RECORD = "registered_model_meta"
"""Name and number of the version, which MLflow adds to each copy of a version's files."""


def seal_package(folder: Path) -> str:
    """Compile a package's code, list its files, and return the SHA-256 of the list.

    Raises:
        SyntaxError: a file of code cannot be compiled.
    """
    for compiled in list(folder.rglob("__pycache__")):
        shutil.rmtree(compiled)
    # Whatever the time, the same source gives the same compiled code.
    done = compileall.compile_dir(
        folder,
        quiet=2,
        force=True,
        optimize=0,
        stripdir=str(folder),
        invalidation_mode=PycInvalidationMode.CHECKED_HASH,
    )
    if not done:
        raise SyntaxError(f"the code in {folder} cannot be compiled")
    (folder / LISTING).unlink(missing_ok=True)
    listing = {name: asdict(entry) for name, entry in list_files(folder).items()}
    text = json.dumps(listing, indent=1, sort_keys=True)
    (folder / LISTING).write_text(text, encoding="utf-8")
    return hash_file(folder / LISTING)


def find_package_damage(folder: Path, listing_hash: str) -> str | None:
    """Compare a package's files with its list, and the list with its hash.

    Args:
        folder: of the package.
        listing_hash: SHA-256 of its list, from the version's tag.

    Returns:
        What is wrong, with the name of the file; None where every file is as it was saved.
    """
    listing = folder / LISTING
    if not listing.is_file():
        return f"the list of its files, {LISTING}, is missing"
    if hash_file(listing) != listing_hash:
        return f"the list of its files, {LISTING}, was changed"
    content = json.loads(listing.read_text(encoding="utf-8"))
    files = {name: FileEntry(**entry) for name, entry in content.items()}
    found = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    if unlisted := sorted(found - set(files) - {LISTING, _DOWNLOAD_RECORD}):
        return f"{unlisted[0]} was added to its files ({len(unlisted)} in all)"
    damage = find_damaged_file(folder, files)
    return damage.replace(f"{folder}/", "") if damage else None
