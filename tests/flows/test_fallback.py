"""There is always a champion: a baseline serves while no network has beaten it."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from flows.commands.reproduce import reproduce
from flows.results.outcome import format_summary
from flows.retrain import retrain
from tasks.errors import RegistryError
from tasks.records import Outcome
from tasks.registry import register as register_module
from tasks.registry.promotion import approve, roll_back
from tasks.storage.store import StoreConfig, open_store
from tests.support.sample_jobs import make_waves

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

WEAK = {
    "training.epochs": 1,
    "training.learning_rate": 1e-5,
    "training.folds": 1,
    "model.parallel_branch": "none",
    # A ridge classifier's probabilities are cautious, so that a good network is clearly better.
    "gate.metric": "log_loss",
}

STRONG = {
    "training.epochs": 60,
    "training.folds": 1,
    "model.parallel_branch": "none",
    "gate.metric": "log_loss",
}


def read_aliases() -> dict[str, str]:
    aliases = MlflowClient().get_registered_model("waves").aliases
    return {name: str(number) for name, number in aliases.items()}


def count_versions() -> int:
    return len(MlflowClient().search_model_versions("name = 'waves'"))


def run(job: Path, settings: dict[str, object]) -> Outcome:
    return retrain(str(job), settings)


def test_the_baseline_serves_that_the_first_network_did_not_beat(waves_job: Path) -> None:
    outcome = run(waves_job, WEAK)

    assert outcome.decision == "keep"
    assert "does not beat" in outcome.headline
    assert read_aliases() == {"challenger": "1", "champion": "2"}
    version = MlflowClient().get_model_version_by_alias("waves", "champion")
    name = version.tags["ostinato.fallback"]
    assert outcome.serving.startswith(f"{name} as version 2, because the network did not beat")
    assert outcome.serving_version == "2"
    assert f"  serving   {name} as version 2" in format_summary(outcome)
    assert f"It is a baseline, {name}: no network has beaten it yet." in version.description
    waves = pl.read_parquet("waves.parquet")
    model = mlflow.pyfunc.load_model("models:/waves@champion")
    predictions = model.predict(waves.select("wave").to_pandas())
    assert set(predictions["status"]) == {"ok"}
    assert (predictions["prediction"] == waves["label"].to_pandas()).mean() > 0.9
    np.testing.assert_allclose(predictions["probabilities"].map(sum), 1.0)
    reproduced = reproduce(open_store(StoreConfig()), "waves", "2")
    assert reproduced.identical
    assert reproduced.tensors > 0
    assert set(reproduced.stages.values()) == {"same"}

    again = run(waves_job, WEAK)

    assert again.recomputed == []
    assert (again.version, again.decision, again.reason) == ("1", "keep", outcome.reason)
    assert again.serving == f"{name} as version 2: no network has beaten it yet"
    assert (count_versions(), read_aliases()) == (2, {"challenger": "1", "champion": "2"})


def test_a_network_that_beats_the_baseline_takes_over_by_approval_or_by_itself(
    waves_job: Path,
) -> None:
    run(waves_job, WEAK)
    store = open_store(StoreConfig())

    waiting = run(waves_job, STRONG | {"gate.min_rows": 10_000})

    assert (waiting.version, waiting.decision, waiting.serving) == ("3", "needs-approval", "")
    assert read_aliases() == {"challenger": "3", "champion": "2"}
    approve(store, "waves", None, "it looks good")
    assert read_aliases() == {"challenger": "3", "champion": "3", "previous": "2"}
    roll_back(store, "waves", None, "the baseline was enough")
    assert read_aliases()["champion"] == "2"

    outcome = run(waves_job, STRONG)

    assert outcome.decision == "promote", outcome.reason
    assert "gain over champion waves v2" in outcome.reason
    assert read_aliases()["champion"] == "3"


def test_another_network_that_loses_leaves_the_baseline_where_it_is(waves_job: Path) -> None:
    run(waves_job, WEAK)

    outcome = run(waves_job, WEAK | {"training.seed": 8})

    assert outcome.decision == "keep"
    assert outcome.serving.endswith("as version 2: no network has beaten it yet")
    assert (count_versions(), read_aliases()) == (3, {"challenger": "3", "champion": "2"})


def test_nothing_serves_where_the_job_wants_no_fallback(waves_job: Path) -> None:
    outcome = run(waves_job, WEAK | {"gate.fallback": "none"})

    assert (outcome.decision, outcome.serving, outcome.serving_version) == ("keep", "", None)
    assert (count_versions(), read_aliases()) == (1, {"challenger": "1"})


def test_a_run_that_is_killed_before_the_alias_moves_is_completed(waves_job: Path) -> None:
    def die(store: Any, request: Any, **_: Any) -> Any:
        if request.action == "promote":
            raise RegistryError.of("killed", hint="run again")
        return move(store, request)

    move = register_module.move_aliases
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(register_module, "move_aliases", die)
        with pytest.raises(RegistryError, match="killed"):
            run(waves_job, WEAK)
    assert (count_versions(), read_aliases()) == (2, {"challenger": "1"})

    outcome = run(waves_job, WEAK)

    assert outcome.serving_version == "2"
    assert (count_versions(), read_aliases()) == (2, {"challenger": "1", "champion": "2"})


def test_a_baseline_that_is_fitted_again_replaces_one_that_it_beats(waves_job: Path) -> None:
    path = Path("waves.parquet")
    noise = make_waves(80, seed=5).with_columns(id=pl.int_range(1000, 1080))
    labels = pl.Series("label", [f"kind {row % 2}" for row in range(80)])
    noise.with_columns(labels).write_parquet(path)
    run(waves_job, WEAK)
    assert read_aliases()["champion"] == "2"

    make_waves(400).write_parquet(path)
    outcome = run(waves_job, WEAK)

    assert outcome.decision == "keep"
    assert "instead of" in outcome.serving, outcome.serving
    assert read_aliases() == {"challenger": "3", "champion": "4", "previous": "2"}
