"""The notification blocks that a job names, read from the Prefect server without secrets."""

from collections.abc import Sequence
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound

from flows.job.job import Job
from tasks.errors import JobError


def find_blocks(client: SyncPrefectClient, path: Path, job: Job) -> dict[str, BlockDocument]:
    """Return the blocks of a job's `notify` section, without their secrets.

    Raises:
        JobError: a block does not exist, or cannot notify.
    """
    return {
        config.block: find_block(client, config.block, f"job file {path}, notify[{n}].block")
        for n, config in enumerate(job.notify)
    }


def check_blocks(jobs: Sequence[tuple[Path, Job]], api: str) -> None:
    """Check that the server at `api` has the blocks of these jobs.

    Raises:
        JobError: names the job, the key and the block.
    """
    with SyncPrefectClient(api) as client:
        for path, job in jobs:
            find_blocks(client, path, job)


def find_block(client: SyncPrefectClient, block: str, where: str) -> BlockDocument:
    """Return one block.

    Args:
        client: of the Prefect server.
        block: the block as TYPE/NAME.
        where: location of the setting, for an error message.

    Raises:
        JobError: the block does not exist, or cannot notify.
    """
    kind, _, name = block.partition("/")
    try:
        found = client.read_block_document_by_name(name, kind, include_secrets=False)
    except ObjectNotFound as error:
        raise JobError.of(
            f"{where}: the Prefect server has no block '{block}'",
            found=_list_notification_blocks(client),
            hint=f"create it on the server's page Blocks (`prefect block create {kind}` prints its "
            "address; `ostinato ui` without a job serves the pages of this folder)",
        ) from error
    capabilities = found.block_schema.capabilities if found.block_schema else []
    if "notify" not in capabilities:
        raise JobError.of(
            f"{where}: the block '{block}' is a {kind}, which cannot send notifications",
            found=_list_notification_blocks(client),
            hint="name a notification block, such as slack-webhook/NAME or custom-webhook/NAME",
        )
    return found


def _list_notification_blocks(client: SyncPrefectClient) -> str:
    """List the server's notification blocks, for an error message."""
    blocks = [
        f"{each.block_type.slug}/{each.name}"
        for each in client.read_block_documents(include_secrets=False)
        if each.block_type and each.block_schema and "notify" in each.block_schema.capabilities
    ]
    return f"It has: {', '.join(sorted(blocks)) or 'no notification block'}"
