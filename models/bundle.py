"""A trained model: featurizer, networks and calibration; raw rows to predictions, save and load.

The same class predicts in the gate, in batch scoring and behind MLflow's server: one row in, one
row out, in the same order; a row that cannot be read gets a status that says why.
Shapes: R rows of the table, S of them readable, O outputs.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file

from models.calibration import Calibration, load_calibration, save_calibration
from models.errors import BundleError, UnlearnableError
from models.evaluation.baselines.served import Baseline, build_baseline
from models.features.detokenize import Detokenizer, build_detokenizer
from models.features.featurizer import EncodedRows, Featurizer, load_featurizer, save_featurizer
from models.features.steps import Floats
from models.features.target import format_class
from models.learning.batches import Spans, to_device
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences
from models.learning.loop import predict
from models.networks.blend import Blend, BlendParts, Mix
from models.networks.branches.build import BranchSettings, build_branch
from models.networks.config import ModelConfig
from models.networks.ensemble import Ensemble
from models.networks.heads.build import HeadSpec
from models.networks.heads.config import HeadConfig
from models.networks.network import Network, NetworkSpec
from models.networks.selected_ensemble import SelectedEnsemble
from models.prediction_table import PredictionContext, build_prediction_columns
from models.trained_networks import (
    AnyNetwork,
    find_device,
    list_networks,
    list_part_settings,
    list_weight_files,
    load_recurrent,
    save_module,
)

FORMAT = 1
"""Format of the files; increased when an older version cannot read what this one writes."""

_STATUS_OK = "ok"

_BRANCH_FILE = "branch_{}.safetensors"

_BASELINE_FILE = "baseline.safetensors"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A featurizer and what was fitted behind it: a network, an ensemble, a blend or a baseline."""

    featurizer: Featurizer
    network: AnyNetwork
    model: ModelConfig
    head: HeadConfig = field(default_factory=HeadConfig)
    calibration: Calibration | None = None

    def predict(
        self, frame: pl.DataFrame, rows: np.ndarray[Any, Any] | None = None
    ) -> pl.DataFrame:
        """Predict raw rows.

        Args:
            frame: the source's columns; the target is not needed.
            rows: predict these rows only; all when None. Windows read the others as their past.

        Returns:
            `prediction`, `status` ("ok", or why there is no prediction), and between them the
            columns of the kind of target: `probability` and `probabilities` in the order of the
            classes, `quantile_...` and `standard_deviation` of a distribution, `vector`; of a
            calibrated model `prediction_set`, or `interval_low` and `interval_high`.

        Raises:
            UnlearnableError: a column is missing or of the wrong type.
        """
        return self._predict_with(frame, rows, self.network, [self])[0]

    def predict_parts(
        self, frame: pl.DataFrame, rows: np.ndarray[Any, Any] | None = None
    ) -> dict[str, pl.DataFrame]:
        """Predict raw rows with the model, and with each part of a blend alone.

        Each part is computed once. The model's own predictions, under the empty name, are bit for
        bit those of `predict`; those of the parts, named as in `Blend.list_parts`, have no
        calibration. A model that is no blend has no parts.

        Raises:
            UnlearnableError: a column is missing or of the wrong type.
        """
        if not isinstance(self.network, Blend):
            return {"": self.predict(frame, rows)}
        names, alone = self.network.list_parts(), replace(self, calibration=None)
        bundles = [self, *(alone for _ in names)]
        tables = self._predict_with(frame, rows, BlendParts(self.network), bundles)
        return dict(zip(["", *names], tables, strict=True))

    def _predict_with(
        self,
        frame: pl.DataFrame,
        rows: np.ndarray[Any, Any] | None,
        network: AnyNetwork | BlendParts,
        bundles: list["Bundle"],
    ) -> list[pl.DataFrame]:
        """Predict raw rows with a network whose outputs are, side by side, those of the bundles."""
        encoded = self.featurizer.transform(frame)
        rows_R = np.arange(len(frame)) if rows is None else rows
        errors_R = [encoded.steps.errors_R[row] for row in rows_R]
        readable_R = np.array([error is None for error in errors_R], bool)
        outputs_SO = self._compute_outputs(encoded, rows_R[readable_R], network)
        status = [error or _STATUS_OK for error in errors_R]
        entities = self.featurizer.select_entities(frame, rows_R[readable_R])
        own = (
            np.split(outputs_SO, len(bundles), axis=1)
            if len(outputs_SO)
            else [outputs_SO] * len(bundles)
        )
        return [
            bundle.build_table(np.ascontiguousarray(each_SO), readable_R, status, entities=entities)
            for bundle, each_SO in zip(bundles, own, strict=True)
        ]

    def _compute_outputs(
        self,
        encoded: EncodedRows,
        rows_S: np.ndarray[Any, Any],
        network: AnyNetwork | BlendParts,
    ) -> Floats:
        """Return the outputs of a network for these rows, [S, O]."""
        if not len(rows_S):
            return np.empty((0, 1), np.float32)
        steps = encoded.steps
        sequences = to_device(
            steps.values_NC,
            Spans(steps.starts_R[rows_S], steps.stops_R[rows_S]),
            statics=encoded.static_covariates.select(rows_S),
            device=find_device(self.network),
        )
        return _run_network(network, sequences)

    def run_network(self, sequences: Sequences) -> Floats:
        """Return the outputs of the network for sequences, [S, O]."""
        return _run_network(self.network, sequences)

    def build_table(
        self,
        outputs_SO: Floats,
        readable: np.ndarray[Any, Any],
        status: list[str],
        *,
        entities: pl.Series | None,
    ) -> pl.DataFrame:
        """Return the predictions as a table with one row for each input row.

        Args:
            outputs_SO: outputs of the network for the readable rows.
            readable: for each input row, whether it could be read.
            status: of each input row.
            entities: of the readable rows, where the target is scaled per entity.
        """
        position_R = np.cumsum(readable) - 1
        index = pl.Series(np.where(readable, position_R, -1)).replace(-1, None)
        context = PredictionContext(entities, self.calibration)
        columns = build_prediction_columns(outputs_SO, self.featurizer, self.head, context=context)
        return pl.DataFrame(
            {name: column.gather(index) for name, column in columns.items()}
            | {"status": pl.Series(status, dtype=pl.String)}
        )


def _run_network(network: AnyNetwork | BlendParts, sequences: Sequences) -> Floats:
    """Return the outputs of a network for sequences, [S, O]."""
    config = TrainingConfig(precision="fp32")
    return np.asarray(predict(network, sequences, config).cpu().numpy())


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write the bundle into a folder; equal bundles give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    blend = bundle.network if isinstance(bundle.network, Blend) else None
    baseline = bundle.network if isinstance(bundle.network, Baseline) else None
    networks = list_networks(bundle.network)
    spec = {
        "format": FORMAT,
        "networks": len(networks),
        "model": asdict(bundle.model),
        "head": asdict(bundle.head),
        "parts": [asdict(each) for each in list_part_settings(bundle.network)],
        "branches": [asdict(each) for each in blend.settings] if blend else [],
        "mix": asdict(blend.mix) if blend else None,
        "baseline": baseline.describe() if baseline else None,
    }
    save_featurizer(bundle.featurizer, folder)
    text = json.dumps(spec, indent=2, ensure_ascii=False)
    (folder / "bundle.json").write_text(text + "\n", encoding="utf-8")
    if bundle.calibration is not None:
        save_calibration(bundle.calibration, folder)
    for network, name in zip(networks, list_weight_files(len(networks)), strict=True):
        save_module(network, folder / name)
    for number, branch in enumerate(blend.branches if blend else (), 1):
        save_module(branch, folder / _BRANCH_FILE.format(number))
    if baseline is not None:
        save_module(baseline, folder / _BASELINE_FILE)


def read_bundle_spec(folder: Path) -> dict[str, Any]:
    """Return the content of bundle.json.

    Raises:
        BundleError: there is no bundle, or it is damaged or of another format.
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


def load_bundle(folder: Path) -> Bundle:
    """Return the bundle of a folder.

    Raises:
        BundleError: there is no bundle, or it is damaged or of another format.
    """
    spec = read_bundle_spec(folder)
    try:
        featurizer, model = load_featurizer(folder), ModelConfig.from_json(spec["model"])
        head = HeadConfig(**spec["head"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder} has a damaged bundle.json: {error!r}") from error
    if spec.get("baseline"):
        baseline = _load_baseline(folder, spec["baseline"], featurizer)
        return Bundle(featurizer, baseline.eval(), model, head, load_calibration(folder))
    recurrent = load_recurrent(folder, spec, model, build_network_spec(featurizer, head))
    joined = _load_blend(folder, spec, recurrent, featurizer=featurizer, head=head)
    network_or_blend = (joined or recurrent).eval()
    return Bundle(featurizer, network_or_blend, model, head, load_calibration(folder))


def _load_baseline(folder: Path, spec: Mapping[str, Any], featurizer: Featurizer) -> Baseline:
    """Load a baseline.

    Raises:
        BundleError: it is damaged.
    """
    try:
        baseline = build_baseline(spec, featurizer)
        baseline.restore(load_file(folder / _BASELINE_FILE))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder} holds a damaged baseline: {error!r}") from error
    return baseline


def _load_blend(
    folder: Path,
    spec: Mapping[str, Any],
    recurrent: Network | Ensemble | SelectedEnsemble,
    *,
    featurizer: Featurizer,
    head: HeadConfig,
) -> Blend | None:
    """Load the branches and join them; None where the model has none.

    Raises:
        BundleError: a branch is damaged.
    """
    if not spec.get("branches"):
        return None
    try:
        settings = [BranchSettings(**each) for each in spec["branches"]]
        mix = TypeAdapter(Mix).validate_python(spec["mix"])
        branches = []
        for number, each in enumerate(settings, 1):
            branch = build_branch(
                each, build_network_spec(featurizer, head), detokenize=load_detokenizer(featurizer)
            )
            branch.restore(load_file(folder / _BRANCH_FILE.format(number)))
            branches.append(branch)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder} holds a damaged model: {error!r}") from error
    return Blend(recurrent, branches, mix, featurizer.target.kind, settings=settings)


def load_detokenizer(featurizer: Featurizer) -> Detokenizer | None:
    """Return what turns ids back into text; None where steps are no tokens."""
    return build_detokenizer(featurizer.layout.input, featurizer.state)


def build_network_spec(featurizer: Featurizer, head: HeadConfig) -> NetworkSpec:
    """Return the inputs and outputs that a network of this featurizer has.

    Raises:
        UnlearnableError: nodes of trees are supervised, and none of their labels is a class.
    """
    return NetworkSpec(
        features=featurizer.feature_spec,
        input=featurizer.layout.input,
        statics=featurizer.static_state,
        head=_build_head_spec(featurizer, head),
        label_codes=map_node_labels(featurizer),
        target_channels=featurizer.target_channels,
        label_channels=featurizer.label_channels,
        num_observed=len(getattr(featurizer.layout.input, "observed", ())),
    )


def map_node_labels(featurizer: Featurizer) -> tuple[int, ...]:
    """Return the class code of each label of a tree's nodes, -1 where it is no class.

    Raises:
        UnlearnableError: no label is a class.
    """
    labels = getattr(featurizer.feature_spec, "labels", ())
    classes = [format_class(name) for name in featurizer.target.classes]
    codes = tuple(classes.index(label) if label in classes else -1 for label in labels)
    if labels and max(codes) < 0:
        raise UnlearnableError(
            f"supervise_nodes: no label of a node, such as '{labels[0]}', is a class of target "
            f"'{featurizer.target.column}', such as {classes[:1]}; remove supervise_nodes"
        )
    return codes


def _build_head_spec(featurizer: Featurizer, head: HeadConfig) -> HeadSpec:
    """Return the outputs that a network for this target has."""
    target, window = featurizer.target, featurizer.layout.window
    return HeadSpec(
        kind=target.kind,
        num_classes=target.num_codes,
        horizon=window.horizon if window else 1,
        num_columns=len(target.list_parts()),
        max_length=target.max_length,
        mean=target.mean,
        std=target.std,
        config=head,
    )
