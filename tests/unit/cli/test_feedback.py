"""Claims about `capstan feedback`, against the real collector."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from sent_payloads import body
from typer.testing import CliRunner

from capstan.adapters.processes.ports_in_use import free_port
from capstan.cli.main import app
from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import spec_document
from capstan.recording.collector.server import CollectorConfig, CollectorService
from capstan.spec import load

FILE = """
apiVersion: capstan.dev/v1alpha1
kind: MLSystem
metadata: {name: toy}
spec:
  objective: {task: TASK, target: late}
  data:
    sources: [{name: cases, csv: {path: cases.csv, timeColumn: at, missing: ["?"]}}]
    keys: {id: case, time: at}
    label: {column: late, availableAt: known_at, maximumDelay: 1d}
    timeZone: Europe/Berlin
  features:
    - {name: x, numeric: {}}
"""


class Place:
    """A state directory with a collector that took the requests of cases `007` and `b`."""

    def __init__(self, root: Path, task: str = "BinaryClassification") -> None:
        self.folder, self.state = root, StateDir(root / "state")
        self.state.prepare(SystemName("toy"))
        (root / "system.yaml").write_text(FILE.replace("TASK", task))
        self.state.spec(SystemName("toy")).write_bytes(
            orjson.dumps(spec_document(load(root / "system.yaml")))
        )
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.state.processes.mkdir(parents=True, exist_ok=True)
        (self.state.processes / "ports.json").write_bytes(orjson.dumps({"collector": port}))
        config = CollectorConfig(
            port=port,
            directory=self.state.run / "collector",
            systems=self.state.root / "systems",
            tokens={name: self.state.token_file(name) for name in ("internal", "feedback")},
        )
        self.server = uvicorn.Server(
            uvicorn.Config(CollectorService(config).app(), port=port, log_level="error")
        )

    def hear(self, *cases: str) -> None:
        events = [
            {
                "id": f"boot-{number}",
                "source": "/capstan/toy/v1",
                "data": {
                    "request_id": f"r{number}", "entity_id": case, "version": "v1", "role": "champion", "attempt": 1,
                    "row": 0, "event_time": "2026-01-01T00:00:00+00:00", "status": 200, "outputs": {"probability": 0.5},
                },
            }
            for number, case in enumerate(cases)
        ]  # fmt: skip
        headers = {"authorization": f"Bearer {self.state.token('internal')}"}
        httpx.post(f"{self.address}/payloads", content=body(events), headers=headers).raise_for_status()

    def forget_the_id(self) -> None:
        """The file that is read names no id any more."""
        file = self.folder / "system.yaml"
        file.write_text(file.read_text().replace("{id: case, time: at}", "{time: at}"))

    def say(self, objective: str) -> None:
        """The file has another objective."""
        file = self.folder / "system.yaml"
        file.write_text(file.read_text().replace("{task: BinaryClassification, target: late}", objective))
        self.state.spec(SystemName("toy")).write_bytes(orjson.dumps(spec_document(load(file))))

    def feedback(self, text: str, *arguments: str) -> Any:
        table = self.folder / "labels.csv"
        table.write_text(text)
        words = ["feedback", str(self.folder / "system.yaml"), str(table), "--state", str(self.state.root)]
        return CliRunner().invoke(app, [*words, *arguments])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    thread = threading.Thread(target=made.server.run)
    with made.state.exclusively():
        thread.start()
        while not made.server.started:
            pass
        made.hear("007", "b")
        yield made
        made.server.should_exit = True
        thread.join()


def test_labels_are_handed_in_and_told_by_what_became_of_them(place: Place) -> None:
    text = "case,late,known_at,other\n007,1,2026-01-02 10:00:00,p\nb,0,2026-01-02 10:00:00,q\nb2,?,,\n"
    result = place.feedback(text, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["accepted"], told["without_label"], told["matched"]["ids"]) == (2, 1, ["007", "b"])
    again = json.loads(place.feedback(text, "--json").stdout)
    assert (again["accepted"], again["duplicates"]) == (0, 2)
    said = place.feedback(text).stdout
    assert "labels: 0 new, 2 known already" in said
    assert "2 belong to answered requests" in said
    assert "rows left out, as they have no label yet: 1" in said


def test_an_id_that_nobody_asked_for_is_named(place: Place) -> None:
    result = place.feedback("case,late\nnobody,1\n")
    assert result.exit_code == 0
    assert "nobody" in result.stdout


def test_rows_that_are_refused_alike_are_told_in_one_line(place: Place) -> None:
    lines = [f"c{number},MM" for number in range(1, 121)]
    result = place.feedback("\n".join(["case,late", *lines, ",1"]) + "\n")
    assert result.exit_code == 3
    label, case = result.stderr.splitlines()
    assert label.startswith("refused: row 1, late: 'MM' is no label; write ")
    assert label.endswith(" (and 119 rows more: 2, 3, 4, 5, ...)")
    assert case == "refused: 1 row more, for other reasons"
    assert "rows refused: 121" in result.stdout


def test_what_is_no_label_is_told_by_row_and_the_others_are_handed_in(place: Place) -> None:
    result = place.feedback("case,late\n007,maybe\nb,yes\n", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["accepted"], told["refused"]) == (3, 1, 1)
    assert (told["refusals"][0]["row"], told["refusals"][0]["field"]) == (1, "late")


def test_labels_are_written_as_the_training_table_writes_them(place: Place) -> None:
    place.say("{task: BinaryClassification, target: late, positive: MM, negative: CH}")
    result = place.feedback("case,late\n007,MM\nb,CH\nb2,true\n", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["accepted"], told["matched"]["count"]) == (3, 2, 2), result.output
    assert told["refusals"][0]["rule"] == "is no label; write 'MM' or 'CH'"
    headers = {"authorization": f"Bearer {place.state.token('feedback')}"}
    post = {"labels": [{"id": "007", "label": "perhaps"}]}
    answer = httpx.post(f"{place.address}/feedback", json=post, headers=headers)
    assert answer.status_code == 422
    assert "write 'MM' or 'CH', or noLabel: true" in answer.json()["error"]["rule"]


def test_a_moment_without_offset_is_one_of_the_files_zone(place: Place) -> None:
    place.feedback("case,late,known_at\n007,1,2026-01-02 10:00:00\n")
    headers = {"authorization": f"Bearer {place.state.token('feedback')}"}
    same = {"id": "007", "label": True, "availableAt": "2026-01-02T09:00:00+00:00"}
    answer = httpx.post(f"{place.address}/feedback", json={"labels": [same]}, headers=headers).json()
    assert (answer["accepted"], answer["duplicates"]) == (0, 1)


def test_a_table_without_the_files_columns_is_refused(place: Place) -> None:
    result = place.feedback("id,late\n007,1\n")
    assert result.exit_code == 1
    assert "has no column 'case'" in result.stderr


def test_a_table_of_answers_names_requests_where_it_has_no_id(place: Place) -> None:
    place.forget_the_id()
    told = json.loads(place.feedback("request_id,late\nr0,1\nr1,0\n", "--json").stdout)
    assert (told["accepted"], told["matched"]["ids"]) == (2, ["r0", "r1"])


def test_a_request_of_several_rows_takes_no_label_of_one_of_them(place: Place) -> None:
    place.forget_the_id()
    result = place.feedback("request_id,late\nr0,1\nr0,0\nr1,0\n")
    assert result.exit_code == 3
    assert "row 1, request_id: 'r0' stands for several rows" in result.stderr
    assert result.stderr.rstrip().endswith("(and 1 row more: 2)")
    assert "labels: 1 new" in result.stdout


def test_a_label_beside_a_row_of_its_request_without_one_is_refused(place: Place) -> None:
    place.forget_the_id()
    told = json.loads(place.feedback("request_id,late\nr0,1\nr0,\nr1,0\n", "--json").stdout)
    assert (told["accepted"], told["refused"], told["matched"]["ids"]) == (1, 1, ["r1"])


def test_a_row_that_is_there_twice_is_handed_in_once(place: Place) -> None:
    place.forget_the_id()
    told = json.loads(place.feedback("request_id,late\nr0,1\nr0,1\nr1,0\n", "--json").stdout)
    assert (told["accepted"], told["duplicates"], told["refused"]) == (2, 0, 0)


def test_without_an_id_a_table_needs_the_requests(place: Place) -> None:
    place.forget_the_id()
    result = place.feedback("case,late\n007,1\n")
    assert result.exit_code == 1
    assert "Copy the column 'request_id' from the answers of `capstan predict`" in result.stderr


def test_where_nothing_runs_it_says_so(tmp_path: Path) -> None:
    result = Place(tmp_path).feedback("case,late\n007,1\n")
    assert result.exit_code == 1
    assert "`capstan up FILE`" in result.stderr
