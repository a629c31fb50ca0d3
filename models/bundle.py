"""A finished model on disk: what it is made of, how sure it may be, and its answers to raw rows.

The same class answers in the gate, in batch scoring and behind MLflow's server: one row in, one
row out, in the same order; a row that cannot be read gets its reason and leaves the others alone.
Shapes: R rows of the table, S of them readable, O outputs.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models import calibration as calibrated
from models.calibration import Calibration
from models.errors import BundleError, UnlearnableError
from models.features.featurizer import Featurizer, Sample, load_featurizer, save_featurizer
from models.features.steps import Floats
from models.features.target import str_of
from models.learning.batches import Places, to_device
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences
from models.learning.loop import predict
from models.networks.config import ModelConfig
from models.networks.ensemble import Ensemble
from models.networks.heads.config import HeadConfig
from models.networks.heads.make import Asked
from models.networks.network import Face, Network
from models.prediction_table import Beside, answer_columns

FORMAT = 5
"""Raised when an older program could not read what this one writes."""

READS = (FORMAT, 4)
"""Formats that this program reads; the fourth has one network and no calibration."""

READABLE = "ok"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A featurizer and the network, or the ensemble, that was trained behind it."""

    featurizer: Featurizer
    network: Network | Ensemble
    model: ModelConfig
    head: HeadConfig = field(default_factory=HeadConfig)
    calibration: Calibration | None = None

    def predict(
        self, frame: pl.DataFrame, rows: np.ndarray[Any, Any] | None = None
    ) -> pl.DataFrame:
        """Answer raw rows.

        Args:
            frame: the source's columns; the target is not needed.
            rows: answer for these rows only; for a window, the others are its past.

        Returns:
            `prediction`, `status` ("ok", or why there is no prediction), and between them what the
            kind of answer has: `probability` and `probabilities` in the order of the classes,
            `quantile_...` of an answer that comes with its uncertainty, `spread`, `vector`; of a
            calibrated model `prediction_set`, or `interval_low` and `interval_high`.

        Raises:
            UnlearnableError: a column is missing or of the wrong type.
        """
        sample = self.featurizer.transform(frame)
        chosen = np.arange(len(frame)) if rows is None else rows
        errors = [sample.steps.errors_R[row] for row in chosen]
        readable = np.array([error is None for error in errors], bool)
        outputs_SO = self.outputs(sample, chosen[readable])
        status = [error or READABLE for error in errors]
        entities = self.featurizer.entities(frame, chosen[readable])
        return self.answers(outputs_SO, readable, status, entities=entities)

    def outputs(self, sample: Sample, rows_S: np.ndarray[Any, Any]) -> Floats:
        """Run the network over these rows."""
        if not len(rows_S):
            return np.empty((0, 1), np.float32)
        steps = sample.steps
        sequences = to_device(
            steps.values_NC,
            Places(steps.starts_R[rows_S], steps.stops_R[rows_S]),
            statics=sample.statics.pick(rows_S),
            device=next(self.network.parameters()).device,
        )
        return self.run(sequences)

    def run(self, sequences: Sequences) -> Floats:
        """Run the network over sequences, [S, O]."""
        config = TrainingConfig(precision="fp32")
        return np.asarray(predict(self.network, sequences, config).cpu().numpy())

    def answers(
        self,
        outputs_SO: Floats,
        readable: np.ndarray[Any, Any],
        status: list[str],
        *,
        entities: pl.Series | None,
    ) -> pl.DataFrame:
        """Lay the outputs out as a table with a row for every row, readable or not."""
        place = np.cumsum(readable) - 1
        index = pl.Series(np.where(readable, place, -1)).replace(-1, None)
        beside = Beside(entities, self.calibration)
        columns = answer_columns(outputs_SO, self.featurizer, self.head, beside=beside)
        return pl.DataFrame(
            {name: column.gather(index) for name, column in columns.items()}
            | {"status": pl.Series(status, dtype=pl.String)}
        )


def save(bundle: Bundle, folder: Path) -> None:
    """Write the bundle; equal bundles give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    networks = networks_of(bundle.network)
    spec = {
        "format": FORMAT,
        "networks": len(networks),
        "model": asdict(bundle.model),
        "head": asdict(bundle.head),
    }
    save_featurizer(bundle.featurizer, folder)
    text = json.dumps(spec, indent=2, ensure_ascii=False)
    (folder / "bundle.json").write_text(text + "\n", encoding="utf-8")
    if bundle.calibration is not None:
        calibrated.write(bundle.calibration, folder)
    for network, name in zip(networks, weight_files(len(networks)), strict=True):
        tensors = {key: tensor.cpu().contiguous() for key, tensor in network.state_dict().items()}
        save_file(tensors, folder / name)


def networks_of(network: Network | Ensemble) -> list[torch.nn.Module]:
    """List the networks: one, or those of an ensemble."""
    return list(network.members) if isinstance(network, Ensemble) else [network]


def weight_files(count: int) -> list[str]:
    """Name the files of the weights, of so many networks."""
    if count == 1:
        return ["network.safetensors"]
    return [f"network_{place + 1}.safetensors" for place in range(count)]


def read_spec(folder: Path) -> dict[str, Any]:
    """Read what a bundle is made of.

    Raises:
        BundleError: the folder holds none, a damaged one, or one of a newer format.
    """
    try:
        spec = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder} holds no model: {error}") from error
    found = spec.get("format") if isinstance(spec, dict) else None
    if found not in READS:
        formats = " and ".join(map(str, READS))
        raise BundleError(
            f"{folder} has format {found}, this version reads {formats}; "
            "install the version of ostinato that wrote it"
        )
    return dict(spec)


def load(folder: Path) -> Bundle:
    """Read a bundle.

    Raises:
        BundleError: the folder holds none, a damaged one, or one of a newer format.
    """
    spec = read_spec(folder)
    try:
        featurizer, model = load_featurizer(folder), ModelConfig.of(spec["model"])
        head = HeadConfig(**spec["head"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder} has a damaged bundle.json: {error!r}") from error
    networks = []
    for name in weight_files(int(spec.get("networks", 1))):
        network = Network(model, face_of(featurizer, head))
        try:
            network.load_state_dict(load_file(folder / name))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise BundleError(f"{folder} holds a damaged model: {error}") from error
        networks.append(network.eval())
    one = networks[0] if len(networks) == 1 else Ensemble(networks, featurizer.target.kind, head)
    return Bundle(featurizer, one.eval(), model, head, calibrated.read(folder))


def face_of(featurizer: Featurizer, head: HeadConfig) -> Face:
    """Say what a network behind this featurizer has to fit.

    Raises:
        UnlearnableError: nodes of trees are to teach, and none of their labels is a class.
    """
    return Face(
        signal=featurizer.signal,
        input=featurizer.layout.input,
        statics=featurizer.statics,
        asked=asked_of(featurizer, head),
        label_codes=label_codes(featurizer),
        channel=featurizer.own_channel,
        observed=len(getattr(featurizer.layout.input, "observed", ())),
    )


def asked_of(featurizer: Featurizer, head: HeadConfig) -> Asked:
    """Say what is asked of the network."""
    target, window = featurizer.target, featurizer.layout.window
    return Asked(
        kind=target.kind,
        codes=target.size,
        horizon=window.horizon if window else 1,
        longest=target.longest,
        mean=target.mean,
        spread=target.spread,
        head=head,
    )


def label_codes(featurizer: Featurizer) -> tuple[int, ...]:
    """Find the class that each label of a tree's nodes is, -1 for none."""
    labels = getattr(featurizer.signal, "labels", ())
    classes = [str_of(name) for name in featurizer.target.classes]
    codes = tuple(classes.index(label) if label in classes else -1 for label in labels)
    if labels and max(codes) < 0:
        raise UnlearnableError(
            f"supervise_nodes: no label of a node, such as '{labels[0]}', is a class of target "
            f"'{featurizer.target.column}', such as {classes[:1]}; remove it"
        )
    return codes
