"""A training's curves in MLflow while it goes on, and what it takes of the machine.

The loop only leaves numbers here. A thread of its own hands them on in batches, seconds apart, so
the loop never waits for MLflow. If MLflow is away, training goes on, and the curves are written
when the model is registered.
"""

import contextlib
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from prefect.context import FlowRunContext, TaskRunContext

from models.learning.callbacks import Callbacks, EpochResult, StepResult
from tasks.errors import RegistryError
from tasks.task_options import logger
from tasks.tracking import mlflow_client, runs
from tasks.tracking.runs import MetricValue, OpenRun, Status

START_DELAY_SECONDS = 3.0
"""A training that is over by then is told when it is registered: opening MLflow costs a second."""
SEND_SECONDS = 2.0
"""Shortest time between two requests."""
SAMPLE_SECONDS = 10.0
"""Between two looks at the machine and at the loss within an epoch."""
RETRY_SECONDS = 60.0
"""Time that a MLflow which did not answer is left alone."""
GRACE_SECONDS = 10.0
"""Time that the end of a training waits for the last request."""


class Experiment(NamedTuple):
    """Where in MLflow the runs of a job are."""

    name: str
    artifact_root: str | None
    """Folder for the files of its runs, if MLflow is a local database."""


class LiveMetrics:
    """Tells MLflow of one training; a context, whose end says how it went."""

    def __init__(self, experiment: Experiment, model_key: str) -> None:
        """Set up; nothing is opened yet."""
        self.experiment, self.model_key = experiment, model_key
        self.log, self.tags = logger(), read_flow_tags()
        self.run: OpenRun | None = None
        self.waiting: list[MetricValue] = []
        self.step: StepResult | None = None
        self.speed = _Throughput()
        self.over, self.awake, self.abandoned = threading.Event(), threading.Event(), False
        self.thread: threading.Thread | None = None
        self.rests_until, self.warned, self.sampled = 0.0, False, 0.0

    @property
    def callbacks(self) -> Callbacks:
        """What the loop tells."""
        return Callbacks(self.on_epoch, self.on_step)

    def on_step(self, step: StepResult) -> None:
        """Take in a step."""
        self.step = step
        self.speed.add(step.sequences)
        if self.thread is None:
            self.thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
            self.thread.start()

    def on_epoch(self, epoch: EpochResult) -> None:
        """Take in an epoch."""
        self.waiting += _list_epoch_metrics(epoch, self.speed.end_epoch())
        self.awake.set()

    def _run(self) -> None:
        """Hand on what was left here, until training is over."""
        if self.over.wait(START_DELAY_SECONDS):
            return
        while not self.over.is_set():
            self._send()
            self.over.wait(SEND_SECONDS)
            self.awake.wait(SAMPLE_SECONDS)
            self.awake.clear()

    def _send(self) -> None:
        """Write what is waiting, and a look at the machine; keep it where nobody answers."""
        if time.monotonic() < self.rests_until:
            return
        try:
            run = self._open_run()
            self._sample(run)
            batch = self.waiting[:]
            runs.log_metrics(
                run.run_id, [one for one in batch if (one.name, one.step) not in run.known]
            )
            del self.waiting[: len(batch)]
        except RegistryError as error:
            self.rests_until = time.monotonic() + RETRY_SECONDS
            if not self.warned:
                self.log.warning(
                    "MLflow is not told of this training for now, which goes on: %s", error
                )
            self.warned = True

    def _open_run(self) -> OpenRun:
        """Open the run, once."""
        if self.run is None:
            name, root = self.experiment
            number = mlflow_client.open_experiment(name, Path(root) if root else None)
            self.run = runs.open_training(number, self.model_key, name, self.tags)
            if self.abandoned:
                runs.end_run(self.run.run_id, "KILLED")
        return self.run

    def _sample(self, run: OpenRun) -> None:
        """Look at the machine, and at the loss within the epoch."""
        if time.monotonic() - self.sampled < SAMPLE_SECONDS:
            return
        self.sampled, step = time.monotonic(), self.step
        place = int((time.time() - run.start_time) / SAMPLE_SECONDS)
        self.waiting += [
            MetricValue.now(f"system/{key}", value, place)
            for key, value in measure_machine().items()
        ]
        if step is not None:
            self.waiting.append(MetricValue.now("step_loss", float(step.loss), step.done))

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hand on the last numbers and say how the training ended."""
        if self.thread is None:
            return
        self.over.set()
        self.awake.set()
        self.thread.join(GRACE_SECONDS)
        self.abandoned = self.thread.is_alive()
        if self.abandoned or (self.run is None and kind is None):
            return
        self._send()
        if self.run is not None and time.monotonic() >= self.rests_until:
            with contextlib.suppress(RegistryError):
                runs.end_run(self.run.run_id, _choose_status(kind))


class _Throughput:
    """Counts sequences a second, epoch by epoch."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.began = self.last = time.monotonic()
        self.read = 0

    def add(self, sequences: int) -> None:
        """Take in a step."""
        self.read += sequences
        self.last = time.monotonic()

    def end_epoch(self) -> float:
        """Return the speed since the last epoch, without validation, and restart the clock."""
        found = self.read / max(1e-9, self.last - self.began)
        self.began, self.read = time.monotonic(), 0
        return found


def _list_epoch_metrics(epoch: EpochResult, speed: float) -> list[MetricValue]:
    """Write an epoch as numbers of a run."""
    values = {
        "training_loss": epoch.training_loss,
        "validation_loss": epoch.validation_loss,
        "learning_rate": epoch.learning_rate,
        "padding_share": epoch.padding_share,
        "sequences_per_second": speed,
    }
    if epoch.metric is not None:
        values[f"validation_{epoch.metric_name}"] = epoch.metric
    return [MetricValue.now(name, value, epoch.epoch) for name, value in values.items()]


def measure_machine() -> dict[str, float]:
    """Look at the processors and the memory, named as MLflow names them."""
    import psutil  # type: ignore[import-untyped]

    memory, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / 1e6,
        "system_memory_usage_percentage": memory.percent,
        "process_memory_usage_megabytes": own / 1e6,
        **_measure_gpu(),
    }


def _measure_gpu() -> dict[str, float]:
    """Look at the GPU that is used, if one is."""
    import torch

    if not torch.cuda.is_initialized():
        return {}
    place = torch.cuda.current_device()
    free, whole = torch.cuda.mem_get_info(place)
    found = {
        f"gpu_{place}_memory_usage_megabytes": (whole - free) / 1e6,
        f"gpu_{place}_memory_usage_percentage": 100.0 * (whole - free) / whole,
    }
    # Without NVIDIA's library its use is not known.
    with contextlib.suppress(ModuleNotFoundError, RuntimeError):
        found[f"gpu_{place}_utilization_percentage"] = float(torch.cuda.utilization(place))
    return found


def read_flow_tags() -> dict[str, str]:
    """Name the flow run, if there is one, so that a person finds it from MLflow."""
    task = TaskRunContext.get()
    if task is not None and task.task_run.flow_run_id is not None:
        return {"prefect.flow_run_id": str(task.task_run.flow_run_id)}
    flow = FlowRunContext.get()
    return {"prefect.flow_run_id": str(flow.flow_run.id)} if flow and flow.flow_run else {}


def _choose_status(kind: type[BaseException] | None) -> Status:
    """Distinguish an error from a training that was stopped."""
    if kind is None:
        return "FINISHED"
    return "FAILED" if issubclass(kind, Exception) else "KILLED"
