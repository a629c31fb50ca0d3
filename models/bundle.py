"""A trained model on disk: featurizer, networks and calibration; from raw rows to predictions.

The same class predicts in the gate, in batch scoring and behind MLflow's server: one row in, one
row out, in the same order; a row that cannot be read gets a status that says why.
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
from models.learning.batches import Spans, to_device
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences
from models.learning.loop import predict
from models.networks.config import ModelConfig
from models.networks.ensemble import Ensemble
from models.networks.heads.build import HeadSpec
from models.networks.heads.config import HeadConfig
from models.networks.network import Network, NetworkSpec
from models.prediction_table import PredictionContext, build_columns

FORMAT = 1
"""Of the files of a bundle; raised when an older program could not read what this one writes."""

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
        """Predict raw rows.

        Args:
            frame: the source's columns; the target is not needed.
            rows: predict these rows only; for windows, the others are their past.

        Returns:
            `prediction`, `status` ("ok", or why there is no prediction), and between them what the
            kind of target has: `probability` and `probabilities` in the order of the classes,
            `quantile_...` and `standard_deviation` of a distribution, `vector`; of a calibrated
            model `prediction_set`, or `interval_low` and `interval_high`.

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
        return self.tabulate(outputs_SO, readable, status, entities=entities)

    def outputs(self, sample: Sample, rows_S: np.ndarray[Any, Any]) -> Floats:
        """Return the outputs of the network for these rows, [S, O]."""
        if not len(rows_S):
            return np.empty((0, 1), np.float32)
        steps = sample.steps
        sequences = to_device(
            steps.values_NC,
            Spans(steps.starts_R[rows_S], steps.stops_R[rows_S]),
            statics=sample.statics.select(rows_S),
            device=next(self.network.parameters()).device,
        )
        return self.run(sequences)

    def run(self, sequences: Sequences) -> Floats:
        """Return the outputs of the network for sequences, [S, O]."""
        config = TrainingConfig(precision="fp32")
        return np.asarray(predict(self.network, sequences, config).cpu().numpy())

    def tabulate(
        self,
        outputs_SO: Floats,
        readable: np.ndarray[Any, Any],
        status: list[str],
        *,
        entities: pl.Series | None,
    ) -> pl.DataFrame:
        """Return the predictions as a table with one row for each row, readable or not."""
        position = np.cumsum(readable) - 1
        index = pl.Series(np.where(readable, position, -1)).replace(-1, None)
        beside = PredictionContext(entities, self.calibration)
        columns = build_columns(outputs_SO, self.featurizer, self.head, context=beside)
        return pl.DataFrame(
            {name: column.gather(index) for name, column in columns.items()}
            | {"status": pl.Series(status, dtype=pl.String)}
        )


def save(bundle: Bundle, folder: Path) -> None:
    """Write the bundle into a folder; equal bundles give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    networks = list_networks(bundle.network)
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
        calibrated.save_calibration(bundle.calibration, folder)
    for network, name in zip(networks, list_weight_files(len(networks)), strict=True):
        tensors = {key: tensor.cpu().contiguous() for key, tensor in network.state_dict().items()}
        save_file(tensors, folder / name)


def list_networks(network: Network | Ensemble) -> list[torch.nn.Module]:
    """Return the networks: one, or the members of an ensemble."""
    return list(network.members) if isinstance(network, Ensemble) else [network]


def list_weight_files(count: int) -> list[str]:
    """Return the names of the files that hold the weights of `count` networks."""
    if count == 1:
        return ["network.safetensors"]
    return [f"network_{number}.safetensors" for number in range(1, count + 1)]


def read_spec(folder: Path) -> dict[str, Any]:
    """Read bundle.json.

    Raises:
        BundleError: the folder holds none, a damaged one, or one of another format.
    """
    try:
        spec = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder} holds no model: {error}") from error
    found = spec.get("format") if isinstance(spec, dict) else None
    if found != FORMAT:
        raise BundleError(
            f"{folder} has format {found}, this version reads {FORMAT}; "
            "install the version of ostinato that wrote it"
        )
    return dict(spec)


def load(folder: Path) -> Bundle:
    """Read a bundle.

    Raises:
        BundleError: the folder holds none, a damaged one, or one of another format.
    """
    spec = read_spec(folder)
    try:
        featurizer, model = load_featurizer(folder), ModelConfig.from_json(spec["model"])
        head = HeadConfig(**spec["head"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder} has a damaged bundle.json: {error!r}") from error
    networks = []
    for name in list_weight_files(int(spec["networks"])):
        network = Network(model, build_head_spec(featurizer, head))
        try:
            network.load_state_dict(load_file(folder / name))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise BundleError(f"{folder} holds a damaged model: {error}") from error
        networks.append(network.eval())
    one = networks[0] if len(networks) == 1 else Ensemble(networks, featurizer.target.kind, head)
    return Bundle(featurizer, one.eval(), model, head, calibrated.load_calibration(folder))


def build_head_spec(featurizer: Featurizer, head: HeadConfig) -> NetworkSpec:
    """Describe the inputs and outputs of a network behind this featurizer.

    Raises:
        UnlearnableError: nodes of trees are supervised, and none of their labels is a class.
    """
    return NetworkSpec(
        features=featurizer.signal,
        input=featurizer.layout.input,
        statics=featurizer.statics,
        head=build_output_spec(featurizer, head),
        label_codes=map_node_labels(featurizer),
        target_channel=featurizer.own_channel,
        num_observed=len(getattr(featurizer.layout.input, "observed", ())),
    )


def build_output_spec(featurizer: Featurizer, head: HeadConfig) -> HeadSpec:
    """Describe the outputs of a network for this target."""
    target, window = featurizer.target, featurizer.layout.window
    return HeadSpec(
        kind=target.kind,
        num_classes=target.size,
        horizon=window.horizon if window else 1,
        max_length=target.longest,
        mean=target.mean,
        std=target.std,
        config=head,
    )


def map_node_labels(featurizer: Featurizer) -> tuple[int, ...]:
    """Return the class code of each label of a tree's nodes, -1 where it is no class."""
    labels = getattr(featurizer.signal, "labels", ())
    classes = [str_of(name) for name in featurizer.target.classes]
    codes = tuple(classes.index(label) if label in classes else -1 for label in labels)
    if labels and max(codes) < 0:
        raise UnlearnableError(
            f"supervise_nodes: no label of a node, such as '{labels[0]}', is a class of target "
            f"'{featurizer.target.column}', such as {classes[:1]}; remove it"
        )
    return codes
