"""What a training could not have known changes no byte of its model: real flights, the real steps."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.errors import InvalidDataError
from capstan.spec import load, parse
from capstan.training.factories import carry_factories
from capstan.training.job import Places, write_job
from capstan_pipelines.steps import check, choose, evaluate, extract, fit, refit, split

EXAMPLE = Path(__file__).parents[3] / "examples" / "flight-delays"
AS_OF = datetime(2013, 2, 1, 5, tzinfo=UTC)
CANDIDATES: list[dict[str, Any]] = [
    {"name": "trees", "gradientBoosting": {"iterations": 10, "leaves": 7, "tune": {"trials": 2}}},
    {"name": "baseline", "mostFrequent": {}},
    {"name": "own", "custom": {"factory": "mymodels:make", "parameters": {"smallest_leaf": 50}}},
]


@pytest.fixture(scope="module")
def flights() -> dict[str, pl.DataFrame]:
    """A sixth of the flights up to 20 February, and the whole of the weather and the planes."""
    subprocess.run([sys.executable, str(EXAMPLE / "prepare.py")], check=True, capture_output=True)
    data = EXAMPLE / "data"
    table = pl.read_parquet(data / "flights.parquet")
    table = table.filter(
        (pl.col("scheduled_departure") < datetime(2013, 2, 20, tzinfo=UTC)) & (pl.col("flight") % 6 == 0)
    )
    return {
        "flights": table,
        "weather": pl.read_parquet(data / "weather.parquet"),
        "planes": pl.read_csv(data / "planes.csv"),
    }


def corrupted(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Every row after the moment is nonsense, and every label that came after it is the opposite."""
    flights, weather = tables["flights"], tables["weather"]
    later, unknown = pl.col("scheduled_departure") > AS_OF, pl.col("actual_arrival") > AS_OF
    late = flights.filter(later).height
    assert 1000 < late < flights.height - 1000
    assert flights.filter(unknown & ~later).height > 0, "some labels of known flights come later"
    flights = flights.with_columns(
        pl.when(unknown).then(~pl.col("late")).otherwise(pl.col("late")).alias("late"),
        *(
            pl.when(later).then(pl.lit("?!")).otherwise(pl.col(name)).alias(name)
            for name in ("carrier", "origin", "dest", "tailnum")
        ),
        *(
            pl.when(later).then(pl.lit(-99)).otherwise(pl.col(name)).cast(flights.schema[name]).alias(name)
            for name in ("distance", "day_of_week", "sched_dep_minute", "sched_arr_minute", "block_minutes")
        ),
    )
    # A Parquet file's types are no row's; they stay.
    weather = weather.with_columns(
        pl.when(pl.col("time_hour") > AS_OF)
        .then(pl.lit(10**8))
        .otherwise(pl.col(name))
        .cast(kind)
        .alias(name)
        for name, kind in weather.schema.items()
        if kind.is_numeric()
    )
    return {**tables, "flights": flights, "weather": weather}


def train(tables: dict[str, pl.DataFrame], folder: Path, *, as_of: datetime = AS_OF) -> Path:
    """The model folder that the steps make of these tables."""
    home = folder / "home"
    (home / "data").mkdir(parents=True)
    tables["flights"].write_parquet(home / "data" / "flights.parquet")
    tables["weather"].write_parquet(home / "data" / "weather.parquet")
    tables["planes"].write_csv(home / "data" / "planes.csv")
    (home / "mymodels.py").write_bytes((EXAMPLE / "mymodels.py").read_bytes())
    document = load(EXAMPLE / "system.yaml").model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["training"]["candidates"] = CANDIDATES
    document["spec"]["training"]["choose"] = {"metric": "rocAuc", "simplestWithin": 1.0}
    job = folder / "job"
    carry_factories(parse(document, base_dir=home), job / "factories")
    request = TrainingRequest(
        RunName("run"), SystemName("flight-delays"), Trigger(TriggerKind.INITIAL, as_of, "a test"), None
    )
    places = Places(str(home), str(folder / "secrets"), "", "", str(folder / "bentos"))
    write_job(job, request=request, spec=document, places=places, champion=None)

    at = {
        name: str(folder / name)
        for name in ("table", "report", "cases", "choice", "evaluation", "model", "runners_up")
    }
    extract.run(str(job), at["table"])
    check.run(str(job), at["table"], at["report"])
    split.run(str(job), at["table"], at["cases"])
    fitted = [str(folder / candidate["name"]) for candidate in CANDIDATES]
    for candidate, file in zip(CANDIDATES, fitted, strict=True):
        fit.run(str(job), candidate["name"], at["cases"], file)
    choose.run(str(job), fitted, at["choice"])
    evaluate.run(str(job), at["cases"], at["choice"], at["evaluation"])
    refit.run(str(job), at["cases"], at["choice"], at["evaluation"], at["model"], at["runners_up"])
    return folder / "model"


def contents(model: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(model)): path.read_bytes() for path in sorted(model.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def trained(flights: dict[str, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a model was trained on what is true."""
    folder = tmp_path_factory.mktemp("honest")
    train(flights, folder)
    return folder


def test_corrupting_the_future_changes_no_byte_of_a_model(
    flights: dict[str, pl.DataFrame], trained: Path, tmp_path: Path
) -> None:
    honest = contents(trained / "model")
    nonsense = contents(train(corrupted(flights), tmp_path / "nonsense"))
    assert {"pipeline.joblib", "manifest.json", "detectors/thresholds.json", "factories/mymodels.py"} <= set(
        honest
    )
    assert list(nonsense) == list(honest)
    assert [name for name in honest if honest[name] != nonsense[name]] == []
    choice = json.loads((trained / "choice").read_text())
    assert [taken["name"] for taken in choice["chosen"]] == ["trees"]
    assert [candidate["failure"] for candidate in choice["candidates"]] == ["", "", ""]


def test_corrupting_the_past_does_change_it(
    flights: dict[str, pl.DataFrame], trained: Path, tmp_path: Path
) -> None:
    """Else the test above would prove nothing; the corrupted rows are known a week later and break the checks."""
    with pytest.raises(InvalidDataError, match=r"distance: .* is below the minimum 1"):
        train(corrupted(flights), tmp_path, as_of=datetime(2013, 2, 8, 5, tzinfo=UTC))
    changed = {**flights, "flights": flights["flights"].with_columns(~pl.col("late"))}
    other = train(changed, tmp_path / "other")
    assert (trained / "model" / "pipeline.joblib").read_bytes() != (other / "pipeline.joblib").read_bytes()
