"""Detect data drift between today's accepted rows and the champion's training rows."""

from collections.abc import Sequence
from typing import NamedTuple

from prefect import task

from data_contracts.drift.drift import SEVERITIES, ColumnDrift, DriftSeverity
from tasks.dataset.profile import compare_with_champion
from tasks.dataset.rowset import open_rows
from tasks.records import Accepted
from tasks.registry import versions
from tasks.storage.store import StoreConfig, open_store
from tasks.task_options import STAGE, logger


class DriftResult(NamedTuple):
    """Columns that have drifted since the champion's training."""

    champion: str | None
    """Version of the champion; None if there is none, or the store no longer has its rows."""
    drifted_columns: list[ColumnDrift]
    """Columns of at least the wanted severity, the most severe first."""
    columns_checked: int


@task(name="drift", task_run_name="drift of {name}", timeout_seconds=3600, **STAGE)
def detect_drift(
    accepted: Accepted,
    *,
    name: str,
    columns: Sequence[str],
    min_severity: DriftSeverity,
    store: StoreConfig,
) -> DriftResult:
    """Compare accepted rows with the champion's, column by column.

    Args:
        accepted: rows of today.
        name: registered model.
        columns: columns that are compared.
        min_severity: least severity that is reported.
        store: where the rows of both are.
    """
    opened, champion = open_store(store), versions.find_champion(name)
    if champion is None:
        logger().info("there is no champion to compare with")
        return DriftResult(None, [], 0)
    found = compare_with_champion(champion, open_rows(opened, accepted), opened, columns=columns)
    if found is None:
        logger().warning("the store no longer has the champion's rows: nothing to compare with")
        return DriftResult(None, [], 0)
    rank = {severity: index for index, severity in enumerate(SEVERITIES)}
    drifted = [each for each in found if rank[each.severity] >= rank[min_severity]]
    drifted.sort(key=lambda each: -rank[each.severity])
    logger().info("%s of %s columns have drifted", len(drifted), len(found))
    return DriftResult(champion.version, drifted, len(found))
