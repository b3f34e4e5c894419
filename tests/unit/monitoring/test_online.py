"""Online metrics of versions: which units count for whom, what is closed, how late events are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from ruamel.yaml import YAML
from sent_payloads import body

from capstan.domain.watching import OnlineStanding
from capstan.monitoring.online import measure_online, rest
from capstan.recording.collector.intake import Intake
from capstan.recording.reading import PayloadReader
from capstan.spec import MLSystem, parse

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
REVENUE = {
    "name": "revenue", "event": "buy", "aggregate": "Sum", "window": "2h", "maximumDelay": "1h", "better": "Higher",
}  # fmt: skip
CLICKED = {
    "name": "clicked", "event": "click", "aggregate": "Rate", "per": "Request", "window": "30m", "maximumDelay": "0s",
    "better": "Higher",
}  # fmt: skip


class Shop:
    def __init__(self, root: Path, *online: Mapping[str, object]) -> None:
        file = Path(__file__).parents[1] / "spec" / "flight_delays.yaml"
        document = json.loads(json.dumps(YAML(typ="safe").load(file.read_text()), default=str))
        document["spec"]["evaluation"]["online"] = list(online)
        self.system: MLSystem = parse(document, base_dir=root)
        self.folder = root / "systems" / "flight-delays"
        self.folder.mkdir(parents=True)
        (self.folder / "spec.json").write_bytes(orjson.dumps(document))
        self.intake = Intake(root / "collector", root / "systems")
        self.sent = 0

    def answer(self, request: str, version: str, ago: timedelta, **data: Any) -> None:
        self.sent += 1
        payload = {
            "id": f"b-{self.sent}", "source": f"/capstan/flight-delays/{version}",
            "data": {
                "request_id": request, "version": version, "role": "champion", "attempt": 1, "row": 0,
                "event_time": (NOW - ago).isoformat(), "entity_id": f"e-{request}", "status": 200,
                "outputs": {"probability": 0.5}, **data,
            },
        }  # fmt: skip
        self.intake.receive(None, body([payload]), NOW)

    def happened(self, event: str, ago: timedelta, value: float = 1, **subject: str) -> None:
        self.sent += 1
        at = (NOW - ago).isoformat()
        entry = {
            "eventId": f"x{self.sent}",
            "event": event,
            "value": value,
            "at": at,
            "availableAt": at,
            **subject,
        }
        self.intake.events(orjson.dumps({"events": [entry]}), NOW, system=None)

    def measured(self, now: datetime = NOW) -> dict[tuple[str, str], OnlineStanding]:
        self.intake.flush()
        reader = PayloadReader(self.folder)
        found = {(one.metric, one.version): one for one in measure_online(reader, self.system, now)}
        reader.close()
        return found


def test_a_unit_counts_once_for_the_version_that_answered_it_first(tmp_path: Path) -> None:
    shop = Shop(tmp_path, REVENUE)
    shop.answer("r1", "v1", 10 * HOUR, unit="ann")
    shop.answer("r2", "v2", 9 * HOUR, unit="ann", role="challenger")
    shop.answer("r3", "v2", 9 * HOUR, unit="bob", role="challenger")
    shop.answer("r4", "v2", 9 * HOUR, unit="eve", role="shadow")
    shop.answer("r5", "v2", 9 * HOUR, status=500)
    shop.answer("r6", "v1", 9 * HOUR)
    shop.happened("buy", 9 * HOUR, 10, unit="ann")
    shop.happened("buy", 9 * HOUR, 5, requestId="r2")
    shop.happened("buy", 8.5 * HOUR, 7, unit="bob")
    shop.happened("buy", 8.5 * HOUR, 1000, unit="eve")
    shop.happened("buy", 8.5 * HOUR, 9, id="e-r6")
    found = shop.measured()
    assert {key: (one.value, one.units) for key, one in found.items()} == {
        ("revenue", "v1"): (12.0, 2),
        ("revenue", "v2"): (7.0, 1),
    }
    v1, v2 = found["revenue", "v1"], found["revenue", "v2"]
    assert (v1.standard_error, v2.standard_error) == (3.0, None), "of 15 and 9, and of one unit alone"
    assert (v1.delay, v2.delay) == (45 * MINUTE, 30 * MINUTE), "of the two medians of ann and of r6"
    assert (v1.coverage, v1.better, v1.title) == (1.0, "Higher", "revenue")


def test_a_unit_whose_time_is_not_over_lowers_the_coverage_and_touches_no_value(tmp_path: Path) -> None:
    shop = Shop(tmp_path, REVENUE)
    for name, ago in (("a", 3 * HOUR), ("b", 3 * HOUR - MINUTE), ("c", HOUR), ("d", 4 * HOUR)):
        shop.answer(f"r{name}", "v1", ago, unit=name)
        shop.happened("buy", ago - MINUTE, 100 if name in "bc" else 10, unit=name)
    one = shop.measured()["revenue", "v1"]
    assert (one.value, one.units, one.closed, one.assigned, one.coverage) == (10.0, 2, 2, 4, 0.5)
    later = shop.measured(NOW + MINUTE)["revenue", "v1"]
    assert (later.units, later.value) == (3, 40.0)


def test_a_whole_monitoring_window_of_units_is_complete(tmp_path: Path) -> None:
    shop = Shop(tmp_path, REVENUE)
    window = shop.system.spec.monitoring.window.duration
    shop.answer("old", "v0", window + 3 * HOUR + MINUTE)
    shop.answer("r1", "v1", window + 3 * HOUR - MINUTE)
    assert set(shop.measured()) == {("revenue", "v1")}


def test_requests_are_units_by_themselves_where_the_metric_is_per_request(tmp_path: Path) -> None:
    shop = Shop(tmp_path, CLICKED, REVENUE)
    shop.answer("r1", "v1", 4 * HOUR, unit="ann")
    shop.answer("r2", "v2", 3.9 * HOUR, unit="ann", role="challenger")
    shop.answer("r3", "v2", 3.9 * HOUR, unit="ann", role="challenger")
    shop.happened("click", 3.8 * HOUR, requestId="r2")
    shop.happened("click", 3.8 * HOUR, unit="ann")
    found = shop.measured()
    assert list(found) == [("clicked", "v1"), ("clicked", "v2"), ("revenue", "v1")]
    assert (found["clicked", "v1"].value, found["clicked", "v2"].value) == (0.0, 0.5)


def test_a_retry_is_the_answer_of_its_last_attempt_and_an_event_after_the_moment_does_not_exist(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path, REVENUE)
    shop.answer("r1", "v2", 9 * HOUR, role="challenger", attempt=1)
    shop.answer("r1", "v1", 9 * HOUR, attempt=2)
    shop.happened("buy", 8 * HOUR, 10, requestId="r1")
    assert set(shop.measured()) == {("revenue", "v1")}
    assert shop.measured(NOW - 5.5 * HOUR)["revenue", "v1"].value == 10.0
    assert shop.measured(NOW - 8.5 * HOUR)["revenue", "v1"].value is None


def test_without_an_online_metric_nothing_is_read(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    assert measure_online(None, shop.system, NOW) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(("window", "wanted"), [("7d", HOUR), ("10m", timedelta(seconds=30))])
def test_values_rest_for_a_twentieth_of_a_window_and_an_hour_at_most(
    tmp_path: Path, window: str, wanted: timedelta
) -> None:
    system = Shop(tmp_path).system.model_dump(mode="json", by_alias=True)
    system["spec"]["monitoring"]["window"]["duration"] = window
    system["spec"]["replay"] = None
    assert rest(parse(system, base_dir=tmp_path)) == wanted
