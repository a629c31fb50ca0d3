"""What a person asks of a model's aliases: promote, approve, reject, roll back.

Nothing serves unproven (tasks.registry.verification).
"""

import json
from typing import TYPE_CHECKING, NamedTuple

from prefect import task

from tasks.errors import RegistryError
from tasks.registry import versions
from tasks.registry.alias_log import Action, Line, has_served, is_refused, state_after
from tasks.registry.aliases import Asked, Settled, move, settled
from tasks.registry.verification import prove
from tasks.storage.artifacts import read_manifest
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger
from tasks.tracking.mlflow_client import TAG

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


class Moved(NamedTuple):
    """What came of a request."""

    line: Line
    earlier: bool
    """Whether it was begun before, by a program that was killed, and is finished now."""


def promote(store: Store, name: str, version: str | None, why: str) -> Moved:
    """Let a version serve, whatever the gate said; the challenger when none is named.

    Raises:
        RegistryError: there is no such version, it serves already, or it is damaged.
    """
    found = look(store, name, version)
    if done := finished(found, "promote", version):
        return done
    number = version or challenger(name, found)
    refuse_serving(name, number, found)
    return proven_move(store, Asked(name, number, "promote", why, seen=state_after(found.entries)))


def approve(store: Store, name: str, version: str | None, why: str) -> Moved:
    """Let a version serve that the gate left to a person; the challenger when none is named.

    Raises:
        RegistryError: there is no such version, the gate did not ask for approval, the champion
            that it was compared with serves no more, or it is damaged.
    """
    found = look(store, name, version)
    if done := finished(found, "approve", version):
        return done
    number = version or challenger(name, found)
    refuse_serving(name, number, found)
    asking = awaiting(name, number)
    refuse_stale(
        store,
        name,
        report_key=asking.tags.get(f"{TAG}report_key", ""),
        model_key=asking.tags.get(f"{TAG}model_key", ""),
    )
    return proven_move(store, Asked(name, number, "approve", why, seen=state_after(found.entries)))


def reject(store: Store, name: str, version: str | None, why: str) -> Moved:
    """Say no to a version that the gate left to a person; it is no challenger any more.

    Raises:
        RegistryError: there is no such version, it serves, it was rejected before, or the gate
            did not ask for approval.
    """
    found = look(store, name, version)
    if done := finished(found, "reject", version):
        return done
    number = version or challenger(name, found)
    refuse_serving(name, number, found)
    awaiting(name, number)
    if is_refused(found.entries, number):
        raise RegistryError.of(
            f"{name} version {number} was rejected before", mend=f"see: ostinato history {name}"
        )
    return made(store, Asked(name, number, "reject", why, seen=state_after(found.entries)))


def roll_back(store: Store, name: str, version: str | None, why: str) -> Moved:
    """Let the version serve again that served before, or an earlier one that is named.

    Raises:
        RegistryError: there is none, it never served, or it is damaged.
    """
    found = look(store, name, version)
    if done := finished(found, "rollback", version):
        return done
    state = state_after(found.entries)
    number = version or state.get("previous")
    if number is None:
        serving = state.get("champion")
        raise RegistryError.of(
            f"there is nothing to roll '{name}' back to: "
            + (f"none served before version {serving}" if serving else "no version serves"),
            mend=f"name a version that served (ostinato history {name}), or promote one",
        )
    refuse_serving(name, number, found)
    if number != state.get("previous") and not has_served(found.entries, number):
        raise RegistryError.of(
            f"{name} version {number} has never served, so nothing can be rolled back to it",
            mend=f"see: ostinato history {name}; or: ostinato promote {name} {number}",
        )
    return proven_move(store, Asked(name, number, "rollback", why, seen=state))


def look(store: Store, name: str, version: str | None) -> Settled:
    """Bring history and aliases together, of a model and a version that there are.

    Raises:
        RegistryError: there is no such model or version.
    """
    look_up(name, version)
    return settled(store, name)


def look_up(name: str, version: str | None) -> None:
    """Refuse a model or a version that there is not.

    Raises:
        RegistryError: tells which there are.
    """
    numbers = sorted((int(found.version) for found in versions.versions_of(name)), reverse=True)
    if not numbers:
        raise unknown_model(name)
    if version is not None and version not in map(str, numbers):
        shown = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
        raise RegistryError.of(
            f"{name} has no version {version}", found=f"It has: {shown}", mend="name one of these"
        )


def store_of(name: str) -> StoreConfig:
    """Tell which store the newest version of a model was made in, as its job says.

    Raises:
        RegistryError: there is no such model, or MLflow cannot be asked.
    """
    found = versions.versions_of(name)
    if not found:
        raise unknown_model(name)
    jobs = {int(each.version): each.tags.get(f"{TAG}job") for each in found}
    written = [job for _, job in sorted(jobs.items()) if job]
    return StoreConfig(**json.loads(written[-1]).get("store", {})) if written else StoreConfig()


def unknown_model(name: str) -> RegistryError:
    """Build the refusal of a model that nobody knows."""
    names = ", ".join(sorted(versions.model_names())[:10])
    return RegistryError.of(
        f"there is no model '{name}' in MLflow",
        found=f"There is: {names or 'none at all'}",
        mend="name one of these; a model is named as its job",
    )


def challenger(name: str, found: Settled) -> str:
    """Name the challenger.

    Raises:
        RegistryError: there is none.
    """
    number = state_after(found.entries).get("challenger")
    if number is None:
        raise RegistryError.of(f"'{name}' has no challenger", mend="name a version")
    return number


def finished(found: Settled, action: Action, version: str | None) -> Moved | None:
    """Return this very request where a killed program had begun it, and it is finished now."""
    line = found.finished
    if line and line.action == action and version in {None, line.version}:
        return Moved(line, earlier=True)
    return None


def refuse_serving(name: str, number: str, found: Settled) -> None:
    """Refuse what concerns the champion itself.

    Raises:
        RegistryError: the version serves.
    """
    if state_after(found.entries).get("champion") == number:
        raise RegistryError.of(
            f"{name} version {number} serves already",
            found="No alias was moved.",
            mend=f"see: ostinato history {name}",
        )


def awaiting(name: str, number: str) -> "ModelVersion":
    """Return a version that the gate left to a person.

    Raises:
        RegistryError: it did not.
    """
    found = versions.find_number(name, number)
    decision = found.tags.get(f"{TAG}decision", "unknown")
    if decision != "needs-approval":
        raise RegistryError.of(
            f"{name} version {number} does not wait for approval: the gate's decision is "
            f"'{decision}'",
            found=found.tags.get(f"{TAG}reason"),
            mend=f"to let it serve all the same: ostinato promote {name} {number}",
        )
    return found


def refuse_stale(store: Store, name: str, *, report_key: str, model_key: str) -> None:
    """Refuse a promotion that was judged against a champion that no longer serves.

    Raises:
        RegistryError: another run or person moved the alias in between.
    """
    manifest = read_manifest(store, "evaluate", report_key) if report_key else None
    judged = manifest["recipe"]["inputs"]["champion"] if manifest else "none"
    champion = versions.find_champion(name)
    serving = champion.model_key if champion else "none"
    if serving not in {judged, model_key}:
        raise RegistryError.of(
            f"the champion of '{name}' changed while its challenger was judged, or since",
            mend="run again: the challenger is then compared with the new champion; "
            "`ostinato promote` asks nothing",
        )


def proven_move(store: Store, asked: Asked) -> Moved:
    """Prove the version, then move."""
    prove(asked.name, asked.version)
    return made(store, asked)


def made(store: Store, asked: Asked) -> Moved:
    """Move, where nobody else has moved since it was asked for.

    Raises:
        RegistryError: somebody has.
    """
    line = move(store, asked)
    if line is None:
        raise RegistryError.of(
            f"{asked.name} version {asked.version} is where it was asked to be", mend="nothing"
        )
    return Moved(line, earlier=False)


@task(name="roll back", task_run_name="roll back {name}", timeout_seconds=HOUR, **STAGE)
def rolled_back(name: str, version: str | None, why: str, store: StoreConfig) -> Moved:
    """Let an earlier version serve again."""
    moved = roll_back(open_store(store), name, version, why)
    logger().info("%s: %s serves", name, moved.line.version)
    return moved
