"""Claims about rows of a batch that the monitor sees: each once, marked, and never in the way of predictions."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import uvicorn
from unit.cli.served_place import SYSTEM, Place
from unit.embedded.batch.test_processes import BATCHED

from capstan.adapters.processes.ports_in_use import free_port
from capstan.domain.batches import PartitionInputs
from capstan.embedded.batch import watching
from capstan.embedded.batch.predicting import predict_batch, status_of
from capstan.embedded.batch.watching import WatchedRows
from capstan.embedded.batch.wiring import wire_batch
from capstan.recording.answered import ANSWERED
from capstan.recording.collector.server import CollectorConfig, CollectorService
from capstan.recording.reading import PayloadReader
from capstan.spec import load

NOW = datetime(2026, 3, 3, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = Place(tmp_path_factory.mktemp("watched"))
    (made.folder / "system.yaml").write_text(BATCHED)
    rows = [f"{hour},2026-03-01T{hour:02d}:00:00Z,{500 + hour},UA" for hour in range(20)]
    made.table("\n".join(["flight_id,departure,distance,carrier", *rows]) + "\n", "flights.csv")
    return made


class Collector:
    def __init__(self, folder: Path, token: Path, port: int) -> None:
        self.folder, self.address = folder, f"http://127.0.0.1:{port}"
        tokens = {"internal": token, "feedback": token}
        (folder / SYSTEM).mkdir(parents=True)
        config = CollectorConfig(port=port, directory=folder / "own", systems=folder, tokens=tokens)
        self.service = CollectorService(config)

    def stored(self) -> list[dict[str, Any]]:
        self.service.intake.seal()
        self.service.intake.flush_sealed()
        files = sorted((self.folder / SYSTEM / "payloads").rglob("*.parquet"))
        return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


@contextmanager
def collector(folder: Path) -> Iterator[Collector]:
    token = folder / "token"
    folder.mkdir()
    token.write_text("secret")
    port = free_port()
    made = Collector(folder, token, port)
    server = uvicorn.Server(uvicorn.Config(made.service.app(), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            pass
        yield made
    finally:
        server.should_exit = True
        thread.join()


def predict(place: Place, address: str, token: Path, output: Path) -> Any:
    system = load(place.folder / "system.yaml")
    request = wire_batch(system, place.state, place.versions[0].name, start=None, end=None, output=output)
    waited: list[float] = []
    watched = WatchedRows(
        address, token, SYSTEM, request.version.name, "flight_id", clock=lambda: NOW, pause=waited.append
    )
    request = request.__class__(**{**vars(request), "watched": watched})
    return status_of(request, predict_batch(request)), watched, waited


def test_rows_are_stored_once_and_marked_however_often_their_file_is_made(
    place: Place, tmp_path: Path
) -> None:
    with collector(tmp_path / "record") as made:
        for folder in ("once", "again"):
            status, watched, _ = predict(place, made.address, made.folder / "token", tmp_path / folder)
            assert (status.written, status.unwatched, watched.told) == (20, 0, 20)
        rows = made.stored()
    assert sorted(int(row["entity_id"]) for row in rows) == list(range(20))
    assert {(row["role"], row["version"], row["event_time"]) for row in rows} == {("batch", "v1", NOW)}
    assert {row["input.distance"] for row in rows} == {500.0 + hour for hour in range(20)}
    assert all(row["output.probability"] is not None for row in rows)
    assert json.loads(json.dumps(made.service.intake.ledger.answered)) == 0, "they are no requests of users"


def test_the_monitor_measures_them_and_online_metrics_do_not(place: Place, tmp_path: Path) -> None:
    with collector(tmp_path / "record") as made:
        predict(place, made.address, made.folder / "token", tmp_path / "out")
        made.stored()
        reader = PayloadReader(made.folder / SYSTEM)
        stretch = {"start": NOW.replace(hour=0), "end": NOW.replace(hour=23)}
        (seen,) = reader.fetch(f"select count(*) as rows {ANSWERED}", **stretch)["rows"].to_pylist()
        from capstan.monitoring.online import _ANSWERED as users

        query = f"select count(*) as rows from stored_payloads where {users}"
        (asked,) = reader.fetch(query, **stretch)["rows"].to_pylist()
        reader.close()
    assert (seen, asked) == (20, 0)


def test_a_collector_that_is_away_costs_no_prediction_and_is_told(place: Place, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    status, _, waited = predict(place, f"http://127.0.0.1:{free_port()}", token, tmp_path / "out")
    assert (status.written, status.unwatched) == (20, 20)
    assert "refused" in status.why_unwatched
    assert waited == [1.0, 2.0, 4.0], "it is asked again for a while, and then no more"


def test_of_a_large_batch_every_so_many_rows_are_seen(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST_ROWS", 7)
    with collector(tmp_path / "record") as made:
        _, watched, _ = predict(place, made.address, made.folder / "token", tmp_path / "out")
    assert watched.told == 6


def rows_of(count: int, **columns: object) -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], list[Any]]:
    rows = [({"flight_id": str(number)}, {"distance": 1.0, **columns}) for number in range(count)]
    return rows, [{"probability": 0.5}] * count


def watching_to(made: Collector, moments: Iterator[datetime]) -> WatchedRows:
    token = made.folder / "token"
    watched = WatchedRows(
        made.address, token, SYSTEM, "v1", "flight_id", clock=lambda: next(moments), pause=lambda _: None
    )
    watched.begin("2026-03-01-0000", PartitionInputs("v1", "model", "made", "rows"), 5)
    return watched


def show(watched: WatchedRows, rows: Any, outputs: Any) -> None:
    """As those who answer show them: by requests."""
    column = watched.group_column
    answered = zip(rows, outputs, strict=True)
    asked = [
        list(same)
        for _, same in itertools.groupby(enumerate(answered), lambda one: one[1][0][0].get(column, one[0]))
    ]
    wanted = watched.wanted(len(asked))
    watched.show([[one for _, one in asked[place]] for place in wanted])


def test_rows_are_in_the_window_of_the_moment_at_which_they_were_predicted(tmp_path: Path) -> None:
    """A window by rows would end with the first rows of a long batch, and all others of its moment would be late."""
    with collector(tmp_path / "record") as made:
        later = NOW.replace(hour=9)
        watched = watching_to(made, iter([NOW, later]))
        show(watched, *rows_of(2))
        show(watched, *rows_of(1))
        assert [row["event_time"] for row in made.stored()] == [NOW, NOW, later]


def test_one_row_that_is_refused_costs_no_other(tmp_path: Path) -> None:
    with collector(tmp_path / "record") as made:
        watched = watching_to(made, iter([NOW] * 4))
        rows, outputs = rows_of(3)
        rows[1] = ({"flight_id": "x" * 600}, rows[1][1])
        show(watched, rows, outputs)
        show(watched, *rows_of(1, distance=1 << 80))
        show(watched, *rows_of(1))
        assert (watched.told, watched.lost, len(made.stored())) == (3, 2, 3)
        assert watched.why_lost.startswith("entity_id: must be a text of")
        assert made.service.intake.ledger.duplicates == 0, "what is refused once is not sent again"


def test_rows_of_a_group_are_one_request_that_no_user_made(tmp_path: Path) -> None:
    """Labels of a group are judged where all its rows are there, from the first on."""
    with collector(tmp_path / "record") as made:
        watched = watching_to(made, iter([NOW] * 2))
        watched.group_column = "query"
        rows, outputs = rows_of(5)
        for (row, _), query in zip(rows, "aabbb", strict=True):
            row["query"] = query
        show(watched, rows, outputs)
        show(watched, rows[:2], outputs[:2])
        stored = sorted(made.stored(), key=lambda row: row["sequence"])
        first, second, third = dict.fromkeys(row["request_id"] for row in stored)
        assert [(row["request_id"], row["row"]) for row in stored] == [
            (first, 0), (first, 1), (second, 0), (second, 1), (second, 2), (third, 0), (third, 1),
        ]  # fmt: skip
        assert made.service.intake.ledger.answered == 0
