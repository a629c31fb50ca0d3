"""Training compared with other libraries: `python tests/benchmarks/training_peers.py`.

    --data FOLDER     folder of tree_sst, m4_weekly and image_mnist10k.parquet; without it only the
                      set of long series is used
    --peers FOLDER    folder of the environments of the libraries (.ostinato/peers)
    --install         create the environments that are missing, and exit
    --sets text,long,windows,rows    --only ours,loop,...    --cell lstm
    --rounds 3        a contender that takes three times as long as ours has only one
    --minutes 3       for a set, after which no round starts
    --threads 2       --out FILE (all that was measured, as JSON)

Every contender is a process of its own (`peers/by_*.py`) with the same arrays, network, batch
size, epochs, learning rates if they can be set, seed of the round and threads, and otherwise as in
its documentation. Compared are the seconds of an epoch with its validation, from arrays in memory,
after an epoch over three batches that is not counted; and the seconds until the validation loss is
as low as every contender gets: the best loss of the worst. The set-up time (imports, reading, the
epoch that is not counted) is listed separately.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE / "peers"))

from sets import FILES, SETS  # noqa: E402 - needs the line above

SLOW = 3.0
"""A contender that takes this many times our seconds has only one round."""
TIMEOUT_SECONDS = 90
"""Limit of one training."""


class Contender(NamedTuple):
    """A script in `peers/`, and the environment that it needs."""

    script: str
    sets: tuple[str, ...]
    environment: str = ""
    """Folder of its environment; empty if the current interpreter has its packages."""
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    variables: dict[str, str] = {}  # noqa: RUF012 - never changed


CLASSES = ("text", "long", "rows")
KERAS = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
CONTENDERS = {
    "ours": Contender("by_ours", (*CLASSES, "windows")),
    "ours, fp32": Contender("by_ours", ("text", "rows"), "", {"precision": "fp32"}),
    "loop": Contender("by_loop", CLASSES, "", {"packed": False, "bf16": False}),
    "loop, bf16": Contender("by_loop", CLASSES, "", {"packed": False, "bf16": True}),
    "packed loop": Contender("by_loop", ("text",), "", {"packed": True, "bf16": False}),
    "skorch": Contender("by_skorch", CLASSES, "skorch"),
    "keras, tensorflow": Contender(
        "by_keras", CLASSES, "keras", {}, {"KERAS_BACKEND": "tensorflow", **KERAS}
    ),
    "keras, torch": Contender("by_keras", CLASSES, "keras", {}, {"KERAS_BACKEND": "torch"}),
    "ludwig": Contender("by_ludwig", ("text",), "ludwig"),
    "neuralforecast": Contender("by_neuralforecast", ("windows",), "neuralforecast"),
    "darts": Contender("by_darts", ("windows",), "darts"),
    "pytorch-forecasting": Contender("by_pytorch_forecasting", ("windows",), "pytorch-forecasting"),
}
TORCH = "torch==2.13.0"
REQUIREMENTS = {
    "skorch": ["skorch==1.4.0"],
    "keras": ["keras==3.15.1", "tensorflow-cpu==2.21.0"],
    "neuralforecast": ["neuralforecast==3.3.0"],
    "darts": ["darts[torch]==0.48.1"],
    "pytorch-forecasting": ["pytorch-forecasting==1.8.0"],
    "ludwig": ["ludwig==0.11.0"],
}


def install(peers: Path) -> None:
    """Create each library's environment, with the same version of torch as ours."""
    for name, requirements in REQUIREMENTS.items():
        folder = peers / name
        if (folder / "installed").exists():
            continue
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "pip", "install", "--quiet"]
        (folder / "constraints.txt").write_text(TORCH + "\n", encoding="utf-8")
        subprocess.run([*pip, TORCH], check=True)
        subprocess.run([*pip, "-c", folder / "constraints.txt", *requirements], check=True)
        (folder / "installed").touch()
        print(f"{name}: {' '.join(requirements)}", flush=True)


def find_python(contender: Contender, peers: Path) -> Path:
    """Return the interpreter that runs a contender."""
    if not contender.environment:
        return Path(sys.executable)
    return peers / contender.environment / "bin" / "python"


def measure(contender: Contender, task: dict[str, Any], *, peers: Path) -> dict[str, Any]:
    """Let one contender train in a process of its own; return its report, or its error."""
    threads = str(task["threads"])
    variables = contender.variables | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": threads,
        "PYTHONWARNINGS": "ignore",
        "TASK_STARTED": str(time.time()),
    }
    with tempfile.TemporaryDirectory() as temporary:
        task_file = Path(temporary) / "task.json"
        task_file.write_text(json.dumps(task | {"options": contender.options}), encoding="utf-8")
        start_time = time.perf_counter()
        try:
            result = subprocess.run(
                [
                    find_python(contender, peers),
                    HERE / "peers" / f"{contender.script}.py",
                    task_file,
                ],
                cwd=temporary,
                env=os.environ | variables,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"it took more than {TIMEOUT_SECONDS} s"}
        except OSError as error:
            return {"error": str(error)}
    if result.returncode:
        messages = [line for line in result.stderr.splitlines() if line.strip()]
        return {"error": messages[-1][:200] if messages else f"ended with {result.returncode}"}
    report: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return report | {"wall": time.perf_counter() - start_time, "load": os.getloadavg()[0]}


def run_rounds(
    task: dict[str, Any], names: list[str], *, rounds: int, minutes: float, peers: Path
) -> dict[str, list[dict[str, Any]]]:
    """Let the contenders train one after the other, with a new seed each round."""
    reports: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    start_time, longest = time.perf_counter(), 0.0
    for seed in range(rounds):
        if time.perf_counter() - start_time + longest > 60 * minutes:
            break
        for name in names:
            if seed and is_finished(reports[name], reports["ours"]):
                continue
            report = measure(CONTENDERS[name], task | {"seed": seed}, peers=peers)
            reports[name].append(report)
            print(f"  {name}: {format_report(report)}", file=sys.stderr, flush=True)
        # Later rounds have no more contenders than this one, and take no longer.
        longest = sum(
            runs[-1].get("wall", 0.0)
            for runs in reports.values()
            if not is_finished(runs, reports["ours"])
        )
    return reports


def is_finished(reports: list[dict[str, Any]], ours: list[dict[str, Any]]) -> bool:
    """Return whether a contender failed, or is so slow that one round is enough."""
    if "error" in reports[0] or "error" in ours[0]:
        return "error" in reports[0]
    return median(reports[0]["seconds"]) > SLOW * median(ours[0]["seconds"])


def format_report(report: dict[str, Any]) -> str:
    """Return one line about a report."""
    if "error" in report:
        return str(report["error"])
    seconds = ", ".join(f"{each:.2f}" for each in report["seconds"])
    losses = ", ".join(f"{each:.3f}" for each in report["losses"])
    return f"{seconds} s; loss {losses}; set up in {report['setup_seconds']:.1f} s"


def compute_seconds_to_loss(report: dict[str, Any], target_loss: float) -> float:
    """Return the seconds until the validation loss was at most the target."""
    epoch = next(index for index, loss in enumerate(report["losses"]) if loss <= target_loss)
    return float(sum(report["seconds"][: epoch + 1]))


def summarize(reports: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return a row of the table for each contender that did not fail.

    The target is the best loss of the worst report.
    """
    complete = {
        name: [report for report in runs if "error" not in report] for name, runs in reports.items()
    }
    target = max(min(report["losses"]) for runs in complete.values() for report in runs)
    rows = []
    for name, runs in complete.items():
        if not runs:
            continue
        rows.append(
            {
                "name": name,
                "rounds": len(runs),
                "epoch": median(seconds for report in runs for seconds in report["seconds"]),
                "to_loss": median(compute_seconds_to_loss(report, target) for report in runs),
                "best": median(min(report["losses"]) for report in runs),
                "setup": median(report["setup_seconds"] for report in runs),
                "parameters": runs[0]["parameters"],
                "target": target,
            }
        )
    return rows


def format_table(name: str, task: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Format the table of one set."""
    ours = next(row for row in rows if row["name"] == "ours")
    settings = f"{task['cell']} of {task['hidden_size']}, batches of {task['batch_size']}"
    lines = [
        f"\n### {name}: {settings}, {task['epochs']} epochs; loss to reach {ours['target']:.4f}\n",
        "| name | rounds | s an epoch | x ours | s to the loss | x ours | best loss | set-up, s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['name']} | {row['rounds']} | {row['epoch']:.2f} "
        f"| {row['epoch'] / ours['epoch']:.2f} | {row['to_loss']:.2f} "
        f"| {row['to_loss'] / ours['to_loss']:.2f} | {row['best']:.4f} | {row['setup']:.1f} |"
        for row in rows
    ]
    others = [row for row in rows if not row["name"].startswith("ours")]
    if others:
        fastest = min(others, key=lambda row: row["to_loss"])
        ratio = fastest["to_loss"] / ours["to_loss"]
        lines.append(f"\nFastest: {fastest['name']}, {ratio:.2f} x our seconds to the same loss.")
    return "\n".join(lines)


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--peers", type=Path, default=Path(".ostinato/peers"))
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--cell", default="lstm", choices=["lstm", "gru"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--epochs", type=int, help="instead of the set's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def split_names(text: str, known: dict[str, Any]) -> list[str]:
    """Return the known names in a comma-separated text; a name may contain a comma itself."""
    return [name for name in known if f",{name}," in f",{text},"]


def main() -> None:
    """Measure and print."""
    arguments = read_arguments()
    peers = arguments.peers.resolve()
    if arguments.install:
        install(peers)
        return
    only = {"ours", *split_names(arguments.only, CONTENDERS)}
    reports_by_set = {}
    load = os.getloadavg()[0]
    print(f"{arguments.threads} threads, {arguments.rounds} rounds, load before {load:.2f}")
    for name in split_names(arguments.sets, SETS):
        if name in FILES and arguments.data is None:
            print(f"\n{name}: skipped, it needs --data with {FILES[name]}")
            continue
        benchmark_set = SETS[name](arguments.data)
        task = benchmark_set.settings | {"cell": arguments.cell, "threads": arguments.threads}
        task["epochs"] = arguments.epochs or task["epochs"]
        names = [
            each
            for each, contender in CONTENDERS.items()
            if each in only and name in contender.sets
        ]
        with tempfile.TemporaryDirectory() as temporary:
            task["arrays"] = str(Path(temporary) / "arrays.npz")
            np.savez(task["arrays"], **benchmark_set.arrays)
            reports = run_rounds(
                task, names, rounds=arguments.rounds, minutes=arguments.minutes, peers=peers
            )
        if all("error" in report for report in reports["ours"]):
            raise SystemExit(f"{name}: ours failed: {reports['ours'][0]['error']}")
        print(format_table(name, task, summarize(reports)), flush=True)
        for each, runs in reports.items():
            if "error" in runs[0]:
                print(f"{each} failed: {runs[0]['error']}")
        reports_by_set[name] = reports
    print(f"\nLoad after: {os.getloadavg()[0]:.2f}")
    if arguments.out:
        arguments.out.write_text(json.dumps(reports_by_set, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
