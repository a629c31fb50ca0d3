"""What a person decides about a model's versions: promote, approve, reject, roll back.

Every version is verified before it becomes the champion (`verification.py`).
"""

import json
from typing import TYPE_CHECKING, NamedTuple

from prefect import task

from tasks.errors import RegistryError
from tasks.registry import versions
from tasks.registry.alias_log import Action, AliasChange, has_served, is_rejected, replay_aliases
from tasks.registry.aliases import AliasMove, ReconciledLog, move_aliases, reconcile_log
from tasks.registry.verification import verify_version
from tasks.storage.artifacts import read_manifest
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger
from tasks.tracking.mlflow_client import TAG

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


class MoveResult(NamedTuple):
    """The result of a request."""

    change: AliasChange
    resumed: bool
    """Whether a process that was killed had begun it, and it was completed now."""


def promote(store: Store, name: str, version: str | None, reason: str) -> MoveResult:
    """Make a version the champion, whatever the gate decided; the challenger where none is named.

    Raises:
        RegistryError: there is no such version, it is the champion already, or it is damaged.
    """
    log = _open_log(store, name, version)
    if completed := _find_completed(log, "promote", version):
        return completed
    number = version or _find_challenger(name, log)
    _check_not_serving(name, number, log)
    return _verify_and_move(
        store,
        AliasMove(name, number, "promote", reason, expected_aliases=replay_aliases(log.entries)),
    )


def approve(store: Store, name: str, version: str | None, reason: str) -> MoveResult:
    """Make a version the champion that waits for approval; the challenger where none is named.

    Raises:
        RegistryError: there is no such version, it does not wait for approval, it was compared
            with a champion that has been replaced since, or it is damaged.
    """
    log = _open_log(store, name, version)
    if completed := _find_completed(log, "approve", version):
        return completed
    number = version or _find_challenger(name, log)
    _check_not_serving(name, number, log)
    challenger = _find_awaiting_approval(name, number)
    check_champion_unchanged(
        store,
        name,
        report_key=challenger.tags.get(f"{TAG}report_key", ""),
        model_key=challenger.tags.get(f"{TAG}model_key", ""),
    )
    return _verify_and_move(
        store,
        AliasMove(name, number, "approve", reason, expected_aliases=replay_aliases(log.entries)),
    )


def reject(store: Store, name: str, version: str | None, reason: str) -> MoveResult:
    """Reject a version that waits for approval; it is no longer the challenger.

    Raises:
        RegistryError: there is no such version, it is the champion, it was rejected before, or it
            does not wait for approval.
    """
    log = _open_log(store, name, version)
    if completed := _find_completed(log, "reject", version):
        return completed
    number = version or _find_challenger(name, log)
    _check_not_serving(name, number, log)
    _find_awaiting_approval(name, number)
    if is_rejected(log.entries, number):
        raise RegistryError.of(
            f"{name} version {number} was rejected before", hint=f"see: ostinato history {name}"
        )
    return _move(
        store,
        AliasMove(name, number, "reject", reason, expected_aliases=replay_aliases(log.entries)),
    )


def roll_back(store: Store, name: str, version: str | None, reason: str) -> MoveResult:
    """Make the previous champion, or an earlier one that is named, the champion again.

    Raises:
        RegistryError: there is no such version, it was never the champion, or it is damaged.
    """
    log = _open_log(store, name, version)
    if completed := _find_completed(log, "rollback", version):
        return completed
    state = replay_aliases(log.entries)
    number = version or state.get("previous")
    if number is None:
        serving = state.get("champion")
        raise RegistryError.of(
            f"there is nothing to roll '{name}' back to: "
            + (f"none served before version {serving}" if serving else "no version serves"),
            hint=f"name a version that served (ostinato history {name}), or promote one",
        )
    _check_not_serving(name, number, log)
    if number != state.get("previous") and not has_served(log.entries, number):
        raise RegistryError.of(
            f"{name} version {number} has never served, so nothing can be rolled back to it",
            hint=f"see: ostinato history {name}; or: ostinato promote {name} {number}",
        )
    return _verify_and_move(
        store, AliasMove(name, number, "rollback", reason, expected_aliases=state)
    )


def _open_log(store: Store, name: str, version: str | None) -> ReconciledLog:
    """Check that model and version exist, and return the reconciled log.

    Raises:
        RegistryError: there is no such model or version.
    """
    check_version_exists(name, version)
    return reconcile_log(store, name)


def check_version_exists(name: str, version: str | None) -> None:
    """Check that a model has a version of this number; None checks the model alone.

    Raises:
        RegistryError: there is no such model or version; names those that exist.
    """
    numbers = sorted((int(each.version) for each in versions.list_versions(name)), reverse=True)
    if not numbers:
        raise build_unknown_model_error(name)
    if version is not None and version not in map(str, numbers):
        shown = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
        raise RegistryError.of(
            f"{name} has no version {version}", found=f"It has: {shown}", hint="name one of these"
        )


def find_store_config(name: str) -> StoreConfig:
    """Return the store of the job that the newest version of a model was made with.

    Raises:
        RegistryError: there is no such model, or MLflow cannot be reached.
    """
    found = versions.list_versions(name)
    if not found:
        raise build_unknown_model_error(name)
    jobs = {int(each.version): each.tags.get(f"{TAG}job") for each in found}
    texts = [job for _, job in sorted(jobs.items()) if job]
    return StoreConfig(**json.loads(texts[-1]).get("store", {})) if texts else StoreConfig()


def build_unknown_model_error(name: str) -> RegistryError:
    """Build the error for a model that is not registered."""
    names = ", ".join(sorted(versions.list_models())[:10])
    return RegistryError.of(
        f"there is no model '{name}' in MLflow",
        found=f"Registered models: {names or 'none'}",
        hint="name one of these; a model has the name of its job",
    )


def _find_challenger(name: str, log: ReconciledLog) -> str:
    """Return the challenger's number.

    Raises:
        RegistryError: there is no challenger.
    """
    number = replay_aliases(log.entries).get("challenger")
    if number is None:
        raise RegistryError.of(f"'{name}' has no challenger", hint="name a version")
    return number


def _find_completed(log: ReconciledLog, action: Action, version: str | None) -> MoveResult | None:
    """Return the result of this request if a killed process had begun it and it is complete now."""
    change = log.completed
    if change and change.action == action and version in {None, change.version}:
        return MoveResult(change, resumed=True)
    return None


def _check_not_serving(name: str, number: str, log: ReconciledLog) -> None:
    """Check that a version is not the champion.

    Raises:
        RegistryError: it is.
    """
    if replay_aliases(log.entries).get("champion") == number:
        raise RegistryError.of(
            f"{name} version {number} serves already",
            found="No alias was moved.",
            hint=f"see: ostinato history {name}",
        )


def _find_awaiting_approval(name: str, number: str) -> "ModelVersion":
    """Return a version that waits for approval.

    Raises:
        RegistryError: it does not.
    """
    found = versions.get_version(name, number)
    decision = found.tags.get(f"{TAG}decision", "unknown")
    if decision != "needs-approval":
        raise RegistryError.of(
            f"{name} version {number} does not wait for approval: the gate's decision is "
            f"'{decision}'",
            found=found.tags.get(f"{TAG}reason"),
            hint=f"to make it the champion without one: ostinato promote {name} {number}",
        )
    return found


def check_champion_unchanged(store: Store, name: str, *, report_key: str, model_key: str) -> None:
    """Check that the champion is still the one that the challenger was compared with.

    Args:
        store: where the reports are.
        name: registered model.
        report_key: of the challenger's report.
        model_key: of the challenger, which may be the champion already.

    Raises:
        RegistryError: another run or person moved the alias in between.
    """
    manifest = read_manifest(store, "evaluate", report_key) if report_key else None
    compared = manifest.recipe.inputs["champion"] if manifest else "none"
    champion = versions.find_champion(name)
    serving = champion.model_key if champion else "none"
    if serving not in {compared, model_key}:
        raise RegistryError.of(
            f"the champion of '{name}' changed since its challenger was evaluated",
            hint="run again: the challenger is then compared with the new champion; "
            "`ostinato promote` compares with none",
        )


def _verify_and_move(store: Store, request: AliasMove) -> MoveResult:
    """Verify the version, then move the aliases."""
    verify_version(request.name, request.version)
    return _move(store, request)


def _move(store: Store, request: AliasMove) -> MoveResult:
    """Move the aliases.

    Raises:
        RegistryError: somebody else has moved them since the request, or no alias has to move.
    """
    change = move_aliases(store, request)
    if change is None:
        raise RegistryError.of(
            f"the aliases of '{request.name}' are already as requested",
            hint=f"see: ostinato history {request.name}",
        )
    return MoveResult(change, resumed=False)


@task(name="roll back", task_run_name="roll back {name}", timeout_seconds=HOUR, **STAGE)
def roll_back_task(name: str, version: str | None, reason: str, store: StoreConfig) -> MoveResult:
    """Make an earlier version the champion again."""
    moved = roll_back(open_store(store), name, version, reason)
    logger().info("%s: %s serves", name, moved.change.version)
    return moved
