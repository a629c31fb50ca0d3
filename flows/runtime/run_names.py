"""Names of flow runs in Prefect."""

from collections.abc import Callable
from pathlib import Path

from prefect.runtime import flow_run


def build_run_name(prefix: str = "") -> Callable[[], str]:
    """Return a function that names a run after a prefix, its job or model, and its start time."""

    def name() -> str:
        parameters, start = flow_run.parameters, flow_run.scheduled_start_time
        has_name = "name" in parameters
        subject = parameters["name"] if has_name else Path(parameters["job_file"]).stem
        return "-".join([*filter(None, [prefix]), subject, f"{start:%Y%m%d-%H%M%S}"])

    return name
