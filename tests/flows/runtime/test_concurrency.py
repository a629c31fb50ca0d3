"""A run whose slot the server has lost, as after a restart: it goes on."""

import time
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateDetails
from prefect.concurrency import _leases
from prefect.flow_engine import run_flow_sync
from prefect.states import Pending

from flows.runtime.concurrency import keep_running_without_slot

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_a_run_goes_on_without_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[bool] = []
    original = _leases._handle_lease_renewal_failure  # noqa: SLF001 - told when the slot is lost

    def record(*arguments: object) -> None:
        original(*arguments)  # type: ignore[arg-type]
        lost.append(True)

    monkeypatch.setattr(_leases, "_handle_lease_renewal_failure", record)
    monkeypatch.setattr(_leases, "_RENEWAL_RETRY_BASE_DELAY", 0.01)
    monkeypatch.setattr(_leases, "_RENEWAL_RETRY_MAX_DELAY", 0.02)
    keep_running_without_slot()

    @flow
    def wait_for_loss() -> int:
        for _ in range(600):
            if lost:
                break
            time.sleep(0.05)
        time.sleep(0.5)
        return 5

    slot = StateDetails(deployment_concurrency_lease_id=uuid4())
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(wait_for_loss, state=Pending(state_details=slot))

    assert run_flow_sync(wait_for_loss, flow_run=run) == 5
    assert lost
