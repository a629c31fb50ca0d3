"""Whether today's accepted rows have drifted from those that the champion learned from."""

from collections.abc import Sequence
from typing import NamedTuple

from prefect import task

from data_contracts.drift.drift import ORDER, ColumnDrift, Verdict
from tasks.dataset.profile import drift_since
from tasks.dataset.rowset import open_rows
from tasks.records import Accepted
from tasks.registry import versions
from tasks.storage.store import StoreConfig, open_store
from tasks.task_options import STAGE, logger


class Drifted(NamedTuple):
    """What was found."""

    champion: str | None
    """The version that was compared with; None where there is none, or its data is gone."""
    columns: list[ColumnDrift]
    """Those whose shift counts, the largest first."""
    looked_at: int


@task(name="drift", task_run_name="drift of {name}", timeout_seconds=3600, **STAGE)
def measure_drift(
    accepted: Accepted, *, name: str, columns: Sequence[str], least: Verdict, store: StoreConfig
) -> Drifted:
    """Compare accepted rows with the champion's, column by column."""
    opened, champion = open_store(store), versions.find_champion(name)
    if champion is None:
        logger().info("there is no champion to compare with")
        return Drifted(None, [], 0)
    found = drift_since(champion, open_rows(opened, accepted), opened, columns=columns)
    if found is None:
        logger().warning("the store has the champion's rows no more: nothing to compare with")
        return Drifted(None, [], 0)
    rank = {verdict: place for place, verdict in enumerate(ORDER)}
    counted = [each for each in found if rank[each.verdict] >= rank[least]]
    counted.sort(key=lambda each: -rank[each.verdict])
    logger().info("%s of %s columns have drifted", len(counted), len(found))
    return Drifted(champion.version, counted, len(found))
