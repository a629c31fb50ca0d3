"""Learn from features: from their folder to a bundle, and how training went.

Shapes: S sequences of the validation.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from models.bundle import Bundle, face_of, save
from models.features.featurizer import load_featurizer
from models.learning.callbacks import Judge, figure
from models.learning.config import TrainingConfig
from models.learning.loop import Checkpoints, Epoch, Watch, fit
from models.learning.memory import keep_memory
from models.learning.plan import Plan, kept_plan
from models.learning.precision import pick_precision
from models.learning.validation import advised
from models.networks.config import ModelConfig
from models.networks.ensemble import Ensemble
from models.networks.heads.config import HeadConfig
from models.networks.network import build, parameter_count
from tasks.dataset.training_membership import keep_learned
from tasks.records import Facts
from tasks.resource_usage import start_meter
from tasks.training.calibration import calibrated, divided
from tasks.training.data import is_streamed, load_splits, pick_device
from tasks.training.head_setup import prepare
from tasks.training.validation_metric import validation_judge


def learn(
    features_dir: Path,
    folder: Path,
    *,
    model: ModelConfig,
    head: HeadConfig,
    training: TrainingConfig,
    checkpoints: Checkpoints,
    watch: Watch,
    teachers: Ensemble | None = None,
    plan: Plan | None = None,
) -> Facts:
    """Train on the features, by a plan if one is given; write bundle and history into `folder`.

    Raises:
        DivergedError: the loss stopped being finite.
    """
    keep_memory()
    device, featurizer = pick_device(training), load_featurizer(features_dir)
    network = build(model, face_of(featurizer, head), seed=training.seed)
    kept = kept_plan(checkpoints) or plan
    streamed = is_streamed(features_dir, training, device, kept)
    training = replace(training, precision=pick_precision(training, model, device, kept))
    learned, validation = load_splits(features_dir, device, streamed=streamed)
    learned = advised(learned, teachers.to(device)) if teachers else learned
    prepare(network.to(device), learned, model=model, seed=training.seed)
    halves, meter = divided(validation, featurizer), start_meter()
    judge = validation_judge(features_dir, featurizer, head, training, rows_S=halves.rows_S)
    plan, history = fit(
        network,
        learned,
        halves.deciding,
        config=training,
        checkpoints=checkpoints,
        watch=watch,
        judge=judge,
        plan=plan,
    )
    spent = meter.spent()
    bundle, apart = Bundle(featurizer, network, model, head), halves.apart or validation
    save(calibrated(bundle, apart, features_dir), folder / "bundle")
    keep_learned(features_dir, folder / "bundle")
    write_history(history, folder / "history.json")
    made = {"parameters": parameter_count(network), "device": str(device)}
    return {**course(history, judge), **planned(plan), **made, **spent}


def write_history(history: Sequence[Epoch], path: Path) -> None:
    """Write the epochs as JSON."""
    epochs = [epoch._asdict() for epoch in history]
    path.write_text(json.dumps(epochs, indent=2), encoding="utf-8")


def course(history: Sequence[Epoch], judge: Judge | None) -> dict[str, float]:
    """Tell how training went."""
    best = min(history, key=lambda epoch: figure(epoch, judge))
    told = {
        "epochs": len(history),
        "best_epoch": best.epoch + 1,
        "validation_loss": best.validation_loss,
        "padding_share": round(history[0].padding_share, 4),
    }
    if judge is not None and best.metric is not None:
        told[f"validation_{judge.name}"] = best.metric
    return told


def planned(plan: Plan) -> Facts:
    """Tell what was settled before training began."""
    return {
        "epochs_planned": plan.epochs,
        "learning_rate": plan.rate,
        "batch": plan.batch,
        "precision": plan.precision,
        "data": "streaming" if plan.streamed else "in_memory",
        "kernels": plan.kernels,
        "plans": [plan._asdict()],
    }
