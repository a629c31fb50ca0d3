"""Rollback: make an earlier version champion again, from a form in the Prefect UI."""

from prefect import flow

from flows.environment import configure_run
from flows.job.form import PositiveInteger, Uri
from flows.notifications.events import emit_alias_move
from flows.results.alias_history import format_move_page, to_json_dict
from flows.runtime.run_names import build_run_name
from tasks.registry.promotion import find_store_config, roll_back_task
from tasks.storage.store import StoreConfig
from tasks.task_options import publish_page


@flow(name="rollback", flow_run_name=build_run_name("rollback"), persist_result=False)
def rollback(
    name: str, version: PositiveInteger = None, why: str = "", *, store: Uri = None
) -> dict[str, object]:
    """Make an earlier version of a model champion again, after verifying that it still predicts.

    Args:
        name: The registered model, which has the name of its job.
        version: Version to make champion; the previous champion when empty.
        why: Reason, for the history.
        store: Folder or URI of the store; that of the newest version's job when empty.
    """
    configure_run()
    config = StoreConfig(uri=store) if store else find_store_config(name)
    moved = roll_back_task(name, str(version) if version else None, why, config)
    publish_page(f"{name}-rollback", format_move_page(name, moved))
    emit_alias_move(name, moved)
    return to_json_dict(moved)
