"""The command line. Each command imports what it needs when it runs, so that help is fast."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from flows.cli.contracts import contract
from flows.cli.deploy import deploy_command
from flows.cli.doctor import doctor_command
from flows.cli.options import JOB_ARGUMENT, JSON_OPTION, SET_OPTION, parse_settings
from flows.cli.registry import REGISTRY_COMMANDS
from flows.cli.score import score_command
from flows.cli.tune import tune_command
from flows.results.text_table import format_table
from tasks.errors import OstinatoError, StoreError

if TYPE_CHECKING:
    from flows.job.form import Preset

_EPILOG = """\
Exit codes: 0 done (whatever the gate decided); 1 unexpected error; 2 job file or arguments;
3 source; 4 contract; 5 unusable data; 6 training failed; 7 store; 8 MLflow;
9 a server of `ui` did not start; 10 a version was not reproduced;
11 the Prefect server does not answer; 130 interrupted.
"""


class _ErrorGroup(click.Group):
    """A group of commands that turns our errors into a message and an exit code."""

    def invoke(self, context: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            click.echo("Interrupted; finished stages are kept.", err=True)
            sys.exit(130)
        except Exception as error:
            if isinstance(error, click.ClickException | click.exceptions.Exit):
                raise
            told = error if isinstance(error, OstinatoError) else _find_disk_error(error)
            if told is None:
                raise
            name, code = type(told).__name__, told.exit_code
            click.echo(f"{name}: {told}", err=True)
            if "--json" in sys.argv:
                report = {"error": name, "message": str(told), "exit_code": code}
                click.echo(json.dumps(report))
            sys.exit(code)


def _find_disk_error(error: Exception) -> StoreError | None:
    """Return the error of the store that an unexpected error means; None for others."""
    from tasks.storage.disk_errors import build_disk_error

    return build_disk_error(error, where=str(getattr(error, "filename", None) or "the disk"))


@click.group(
    cls=_ErrorGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="ostinato")
def main() -> None:
    """Retrain a recurrent model of a dataset, compare it with its champion, and register it."""


@main.command()
@JOB_ARGUMENT
@SET_OPTION
@click.option(
    "--preset", type=click.Choice(["job", "quick", "balanced", "best"]), default="job",
    help="Length of the training; --set overrides it.",
)  # fmt: skip
@JSON_OPTION
def run(job: Path, *, settings: tuple[str, ...], preset: str, as_json: bool) -> None:
    """Retrain JOB in six stages; results of unchanged stages are reused."""
    from flows.environment import configure_environment
    from flows.servers.ephemeral import start_server

    configure_environment()
    overrides = parse_settings(settings)
    wait_for_server = start_server()
    from flows.job.job import load_job

    name = load_job(job, overrides).name
    from dataclasses import asdict

    from flows.retrain import retrain
    from flows.runtime.run_context import run_context

    wait_for_server()
    with run_context(name):
        outcome = retrain(str(job), overrides, preset=cast("Preset", preset))

    if as_json:
        click.echo(json.dumps(asdict(outcome)))
        return
    from flows.results.outcome import format_summary

    click.echo(format_summary(outcome))


@main.command()
@JOB_ARGUMENT
@JSON_OPTION
def check(job: Path, as_json: bool) -> None:
    """Dry run of JOB: everything but training, with an estimate of its time."""
    from flows.environment import configure_environment

    configure_environment()
    from flows.commands.check import check_job, format_check
    from flows.job.job import load_job

    result = check_job(load_job(job))
    click.echo(json.dumps(result) if as_json else format_check(result))


@main.command()
@JOB_ARGUMENT
@click.option("--from", "start", type=click.DateTime(), required=True, help="First time, in UTC.")
@click.option("--to", "stop", type=click.DateTime(), required=True, help="Last time, in UTC.")
@click.option(
    "--every", metavar="SPAN", help="Such as 7d or 12h; default: the job's schedule, else 1d."
)
@SET_OPTION
@JSON_OPTION
def backfill(
    job: Path,
    *,
    start: datetime,
    stop: datetime,
    every: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Retrain JOB as of each scheduled time between two dates, oldest first."""
    from flows.environment import configure_environment
    from flows.servers.ephemeral import start_server

    configure_environment()
    wait_for_server = start_server()
    from dataclasses import asdict

    from flows.commands.backfill import backfill as runs
    from models.units import parse_duration

    try:
        seconds = float(str(parse_duration(every))) if every else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--every") from error
    span = (start.replace(tzinfo=UTC), stop.replace(tzinfo=UTC))
    wait_for_server()
    for moment, outcome in runs(job, *span, every=seconds, overrides=parse_settings(settings)):
        if as_json:
            click.echo(json.dumps({"as_of": moment.isoformat(), **asdict(outcome)}))
        else:
            done = ", ".join(outcome.recomputed) or "nothing"
            click.echo(
                f"{moment:%Y-%m-%d %H:%M}  version {outcome.version}  {outcome.decision}  "
                f"done: {done}"
            )


@main.command()
@click.argument("data")
@click.option(
    "--target",
    "targets",
    multiple=True,
    help="Column to predict; guessed by default. Several are forecast together: a,b,c.",
)
@click.option("--time", help="Column with the time of each row; found by default.")
@click.option("--time-format", help='Format of a time in texts, such as "%d/%m/%Y".')
@click.option("--entity", help="Column that identifies the series of a row; found by default.")
@click.option("--horizon", type=click.IntRange(min=1), help="Steps ahead; by default one season.")
@click.option(
    "--season", type=click.IntRange(min=1), help="Steps of a season, 1 for none; found by default."
)
@click.option("--name", help="Name of the job; by default that of the data.")
@click.option("--output", type=click.Path(path_type=Path), default=Path(), help="Folder.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def init(
    data: str,
    *,
    name: str | None,
    output: Path,
    force: bool,
    **options: Any,  # noqa: ANN401 - the fields of DraftOptions
) -> None:
    """Draft a job file and a contract from DATA (a file, glob, folder or s3:// URI)."""
    from flows.commands.drafting.draft import DraftOptions
    from flows.commands.init import draft_job_files

    def ask(question: str, choices: list[str]) -> str:
        return str(click.prompt(question, type=click.Choice(choices)))

    wishes = DraftOptions(**options, ask=ask if sys.stdin.isatty() else None)
    files = draft_job_files(data, wishes, name=name, folder=output, force=force)
    click.echo(f"wrote {files.job}\nwrote {files.contract}")
    for note in files.notes:
        click.echo(f"note: {note}")
    click.echo("Review both, then: ostinato check, ostinato run")


@main.command()
@click.argument("jobs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--prefect-port", type=int, default=4200, show_default=True)
@click.option("--mlflow-port", type=int, default=5000, show_default=True)
def ui(jobs: tuple[Path, ...], prefect_port: int, mlflow_port: int) -> None:
    """Serve JOBS with the Prefect and MLflow UIs on 127.0.0.1 until Ctrl-C.

    Without JOBS, every job file in deployments/jobs is served.
    """
    from flows.servers.ui import serve_ui

    found = jobs or tuple(sorted(Path("deployments/jobs").glob("*.yaml")))
    sys.exit(serve_ui(found, prefect_port=prefect_port, mlflow_port=mlflow_port, echo=click.echo))


@main.command()
@click.option("--store", "uri", default=".ostinato/store", show_default=True, help="Folder or URI.")
@JSON_OPTION
def artifacts(uri: str, as_json: bool) -> None:
    """List the artifacts in the store."""
    from tasks.retention.artifacts import list_artifacts
    from tasks.storage.store import StoreConfig, open_store

    rows = [asdict(summary) for summary in list_artifacts(open_store(StoreConfig(uri=uri)))]
    click.echo(json.dumps(rows) if as_json else format_table(rows, "the store is empty"))


@main.command()
@click.option("--store", "uri", default=".ostinato/store", show_default=True, help="Folder or URI.")
@click.option("--yes", is_flag=True, help="Delete; without it, dry run.")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Newest versions to keep besides those with an alias.",
)
@JSON_OPTION
def prune(uri: str, yes: bool, keep: int, as_json: bool) -> None:
    """List the versions and artifacts that are no longer needed; with --yes delete them.

    Versions with an alias and the newest ones are kept, with all their artifacts.
    """
    from flows.environment import configure_environment

    configure_environment()
    from tasks.retention.artifacts import delete_artifacts, find_unused_artifacts
    from tasks.retention.versions import delete_versions, find_unused_versions
    from tasks.storage.store import StoreConfig, open_store

    store = open_store(StoreConfig(uri=uri))
    versions = find_unused_versions(store, keep=keep)
    artifacts = find_unused_artifacts(store, keep=keep)
    if yes:
        delete_versions(store, versions)
        delete_artifacts(store, artifacts)
    plan = {"versions": [asdict(v) for v in versions], "artifacts": [asdict(a) for a in artifacts]}
    if as_json:
        click.echo(json.dumps({"deleted": yes, **plan}))
        return
    rows = plan["versions"] + plan["artifacts"]
    click.echo(format_table(rows, "nothing to delete: everything is in use"))
    if rows and not yes:
        click.echo("Nothing was deleted: this was a dry run. Delete with: ostinato prune --yes")


@main.command("benchmark-cells")
@click.option("--hidden-size", type=click.IntRange(min=4), default=128, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@JSON_OPTION
def benchmark_cells_command(hidden_size: int, device: str, as_json: bool) -> None:
    """List the recurrent cells, and measure the training speed of each on this machine."""
    from flows.commands.cell_benchmark import benchmark_cells, format_benchmark

    rows = benchmark_cells(hidden_size=hidden_size, device=device)
    click.echo(json.dumps(rows) if as_json else format_benchmark(rows))


@main.command()
@click.option("--check", "only_check", is_flag=True, help="Fail if a file is out of date.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("deployments/job.schema.json"),
    show_default=True,
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    default=Path("docs/job.md"),
    show_default=True,
    help="Page that describes every key.",
)
def schema(output: Path, reference: Path, only_check: bool) -> None:
    """Write the JSON schema of job files, for editors, and the page that describes every key."""
    from flows.commands.job_reference import format_job_reference
    from flows.job.job import format_schema
    from tasks.errors import JobError

    text = format_schema()
    for path, content in {output: text, reference: format_job_reference(json.loads(text))}.items():
        if only_check and (not path.exists() or path.read_text(encoding="utf-8") != content):
            raise JobError.of(f"{path} is out of date", hint="run: ostinato schema")
        if not only_check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            click.echo(f"wrote {path}")


@main.command()
@click.argument("names", nargs=-1)
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".ostinato/data"))
def demo(names: tuple[str, ...], folder: Path) -> None:
    """Write the Parquet files of the demo.

    NAMES are digits (images), volume (a series), docstrings (texts), chords (audio) and syntax
    (trees); by default digits and volume.
    """
    from flows.commands.demo_data import write_demo_data

    for path in write_demo_data(folder, names):
        click.echo(f"data: {path}")


main.add_command(contract)
main.add_command(deploy_command)
main.add_command(doctor_command)
main.add_command(score_command)
main.add_command(tune_command)
for command in REGISTRY_COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main()
