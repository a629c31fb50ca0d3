"""Damaged artifacts are made again by the run that opens them.

Whatever a stage makes, it makes again from the same inputs: a damaged artifact is withdrawn, and
the run's stages are repeated. All but the damaged one are found in the store.
"""

from collections.abc import Callable
from typing import TypeVar

from tasks.errors import DamagedArtifactError
from tasks.storage.artifacts import withdraw_artifact
from tasks.storage.store import StoreConfig, open_store
from tasks.task_options import logger

Result = TypeVar("Result")


def remake_damaged(store: StoreConfig, run_stages: Callable[[], Result]) -> Result:
    """Run stages, and once more for each artifact that they find damaged.

    Args:
        store: where the artifacts are.
        run_stages: makes what is missing in the store, and returns the result.

    Raises:
        DamagedArtifactError: an artifact was made again, and is damaged again.
    """
    withdrawn: set[tuple[str, str]] = set()
    while True:
        try:
            return run_stages()
        except DamagedArtifactError as error:
            artifact = (error.stage, error.key)
            if artifact in withdrawn:
                raise
            withdrawn.add(artifact)
            damage = str(error).partition("\n")[0]
            logger().warning("%s; %s/%s is made again", damage, *artifact)
            withdraw_artifact(open_store(store), *artifact)
