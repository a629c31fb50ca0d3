"""Explanations of some test rows: what each of their steps adds to the prediction.

Classes, tags, numbers and forecasts by integrated gradients, or by occlusion where there is none:
in a network that is joined with branches, and in a baseline; texts by the attention of each symbol,
or by what each step writes; self-supervised sequences by the error of each step.
Shapes: R test rows, N steps of one row, O outputs, L symbols of a text.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.bundle import Bundle
from models.evaluation.attention_weights import (
    compute_attention,
    compute_step_errors,
    read_ctc_outputs,
)
from models.evaluation.attribution import SequenceInput, compute_attribution
from models.evaluation.baselines.naive_errors import NaiveErrors
from models.evaluation.baselines.served import Baseline
from models.evaluation.occlusion import compute_occlusion
from models.evaluation.predictions import Predictions, SinglePredictions, TagPredictions
from models.features.config import SELF_SUPERVISED
from models.features.splitting.split import TEST
from models.features.target import Target
from models.learning.batches import Spans, gather, to_device
from models.networks.blend import Blend
from models.networks.heads.ctc import TEXT_PADDING, CtcHead
from models.networks.network import Network
from models.trained_networks import find_device, list_networks
from tasks.dataset.feature_files import map_steps, read_sequences, read_static_covariates
from tasks.dataset.labels import TestRows
from tasks.dataset.rowset import RowSet
from tasks.report_record import Explanation, ExplanationStep
from tasks.reporting.attribution_targets import (
    AttributionTarget,
    TargetScale,
    build_class_target,
    build_number_target,
    build_tag_target,
)
from tasks.reporting.example_rows import ExampleRow, choose_rows
from tasks.reporting.explanation_steps import RawRow, describe_steps, round_number, round_numbers

_TEXTS = ("text", "tree")
"""Kinds of input whose steps are words of the source."""

_Parts = dict[str, Any]
"""Some of the fields of an `Explanation`."""


class _Case(NamedTuple):
    """A row to explain, as the network reads it, with its outputs."""

    position: int
    """Among the test rows."""
    sequence: SequenceInput
    raw: RawRow
    output_O: NDArray[np.float32]
    column: int
    """Index of the column that is explained, where several are forecast: one after the other."""
    scale: TargetScale


def explain_rows(
    bundle: Bundle,
    predictions: Predictions,
    *,
    prediction_table: pl.DataFrame,
    test: TestRows,
    rows: RowSet,
    features_dir: Path,
) -> list[Explanation]:
    """Explain some of the test rows; an ensemble is explained by its first network.

    The texts of a baseline are those of training rows, which steps do not explain.

    Args:
        bundle: the model.
        predictions: of the test rows, with their targets.
        prediction_table: the predictions, one row for each test row.
        test: the test rows.
        rows: of the source, for the texts and trees themselves.
        features_dir: the folder of the rows' sequences.
    """
    if not isinstance(bundle.network, (Blend, Baseline)):
        bundle = replace(bundle, network=_get_network(bundle))
    if isinstance(bundle.network, Baseline) and bundle.featurizer.target.kind == "text":
        return []
    first = bundle.featurizer.target.list_output_names("prediction")[0]
    known = prediction_table[first].is_not_null()
    chosen = [example for example in choose_rows(predictions) if known[example.position]]
    cases = _read_cases(bundle, chosen, test, rows=rows, features_dir=features_dir)
    explanations = []
    for example, case in zip(chosen, cases, strict=True):
        described = _describe_row(bundle, predictions, prediction_table, test, case=case)
        explanations.append(
            Explanation(
                row=int(test.rows_R[case.position]),
                is_correct=example.is_correct,
                kind=bundle.featurizer.layout.input.kind,
                **described,
                **_explain_case(bundle, predictions, case),
            )
        )
    return explanations


def _explain_case(bundle: Bundle, predictions: Predictions, case: _Case) -> _Parts:
    """Explain a row by the method that fits the kind of target."""
    kind = bundle.featurizer.target.kind
    if kind in SELF_SUPERVISED:
        return _explain_by_errors(bundle, case)
    if kind == "text":
        return _explain_text(bundle, case)
    return _explain_by_attribution(bundle, case, _choose_target(bundle, predictions, case))


def _get_network(bundle: Bundle) -> Network:
    """Return the network, of an ensemble the first."""
    return list_networks(bundle.network)[0]


def _read_cases(
    bundle: Bundle, chosen: list[ExampleRow], test: TestRows, *, rows: RowSet, features_dir: Path
) -> list[_Case]:
    """Read rows as the network reads them, and as the source has them."""
    positions = np.array([example.position for example in chosen], np.int64)
    if not len(positions):
        return []
    featurizer, layout = bundle.featurizer, bundle.featurizer.layout
    table = read_sequences(features_dir, TEST)[positions]
    device = find_device(bundle.network)
    sequences = to_device(
        map_steps(features_dir),
        Spans(table["start"].to_numpy(), table["stop"].to_numpy()),
        statics=read_static_covariates(table),
        device=device,
    )
    entity_column = (
        [layout.entity] if layout.entity is not None and layout.entity in rows.schema else []
    )
    texts = list(layout.input.columns) if layout.input.kind in _TEXTS else []
    cells = _read_cells(rows, [*texts, *entity_column], test.rows_R[positions])
    entity_names = cells[entity_column[0]] if entity_column else None
    parts = featurizer.target.list_parts()
    entities = entity_names if featurizer.target.is_scaled_per_entity else None
    scales = [part.get_scales(len(positions), entities) for part in parts]
    cases = []
    for index, position in enumerate(positions.tolist()):
        batch = gather(sequences, np.array([index]))
        with torch.no_grad():
            output_1O = bundle.network(batch.values_NC, batch.offsets, batch.statics)
        own_cells = tuple(cells[name][index] for name in texts)
        entity = None if entity_names is None else str(entity_names[index])
        raw = RawRow(batch.values_NC.cpu().numpy(), own_cells, entity)
        means, stds = scales[index % len(parts)]
        sequence = SequenceInput(batch.values_NC, batch.statics)
        cases.append(
            _Case(
                position,
                sequence,
                raw,
                output_O=output_1O[0].float().cpu().numpy(),
                column=index % len(parts),
                scale=TargetScale(float(means[index]), float(stds[index])),
            )
        )
    return cases


def _read_cells(rows: RowSet, columns: list[str], numbers: NDArray[np.int64]) -> pl.DataFrame:
    """Read columns of some rows, in the order of `numbers`."""
    if not columns:
        return pl.DataFrame(height=len(numbers))
    wanted = pl.DataFrame({"__row__": numbers.astype(np.uint32)})
    found = (
        rows.scan()
        .select(columns)
        .with_row_index("__row__")
        .filter(pl.col("__row__").is_in(wanted["__row__"].implode()))
        .collect(engine="streaming")
    )
    return wanted.join(found, on="__row__", how="left", maintain_order="left").drop("__row__")


def _describe_row(
    bundle: Bundle,
    predictions: Predictions,
    table: pl.DataFrame,
    test: TestRows,
    *,
    case: _Case,
) -> _Parts:
    """Return target and prediction of a row; of a category also its class and its probability."""
    target = bundle.featurizer.target
    if target.parts:
        return _describe_column(target, table, test, case)
    position = case.position
    predicted = _convert_to_json(table["prediction"][position])
    if isinstance(predictions, SinglePredictions) and predictions.num_classes:
        code = int(predictions.target_R[position])
        true_class = str(target.classes[code]) if code >= 0 else "(other)"
        return {
            "target": true_class,
            "prediction": str(predicted),
            "class_name": true_class,
            "probability": round_number(table["probability"][position]),
        }
    if isinstance(predictions, TagPredictions):
        has_label_K = predictions.target_RK[position]
        names = [*(str(label) for label in target.classes), "(other)"]
        true_labels = [name for name, has in zip(names, has_label_K, strict=True) if has]
        labels = [str(label) for label in predicted]
        return {"target": true_labels, "prediction": labels, "class_name": None}
    true = None if target.kind in SELF_SUPERVISED else _convert_to_json(test.targets[position])
    return {"target": true, "prediction": predicted, "class_name": None}


def _describe_column(target: Target, table: pl.DataFrame, test: TestRows, case: _Case) -> _Parts:
    """Return target and prediction of the column that is explained."""
    name = target.list_output_names("prediction")[case.column]
    return {
        "target": _convert_to_json(test.targets[case.position][case.column :: len(target.parts)]),
        "prediction": _convert_to_json(table[name][case.position]),
        "class_name": None,
    }


def _convert_to_json(value: Any) -> Any:  # noqa: ANN401 - what JSON can hold
    """Convert a cell to what JSON can hold, rounded; None for a number that is not finite."""
    if isinstance(value, (pl.Series, np.ndarray)):
        return [_convert_to_json(part) for part in list(value)]
    if isinstance(value, (float, np.floating)):
        return round_number(float(value)) if np.isfinite(value) else None
    return value


def _choose_target(bundle: Bundle, predictions: Predictions, case: _Case) -> AttributionTarget:
    """Choose the output of the network that is explained."""
    classes = bundle.featurizer.target.classes
    if isinstance(predictions, SinglePredictions) and predictions.num_classes:
        return build_class_target(case.output_O, int(predictions.target_R[case.position]), classes)
    if isinstance(predictions, TagPredictions):
        return build_tag_target(case.output_O, predictions.target_RK[case.position, :-1], classes)
    return build_number_target(bundle, len(case.output_O), case.scale, column=case.column)


def _explain_by_attribution(bundle: Bundle, case: _Case, target: AttributionTarget) -> _Parts:
    """Divide the output among the steps: by integrated gradients, or by occlusion with branches."""
    weight_O: Tensor = torch.from_numpy(target.weight_O).to(case.sequence.values_NC.device)
    if isinstance(bundle.network, (Blend, Baseline)):
        method = "occlusion"
        attribution = compute_occlusion(bundle.network, case.sequence, weight_O)
    else:
        method = "integrated gradients"
        attribution = compute_attribution(_get_network(bundle), case.sequence, weight_O)
    described = describe_steps(case.raw, attribution.contributions, bundle.featurizer)
    return {
        "method": method,
        "quantity": target.description,
        "start": round_number(attribution.baseline_output + target.offset),
        "end": round_number(attribution.output + target.offset),
        "gap": round_number(attribution.unattributed),
        **described._asdict(),
    }


def _explain_by_errors(bundle: Bundle, case: _Case) -> _Parts:
    """Return the error of each step of a self-supervised sequence."""
    errors_N = _compute_step_errors(bundle, case.sequence)
    described = describe_steps(case.raw, errors_N[:, None], bundle.featurizer)
    return {"method": "error by step", "quantity": "error of each step", **described._asdict()}


def _compute_step_errors(bundle: Bundle, sequence: SequenceInput) -> NDArray[np.float64]:
    """Return the self-supervised error of each step, [N]."""
    baseline = bundle.network
    if not isinstance(baseline, Baseline):
        return compute_step_errors(_get_network(bundle), sequence)
    assert isinstance(baseline.fitted, NaiveErrors)  # noqa: S101 - of self-supervised targets
    return baseline.fitted.compute_step_errors(baseline.build_rows(*sequence.repeat(1)))


def _explain_text(bundle: Bundle, case: _Case) -> _Parts:
    """Return what each step writes (CTC), or the attention of each written symbol."""
    target, sequence = bundle.featurizer.target, case.sequence
    network = _get_network(bundle)
    if isinstance(network.head, CtcHead):
        outputs = read_ctc_outputs(network, sequence)
        symbols = [target.decode_text([code]) if code >= 0 else "" for code in outputs.symbol_N]
        return {
            "method": "output by step",
            "quantity": "what each step writes",
            "steps": [
                ExplanationStep(symbol=symbol, share=round_number(probability))
                for symbol, probability in zip(symbols, outputs.probability_N, strict=True)
            ],
            **_read_image(bundle, case),
        }
    ids = case.output_O[1:].astype(np.int64)
    ids = ids[ids != int(TEXT_PADDING)]
    weights_LN = compute_attention(network, sequence, ids)
    tokens = _list_input_tokens(bundle, case, weights_LN.shape[1])
    return {
        "method": "attention",
        "quantity": "where each symbol attends",
        **_read_image(bundle, case),
        "symbols": [*(target.decode_text([code]) for code in ids.tolist()), "(end)"],
        "steps": [
            ExplanationStep(token=token, attention=round_numbers(weights_L))
            for token, weights_L in zip(tokens, weights_LN.T, strict=True)
        ],
    }


def _read_image(bundle: Bundle, case: _Case) -> _Parts:
    """Return the image that a text is read from; nothing for other inputs."""
    if bundle.featurizer.layout.input.kind != "image":
        return {}
    described = describe_steps(case.raw, np.zeros((0, 0)), bundle.featurizer)
    return {"image": [step.pixels for step in described.steps], "colors": described.colors}


def _list_input_tokens(bundle: Bundle, case: _Case, steps: int) -> list[str]:
    """List the steps that are attended to: by their tokens, or by their number from 1."""
    featurizer = bundle.featurizer
    if featurizer.layout.input.kind in _TEXTS and steps == len(case.raw.values_NC):
        described = describe_steps(case.raw, np.zeros((steps, 1)), featurizer)
        return [step.token or "" for step in described.steps]
    return [str(step + 1) for step in range(steps)]
