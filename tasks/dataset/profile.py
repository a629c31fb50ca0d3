"""Data drift: how rows differ from those that the champion was trained on.

The reference is a profile of the champion's rows, an artifact that is built once; new rows are
counted into its bins in one pass.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from data_contracts.drift.drift import ColumnDrift, DriftConfig, compare_profiles
from data_contracts.drift.profile import Profile, measure_rows, profile_rows
from tasks.dataset.rowset import RowSet, open_rows
from tasks.errors import MissingArtifactError
from tasks.facts import AcceptedFacts, DriftedColumn, ProfileFacts
from tasks.records import Accepted, Artifact, Champion
from tasks.storage.artifacts import Recipe, find_by_key, local_dir, produce
from tasks.storage.store import Store
from tasks.task_options import logger

_VERSION = 1


def compare_with_champion(
    champion: Champion, rows: RowSet, store: Store, *, columns: Sequence[str]
) -> list[ColumnDrift] | None:
    """Compare rows with the champion's, column by column.

    Returns:
        A result for each column; None where the store no longer has the champion's rows.
    """
    found = find_by_key(store, "validate", champion.accepted_key, AcceptedFacts)
    if found is None:
        return None
    try:
        profile = _build_profile(found, store, columns)
    except MissingArtifactError as error:
        logger().warning("not compared with the rows of version %s: %s", champion.version, error)
        return None
    folder = local_dir(store, profile)
    reference = Profile.from_json((folder / "profile.json").read_text(encoding="utf-8"))
    return compare_profiles(reference, measure_rows(rows.scan(), reference), DriftConfig())


def write_drift(folder: Path, found: Sequence[ColumnDrift]) -> list[DriftedColumn]:
    """Write all results to `drift.json`, and return the columns that have drifted."""
    text = json.dumps([asdict(each) for each in found], indent=2, ensure_ascii=False)
    (folder / "drift.json").write_text(text, encoding="utf-8")
    drifted = [each for each in found if each.severity != "none"]
    return [
        DriftedColumn(column=each.column, severity=each.severity, reason=each.reason)
        for each in drifted
    ]


def _build_profile(
    accepted: Accepted, store: Store, columns: Sequence[str]
) -> Artifact[ProfileFacts]:
    """Build the profile of these columns of accepted rows, or find it in the store."""
    recipe = Recipe(
        stage="profile",
        version=_VERSION,
        config={"columns": sorted(columns)},
        inputs={"rows": accepted.facts.rows_key, "accepted": accepted.key},
    )

    def build(folder: Path) -> ProfileFacts:
        rows = open_rows(store, accepted)
        known = [column for column in sorted(columns) if column in rows.schema]
        profile = profile_rows(rows.scan(), known)
        (folder / "profile.json").write_text(profile.to_json(), encoding="utf-8")
        return ProfileFacts(columns=known)

    return produce(store, recipe, build, ProfileFacts)
