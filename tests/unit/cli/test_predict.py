"""Claims about `capstan predict`: each row is answered or refused by itself, by the gateway and offline alike."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from typer.testing import CliRunner

from capstan.adapters.bentoml.packager import BentoPackager
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.adapters.processes.ports_in_use import free_port
from capstan.adapters.sqlite.store import SqliteStore
from capstan.artifacts.content import MODEL_FOLDER
from capstan.cli.main import app
from capstan.domain.system import SystemState
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName
from capstan.embedded.layout import StateDir
from capstan.features.kinds import CategoricalSettings, NumericSettings
from capstan.features.transform import FeatureTransform
from capstan.ports.codec import to_json
from capstan.ports.store import Kind, Record
from capstan.serving.app import PredictionApp
from capstan.serving.model import load
from capstan.serving.settings import ServiceSettings

SYSTEM = SystemName("toy")
FILE = """
apiVersion: capstan.dev/v1alpha1
kind: MLSystem
metadata: {name: toy}
spec:
  objective: {task: BinaryClassification, target: late}
  data:
    sources: [{name: flights, csv: {path: flights.csv, missing: ["?"]}}]
    keys: {id: flight_id}
    label: {column: late, maximumDelay: 1d}
  features:
    - {name: distance, numeric: {}}
    - {name: carrier, categorical: {}}
"""
HEADER = "flight_id,distance,carrier,late\n"


class Place:
    """A state directory whose registry holds v1, the champion, and v2, which says the opposite."""

    def __init__(self, root: Path) -> None:
        self.folder = root
        self.state = StateDir(root / "state")
        self.state.prepare(SYSTEM)
        (root / "system.yaml").write_text(FILE)
        registry = MlflowRegistry(
            SYSTEM, tracking_uri=self.state.tracking_uri, artifact_root=self.state.mlflow_artifacts
        )
        self.versions = [self._registered(registry, number) for number in (1, 2)]
        store = SqliteStore(self.state.store)
        status = {"state": to_json(SystemState(champion=self.versions[0]))}
        store.put(Record(Kind.SYSTEM, SYSTEM, SYSTEM, spec={}, status=status))
        store.close()

    def _registered(self, registry: MlflowRegistry, number: int) -> ModelVersion:
        tag, digest = BentoPackager(self.state.bentos).package(
            SYSTEM, _model(self.folder / f"m{number}", number)
        )
        made = ModelVersion(
            VersionName(""), digest, RunName(f"run-{number}"), tag, datetime(2026, 1, 1, tzinfo=UTC)
        )
        return registry.register(made, tags={}, metrics={})

    def bento(self, number: int) -> Path:
        return BentoPackager(self.state.bentos).path(self.versions[number - 1].bento_tag)

    def predict(self, *arguments: str, input: str | None = None) -> Any:
        words = ["predict", str(self.folder / "system.yaml"), *arguments, "--state", str(self.state.root)]
        return CliRunner().invoke(app, words, input=input)

    def predict_by(self, way: str, file: Path) -> Any:
        """`gateway`, or the option `--offline`."""
        if way != "gateway":
            return self.predict(str(file), way)
        with self.serving():
            return self.predict(str(file))

    def table(self, text: str, name: str = "rows.csv") -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """v1 behind an address, as a running supervisor tells it."""
        service = PredictionApp(ServiceSettings(system=SYSTEM, version="v1"))
        service.serve(load(self.bento(1) / MODEL_FOLDER), None)
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(service, port=port, log_level="error"))
        thread = threading.Thread(target=server.run)
        with self.state.exclusively():
            thread.start()
            self.state.addresses.write_bytes(orjson.dumps({"gateway": f"http://127.0.0.1:{port}"}))
            while not server.started:
                pass
            try:
                yield
            finally:
                server.should_exit = True
                thread.join()


def _model(folder: Path, number: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(7)
    table = {"distance": rng.uniform(100, 3000, 400), "carrier": rng.choice(["AA", "UA"], 400)}
    settings = (NumericSettings("distance", "distance"), CategoricalSettings("carrier", "carrier"))
    pipeline = Pipeline(
        [("transform", FeatureTransform(settings)), ("model", LogisticRegression(max_iter=1000))]
    )
    late = (table["carrier"] == "UA") == (number == 1)
    joblib.dump(pipeline.fit(table, late), folder / "pipeline.joblib")
    columns = [
        {"name": "distance", "type": "Number", "kind": "numeric", "nullable": True, "min": 1},
        {"name": "carrier", "type": "Text", "kind": "categorical", "nullable": True, "required": True},
    ]
    manifest = {
        "system": SYSTEM, "task": "BinaryClassification", "target": "late", "columns": columns,
        "keys": {"id": "flight_id"}, "classes": [False, True],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


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


def test_refused_rows_are_told_by_number_and_field_and_cost_the_others_nothing(place: Place) -> None:
    cells = [f"f{number},{'x' if number % 5 == 0 else number},UA,1\n" for number in range(1, 1201)]
    cells[6] = "f7,-3,UA,1\n"
    result = place.predict(place.table(HEADER + "".join(cells)), "--offline", "--json")
    assert result.exit_code == 3, result.output
    *answers, last = _lines(result.stdout)
    summary = last["summary"]
    assert [answer["row"] for answer in answers] == [n for n in range(1, 1201) if n % 5 and n != 7]
    assert (summary["answered"], summary["refused"], summary["versions"]) == (959, 241, {"v1": 959})
    told = {one["row"]: one["problems"][0] for one in summary["refusals"]}
    assert (told[5]["field"], told[5]["value"], told[7]["value"]) == ("distance", "x", -3)


def test_people_read_the_row_the_field_and_the_rule(place: Place) -> None:
    result = place.predict(place.table(HEADER + "a,-3,UA,1\nb,5,UA,1\n"), "--offline")
    assert result.exit_code == 3
    assert "refused: row 1, distance: -3" in result.stderr
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
    assert 'refused: row 1, distance: "inf" must be a number' in result.stderr
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


def test_where_nothing_runs_it_says_what_to_do(place: Place) -> None:
    result = place.predict("--row", "{}")
    assert result.exit_code == 1
    assert "--offline" in result.stderr


def test_a_table_without_any_column_of_the_model_is_refused(place: Place) -> None:
    result = place.predict(place.table("x,y\n1,2\n"), "--offline")
    assert result.exit_code == 1
    assert "has none of the columns that the model reads" in result.stderr
