"""How accurate jobs are out of the box, beside cheap models on the same split: `make accuracy`.

    OSTINATO_DATA=FOLDER python tests/benchmarks/accuracy.py [--datasets ts_CBF,ts_GunPoint]
        [--presets balanced,best] [--seeds 7,8,9] [--set KEY=VALUE] [--timeout SECONDS]
        [--results FILE]

For each dataset of the folder: `ostinato init` and `ostinato run`, nothing edited, in a temporary
folder. The columns and numbers that a file cannot know are in `accuracy_sets.py`; those that `init`
has no option for are left out and named in the table. Scores are those of the report, on test rows.
References are the report's best baseline and those of `accuracy_references.py`; `literature` is
quoted, not computed.

With `--results`, each run is appended to the file as a line of JSON, and runs that are already
there with the same arguments are not repeated, so that a long measurement can be resumed. A run
that fails is a row with its error; `--retry` repeats it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from polars.exceptions import PolarsError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from flows.environment import HOME_DIR  # noqa: E402 - needs the line above
from tests.benchmarks.accuracy_references import score_references  # noqa: E402
from tests.benchmarks.accuracy_sets import get_dataset  # noqa: E402
from tests.benchmarks.accuracy_table import Record, format_summary, format_table  # noqa: E402
from tests.support.sample_jobs import build_environment  # noqa: E402

COMMAND = (sys.executable, "-m", "flows.cli.main")

KEY = ("dataset", "preset", "seed", "init", "settings", "timeout")
"""What a run is recognized by."""


class Ended(NamedTuple):
    """A command that has ended."""

    error: str | None
    """The line that says why it failed."""
    seconds: float
    cpu_seconds: float
    """Of the command and all its processes."""
    output: str


def run_command(arguments: Sequence[str], folder: Path, *, timeout: float) -> Ended:
    """Run an `ostinato` command in a folder."""
    start_time, start_cpu = time.perf_counter(), measure_children()
    variables = build_environment() | {"PYTHONPATH": str(ROOT)}
    output, error = "", None
    try:
        result = subprocess.run(
            [*COMMAND, *arguments],
            cwd=folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        error = f"stopped after {timeout:.0f} s"
    else:
        output = result.stdout
        error = find_error_line(output) if result.returncode else None
    return Ended(error, time.perf_counter() - start_time, measure_children() - start_cpu, output)


def measure_children() -> float:
    """Return the CPU seconds of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def find_error_line(output: str) -> str:
    """Return the last line that names an error, else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return (errors or lines or ["no output"])[-1]


def select_offered_options(options: Sequence[str], help_text: str) -> tuple[list[str], list[str]]:
    """Split options of `init` into those that it has, with values, and names of the others."""
    offered: list[str] = []
    missing: list[str] = []
    for name, value in zip(options[::2], options[1::2], strict=True):
        if f" {name} " in help_text:
            offered += [name, value]
        else:
            missing.append(name)
    return offered, missing


def measure_run(asked: Record, data: Path, known: Iterable[Record]) -> Record:
    """Draft a job and run it in a temporary folder; return what was asked and what came out."""
    record = dict(asked)
    overrides = [f"training.seed={asked['seed']}", *asked["settings"]]
    arguments = ["--preset", asked["preset"], *(part for o in overrides for part in ("--set", o))]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        drafted = run_command(
            ["init", str(data), "--name", "job", *asked["init"]], folder, timeout=asked["timeout"]
        )
        record["error"] = drafted.error
        if not drafted.error:
            ended = run_command(["run", "job.yaml", *arguments], folder, timeout=asked["timeout"])
            record |= {"seconds": ended.seconds, "cpu_seconds": ended.cpu_seconds}
            record["error"] = ended.error
        if not record["error"]:
            add_outcome(record, data, folder / HOME_DIR / "store", known)
    return record


def add_outcome(record: Record, data: Path, store: Path, known: Iterable[Record]) -> None:
    """Add the scores of the run and of its references; what cannot be read is the run's error."""
    try:
        record |= read_outcome(store)
    except (OSError, KeyError, ValueError) as error:
        record["error"] = f"the report cannot be read: {error!r}"
    else:
        add_references(record, data, store, known)


def read_outcome(store: Path) -> Record:
    """Read the scores, the decision and the facts of the network from its report.

    A baseline that serves until a network beats it has a report of its own; it is named only.
    """
    pairs = [
        (each, read_manifest(store / "train" / each["recipe"]["inputs"]["candidate"])["facts"])
        for path in (store / "evaluate").glob("*/manifest.json")
        for each in [read_manifest(path.parent)]
    ]
    serving = [candidate["baseline"]["name"] for _, candidate in pairs if candidate["baseline"]]
    networks = [pair for pair in pairs if not pair[1]["baseline"]]
    evaluation, candidate = max(networks, key=lambda pair: str(pair[0]["created_at"]))
    facts = evaluation["facts"]
    return {
        "scores": facts["metrics"],
        "baselines": facts["baselines"],
        "decision": facts["decision"],
        "serving": serving[0] if serving else "network",
        "reason": facts["reason"],
        "features": evaluation["recipe"]["inputs"]["features"],
        "parts": facts["parts"],
        "branches": candidate["branches"],
        "branch_weights": candidate["branch_weights"],
        "recurrent_weight": candidate["recurrent_weight"],
    }


def read_manifest(artifact: Path) -> Record:
    """Read an artifact's manifest."""
    manifest: Record = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def add_references(record: Record, data: Path, store: Path, known: Iterable[Record]) -> None:
    """Add the scores of the references; those on the same features are not computed again."""
    for other in known:
        if other.get("features") == record["features"] and other.get("references"):
            record["references"] = other["references"]
            return
    dataset = get_dataset(record["dataset"])
    artifact = store / "featurize" / record["features"]
    try:
        record["references"] = score_references(
            data,
            artifact / read_manifest(artifact)["attempt"],
            text=dataset.text,
            analyzer=dataset.analyzer,
            season=dataset.season,
        )
    except (LookupError, OSError, PolarsError, ValueError) as error:
        record["reference_error"] = f"{type(error).__name__}: {error}"


def identify(record: Record) -> str:
    """Return what a run is recognized by."""
    return json.dumps([record[name] for name in KEY])


def read_results(path: Path | None) -> dict[str, Record]:
    """Read the runs of a results file by what they are recognized by; the last of equal ones."""
    if path is None or not path.exists():
        return {}
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {identify(record): record for record in records}


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--data", type=Path, default=os.environ.get("OSTINATO_DATA"), help="folder of the datasets")
    add("--datasets", type=split_commas, default=[], help="names of files, by default all")
    add("--presets", type=split_commas, default=["balanced"], help="such as balanced,best")
    add("--seeds", type=split_commas, default=["7"], help="such as 7,8,9")
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    add("--timeout", type=float, default=1_800.0, help="seconds that a command may take")
    add("--results", type=Path, help="file of JSON lines to append to and resume from")
    add("--retry", action="store_true", help="repeat runs that failed")
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("name the folder of the datasets: --data, or the variable OSTINATO_DATA")
    options.data = Path(options.data)
    return options


def split_commas(text: str) -> list[str]:
    """Split names at commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def list_runs(options: argparse.Namespace, help_text: str) -> list[Record]:
    """List the runs that are asked for, one dataset after the other."""
    runs = []
    names = options.datasets or sorted(path.stem for path in options.data.glob("*.parquet"))
    for name, preset, seed in product(names, options.presets, options.seeds):
        offered, missing = select_offered_options(get_dataset(name).init, help_text)
        run = {"dataset": name, "preset": preset, "seed": int(seed), "init": offered}
        run |= {"settings": options.settings, "timeout": options.timeout}
        runs.append(run | {"missing_options": missing})
    return runs


def main() -> None:
    """Run what is asked for and not in the results yet, and print the table."""
    options = parse_arguments(sys.argv[1:])
    results = read_results(options.results)
    asked = list_runs(options, run_command(["init", "--help"], ROOT, timeout=120).output)
    for run in asked:
        known = results.get(identify(run))
        if known and not (options.retry and known["error"]):
            continue
        data = (options.data / f"{run['dataset']}.parquet").absolute()
        record = measure_run(run, data, results.values())
        results[identify(run)] = record
        outcome = record["error"] or record["decision"]
        print(run["dataset"], run["preset"], run["seed"], outcome, file=sys.stderr, flush=True)
        if options.results:
            with options.results.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(record) + "\n")
    records = [results[identify(run)] for run in asked]
    print(format_table(records), format_summary(records), sep="\n\n")


if __name__ == "__main__":
    main()
