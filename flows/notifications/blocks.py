"""The blocks of the Prefect server that a job names; what is secret in them is never asked for."""

from collections.abc import Sequence
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound

from flows.job.job import Job
from tasks.errors import JobError


def blocks_of(client: SyncPrefectClient, path: Path, job: Job) -> dict[str, BlockDocument]:
    """Find the blocks that a job tells, without what is secret in them.

    Raises:
        JobError: there is no such block, or it cannot be told.
    """
    return {
        told.block: block_of(client, told.block, f"job file {path}, notify[{n}].block")
        for n, told in enumerate(job.notify)
    }


def refuse_untold(jobs: Sequence[tuple[Path, Job]], api: str) -> None:
    """Refuse jobs that tell a block that the server at `api` has not.

    Raises:
        JobError: names the job, the key and the block.
    """
    with SyncPrefectClient(api) as client:
        for path, job in jobs:
            blocks_of(client, path, job)


def block_of(client: SyncPrefectClient, block: str, where: str) -> BlockDocument:
    """Find one block.

    Raises:
        JobError: there is none, or it cannot be told.
    """
    kind, _, name = block.partition("/")
    try:
        found = client.read_block_document_by_name(name, kind, include_secrets=False)
    except ObjectNotFound as error:
        raise JobError.of(
            f"{where}: the Prefect server has no block '{block}'",
            found=others(client),
            mend=f"make it on the server's page Blocks (`prefect block create {kind}` says where; "
            "`ostinato ui` without a job opens the pages of this folder)",
        ) from error
    able = found.block_schema.capabilities if found.block_schema else []
    if "notify" not in able:
        raise JobError.of(
            f"{where}: the block '{block}' is a {kind}, which cannot be notified",
            found=others(client),
            mend="name a notification block, such as slack-webhook/NAME or custom-webhook/NAME",
        )
    return found


def others(client: SyncPrefectClient) -> str:
    """Name the blocks that can be told."""
    able = [
        f"{each.block_type.slug}/{each.name}"
        for each in client.read_block_documents(include_secrets=False)
        if each.block_type and each.block_schema and "notify" in each.block_schema.capabilities
    ]
    return f"It has: {', '.join(sorted(able)) or 'no notification block'}"
