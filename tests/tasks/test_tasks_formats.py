"""A model that was written by any earlier program is read, and answers as it did then."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from bundles import CASES, KEPT

from models.bundle import FORMAT, READS, load
from models.errors import BundleError
from tasks.serving.model_package import same_answers

FOLDERS = sorted(KEPT.glob("format_*/*"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_kept_model_answers_as_it_did(folder: Path) -> None:
    inputs = pl.read_parquet(folder / "golden_inputs.parquet", glob=False)
    stored = pl.read_parquet(folder / "golden_answers.parquet", glob=False)

    answers = load(folder / "bundle").predict(inputs)

    assert same_answers(answers, stored)
    assert (stored["status"] == "ok").any()
    assert len(set(map(str, answers.drop("status").rows()))) > 1


def test_models_of_every_format_that_is_read_are_kept() -> None:
    kept = {(path.parent.name, path.name) for path in FOLDERS}

    assert kept == {(f"format_{number}", kind) for number in READS for kind in CASES}
    assert all(
        json.loads((path / "bundle" / "bundle.json").read_text(encoding="utf-8"))["format"]
        == int(path.parent.name.removeprefix("format_"))
        for path in FOLDERS
    )


def test_a_model_of_a_later_format_is_refused_with_the_formats_that_are_read(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(KEPT / f"format_{FORMAT}" / "tags" / "bundle", folder)
    spec = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (folder / "bundle.json").write_text(json.dumps(spec | {"format": FORMAT + 1}))

    with pytest.raises(BundleError, match=f"format {FORMAT + 1}, this version reads {FORMAT}"):
        load(folder)
