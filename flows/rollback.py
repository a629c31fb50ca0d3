"""Rollback: let the version serve again that served before, from a form in the Prefect UI."""

from prefect import flow

from flows.environment import settle_run
from flows.job.form import Place, Whole
from flows.notifications.events import tell_move
from flows.results.alias_history import as_data, moved_page
from flows.runtime.run_names import named
from tasks.registry.promotion import rolled_back, store_of
from tasks.storage.store import StoreConfig
from tasks.task_options import show


@flow(name="rollback", flow_run_name=named("rollback"), persist_result=False)
def rollback(
    name: str, version: Whole = None, why: str = "", *, store: Place = None
) -> dict[str, object]:
    """Let an earlier version of a model serve again, after it has proven that it still answers.

    Args:
        name: The registered model, named as its job.
        version: Version that shall serve again; the one that served before when empty.
        why: Reason, for the history.
        store: Folder or URI of the store; that of the newest version's job when empty.
    """
    settle_run()
    config = StoreConfig(uri=store) if store else store_of(name)
    moved = rolled_back(name, str(version) if version else None, why, config)
    show(f"{name}-rollback", moved_page(name, moved))
    tell_move(name, moved)
    return as_data(moved)
