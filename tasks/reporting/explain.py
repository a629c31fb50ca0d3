"""Why some rows were answered as they were: what each of their steps added to the answer.

Classes, tags, numbers and forecasts by integrated gradients; written texts by what each symbol
looked at, or by what each step wrote; mined sequences by what each step cost.
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
from models.evaluation.attention_weights import attention_of, errors_of, writing_of
from models.evaluation.attribution import Sequence, attribute
from models.evaluation.predictions import Answers, Judged, Tags
from models.features.config import MINED
from models.features.splitting.split import TEST
from models.learning.batches import Places, gather, to_device
from models.networks.heads.ctc import NOTHING, CtcHead
from models.networks.network import Network
from tasks.dataset.feature_files import map_steps, read_sequences, side_values
from tasks.dataset.labels import TestRows
from tasks.dataset.rowset import RowSet
from tasks.reporting.attribution_targets import Goal, Scale, of_class, of_number, of_tag
from tasks.reporting.example_rows import Chosen, choose
from tasks.reporting.explanation_steps import Raw, digits, rounded, spelled

TEXTS = ("text", "tree")
"""Kinds whose steps are told in the source's own words."""

Told = dict[str, Any]


class Case(NamedTuple):
    """A row to explain, read."""

    place: int
    """Among the test rows."""
    sequence: Sequence
    raw: Raw
    output_O: NDArray[np.float32]
    scale: Scale


def explain(
    bundle: Bundle,
    judged: Judged,
    *,
    answered: pl.DataFrame,
    test: TestRows,
    rows: RowSet,
    features_dir: Path,
) -> list[Told]:
    """Explain a handful of rows; of an ensemble by its first network.

    Args:
        bundle: the model.
        judged: its answers beside the truth.
        answered: the table of its answers.
        test: the rows.
        rows: the source's, for texts as they were given.
        features_dir: where the rows' sequences lie.
    """
    bundle = replace(bundle, network=network_of(bundle))
    chosen = [one for one in choose(judged) if answered["prediction"][one.place] is not None]
    cases = read_cases(bundle, chosen, test, rows=rows, features_dir=features_dir)
    kind = bundle.featurizer.target.kind
    explained = []
    for one, case in zip(chosen, cases, strict=True):
        head = {
            "row": int(test.rows_R[one.place]),
            **words_of(bundle, judged, answered, test, place=one.place),
            "right": one.right,
            "kind": bundle.featurizer.layout.input.kind,
        }
        if kind in MINED:
            explained.append({**head, **mined(bundle, case)})
        elif kind == "text":
            explained.append({**head, **written(bundle, case)})
        else:
            explained.append({**head, **credited(bundle, case, goal_of(bundle, judged, case))})
    return explained


def network_of(bundle: Bundle) -> Network:
    """Return the network, of an ensemble the first."""
    if isinstance(bundle.network, Network):
        return bundle.network
    first = bundle.network.members[0]
    assert isinstance(first, Network)  # noqa: S101 - an ensemble is made of them
    return first


def read_cases(
    bundle: Bundle, chosen: list[Chosen], test: TestRows, *, rows: RowSet, features_dir: Path
) -> list[Case]:
    """Read the rows as the network does, and as they were given."""
    places = np.array([one.place for one in chosen], np.int64)
    if not len(places):
        return []
    featurizer, layout = bundle.featurizer, bundle.featurizer.layout
    table = read_sequences(features_dir, TEST)[places]
    device = next(bundle.network.parameters()).device
    sequences = to_device(
        map_steps(features_dir),
        Places(table["start"].to_numpy(), table["stop"].to_numpy()),
        statics=side_values(table),
        device=device,
    )
    named = [layout.entity] if layout.entity is not None and layout.entity in rows.schema else []
    texts = list(layout.input.columns) if layout.input.kind in TEXTS else []
    cells = cells_of(rows, [*texts, *named], test.rows_R[places])
    owners = cells[named[0]] if named else None
    entities = owners if featurizer.target.entities else None
    means, spreads = featurizer.target.scales(len(places), entities)
    cases = []
    for at, place in enumerate(places.tolist()):
        batch = gather(sequences, np.array([at]))
        with torch.no_grad():
            output_1O = bundle.network(batch.values_NC, batch.offsets, batch.statics)
        cell = cells[texts[0]][at] if texts else None
        entity = None if owners is None else str(owners[at])
        raw = Raw(batch.values_NC.cpu().numpy(), cell, entity)
        scale = Scale(float(means[at]), float(spreads[at]))
        output_O = output_1O[0].float().cpu().numpy()
        cases.append(Case(place, Sequence(batch.values_NC, batch.statics), raw, output_O, scale))
    return cases


def cells_of(rows: RowSet, columns: list[str], numbers: NDArray[np.int64]) -> pl.DataFrame:
    """Read some columns of some rows, in the order of their numbers as given."""
    if not columns:
        return pl.DataFrame(height=len(numbers))
    wanted = pl.DataFrame({"__row__": numbers.astype(np.uint32)})
    held = (
        rows.scan()
        .select(columns)
        .with_row_index("__row__")
        .filter(pl.col("__row__").is_in(wanted["__row__"].implode()))
        .collect(engine="streaming")
    )
    return wanted.join(held, on="__row__", how="left", maintain_order="left").drop("__row__")


def words_of(
    bundle: Bundle, judged: Judged, answered: pl.DataFrame, test: TestRows, *, place: int
) -> Told:
    """Tell truth and answer of a row, and its class."""
    target = bundle.featurizer.target
    said = plain(answered["prediction"][place])
    if isinstance(judged, Answers) and judged.classes:
        code = int(judged.truth_R[place])
        truth = str(target.classes[code]) if code >= 0 else "(other)"
        chances = answered["probability"][place]
        return {"truth": truth, "answer": str(said), "class": truth, "sure": digits(chances)}
    if isinstance(judged, Tags):
        held_K = judged.truth_RK[place]
        names = [*(str(label) for label in target.classes), "(other)"]
        held = [name for name, is_held in zip(names, held_K, strict=True) if is_held]
        return {"truth": held, "answer": [str(label) for label in said], "class": None}
    if target.kind in MINED:
        return {"truth": None, "answer": said, "class": None}
    return {"truth": plain(test.truth[place]), "answer": said, "class": None}


def plain(value: Any) -> Any:  # noqa: ANN401 - what JSON can hold
    """Turn a cell into what JSON holds, with the digits that count."""
    if isinstance(value, (pl.Series, np.ndarray)):
        return [plain(part) for part in list(value)]
    if isinstance(value, (float, np.floating)):
        return digits(float(value)) if np.isfinite(value) else None
    return value


def goal_of(bundle: Bundle, judged: Judged, case: Case) -> Goal:
    """Choose what is asked about a row's answer."""
    classes = bundle.featurizer.target.classes
    if isinstance(judged, Answers) and judged.classes:
        return of_class(case.output_O, int(judged.truth_R[case.place]), classes)
    if isinstance(judged, Tags):
        return of_tag(case.output_O, judged.truth_RK[case.place, :-1], classes)
    return of_number(bundle, len(case.output_O), case.scale)


def credited(bundle: Bundle, case: Case, goal: Goal) -> Told:
    """Share the answer out among the steps."""
    weight_O: Tensor = torch.from_numpy(goal.weight_O).to(case.sequence.values_NC.device)
    found = attribute(network_of(bundle), case.sequence, weight_O)
    return {
        "method": "integrated gradients",
        "goal": goal.words,
        "start": digits(found.start + goal.level),
        "end": digits(found.end + goal.level),
        "gap": digits(found.gap),
        **spelled(case.raw, found.shares, bundle.featurizer),
    }


def mined(bundle: Bundle, case: Case) -> Told:
    """Tell what each step cost."""
    errors_N = errors_of(network_of(bundle), case.sequence)
    return {
        "method": "error by step",
        "goal": "error of each step",
        **spelled(case.raw, errors_N[:, None], bundle.featurizer),
    }


def written(bundle: Bundle, case: Case) -> Told:
    """Tell what each symbol looked at, or what each step wrote."""
    target, sequence = bundle.featurizer.target, case.sequence
    if isinstance(network_of(bundle).head, CtcHead):
        found = writing_of(network_of(bundle), sequence)
        symbols = [target.write([place]) if place >= 0 else "" for place in found.symbol_N]
        steps = [
            {"writes": symbol, "share": digits(chance)}
            for symbol, chance in zip(symbols, found.chance_N, strict=True)
        ]
        goal = "what each step wrote"
        return {"method": "writing by step", "goal": goal, "steps": steps, **picture(bundle, case)}
    ids = case.output_O[1:].astype(np.int64)
    ids = ids[ids != int(NOTHING)]
    looks_LN = attention_of(network_of(bundle), sequence, ids)
    tokens = input_tokens(bundle, case, looks_LN.shape[1])
    return {
        "method": "attention",
        "goal": "where each symbol looked",
        **picture(bundle, case),
        "written": [*(target.write([place]) for place in ids.tolist()), "(end)"],
        "steps": [
            {"token": token, "looks": rounded(looks)}
            for token, looks in zip(tokens, looks_LN.T, strict=True)
        ],
    }


def picture(bundle: Bundle, case: Case) -> Told:
    """Give the image that a text was read from."""
    if bundle.featurizer.layout.input.kind != "image":
        return {}
    told = spelled(case.raw, np.zeros((0, 0)), bundle.featurizer)
    rows = [step["pixels"] for step in told["steps"]]
    return {"picture": rows, "colours": told["colours"]}


def input_tokens(bundle: Bundle, case: Case, steps: int) -> list[str]:
    """Name the steps that were looked at: by their tokens, or by their number."""
    featurizer = bundle.featurizer
    if featurizer.layout.input.kind in TEXTS and steps == len(case.raw.values_NC):
        told = spelled(case.raw, np.zeros((steps, 1)), featurizer)["steps"]
        return [step["token"] for step in told]
    return [str(place + 1) for place in range(steps)]
