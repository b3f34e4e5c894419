"""`capstan drift` shows what the monitor has decided, window by window, from what it stored."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from simulation.world import SYSTEM

from capstan.cluster.monitor_pod import ASK
from capstan.cluster.names import MONITOR_PORT, TOKENS_MOUNT
from capstan.domain.versions import SystemName
from capstan.monitoring.checkpoint import Checkpoint, save_checkpoint
from capstan.monitoring.windows import (
    DriftWindow,
    FeatureDrift,
    OnlineDrift,
    QualityWindow,
    ReferenceWindow,
    SliceDrift,
    SlicesDrift,
    WindowOutcome,
)

START = datetime(2013, 2, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


def feature(
    name: str, distance: float | None, *, threshold: float = 0.1, missing: float = 0.0
) -> FeatureDrift:
    return FeatureDrift(name, 1000, distance, threshold, None, missing, 0.0, 0.1)


def decide(serving, *weeks: dict[str, float | None], version: str = "v1", rows: int = 1200) -> None:
    """The monitor's file after weeks in which features had these distances; a week without any had too few rows."""
    checkpoint = Checkpoint().watching(version, "model", START)
    for number, distances in enumerate(weeks):
        enough = bool(distances)
        window = DriftWindow(
            number,
            START + number * WEEK,
            START + (number + 1) * WEEK,
            rows if enough else 84,
            enough,
            tuple(feature(name, value) for name, value in distances.items() if name != "probability"),
            tuple(feature(name, value) for name, value in distances.items() if name == "probability"),
            min_rows=1000,
        )
        checkpoint = checkpoint.with_drift(window, consecutive=1)
    save_checkpoint(serving.state.monitor(SystemName(SYSTEM)) / "state.json", checkpoint)


def row(output: str, name: str) -> list[str]:
    (line,) = [line for line in output.splitlines() if line.startswith(f"{name} ")]
    return re.split(r"  +", line)


def test_each_feature_is_shown_over_time_the_farthest_above_its_threshold_first(serving) -> None:
    decide(serving, {"temp": 0.01, "wind": 0.05}, {"temp": 0.11, "wind": 0.05}, {"temp": 0.3, "wind": 0.02})
    result = serving.run("drift")
    assert result.exit_code == 0, result.output
    assert "3 windows, the newest of 2013-02-15 to 2013-02-22 (v1)" in result.output
    assert row(result.output, "temp") == ["temp", "KS", "0.300", "0.100", "2 of 3", "0.0%", "▁▅█"]
    assert row(result.output, "wind") == ["wind", "KS", "0.020", "0.100", "0 of 3", "0.0%", "▃▃▁"]
    assert result.output.index("temp ") < result.output.index("wind ")


def test_windows_tell_their_verdicts_alerts_and_why_one_was_not_judged(serving) -> None:
    decide(serving, {"temp": 0.3}, {})
    output = serving.run("drift").output
    assert re.search(r"2013-02-01 to 2013-02-08 +v1 +1,200 +drift above.*fires: DriftDetected", output)
    assert re.search(r"2013-02-08 to 2013-02-15 +v1 +84 +drift not judged.*84 of 1,000 rows", output)
    assert row(output, "temp")[-1] == "█·"


def test_slices_that_moved_are_told_and_what_is_not_compared(serving) -> None:
    slices = SlicesDrift(
        farthest=(
            SliceDrift("carrier=UA", "dep_hour", 1040, 0.31, 0.16),
            SliceDrift("carrier=AA", "dep_hour", 611, 0.06, 0.15),
        ),
        moved=1,
        compared=9,
        too_few=2,
        least_rows=100,
        left_out=("tailnum: requests do not carry it",),
    )
    window = DriftWindow(0, START, START + WEEK, 1200, True, (feature("temp", 0.01),), slices=slices)
    checkpoint = Checkpoint().watching("v1", "model", START).with_drift(window, consecutive=1)
    save_checkpoint(serving.state.monitor(SystemName(SYSTEM)) / "state.json", checkpoint)
    output = serving.run("drift").output
    assert row(output, "carrier=UA") == ["carrier=UA", "dep_hour", "0.310", "0.160", "1,040", "above"]
    assert row(output, "carrier=AA")[:5] == ["carrier=AA", "dep_hour", "0.060", "0.150", "611"]
    assert (
        "in the newest window: 9 slices compared; 2 had fewer than 100 rows; tailnum: requests do not carry it"
        in output
    )
    # The line of the window must not say "fine" and nothing else.
    named = "carrier=UA: dep_hour 0.310 above 0.160 by slice, of which there is no alert"
    assert f"drift fine but for {named}" in output
    assert "1 above by slice, 2 of 11 slices not judged" in output
    (told,) = json.loads(serving.run("drift", "--json").stdout)["windows"]
    assert told["slices"]["farthest"][0]["slice"] == "carrier=UA"


def test_old_thresholds_are_named_beside_the_windows_that_they_judged(serving) -> None:
    doubt = "thresholds were found for monitoring.window.every none and not 1d"
    window = DriftWindow(0, START, START + WEEK, 1200, True, (feature("temp", 0.01),), doubt=doubt)
    seen = OnlineDrift(START + WEEK, WindowOutcome.BREACH, START + WEEK / 2, lots=40)
    checkpoint = (
        Checkpoint().watching("v1", "model", START).with_online(seen).with_drift(window, consecutive=1)
    )
    save_checkpoint(serving.state.monitor(SystemName(SYSTEM)) / "state.json", checkpoint)
    output = serving.run("drift").output
    assert f"beware: {doubt}" in output
    assert f"online above, online since {START + WEEK / 2:%Y-%m-%d %H:%M}" in output


def test_the_requests_that_a_window_was_compared_with_are_told(serving) -> None:
    earlier = ReferenceWindow(START - WEEK, START)
    window = DriftWindow(0, START, START + WEEK, 1200, True, (feature("temp", 0.01),), reference=earlier)
    checkpoint = Checkpoint().watching("v1", "model", START).with_drift(window, consecutive=1)
    save_checkpoint(serving.state.monitor(SystemName(SYSTEM)) / "state.json", checkpoint)
    output = serving.run("drift").output
    assert "2013-02-01 to 2013-02-08 (v1), compared with 2013-01-25 to 2013-02-01" in output


def test_an_output_of_the_model_is_told_as_a_prediction_and_last(serving) -> None:
    decide(serving, {"probability": 0.5, "temp": 0.01})
    output = serving.run("drift").output
    assert row(output, "prediction: probability")[2] == "0.500"
    assert output.index("temp ") < output.index("prediction: probability")


def test_a_feature_that_a_window_did_not_measure_is_a_dot(serving) -> None:
    decide(serving, {"temp": 0.01}, {"temp": None}, {"wind": 0.05, "temp": 0.02})
    output = serving.run("drift").output
    assert row(output, "temp")[-1] == "▁·▁"
    assert row(output, "temp")[4] == "0 of 2"
    assert row(output, "wind")[-1] == "··▃"


def test_one_feature_and_the_newest_windows_can_be_chosen(serving) -> None:
    decide(serving, {"temp": 0.01, "wind": 0.05}, {"temp": 0.3, "wind": 0.05})
    output = serving.run("drift", "--feature", "temp", "--last", "1").output
    assert "1 window, " in output
    assert row(output, "temp")[-1] == "█"
    assert "\nwind " not in output


def test_unknown_features_and_versions_are_told_with_what_there_is(serving) -> None:
    decide(serving, {"temp": 0.01})
    result = serving.run("drift", "--feature", "tmp")
    assert result.exit_code == 1
    assert "--feature tmp: no window knows it; there are: temp" in result.output
    result = serving.run("drift", "--version", "v9", "--json")
    assert result.exit_code == 1
    assert "no window was decided while v9 was watched" in json.loads(result.stdout)["message"]


def test_machines_get_every_number(serving) -> None:
    decide(serving, {"temp": 0.01}, {"temp": 0.3})
    document = json.loads(serving.run("drift", "--json").stdout)
    assert document["system"] == SYSTEM
    assert [window["outcomes"]["drift"] for window in document["windows"]] == ["Fine", "Breach"]
    (found,) = document["features"]
    assert [one["distance"] for one in found["over_time"]] == [0.01, 0.3]
    assert (found["measured"], found["above"]) == (2, 1)


def test_quality_that_came_late_stands_beside_its_window(serving) -> None:
    checkpoint = Checkpoint().watching("v1", "model", START)
    drifted = DriftWindow(0, START, START + WEEK, 1200, True, (feature("temp", 0.01),))
    checkpoint = checkpoint.with_drift(drifted, consecutive=1)
    quality = QualityWindow(
        *(0, START, START + WEEK, "rocAuc", 1200, 1100, 0.9, 0.61, 0.01, 0.7, 0.09, 0.05, 0.65),
        WindowOutcome.BREACH,
        "Dropped",
    )
    checkpoint = checkpoint.with_quality(quality, consecutive=1)
    save_checkpoint(serving.state.monitor(SystemName(SYSTEM)) / "state.json", checkpoint)
    output = serving.run("drift").output
    assert "quality above" not in output
    assert re.search(r"quality dropped, rocAuc 0.610, fires: QualityDropped", output)


def test_before_the_first_window_nothing_is_invented(serving) -> None:
    result = serving.run("drift")
    assert (result.exit_code, "no window was decided yet" in result.output) == (0, True)
    assert json.loads(serving.run("drift", "--json").stdout) == {
        "system": SYSTEM,
        "windows": [],
        "features": [],
    }


def test_a_broken_record_is_told_by_its_file(serving) -> None:
    file = serving.state.monitor(SystemName(SYSTEM)) / "state.json"
    file.write_text("{")
    result = serving.run("drift")
    assert result.exit_code == 1
    assert "state.json" in result.output
    assert "cannot be read" in result.output.replace("\n", " ")


class Asked(BaseHTTPRequestHandler):
    """A monitor that says what it was asked."""

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        told = [self.command, self.path, self.rfile.read(length).decode(), self.headers["authorization"]]
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def monitor() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@pytest.mark.parametrize(
    ("content", "method"),
    [pytest.param("", "GET", id="windows"), pytest.param('{"a": 1}', "POST", id="evidence")],
)
def test_the_pod_s_command_asks_with_its_token(
    tmp_path: Path, monitor: int, content: str, method: str
) -> None:
    (tmp_path / "internal").write_text("secret\n")
    script = ASK.replace(TOKENS_MOUNT, str(tmp_path)).replace(f":{MONITOR_PORT}", f":{monitor}")
    done = subprocess.run(
        [sys.executable, "-c", script, "/windows", content], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [method, "/windows", content, "Bearer secret"]
