"""Live metrics: curves of a training in MLflow while it runs, with the load of the machine.

The training loop only appends metrics here. A thread sends them in batches, seconds apart, so that
the loop never waits for MLflow. If MLflow cannot be reached, training continues, and the curves are
written when the model is registered.
"""

import contextlib
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from prefect.context import FlowRunContext, TaskRunContext

from models.learning.callbacks import Callbacks, EpochResult, StepResult
from tasks.errors import RegistryError, StoreError
from tasks.task_options import logger
from tasks.tracking import mlflow_client, runs
from tasks.tracking.runs import MetricValue, OpenRun, Status

START_DELAY_SECONDS = 3.0
"""A training that ends before is logged when it is registered: opening MLflow costs a second."""
SEND_SECONDS = 2.0
"""Minimum time between two requests."""
_SAMPLE_SECONDS = 10.0
"""Between two samples of the machine's load and of the loss within an epoch."""
RETRY_SECONDS = 60.0
"""Time without requests after MLflow could not be reached."""
_GRACE_SECONDS = 10.0
"""Time that the end of a training waits for a request that is being sent."""


class Experiment(NamedTuple):
    """The MLflow experiment with the runs of a job."""

    name: str
    artifact_root: str | None
    """Folder for the files of its runs where MLflow is a local database."""


class LiveMetrics:
    """Sends the metrics of one training to MLflow; a context manager, which ends the run too."""

    def __init__(self, experiment: Experiment, model_key: str) -> None:
        """Set up without a connection; the first step starts the thread."""
        self.experiment, self.model_key = experiment, model_key
        self.log, self.tags = logger(), read_flow_tags()
        self.run: OpenRun | None = None
        self.pending: list[MetricValue] = []
        self.last_step: StepResult | None = None
        self.prefix = ""
        self.throughput = _Throughput()
        self.finished, self.wake, self.abandoned = threading.Event(), threading.Event(), False
        self.thread: threading.Thread | None = None
        self.retry_at, self.has_warned, self.sampled_at = 0.0, False, 0.0

    @property
    def callbacks(self) -> Callbacks:
        """The training loop's hooks."""
        pretraining = Callbacks(self.on_pretraining_epoch, self.on_pretraining_step)
        return Callbacks(self.on_epoch, self.on_step, pretraining, self.on_begin)

    def on_begin(self, name: str) -> None:
        """Record which network is trained: where there are several, each has its own metrics."""
        self.prefix = f"{name}/" if name else ""
        self.throughput.end_epoch()

    def on_step(self, step: StepResult) -> None:
        """Record a step, and start the thread with the first."""
        self.last_step = step
        self.throughput.add(step.sequences)
        self._start()

    def on_epoch(self, epoch: EpochResult) -> None:
        """Record an epoch."""
        values = _list_epoch_metrics(epoch, self.throughput.end_epoch())
        self.pending += [each._replace(name=f"{self.prefix}{each.name}") for each in values]
        self.wake.set()

    def on_pretraining_step(self, step: StepResult) -> None:
        """Start the thread with the first step; the losses are those of another task."""
        del step
        self._start()

    def on_pretraining_epoch(self, epoch: EpochResult) -> None:
        """Record an epoch of pretraining."""
        values = {"loss": epoch.training_loss, str(epoch.metric_name): epoch.metric}
        self.pending += [
            MetricValue.now(f"pretrain_{name}", value, epoch.epoch)
            for name, value in values.items()
            if value is not None
        ]
        self.wake.set()

    def _start(self) -> None:
        """Start the thread, unless it runs."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
            self.thread.start()

    def _run(self) -> None:
        """Send what is pending again and again, until training has ended."""
        if self.finished.wait(START_DELAY_SECONDS):
            return
        while not self.finished.is_set():
            self._send()
            self.finished.wait(SEND_SECONDS)
            self.wake.wait(_SAMPLE_SECONDS)
            self.wake.clear()

    def _send(self) -> None:
        """Send the pending metrics and a sample; keep them where MLflow cannot be reached."""
        if time.monotonic() < self.retry_at:
            return
        try:
            run = self._open_run()
            self._sample(run)
            batch = self.pending[:]
            runs.log_metrics(
                run.run_id, [each for each in batch if (each.name, each.step) not in run.logged]
            )
            del self.pending[: len(batch)]
        except (RegistryError, StoreError) as error:
            self.retry_at = time.monotonic() + RETRY_SECONDS
            if not self.has_warned:
                self.log.warning(
                    "training continues, but MLflow does not receive its metrics: %s", error
                )
            self.has_warned = True

    def _open_run(self) -> OpenRun:
        """Return the run; the first call opens it."""
        if self.run is None:
            name, root = self.experiment
            number = mlflow_client.open_experiment(name, Path(root) if root else None)
            self.run = runs.open_training_run(number, self.model_key, name, self.tags)
            if self.abandoned:
                runs.end_run(self.run.run_id, "KILLED")
        return self.run

    def _sample(self, run: OpenRun) -> None:
        """Sample the machine's load, and the loss within the epoch."""
        if time.monotonic() - self.sampled_at < _SAMPLE_SECONDS:
            return
        self.sampled_at, step = time.monotonic(), self.last_step
        number = int((time.time() - run.start_time) / _SAMPLE_SECONDS)
        self.pending += [
            MetricValue.now(f"system/{key}", value, number)
            for key, value in _measure_system().items()
        ]
        if step is not None:
            name = f"{self.prefix}step_loss"
            self.pending.append(MetricValue.now(name, float(step.loss), step.done))

    def __enter__(self) -> Self:
        """Return the metrics themselves."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send the last metrics, and end the run with the status of the training."""
        if self.thread is None:
            return
        self.finished.set()
        self.wake.set()
        self.thread.join(_GRACE_SECONDS)
        self.abandoned = self.thread.is_alive()
        if self.abandoned or (self.run is None and kind is None):
            return
        self._send()
        if self.run is not None and time.monotonic() >= self.retry_at:
            with contextlib.suppress(RegistryError, StoreError):
                runs.end_run(self.run.run_id, _choose_status(kind))


class _Throughput:
    """Measures sequences per second, epoch by epoch."""

    def __init__(self) -> None:
        """Start the clock."""
        self.start_time = self.last_time = time.monotonic()
        self.sequences = 0

    def add(self, sequences: int) -> None:
        """Count the sequences of a step."""
        self.sequences += sequences
        self.last_time = time.monotonic()

    def end_epoch(self) -> float:
        """Return the throughput of this epoch, without its validation, and restart the clock."""
        throughput = self.sequences / max(1e-9, self.last_time - self.start_time)
        self.start_time, self.sequences = time.monotonic(), 0
        return throughput


def _list_epoch_metrics(epoch: EpochResult, throughput: float) -> list[MetricValue]:
    """List the metrics of an epoch; `throughput` in sequences per second."""
    values = {
        "training_loss": epoch.training_loss,
        "validation_loss": epoch.validation_loss,
        "learning_rate": epoch.learning_rate,
        "padding_share": epoch.padding_share,
        "sequences_per_second": throughput,
    }
    if epoch.metric is not None:
        values[f"validation_{epoch.metric_name}"] = epoch.metric
    return [MetricValue.now(name, value, epoch.epoch) for name, value in values.items()]


def _measure_system() -> dict[str, float]:
    """Measure the load of processors and memory, by the names that MLflow gives them."""
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
    """Measure the load of the GPU that is used, if there is one."""
    import torch

    if not torch.cuda.is_initialized():
        return {}
    device = torch.cuda.current_device()
    free, total = torch.cuda.mem_get_info(device)
    values = {
        f"gpu_{device}_memory_usage_megabytes": (total - free) / 1e6,
        f"gpu_{device}_memory_usage_percentage": 100.0 * (total - free) / total,
    }
    # The utilization needs NVIDIA's library.
    with contextlib.suppress(ModuleNotFoundError, RuntimeError):
        values[f"gpu_{device}_utilization_percentage"] = float(torch.cuda.utilization(device))
    return values


def read_flow_tags() -> dict[str, str]:
    """Return the tag with the id of the Prefect flow run; empty outside of one."""
    task = TaskRunContext.get()
    if task is not None and task.task_run.flow_run_id is not None:
        return {"prefect.flow_run_id": str(task.task_run.flow_run_id)}
    flow = FlowRunContext.get()
    return {"prefect.flow_run_id": str(flow.flow_run.id)} if flow and flow.flow_run else {}


def _choose_status(kind: type[BaseException] | None) -> Status:
    """Choose the run's status: an error failed it, an interruption killed it."""
    if kind is None:
        return "FINISHED"
    return "FAILED" if issubclass(kind, Exception) else "KILLED"
