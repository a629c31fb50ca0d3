"""What a person asks of a model's aliases: promote, approve, reject, roll back.

Nothing serves unproven (tasks.registry.verification).
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
    """What came of a request."""

    change: AliasChange
    resumed: bool
    """Whether it was begun before, by a program that was killed, and is finished now."""


def promote(store: Store, name: str, version: str | None, why: str) -> MoveResult:
    """Let a version serve, whatever the gate said; the challenger when none is named.

    Raises:
        RegistryError: there is no such version, it serves already, or it is damaged.
    """
    found = _open_log(store, name, version)
    if done := _find_completed(found, "promote", version):
        return done
    number = version or _find_challenger(name, found)
    _check_not_serving(name, number, found)
    return _verify_and_move(
        store,
        AliasMove(name, number, "promote", why, expected_aliases=replay_aliases(found.entries)),
    )


def approve(store: Store, name: str, version: str | None, why: str) -> MoveResult:
    """Let a version serve that the gate left to a person; the challenger when none is named.

    Raises:
        RegistryError: there is no such version, the gate did not ask for approval, the champion
            that it was compared with serves no more, or it is damaged.
    """
    found = _open_log(store, name, version)
    if done := _find_completed(found, "approve", version):
        return done
    number = version or _find_challenger(name, found)
    _check_not_serving(name, number, found)
    asking = _find_awaiting_approval(name, number)
    check_champion_unchanged(
        store,
        name,
        report_key=asking.tags.get(f"{TAG}report_key", ""),
        model_key=asking.tags.get(f"{TAG}model_key", ""),
    )
    return _verify_and_move(
        store,
        AliasMove(name, number, "approve", why, expected_aliases=replay_aliases(found.entries)),
    )


def reject(store: Store, name: str, version: str | None, why: str) -> MoveResult:
    """Reject a version that the gate left to a person; it stops being the challenger.

    Raises:
        RegistryError: there is no such version, it serves, it was rejected before, or the gate
            did not ask for approval.
    """
    found = _open_log(store, name, version)
    if done := _find_completed(found, "reject", version):
        return done
    number = version or _find_challenger(name, found)
    _check_not_serving(name, number, found)
    _find_awaiting_approval(name, number)
    if is_rejected(found.entries, number):
        raise RegistryError.of(
            f"{name} version {number} was rejected before", hint=f"see: ostinato history {name}"
        )
    return _move(
        store,
        AliasMove(name, number, "reject", why, expected_aliases=replay_aliases(found.entries)),
    )


def roll_back(store: Store, name: str, version: str | None, why: str) -> MoveResult:
    """Let the version serve again that served before, or an earlier one that is named.

    Raises:
        RegistryError: there is none, it never served, or it is damaged.
    """
    found = _open_log(store, name, version)
    if done := _find_completed(found, "rollback", version):
        return done
    state = replay_aliases(found.entries)
    number = version or state.get("previous")
    if number is None:
        serving = state.get("champion")
        raise RegistryError.of(
            f"there is nothing to roll '{name}' back to: "
            + (f"none served before version {serving}" if serving else "no version serves"),
            hint=f"name a version that served (ostinato history {name}), or promote one",
        )
    _check_not_serving(name, number, found)
    if number != state.get("previous") and not has_served(found.entries, number):
        raise RegistryError.of(
            f"{name} version {number} has never served, so nothing can be rolled back to it",
            hint=f"see: ostinato history {name}; or: ostinato promote {name} {number}",
        )
    return _verify_and_move(store, AliasMove(name, number, "rollback", why, expected_aliases=state))


def _open_log(store: Store, name: str, version: str | None) -> ReconciledLog:
    """Bring history and aliases together, of a model and a version that there are.

    Raises:
        RegistryError: there is no such model or version.
    """
    check_version_exists(name, version)
    return reconcile_log(store, name)


def check_version_exists(name: str, version: str | None) -> None:
    """Refuse a model or a version that there is not.

    Raises:
        RegistryError: tells which there are.
    """
    numbers = sorted((int(found.version) for found in versions.list_versions(name)), reverse=True)
    if not numbers:
        raise _build_unknown_model_error(name)
    if version is not None and version not in map(str, numbers):
        shown = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
        raise RegistryError.of(
            f"{name} has no version {version}", found=f"It has: {shown}", hint="name one of these"
        )


def find_store_config(name: str) -> StoreConfig:
    """Return which store the newest version of a model was made in, as its job says.

    Raises:
        RegistryError: there is no such model, or MLflow cannot be asked.
    """
    found = versions.list_versions(name)
    if not found:
        raise _build_unknown_model_error(name)
    jobs = {int(each.version): each.tags.get(f"{TAG}job") for each in found}
    written = [job for _, job in sorted(jobs.items()) if job]
    return StoreConfig(**json.loads(written[-1]).get("store", {})) if written else StoreConfig()


def _build_unknown_model_error(name: str) -> RegistryError:
    """Build the refusal of a model that nobody knows."""
    names = ", ".join(sorted(versions.list_models())[:10])
    return RegistryError.of(
        f"there is no model '{name}' in MLflow",
        found=f"There is: {names or 'none at all'}",
        hint="name one of these; a model is named as its job",
    )


def _find_challenger(name: str, found: ReconciledLog) -> str:
    """Name the challenger.

    Raises:
        RegistryError: there is none.
    """
    number = replay_aliases(found.entries).get("challenger")
    if number is None:
        raise RegistryError.of(f"'{name}' has no challenger", hint="name a version")
    return number


def _find_completed(found: ReconciledLog, action: Action, version: str | None) -> MoveResult | None:
    """Return this very request where a killed program had begun it, and it is finished now."""
    line = found.completed
    if line and line.action == action and version in {None, line.version}:
        return MoveResult(line, resumed=True)
    return None


def _check_not_serving(name: str, number: str, found: ReconciledLog) -> None:
    """Refuse what concerns the champion itself.

    Raises:
        RegistryError: the version serves.
    """
    if replay_aliases(found.entries).get("champion") == number:
        raise RegistryError.of(
            f"{name} version {number} serves already",
            found="No alias was moved.",
            hint=f"see: ostinato history {name}",
        )


def _find_awaiting_approval(name: str, number: str) -> "ModelVersion":
    """Return a version that the gate left to a person.

    Raises:
        RegistryError: it did not.
    """
    found = versions.get_version(name, number)
    decision = found.tags.get(f"{TAG}decision", "unknown")
    if decision != "needs-approval":
        raise RegistryError.of(
            f"{name} version {number} does not wait for approval: the gate's decision is "
            f"'{decision}'",
            found=found.tags.get(f"{TAG}reason"),
            hint=f"to let it serve all the same: ostinato promote {name} {number}",
        )
    return found


def check_champion_unchanged(store: Store, name: str, *, report_key: str, model_key: str) -> None:
    """Refuse a promotion that was judged against a champion that no longer serves.

    Raises:
        RegistryError: another run or person moved the alias in between.
    """
    manifest = read_manifest(store, "evaluate", report_key) if report_key else None
    judged = manifest.recipe.inputs["champion"] if manifest else "none"
    champion = versions.find_champion(name)
    serving = champion.model_key if champion else "none"
    if serving not in {judged, model_key}:
        raise RegistryError.of(
            f"the champion of '{name}' changed while its challenger was judged, or since",
            hint="run again: the challenger is then compared with the new champion; "
            "`ostinato promote` asks nothing",
        )


def _verify_and_move(store: Store, asked: AliasMove) -> MoveResult:
    """Prove the version, then move."""
    verify_version(asked.name, asked.version)
    return _move(store, asked)


def _move(store: Store, asked: AliasMove) -> MoveResult:
    """Move, where nobody else has moved since it was asked for.

    Raises:
        RegistryError: somebody has.
    """
    line = move_aliases(store, asked)
    if line is None:
        raise RegistryError.of(
            f"{asked.name} version {asked.version} is where it was asked to be", hint="nothing"
        )
    return MoveResult(line, resumed=False)


@task(name="roll back", task_run_name="roll back {name}", timeout_seconds=HOUR, **STAGE)
def roll_back_task(name: str, version: str | None, why: str, store: StoreConfig) -> MoveResult:
    """Let an earlier version serve again."""
    moved = roll_back(open_store(store), name, version, why)
    logger().info("%s: %s serves", name, moved.change.version)
    return moved
