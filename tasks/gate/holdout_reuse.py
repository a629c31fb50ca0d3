"""How often the gate has looked at the same test rows: each look tells a little of the answers.

One small file for each evaluation, at `windows/<hash of the rows>/<key of the report>.json`:
nothing is ever rewritten, two machines can count at once, and the same evaluation, done again
after a kill, counts once.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.storage.store import Store, create_exclusively, refusals_named

FOLDER = "windows"


class Window(NamedTuple):
    """A set of test rows, and its use by the gate so far."""

    hash: str
    """Of the rows' identities, in whatever order they stand."""
    rows: int
    uses: int
    """Evaluations on just these rows, this one among them."""
    bound: int

    @property
    def warning(self) -> str | None:
        """What to tell the owner of the job, where it is used too often."""
        if self.uses <= self.bound:
            return None
        return (
            f"the gate has used these {self.rows} test rows {self.uses} times (gate.max_holdout_reuse: "
            f"{self.bound}), so its intervals promise less than they say; give the test new rows"
        )


def window_hash(ids_R: NDArray[np.uint64]) -> str:
    """Hash the identities of test rows, 32 hexadecimal digits."""
    return hashlib.sha256(np.sort(ids_R).astype("<u8").tobytes()).hexdigest()[:32]


def count_use(store: Store, window: str, report_key: str) -> int:
    """Count this evaluation once, and tell how many there have been on these rows."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    told = json.dumps({"report": report_key, "at": now}).encode()
    folder = f"{FOLDER}/{window}"
    with refusals_named(store):
        create_exclusively(store, f"{folder}/{report_key}.json", told)
    store.fs.invalidate_cache()
    names = store.fs.ls(f"{store.root}/{folder}", detail=False)
    return sum(str(name).endswith(".json") for name in names)
