"""Predictions of a frame are those of the command, also where a notebook's event loop runs."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import polars as pl
import pytest
from unit.cli.test_predict import Place

import capstan
from capstan.errors import InvalidDataError, NotFoundError
from capstan.verbs.answering import with_id

ROWS = pd.DataFrame(
    {"flight_id": ["a", "b", "c"], "distance": [500.0, np.nan, 900.0], "carrier": ["UA", "AA", "UA"]},
    index=[10, 20, 30],
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("predict"))


@pytest.fixture
def system(place: Place) -> capstan.System:
    return capstan.System.from_file(place.folder / "system.yaml", state=place.state.root)


def test_the_champion_answers_by_the_index_of_the_frame(system: capstan.System) -> None:
    found = system.predict(ROWS)
    assert list(found.index) == [10, 20, 30]
    assert list(found["flight_id"]) == ["a", "b", "c"]
    assert list(found["label"]) == [True, False, True]
    assert found["probability"].between(0, 1).all()
    assert set(found["version"]) == {"v1"}


def test_answers_are_those_of_the_command(system: capstan.System, place: Place, tmp_path: Path) -> None:
    ROWS.to_parquet(tmp_path / "rows.parquet", index=False)
    done = place.predict(str(tmp_path / "rows.parquet"), "--offline", "--out", str(tmp_path / "said.csv"))
    assert done.exit_code == 0, done.output
    said = pd.read_csv(tmp_path / "said.csv")
    assert list(said["probability"]) == pytest.approx(list(system.predict(ROWS)["probability"]), abs=1e-15)


def test_a_frame_says_what_each_column_adds(system: capstan.System) -> None:
    found = system.predict(ROWS, explain=True)
    names = ["explanation.contributions.distance", "explanation.contributions.carrier"]
    assert found["explanation.score"].to_numpy() == pytest.approx(
        (found["explanation.base"] + found[names].sum(axis=1)).to_numpy()
    )
    assert (found[names[1]] > 0).tolist() == [True, False, True], "UA is late"
    assert list(found["label"]) == list(system.predict(ROWS)["label"])


def test_a_version_is_asked_by_its_name(system: capstan.System) -> None:
    found = system.predict(pl.from_pandas(ROWS), version="v2")
    assert list(found["label"]) == [False, True, False]
    assert set(found["version"]) == {"v2"}
    with pytest.raises(NotFoundError, match="v9"):
        system.predict(ROWS, version="v9")


def test_it_works_where_an_event_loop_runs_already(system: capstan.System) -> None:
    async def cell() -> pd.DataFrame:
        return system.predict(ROWS)

    assert len(asyncio.run(cell())) == 3


def test_a_running_system_is_asked_through_its_gateway(system: capstan.System, place: Place) -> None:
    with pytest.raises(NotFoundError, match=r"nothing runs here.*offline=True"):
        system.predict(ROWS, offline=False)
    with place.serving():
        found = system.predict(ROWS)
    assert set(found["version"]) == {"v1"}


def test_a_gateway_elsewhere_is_asked_by_its_address(system: capstan.System, place: Place) -> None:
    with place.serving():
        address = orjson.loads(place.state.addresses.read_bytes())["gateway"]
        elsewhere = capstan.System.from_file(system.file, state=place.folder / "nothing-here")
        found = elsewhere.predict(ROWS, url=f"{address}/")
    assert list(found["flight_id"]) == list(ROWS["flight_id"])
    assert set(found["version"]) == {"v1"}
    with pytest.raises(InvalidDataError, match="leave url out"):
        system.predict(ROWS, url=address, version="v1")
    with pytest.raises(NotFoundError, match=r"url gateway\.example: must begin with http"):
        system.predict(ROWS, url="gateway.example")


def test_a_refused_row_is_told_before_any_answer_is_given(system: capstan.System) -> None:
    bad = ROWS.assign(distance=[500.0, -3.0, 900.0])
    with pytest.raises(
        InvalidDataError,
        match=r"1 of 3 rows are refused; .*\nrow 2 \(flight_id \"b\"\), distance: -3.0 is below",
    ):
        system.predict(bad)
    found = system.predict(bad, refused="mark")
    assert list(found["refused"].isna()) == [True, False, True]
    assert "distance" in found.loc[20, "refused"]
    assert list(found["label"].isna()) == [False, True, False]
    assert list(found["flight_id"]) == list(bad["flight_id"])


def test_where_none_serves_yet_the_newest_version_answers(
    system: capstan.System, place: Place, tmp_path: Path
) -> None:
    shutil.copytree(place.state.root, tmp_path / "state")
    for file in (tmp_path / "state").glob("state.db*"):
        file.unlink()
    unserved = capstan.System.from_file(system.file, state=tmp_path / "state")
    assert set(unserved.predict(ROWS)["version"]) == {"v2"}
    assert list(unserved.versions["role"]) == ["", ""]
    nothing = capstan.System.from_file(system.file, state=tmp_path / "nothing")
    with pytest.raises(NotFoundError, match="no version is registered yet"):
        nothing.predict(ROWS)


def test_versions_are_a_frame_with_their_roles(system: capstan.System) -> None:
    assert list(system.versions["role"]) == ["champion", ""]
    assert list(system.versions.index) == ["v1", "v2"]


def test_an_id_called_as_a_part_of_an_answer_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="'request_id' is the name of a part of each answer"):
        with_id({"label": True, "request_id": "a"}, "request_id", {"request_id": "mine"})
    assert with_id({"label": True}, "case", {"case": 7}) == {"case": 7, "label": True}
