"""Claims about `capstan predict`: each row is answered or refused by itself, by the gateway and offline alike."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unit.cli.served_place import HEADER, Place

from capstan.artifacts.content import MODEL_FOLDER
from capstan.cli import console


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("predict"))


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_the_gateway_and_the_model_folder_give_the_same_answers(place: Place) -> None:
    rows = place.table(HEADER + "007,500,UA,1\n008,?,AA,0\n009,2500.50,UA,1\n")
    offline = place.predict(rows, "--offline")
    with place.serving():
        online = place.predict(rows)
    assert (offline.exit_code, online.exit_code) == (0, 0), online.output
    told, same = (
        [{**row, "request_id": ""} for row in csv.DictReader(io.StringIO(one.stdout))]
        for one in (offline, online)
    )
    assert told == same
    assert [(row["row"], row["flight_id"], row["version"]) for row in told] == [
        ("1", "007", "v1"), ("2", "008", "v1"), ("3", "009", "v1"),
    ]  # fmt: skip
    assert "3 rows answered (v1 3), 0 refused" in online.stderr


def test_explanations_are_columns_by_the_gateway_and_offline(place: Place) -> None:
    rows = place.table(HEADER + "007,500,UA,1\n008,700,AA,0\n")
    offline = place.predict(rows, "--offline", "--explain")
    with place.serving():
        online = place.predict(rows, "--explain")
    assert (offline.exit_code, online.exit_code) == (0, 0), online.output
    assert offline.stdout == online.stdout
    first, second = csv.DictReader(io.StringIO(online.stdout))
    name = "explanation.contributions.carrier"
    assert float(first[name]) > 0 > float(second[name])


def test_a_batch_has_no_explanations(place: Place) -> None:
    done = place.predict("--explain", "--from", "2013-01-01")
    assert done.exit_code == 1
    assert "--explain: explain: a batch has answers alone" in done.stderr


def test_refused_rows_are_told_by_number_and_field_and_cost_the_others_nothing(place: Place) -> None:
    cells = [f"f{number},{'x' if number % 5 == 0 else number},UA,1\n" for number in range(1, 1201)]
    cells[6] = "f7,-3,UA,1\n"
    result = place.predict(place.table(HEADER + "".join(cells)), "--offline", "--json")
    assert result.exit_code == 3, result.output
    *answers, last = _lines(result.stdout)
    summary = last["summary"]
    assert [answer["row"] for answer in answers] == [n for n in range(1, 1201) if n % 5 and n != 7]
    assert (summary["answered"], summary["refused"], summary["versions"]) == (959, 241, {"v1": 959})
    assert [(one["row"], one["id"]) for one in summary["refusals"][:2]] == [(5, "f5"), (7, "f7")]
    told = {one["row"]: one["problems"][0] for one in summary["refusals"]}
    assert (told[5]["field"], told[5]["value"], told[7]["value"]) == ("distance", "x", -3)


def test_people_read_the_row_the_field_and_the_rule(place: Place) -> None:
    result = place.predict(place.table(HEADER + "a,-3,UA,1\nb,5,UA,1\n"), "--offline")
    assert result.exit_code == 3
    assert 'refused: row 1 (flight_id "a"), distance: -3' in result.stderr
    assert "1 row answered (v1 1), 1 refused" in result.stderr


@pytest.mark.parametrize("way", ["--offline", "gateway"])
def test_an_infinite_number_of_a_parquet_file_is_refused_and_not_taken_for_missing(
    place: Place, way: str
) -> None:
    file = place.folder / "rows.parquet"
    rows = {
        "flight_id": ["a", "b", "c"],
        "distance": [float("inf"), 5.0, float("nan")],
        "carrier": ["UA"] * 3,
    }
    pq.write_table(pa.table(rows), file)
    result = place.predict_by(way, file)
    assert result.exit_code == 3, result.output
    assert 'refused: row 1 (flight_id "a"), distance: "inf" must be a number' in result.stderr
    assert "2 rows answered" in result.stderr
    assert [row["flight_id"] for row in csv.DictReader(io.StringIO(result.stdout))] == ["b", "c"]


@pytest.mark.parametrize("way", ["--offline", "gateway"])
def test_ids_of_whole_numbers_keep_their_digits_in_whatever_type_a_parquet_file_has_them(
    place: Place, way: str
) -> None:
    kinds = {
        "float": (pa.float64(), [7.0, 9007199254740991.0]),
        "decimal": (pa.decimal128(38, 0), [Decimal(7), Decimal("12345678901234567890123456789")]),
    }
    wanted = {
        "float": ["7", "9007199254740991"],
        "decimal": ["7", "12345678901234567890123456789"],
    }
    found = {}
    for kind, (type_, ids) in kinds.items():
        file = place.folder / f"{kind}.parquet"
        rows = {"flight_id": pa.array(ids, type_), "distance": [500.0] * 2, "carrier": ["UA"] * 2}
        pq.write_table(pa.table(rows), file)
        result = place.predict_by(way, file)
        assert result.exit_code == 0, result.output
        found[kind] = [row["flight_id"] for row in csv.DictReader(io.StringIO(result.stdout))]
    assert found == wanted


def test_an_empty_table_is_told_by_the_name_that_the_person_gave(place: Place) -> None:
    result = place.predict(place.table("", "empty.csv"), "--offline")
    assert result.exit_code != 0
    assert f"error {place.folder}/empty.csv is empty; its first line must name the columns" in result.stderr


def test_a_float_that_may_be_several_ids_is_refused(place: Place) -> None:
    file = place.folder / "rows.parquet"
    rows = {"flight_id": [9007199254740993.0, 1e30], "distance": [500.0] * 2, "carrier": ["UA"] * 2}
    pq.write_table(pa.table(rows), file)
    result = place.predict(str(file), "--offline")
    assert result.exit_code == 3, result.output
    assert "0 rows answered, 2 refused" in result.stderr


def test_a_named_version_is_asked(place: Place) -> None:
    rows = place.table(HEADER + "a,500,UA,1\n")
    first, second = (
        _lines(place.predict(rows, "--version", name, "--json").stdout)[0] for name in ("v1", "v2")
    )
    assert (first["version"], second["version"]) == ("v1", "v2")
    assert (first["label"], second["label"]) == (True, False)


def test_a_model_whose_bytes_were_changed_is_not_loaded(place: Place) -> None:
    manifest = place.bento(2) / MODEL_FOLDER / "manifest.json"
    before = manifest.read_bytes()
    manifest.chmod(0o644)
    manifest.write_bytes(before + b" ")
    try:
        result = place.predict("--row", '{"carrier": "UA"}', "--version", "v2", "--json")
    finally:
        manifest.write_bytes(before)
    assert (result.exit_code, json.loads(result.stdout)["error"]) == (1, "UntrustedArtifact")


@pytest.mark.parametrize(
    "text",
    [HEADER + "a,500,UA,1\n", '{"flight_id": "a", "distance": 500, "carrier": "UA"}\n'],
    ids=["csv", "json"],
)
def test_rows_come_by_stdin(place: Place, text: str) -> None:
    result = place.predict("-", "--offline", "--json", input=text)
    assert [(one["flight_id"], one["version"]) for one in _lines(result.stdout)[:-1]] == [("a", "v1")], (
        result.output
    )


def test_one_row_is_given_as_json(place: Place) -> None:
    result = place.predict("--row", '{"distance": 5, "carrier": "UA"}', "--offline", "--json")
    assert (result.exit_code, _lines(result.stdout)[0]["version"]) == (0, "v1")


def test_answers_go_to_a_file_which_is_whole_or_not_there(place: Place) -> None:
    rows, to = place.table(HEADER + "a,500,UA,1\nb,-1,UA,1\n"), place.folder / "answers.csv"
    result = place.predict(rows, "--offline", "--out", str(to), "--json")
    assert json.loads(result.stdout)["refused"] == 1
    assert [row["flight_id"] for row in csv.DictReader(to.open())] == ["a"]
    other = place.predict(rows, "--offline", "--out", str(place.folder / "answers.xlsx"))
    assert other.exit_code == 1
    assert "must end in .csv or .jsonl" in other.stderr


def test_a_large_table_says_how_far_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "ROWS_TOLD", 2)
    rows, to = place.table(HEADER + "a,500,UA,1\n" * 5), place.folder / "five.csv"
    result = place.predict(rows, "--offline", "--out", str(to))
    assert [line for line in result.stderr.splitlines() if line.endswith(" rows")] == ["2 rows", "4 rows"]
    assert "rows\n" not in place.predict(rows, "--offline").stderr, "the answers tell it themselves"


def test_where_nothing_runs_it_says_what_to_do(place: Place) -> None:
    result = place.predict("--row", "{}")
    assert result.exit_code == 1
    assert "--offline" in result.stderr


def test_a_table_without_any_column_of_the_model_is_refused(place: Place) -> None:
    result = place.predict(place.table("x,y\n1,2\n"), "--offline")
    assert result.exit_code == 1
    assert "has none of the columns that the model reads" in result.stderr
