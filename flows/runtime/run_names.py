"""What a run is called on Prefect's pages."""

from collections.abc import Callable
from pathlib import Path

from prefect.runtime import flow_run


def named(what: str = "") -> Callable[[], str]:
    """Name runs after what they do, their job or model, and their start."""

    def name() -> str:
        given, start = flow_run.parameters, flow_run.scheduled_start_time
        about = given["name"] if "name" in given else Path(given["job_file"]).stem
        return "-".join([*filter(None, [what]), about, f"{start:%Y%m%d-%H%M%S}"])

    return name
