"""Runs outlive the Prefect server that counts them.

A run of a deployment occupies one of its slots, and renews that at the server. Servers keep the
slots in memory: after a restart the renewal fails, and Prefect then cancels the run, in the middle
of its training. Here such a run goes on. What the slot protects is protected otherwise too: a model
is trained by one process at a time, by the lease of its checkpoints.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect import flow_engine
from prefect.concurrency import _leases


def keep_running_without_slot() -> None:
    """Patch Prefect so that a run whose slot cannot be renewed logs a warning and goes on."""
    setattr(flow_engine, _leases.maintain_concurrency_lease.__name__, _maintain_lease)


@contextmanager
def _maintain_lease(
    lease_id: UUID,
    lease_duration: float,
    **_: Any,  # noqa: ANN401 - Prefect's options of what a failure does
) -> Generator[None]:
    """Renew a slot while the run lasts."""
    with _leases.maintain_concurrency_lease(
        lease_id, lease_duration, raise_on_lease_renewal_failure=False
    ):
        yield
