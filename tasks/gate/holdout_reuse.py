"""How often the gate has used the same test rows: each use reveals a little of their targets.

One small file for each evaluation, at `holdouts/<hash of the rows>/<key of the report>.json`:
nothing is ever rewritten, two machines can count at once, and an evaluation that is repeated after
an interruption counts once.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.storage.store import Store, create_exclusively, translate_os_errors

_FOLDER = "holdouts"


class HoldoutReuse(NamedTuple):
    """A set of test rows, and how often the gate has used it."""

    hash: str
    """Of the rows' identities, in any order."""
    rows: int
    uses: int
    """Evaluations on exactly these rows, this one included."""
    limit: int
    """Uses after which to warn."""

    @property
    def warning(self) -> str | None:
        """Warning for the owner of the job; None within the limit."""
        if self.uses <= self.limit:
            return None
        return (
            f"the gate has used these {self.rows} test rows {self.uses} times "
            f"(gate.max_holdout_reuse: {self.limit}), so its intervals are too narrow by now; "
            "test on new rows"
        )


def hash_test_rows(ids_R: NDArray[np.uint64]) -> str:
    """Hash the identities [R] of test rows, in any order, to 32 hexadecimal digits."""
    return hashlib.sha256(np.sort(ids_R).astype("<u8").tobytes()).hexdigest()[:32]


def record_use(store: Store, rows_hash: str, report_key: str) -> int:
    """Record this evaluation once, and count all that used these rows."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = json.dumps({"report": report_key, "at": now}).encode()
    folder = f"{_FOLDER}/{rows_hash}"
    with translate_os_errors(store):
        create_exclusively(store, f"{folder}/{report_key}.json", content)
    store.fs.invalidate_cache()
    names = store.fs.ls(f"{store.root}/{folder}", detail=False)
    return sum(str(name).endswith(".json") for name in names)
