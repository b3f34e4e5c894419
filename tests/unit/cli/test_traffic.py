"""Claims about `capstan traffic`, against a real service: what it sends, what it tells, and with which exit code."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from typer.testing import CliRunner
from unit.cli.served_place import HEADER, Place

from capstan.cli.main import app

ROWS = "001,500,UA,1\n002,600,AA,0\n003,700,UA,1\n"


@dataclass
class Desk:
    labels: list[dict[str, object]] = field(default_factory=list)

    def post_labels(self, labels: Sequence[dict[str, object]], *, system: str | None = None) -> int:
        assert system == "toy"
        self.labels += labels
        return len(labels)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = Place(tmp_path_factory.mktemp("traffic"))
    found.table(HEADER + ROWS, "flights.csv")
    return found


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    found = Desk()

    @contextmanager
    def collector_of(_state: object) -> Iterator[Desk]:
        yield found

    monkeypatch.setattr("capstan.embedded.wiring.collector_of", collector_of)
    return found


def traffic(place: Place, *arguments: str) -> Any:
    words = ["traffic", str(place.folder / "system.yaml"), *arguments, "--state", str(place.state.root)]
    return CliRunner().invoke(app, words)


def test_rows_of_the_files_own_source_are_sent_and_counted(place: Place, desk: Desk) -> None:
    with place.serving():
        done = traffic(place, "--rate", "50", "--for", "200ms", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["sent"], told["answered"], told["failed"]) == (10, 10, 0)
    assert told["versions"] == {"v1": 10}
    assert 0 < told["p50_seconds"] <= told["p99_seconds"]
    assert not desk.labels


def test_columns_of_the_file_that_the_champion_refuses_are_told_and_not_sent(
    place: Place, desk: Desk
) -> None:
    file = place.folder / "system.yaml"
    before = file.read_text()
    file.write_text(before + "    - {name: gate, categorical: {}}\n")
    rows = place.table("flight_id,distance,carrier,gate,late\n001,500,UA,B7,1\n")
    try:
        with place.serving():
            done = traffic(place, rows, "--rate", "50", "--for", "100ms")
    finally:
        file.write_text(before)
    assert done.exit_code == 0, done.output
    assert "not sent: gate; the file has features of them" in done.stdout
    assert "5 answered (v1 5)" in done.stdout


FEEDBACK = ("--rate", "50", "--for", "200ms", "--feedback", "--label-delay", "0s", "--json")


def test_a_row_whose_label_the_table_leaves_empty_is_said_to_have_none(place: Place, desk: Desk) -> None:
    """Blocks would wait for its label until the longest delay is over."""
    rows = place.table(HEADER + "001,500,UA,1\n002,600,UA,\n")
    with place.serving():
        counted = json.loads(traffic(place, rows, *FEEDBACK).stdout)
    assert (counted["labels"], counted["without_label"]) == (5, 5)
    told = [(label.get("label"), label.get("noLabel")) for label in desk.labels]
    assert sorted(told, key=str) == [*[(None, True)] * 5, *[(True, None)] * 5]


def test_labels_are_those_of_the_table_by_new_ids(place: Place, desk: Desk) -> None:
    rows = place.table(HEADER + "001,500,UA,1\n002,600,UA,1\n")
    with place.serving():
        done = traffic(place, rows, *FEEDBACK)
    assert json.loads(done.stdout)["labels"] == len(desk.labels) == 10
    assert {label["label"] for label in desk.labels} == {True}
    assert len({label["id"] for label in desk.labels} - {"001", "002"}) == 10


def test_a_refused_row_fails_and_the_exit_code_says_so(place: Place, desk: Desk) -> None:
    with place.serving():
        done = traffic(place, "--rate", "50", "--for", "100ms", "--shift", "distance=*0")
    assert done.exit_code == 3
    assert "5 sent, 0 answered, 5 failed" in done.stdout
    assert "failed: 5 times: status 422" in done.stderr


def test_missing_values_are_null_and_not_left_out(place: Place, desk: Desk) -> None:
    """The service refuses a row that does not name its carrier, and answers one that says it is not known."""
    with place.serving():
        done = traffic(place, "--rate", "50", "--for", "100ms", "--missing", "carrier=1", "--json")
    assert json.loads(done.stdout)["answered"] == 5


def test_ctrl_c_ends_it_with_the_summary(place: Place, desk: Desk) -> None:
    with place.serving() as requests:

        def interrupt() -> None:
            while requests() < 3:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        done = traffic(place, "--rate", "20", "--feedback", "--label-delay", "1h")
    assert done.exit_code == 0, done.output
    assert " answered (v1 " in done.stdout
    assert "not yet due and not handed in" in done.stdout


def test_one_that_was_to_last_longer_ends_with_130(place: Place, desk: Desk) -> None:
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    with place.serving():
        timer.start()
        done = traffic(place, "--rate", "20", "--for", "1h")
    assert done.exit_code == 130, done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("--shift", "height=+1"), "they are distance, carrier", id="no column"),
        pytest.param(("--for", "5"), "--for: '5' is not a duration", id="no unit"),
        pytest.param(("--for", "0s"), "--for: must be longer than 0s", id="no time"),
        pytest.param(("--events", "click=1"), "the file's events are: none", id="no online metric"),
        pytest.param(("nowhere.csv",), "nowhere.csv: there is no such file", id="no table"),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_sent(
    place: Place, desk: Desk, arguments: tuple[str, ...], words: str
) -> None:
    with place.serving():
        done = traffic(place, *arguments)
    assert done.exit_code == 1
    assert words in done.stderr


def test_feedback_needs_labels(place: Place, desk: Desk) -> None:
    rows = place.table("distance,carrier\n500,UA\n", "bare.csv")
    with place.serving():
        done = traffic(place, rows, "--feedback", "--for", "1s")
    assert done.exit_code == 1
    assert "the table needs the column 'late'" in done.stderr


def test_a_label_that_is_none_is_told_by_its_row(place: Place, desk: Desk) -> None:
    rows = place.table(HEADER + "001,500,UA,1\n002,600,AA,perhaps\n", "odd.csv")
    with place.serving():
        done = traffic(place, rows, "--for", "1s")
    assert "odd.csv: row 2, late: 'perhaps' is no label" in done.stderr


def test_where_nothing_runs_it_says_what_to_do(place: Place) -> None:
    done = traffic(place, "--for", "1s")
    assert done.exit_code == 1
    assert "nothing runs here; `capstan up FILE` starts the system" in done.stderr
