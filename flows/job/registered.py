"""The job that a registered version was trained by, read back from the version's own tag."""

import json

from pydantic import ValidationError

from flows.job.job import JOB_ADAPTER, Job
from tasks.errors import RegistryError


def load_registered_job(text: str, title: str) -> Job:
    """Parse the job of a registered version.

    Args:
        text: the job as `format_job` wrote it.
        title: the version as an error message names it.

    Raises:
        RegistryError: this program does not accept such a job any more.
    """
    try:
        return JOB_ADAPTER.validate_python(json.loads(text))
    except (ValidationError, ValueError) as error:
        raise RegistryError.of(
            f"{title} has a job that this version of ostinato cannot read: {error}",
            hint="install the version that is in its tag ostinato.code_version",
        ) from error
