"""Training beside its peers, on the same arrays: `python tests/benchmarks/training_peers.py`.

    --data FOLDER     where tree_sst, m4_weekly and image_mnist10k.parquet lie; without it the
                      long series alone are learned
    --peers FOLDER    where each peer's environment is, or will be (.ostinato/peers)
    --install         make the environments that are missing, and leave
    --sets text,long,windows,rows    --only ours,loop,...    --cell lstm
    --rounds 3        turns; a contender that takes three times as long as ours has one alone
    --minutes 3       of a set, after which no round begins
    --threads 2       --out FILE (all that was measured, as JSON)

Every contender is a process of its own (`peers/by_*.py`) with the same arrays, network, batch,
epochs, rates where they can be set, seed of the round, and threads, and else as its documentation
has it. What is compared: seconds of an epoch with its validation, from where the data lie in
memory, after an epoch over three batches that is not counted; and seconds until the validation loss
is as low as all of them come, which is the best of the worst. Set-up (imports, reading, that first
epoch) is told beside it.
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

from sets import FILES, SETS  # noqa: E402 - found through the line above

SLOW = 3.0
"""Times our seconds from which on one turn says enough."""
LONGEST_SECONDS = 90
"""That a turn may take."""


class Contender(NamedTuple):
    """A script, and the environment that it needs."""

    script: str
    sets: tuple[str, ...]
    environment: str = ""
    """Folder of its packages; empty for those that run this file."""
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
    """Make each peer's environment, with the torch that ours has."""
    for name, wanted in REQUIREMENTS.items():
        folder = peers / name
        if (folder / "installed").exists():
            continue
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "pip", "install", "--quiet"]
        (folder / "constraints.txt").write_text(TORCH + "\n", encoding="utf-8")
        subprocess.run([*pip, TORCH], check=True)
        subprocess.run([*pip, "-c", folder / "constraints.txt", *wanted], check=True)
        (folder / "installed").touch()
        print(f"{name}: {' '.join(wanted)}", flush=True)


def python_of(contender: Contender, peers: Path) -> Path:
    """Name the interpreter that runs a contender."""
    if not contender.environment:
        return Path(sys.executable)
    return peers / contender.environment / "bin" / "python"


def measure(contender: Contender, lesson: dict[str, Any], *, peers: Path) -> dict[str, Any]:
    """Let one contender learn in a process of its own; return its report, or its error."""
    threads = str(lesson["threads"])
    variables = contender.variables | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": threads,
        "PYTHONWARNINGS": "ignore",
        "LESSON_BEGAN": str(time.time()),
    }
    with tempfile.TemporaryDirectory() as temporary:
        told = Path(temporary) / "lesson.json"
        told.write_text(json.dumps(lesson | {"options": contender.options}), encoding="utf-8")
        began = time.perf_counter()
        try:
            done = subprocess.run(
                [python_of(contender, peers), HERE / "peers" / f"{contender.script}.py", told],
                cwd=temporary,
                env=os.environ | variables,
                capture_output=True,
                text=True,
                check=False,
                timeout=LONGEST_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"it took more than {LONGEST_SECONDS} s"}
        except OSError as error:
            return {"error": str(error)}
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return {"error": said[-1][:200] if said else f"ended with {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"wall": time.perf_counter() - began, "load": os.getloadavg()[0]}


def take_turns(
    lesson: dict[str, Any], names: list[str], *, rounds: int, minutes: float, peers: Path
) -> dict[str, list[dict[str, Any]]]:
    """Let the contenders learn one after the other, round by round, with the round's seed."""
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    began, longest = time.perf_counter(), 0.0
    for seed in range(rounds):
        if time.perf_counter() - began + longest > 60 * minutes:
            break
        for name in names:
            if seed and gave_up(turns[name], turns["ours"]):
                continue
            found = measure(CONTENDERS[name], lesson | {"seed": seed}, peers=peers)
            turns[name].append(found)
            print(f"  {name}: {shown(found)}", file=sys.stderr, flush=True)
        # The rounds after the first are without those that gave up, and so no longer.
        longest = sum(
            own[-1].get("wall", 0.0) for own in turns.values() if not gave_up(own, turns["ours"])
        )
    return turns


def gave_up(turns: list[dict[str, Any]], ours: list[dict[str, Any]]) -> bool:
    """Tell whether a contender failed, or is so slow that one turn says enough."""
    if "error" in turns[0] or "error" in ours[0]:
        return "error" in turns[0]
    return median(turns[0]["seconds"]) > SLOW * median(ours[0]["seconds"])


def shown(found: dict[str, Any]) -> str:
    """Tell one turn in a line."""
    if "error" in found:
        return str(found["error"])
    seconds = ", ".join(f"{one:.2f}" for one in found["seconds"])
    scores = ", ".join(f"{one:.3f}" for one in found["scores"])
    return f"{seconds} s; loss {scores}; set up in {found['set_up']:.1f} s"


def until(found: dict[str, Any], target: float) -> float:
    """Return the seconds until the loss was at most the target."""
    reached = next(place for place, score in enumerate(found["scores"]) if score <= target)
    return float(sum(found["seconds"][: reached + 1]))


def compared(turns: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Bring the turns of one set to a line a contender.

    The target is the best loss that the worst contender reached in any of its turns.
    """
    able = {name: [found for found in own if "error" not in found] for name, own in turns.items()}
    good = {name: own for name, own in able.items() if own}
    target = max(min(found["scores"]) for own in good.values() for found in own)
    lines = []
    for name, own in good.items():
        epoch = median(second for found in own for second in found["seconds"])
        lines.append(
            {
                "who": name,
                "turns": len(own),
                "epoch": epoch,
                "until": median(until(found, target) for found in own),
                "best": median(min(found["scores"]) for found in own),
                "set_up": median(found["set_up"] for found in own),
                "parameters": own[0]["parameters"],
                "target": target,
            }
        )
    return lines


def table(name: str, lesson: dict[str, Any], lines: list[dict[str, Any]]) -> str:
    """Write one set's lines."""
    ours = next(line for line in lines if line["who"] == "ours")
    course = f"{lesson['cell']} of {lesson['hidden']}, batches of {lesson['batch']}"
    rows = [
        f"\n### {name}: {course}, {lesson['epochs']} epochs; loss to reach {ours['target']:.4f}\n",
        "| who | turns | s an epoch | x ours | s to the loss | x ours | best loss | set-up, s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    rows += [
        f"| {line['who']} | {line['turns']} | {line['epoch']:.2f} "
        f"| {line['epoch'] / ours['epoch']:.2f} | {line['until']:.2f} "
        f"| {line['until'] / ours['until']:.2f} | {line['best']:.4f} | {line['set_up']:.1f} |"
        for line in lines
    ]
    others = [line for line in lines if not line["who"].startswith("ours")]
    if others:
        first = min(others, key=lambda line: line["until"])
        ratio = first["until"] / ours["until"]
        rows.append(f"\nFastest peer: {first['who']}, {ratio:.2f} x our seconds to the same loss.")
    return "\n".join(rows)


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
    parser.add_argument("--epochs", type=int, help="fewer than the set's own, to try it out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def split_names(text: str, known: dict[str, Any]) -> list[str]:
    """Read names that commas part; a contender's own comma is kept."""
    return [name for name in known if f",{name}," in f",{text},"]


def main() -> None:
    """Measure and print."""
    asked = read_arguments()
    peers = asked.peers.resolve()
    if asked.install:
        install(peers)
        return
    only = {"ours", *split_names(asked.only, CONTENDERS)}
    measured = {}
    print(f"{asked.threads} threads, {asked.rounds} rounds, load before {os.getloadavg()[0]:.2f}")
    for name in split_names(asked.sets, SETS):
        if name in FILES and asked.data is None:
            print(f"\n{name}: left out, it needs --data with {FILES[name]}")
            continue
        made = SETS[name](asked.data)
        lesson = made.course | {"cell": asked.cell, "threads": asked.threads}
        lesson["epochs"] = asked.epochs or lesson["epochs"]
        who = [one for one, its in CONTENDERS.items() if one in only and name in its.sets]
        with tempfile.TemporaryDirectory() as temporary:
            lesson["arrays"] = str(Path(temporary) / "arrays.npz")
            np.savez(lesson["arrays"], **made.arrays)
            turns = take_turns(lesson, who, rounds=asked.rounds, minutes=asked.minutes, peers=peers)
        if all("error" in found for found in turns["ours"]):
            raise SystemExit(f"{name}: ours failed: {turns['ours'][0]['error']}")
        print(table(name, lesson, compared(turns)), flush=True)
        for one, own in turns.items():
            if "error" in own[0]:
                print(f"{one} could not take part: {own[0]['error']}")
        measured[name] = turns
    print(f"\nLoad after: {os.getloadavg()[0]:.2f}")
    if asked.out:
        asked.out.write_text(json.dumps(measured, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
