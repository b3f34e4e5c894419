"""What the monitor promises, asked of a real process over HTTP, on payloads that a real intake stored."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import psutil
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from ruamel.yaml import YAML
from sent_payloads import body

from capstan.adapters.own.monitor import HttpMonitor, MonitorClient
from capstan.adapters.processes.ports_in_use import free_port
from capstan.artifacts.content import MODEL_FOLDER, content_digest
from capstan.artifacts.store import ArtifactStore
from capstan.domain.versions import Digest, VersionName
from capstan.errors import NotFoundError, UnavailableError, UntrustedArtifactError
from capstan.monitoring.causes.explaining import Judged
from capstan.monitoring.causes.kinds import kinds_of
from capstan.monitoring.causes.reference import CauseReference
from capstan.monitoring.checkpoint import load_checkpoint
from capstan.monitoring.drift import fitted_detectors
from capstan.monitoring.watching import Watcher
from capstan.recording.collector.intake import Intake
from capstan.spec import MLSystem, parse
from capstan.tasks import TASKS, Predictions
from capstan.training.factories import importable

pytestmark = pytest.mark.real
SINCE = datetime(2013, 2, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
WALL = datetime(2026, 1, 1, tzinfo=UTC)
PER_WEEK = 1400


def document() -> dict[str, object]:
    file = Path(__file__).parents[1] / "unit" / "spec" / "flight_delays.yaml"
    return json.loads(json.dumps(YAML(typ="safe").load(file.read_text()), default=str))


SYSTEM: MLSystem = parse(document(), base_dir=Path())


def week(
    rng: np.random.Generator,
    start: datetime,
    *,
    rows: int = PER_WEEK,
    shift: float = 0.0,
    new_dest: float = 0.0,
    missing: float = 0.0,
    useless: bool = False,
) -> dict[str, NDArray[np.generic]]:
    """One week of requests, with predictions that rank the truth well unless `useless`."""
    truth = rng.random(rows) < 0.25
    scores = np.clip(rng.normal(0.2 + (0 if useless else 0.25) * truth, 0.12), 0.001, 0.999)
    temp = rng.normal(10 + shift, 3, rows)
    temp[rng.random(rows) < missing] = np.nan
    dest = rng.choice(np.array(["ATL", "BOS", "LAX"], dtype=object), rows, p=[0.5, 0.3, 0.2])
    dest[rng.random(rows) < new_dest] = "XXX"
    step = WEEK.total_seconds() / rows
    return {
        "time": np.array([start + timedelta(seconds=step * n) for n in range(rows)], dtype=object),
        "distance": rng.gamma(4, 200, rows), "dep_hour": rng.integers(5, 23, rows).astype(float), "temp": temp,
        "dest": dest, "score": scores, "truth": truth,
    }  # fmt: skip


class Watched:
    """A state directory with a version's reference and a running monitor."""

    def __init__(
        self,
        root: Path,
        kind: str = "Scipy",
        *,
        own: Mapping[str, str] | None = None,
        drift: Mapping[str, object] | None = None,
        slices: tuple[str, ...] = (),
        every: str | None = None,
        by_rows: int | None = None,
    ) -> None:
        """`own`: modules beside the file, whose `mydetectors:make` compares numbers; the others: more of the file."""
        self.root = root
        self.folder = root / "systems" / "flight-delays"
        for name in ("payloads", "labels", "monitor"):
            (self.folder / name).mkdir(parents=True)
        written = document()
        if own is not None:
            written["spec"]["monitoring"]["drift"]["custom"] = {
                "factory": "mydetectors:make",
                "reads": "Number",
            }  # type: ignore[index]
        written["spec"]["monitoring"]["drift"].update(drift or {})  # type: ignore[index]
        if every is not None:
            written["spec"]["monitoring"]["window"]["every"] = every  # type: ignore[index]
        if by_rows is not None:
            written["spec"]["monitoring"]["window"]["rows"] = by_rows  # type: ignore[index]
        if slices:
            written["spec"]["evaluation"]["slices"] = list(slices)  # type: ignore[index]
        self.system = parse(written, base_dir=Path())
        (self.folder / "spec.json").write_bytes(orjson.dumps(written))
        (root / "token").write_text("secret")
        self.intake = Intake(root / "collector", root / "systems")
        rng = np.random.default_rng(1)
        weeks = [week(rng, SINCE - WEEK * (n + 1)) for n in range(5)]
        columns = {name: np.concatenate([one[name] for one in weeks]) for name in weeks[0]}
        table = pa.table(
            {
                "scheduled_departure": pa.array(list(columns["time"]), pa.timestamp("us", tz="UTC")),
                **{
                    name: pa.array(columns[name], from_pandas=True)
                    for name in ("distance", "dep_hour", "temp", "dest")
                },
            }
        )
        self.model = root / "model"
        self.model.mkdir()
        beside = self.model / "factories"
        beside.mkdir()
        for name, source in (own or {}).items():
            (beside / name).write_text(source)
        with importable(beside):
            fitted = fitted_detectors.fit(
                table,
                self.system,
                predictions=Predictions({"probability": columns["score"]}),
            )
        fitted.save(self.model / "detectors")
        (self.model / "manifest.json").write_bytes(orjson.dumps({"metrics": {"rocAuc": 0.9}}))
        self.port = free_port()
        self.config = root / "monitor.json"
        self.config.write_bytes(
            orjson.dumps(
                {
                    "port": self.port,
                    "folder": str(self.folder),
                    "token": str(root / "token"),
                    "detectors": kind,
                }
            )
        )
        self.ticks = itertools.count(step=10.0)
        self.client = MonitorClient(
            f"http://127.0.0.1:{self.port}", folder=self.folder / "monitor", token="secret",
            model_dir=lambda _version: self.model, clock=lambda: next(self.ticks),
        )  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.sent = 0

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "capstan.monitoring.monitor", "--config", str(self.config)]
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the monitor ended"
            try:
                self.client.windows()
                return
            except UnavailableError:
                time.sleep(0.05)
        raise AssertionError("the monitor did not start")

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=30)

    def wait_for_a_decision(self, asked: threading.Thread) -> None:
        """Until its checkpoint changes; no longer than somebody waits for its answer."""
        file = self.folder / "monitor" / "state.json"
        before = file.read_bytes() if file.exists() else b""
        while asked.is_alive() and (file.read_bytes() if file.exists() else b"") == before:
            time.sleep(0.002)

    def serve(
        self, columns: dict[str, NDArray[np.generic]], *, version: str = "v1", labelled: float = 1.0
    ) -> None:
        payloads, labels = [], []
        for n in range(len(columns["time"])):
            self.sent += 1
            when: datetime = columns["time"][n]
            inputs = {name: columns[name][n] for name in ("distance", "dep_hour", "temp", "dest")}
            inputs = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in inputs.items()}
            payloads.append(
                {
                    "id": f"b-{self.sent}",
                    "source": f"/capstan/flight-delays/{version}",
                    "data": {
                        "request_id": f"r{self.sent}", "version": version, "role": "champion", "attempt": 1, "row": 0,
                        "event_time": when.isoformat(), "entity_id": f"e{self.sent}", "status": 200,
                        "latency_seconds": 0.01, "nonfinite": False,
                        "outputs": {"probability": float(columns["score"][n])},
                        "inputs": inputs,
                    },
                }
            )  # fmt: skip
            if n < labelled * len(columns["time"]):
                at = (when + timedelta(hours=6)).isoformat()
                labels.append({"id": f"e{self.sent}", "label": bool(columns["truth"][n]), "availableAt": at})
        for first in range(0, len(payloads), 500):
            batch = body(payloads[first : first + 500])
            self.intake.receive(None, batch, WALL)
        if labels:
            self.intake.feedback(orjson.dumps({"labels": labels}), WALL, system=None)
        self.intake.flush()

    def metrics(self) -> dict[str, float]:
        lines = httpx.get(f"http://127.0.0.1:{self.port}/metrics").text.splitlines()
        return {
            line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
            for line in lines
            if not line.startswith("#")
        }


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    running = Watched(tmp_path)
    running.start()
    yield running
    running.kill()


def weeks(watched: Watched, *kinds: dict[str, float], labelled: float = 1.0, seed: int = 2) -> None:
    rng = np.random.default_rng(seed)
    for n, kind in enumerate(kinds):
        watched.serve(week(rng, SINCE + n * WEEK, **kind), labelled=labelled)


def test_drift_alerts_after_two_windows_and_names_the_feature(watched: Watched) -> None:
    weeks(watched, {}, {"shift": 9}, {"shift": 9}, {})
    watched.client.watch(VersionName("v1"), since=SINCE)
    seen = [watched.client.advance(SINCE + n * WEEK + timedelta(days=3)) for n in range(1, 5)]
    assert [list(step.alerts) for step in seen] == [[], [], ["DriftDetected"], []]
    assert [step.alerting_changed for step in seen] == [False, False, True, True]
    told = watched.client.windows()
    assert [[name for name, f in window["features"].items() if f["breach"]] for window in told] == [
        [], ["temp"], ["temp"], [],
    ]  # fmt: skip
    assert [window["drift_alert"] for window in told] == [False, False, True, False]
    assert all(window["quality"]["coverage"] == 1.0 for window in told)
    assert all(("moves" in f) == f["breach"] for window in told for f in window["features"].values())
    moved = told[1]["features"]["temp"]["moves"]
    assert moved[0]["what"].startswith("temp above 1")
    assert moved[0]["before"] < 0.15
    assert moved[0]["now"] > 0.8
    assert told[0]["moved"] == {}
    assert told[1]["moved"]["drift"][0].startswith("Of 4 features 1 moved: temp (KS ")


def test_a_drop_of_quality_names_the_kind_of_rows_and_keeps_it_over_a_restart(watched: Watched) -> None:
    rng = np.random.default_rng(3)
    before, now = week(rng, SINCE - WEEK), week(rng, SINCE)
    columns = ("distance", "dep_hour", "temp", "dest")
    kinds = kinds_of(
        pa.table({name: pa.array(before[name], from_pandas=True) for name in columns}),
        watched.system.spec.features,
    )
    metric = watched.system.spec.concept_metric
    losses = TASKS["BinaryClassification"].metrics[metric].losses
    assert losses is not None
    known = Judged(
        np.column_stack([one.codes(before[one.column]) for one in kinds]),
        losses(before["truth"], Predictions({"probability": before["score"]})),
        np.arange(PER_WEEK) * 7 // PER_WEEK,
    )
    CauseReference(metric, kinds, known).save(watched.model)
    is_boston = now["dest"] == "BOS"
    now["truth"] = np.where(is_boston, ~now["truth"].astype(bool), now["truth"])
    watched.serve(now)
    watched.client.watch(VersionName("v1"), since=SINCE)
    assert "QualityDropped" in watched.client.advance(SINCE + WEEK + timedelta(days=3)).alerts
    found = watched.client.windows()[0]["quality"]["causes"]
    assert [cause["what"] for cause in found["causes"]] == ["dest=BOS"]
    cause = found["causes"][0]
    assert cause["within"] > 5 * abs(cause["mix"])
    assert cause["explained"] + found["unexplained"] == pytest.approx(found["rise"])
    assert len(found["sentences"]) == 3
    watched.kill()
    watched.start()
    assert watched.client.windows()[0]["quality"]["causes"] == found


def test_all_features_together_are_compared_too_and_the_classifier_names_what_gave_the_window_away(
    tmp_path: Path,
) -> None:
    watched = Watched(tmp_path, drift={"multivariate": "Classifier"})
    weeks(watched, {}, {"shift": 9})
    watched.client.watch(VersionName("v1"), since=SINCE)
    with closing(Watcher(watched.system, watched.folder, detectors="Scipy")) as watcher:
        watcher.advance(SINCE + 2 * WEEK)
        calm, moved = (window["features"]["all features"] for window in watcher.checkpoint.told)
        assert watcher.checkpoint.watch is not None
        assert load_checkpoint(watched.folder / "monitor" / "state.json") == watcher.checkpoint
    assert (calm["breach"], moved["breach"], moved["test"]) == (False, True, "Classifier")
    assert "given_away" not in calm
    assert moved["given_away"]["temp"] > 0.5
    assert set(moved["given_away"]) == {"distance", "dep_hour", "temp", "dest"}


def test_the_slice_that_moved_is_told_and_is_an_alert_where_the_file_asks(tmp_path: Path) -> None:
    watched = Watched(tmp_path, slices=("dest",), drift={"slices": {"alert": True}, "consecutive": 1})
    rng = np.random.default_rng(4)
    calm, moved = week(rng, SINCE), week(rng, SINCE + WEEK)
    moved["temp"] = np.where(moved["dest"] == "LAX", moved["temp"] + 2.0, moved["temp"])
    watched.serve(calm)
    watched.serve(moved)
    watched.client.watch(VersionName("v1"), since=SINCE)
    with closing(Watcher(watched.system, watched.folder, detectors="Scipy")) as watcher:
        watcher.advance(SINCE + 2 * WEEK)
        told = watcher.checkpoint.told
        assert load_checkpoint(watched.folder / "monitor" / "state.json") == watcher.checkpoint
    assert [window["slices"]["compared"] for window in told] == [3, 3]
    assert [window["drift_alert"] for window in told] == [False, True]
    assert not any(found["breach"] for found in told[1]["features"].values())
    farthest = told[1]["slices"]["farthest"][0]
    assert (farthest["slice"], farthest["feature"], farthest["breach"]) == ("dest=LAX", "temp", True)
    assert farthest["rows"] == (moved["dest"] == "LAX").sum()


def test_windows_that_overlap_see_a_drift_sooner_and_quality_is_judged_once(tmp_path: Path) -> None:
    watched = Watched(tmp_path, every="1d", drift={"consecutive": 1})
    rng = np.random.default_rng(6)
    calm, moved = week(rng, SINCE), week(rng, SINCE + WEEK, shift=9)
    watched.serve(calm)
    watched.serve(moved)
    watched.client.watch(VersionName("v1"), since=SINCE)
    with closing(Watcher(watched.system, watched.folder, detectors="Scipy")) as watcher:
        watcher.advance(SINCE + WEEK + timedelta(days=3))
        watcher.advance(SINCE + 2 * WEEK + timedelta(days=3))
        told = watcher.checkpoint.told
    ends = [datetime.fromisoformat(window["end"]) for window in told]
    assert ends == [SINCE + WEEK + timedelta(days=day) for day in range(11)]
    assert all(
        datetime.fromisoformat(window["start"]) == end - WEEK for window, end in zip(told, ends, strict=True)
    )
    assert [window["rows"] for window in told[:8]] == [PER_WEEK] * 8
    breaches = [window["answers"]["drift"]["outcome"] == "Breach" for window in told[:8]]
    assert not breaches[0]
    assert breaches.index(True) <= 3
    assert all(breaches[3:])
    assert [window["end"] for window in told if window["quality"] is not None] == [
        (SINCE + number * WEEK).isoformat() for number in (1, 2)
    ]


def decided_by_rows(root: Path, looks: list[timedelta], *, again: bool = False) -> list[dict[str, Any]]:
    """Windows of 1,000 rows of three weeks, of which the third is drifted, as looks at these moments decide them.

    The third week ends with 1,400 rows in its first half. `again`: each look is that of a new process.
    """
    watched = Watched(root, by_rows=1000, drift={"consecutive": 1})
    rng = np.random.default_rng(6)
    for number, shift in enumerate((0.0, 0.0, 9.0)):
        watched.serve(week(rng, SINCE + number * WEEK, shift=shift))
    watched.client.watch(VersionName("v1"), since=SINCE)
    watcher = Watcher(watched.system, watched.folder, detectors="Scipy")
    for look in looks:
        if again:
            watcher.close()
            watcher = Watcher(watched.system, watched.folder, detectors="Scipy")
        watcher.advance(SINCE + look)
    told = [{**window, "generation": 0} for window in watcher.checkpoint.told]
    watcher.close()
    return told


def test_windows_by_rows_end_with_so_many_rows_whenever_somebody_looks(tmp_path: Path) -> None:
    end = 5 * WEEK
    told = decided_by_rows(tmp_path / "once", [end])
    # 4,200 rows make four windows; 200 are left, which no look before the seventh day of their window judges.
    assert [window["rows"] for window in told] == [1000] * 4 + [200] + [0]
    assert [window["wanted_rows"] for window in told] == [1000] * 6
    starts, ends = ([window[edge] for window in told] for edge in ("start", "end"))
    assert starts == [SINCE.isoformat(), *ends[:-1]]
    gap = WEEK / PER_WEEK
    assert datetime.fromisoformat(ends[0]) == SINCE + 999 * gap + timedelta(microseconds=1)
    assert datetime.fromisoformat(ends[4]) == datetime.fromisoformat(starts[4]) + WEEK
    assert [window["answers"]["drift"]["outcome"] for window in told] == [
        "Fine", "Fine", "Breach", "Breach", "NoEvidence", "NoEvidence",
    ]  # fmt: skip
    assert told[4]["answers"]["drift"]["gap"]["reason"] == "TooFewRows"
    # Labels judge the same windows, though they come later.
    assert [window["quality"]["answered"] for window in told[:5]] == [1000] * 4 + [200]
    assert told[0]["quality"]["reason"] == "Fine"
    often = [timedelta(hours=hour) for hour in range(1, 5 * 7 * 24, 5)]
    assert as_decided(decided_by_rows(tmp_path / "often", [*often, end])) == as_decided(told)
    rare = [timedelta(days=day) for day in (3, 4, 4, 11, 20)]
    assert as_decided(decided_by_rows(tmp_path / "killed", [*rare, end], again=True)) == as_decided(told)


def as_decided(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the number of labels: quality is judged as soon as there are enough."""
    return [
        {**window, "quality": (window["quality"] or {}).get("answered"), "alerts": None} for window in told
    ]


def test_late_rows_and_rows_of_one_moment_leave_decided_windows_by_rows_as_they_are(tmp_path: Path) -> None:
    watched = Watched(tmp_path, by_rows=1000, drift={"consecutive": 1})
    rng = np.random.default_rng(6)
    rows = week(rng, SINCE)
    # Rows 990 to 1,009 came at one moment.
    rows["time"][990:1010] = SINCE + 995 * (WEEK / PER_WEEK)
    watched.serve(rows)
    watched.client.watch(VersionName("v1"), since=SINCE)
    with closing(Watcher(watched.system, watched.folder, detectors="Scipy")) as watcher:
        watcher.advance(SINCE + WEEK)
        [first] = watcher.checkpoint.told
        assert first["rows"] == 1010
        late = week(rng, SINCE + timedelta(hours=1), rows=500)
        watched.serve({name: values[:20] for name, values in late.items()}, labelled=0)
        watched.serve(week(rng, SINCE + WEEK))
        watcher.advance(SINCE + 2 * WEEK)
        again, second, *_ = watcher.checkpoint.told
    assert (again["start"], again["end"], again["rows"]) == (first["start"], first["end"], 1010)
    assert (second["start"], second["rows"]) == (first["end"], 1000)


def test_a_file_that_begins_to_count_rows_leaves_no_window_of_quality_out(tmp_path: Path) -> None:
    watched = Watched(tmp_path, drift={"consecutive": 1})
    rng = np.random.default_rng(6)
    for number in range(4):
        watched.serve(week(rng, SINCE + number * WEEK))
    watched.client.watch(VersionName("v1"), since=SINCE)
    counting = json.loads((watched.folder / "spec.json").read_text())
    counting["spec"]["monitoring"]["window"]["rows"] = 1000
    with closing(Watcher(watched.system, watched.folder, detectors="Scipy")) as watcher:
        # The second week has ended, and its labels have not come.
        watcher.advance(SINCE + 2 * WEEK)
        watcher.follow(parse(counting, base_dir=Path()))
        watcher.advance(SINCE + 3 * WEEK)
        watcher.follow(watched.system)
        watcher.advance(SINCE + 6 * WEEK)
        told = watcher.checkpoint.told
    assert [window["rows"] for window in told[:4]] == [PER_WEEK, PER_WEEK, 1000, PER_WEEK]
    assert [window["quality"]["answered"] for window in told[:4]] == [PER_WEEK, PER_WEEK, 1000, PER_WEEK]


def outcomes_of(watched: Watched, weeks_of: int) -> list[tuple[str, str]]:
    """Of each window, the answer about inputs and the reason of its gap."""
    watched.client.watch(VersionName("v1"), since=SINCE)
    with closing(Watcher(watched.system, watched.folder, detectors="Scipy")) as watcher:
        watcher.advance(SINCE + weeks_of * WEEK)
        answers = [window["answers"]["drift"] for window in watcher.checkpoint.told]
        assert load_checkpoint(watched.folder / "monitor" / "state.json") == watcher.checkpoint
    return [(answer["outcome"], (answer["gap"] or {}).get("reason", "")) for answer in answers]


def test_beside_the_window_before_only_a_change_is_a_drift(tmp_path: Path) -> None:
    watched = Watched(tmp_path, drift={"reference": "PreviousWindow", "consecutive": 1}, slices=("dest",))
    weeks(watched, {}, {"shift": 9}, {"shift": 9}, {"shift": 9})
    assert outcomes_of(watched, 4) == [
        ("NoEvidence", "NoReferenceWindow"), ("Breach", ""), ("Fine", ""), ("Fine", ""),
    ]  # fmt: skip
    first, moved, *_ = load_checkpoint(watched.folder / "monitor" / "state.json").told
    assert first["answers"]["predictions"]["gap"]["reason"] == "NoReferenceWindow"
    assert first["answers"]["drift"]["gap"]["message"].startswith(
        "0 of 1,000 rows in the window it is compared"
    )
    assert first["answers"]["missing"]["outcome"] == "Fine"
    assert moved["reference"] == {"start": SINCE.isoformat(), "end": (SINCE + WEEK).isoformat()}
    assert [name for name, found in moved["features"].items() if found["breach"]] == ["temp"]
    assert {one["feature"] for one in moved["slices"]["farthest"] if one["breach"]} == {"temp"}


def test_a_season_is_no_drift_beside_the_window_one_season_before(tmp_path: Path) -> None:
    drift = {"reference": "Seasonal", "seasonLength": "14d"}
    watched = Watched(tmp_path, drift=drift)
    weeks(watched, {}, {"shift": 9}, {}, {"shift": 9}, {"shift": 9})
    none = ("NoEvidence", "NoReferenceWindow")
    assert outcomes_of(watched, 5) == [none, none, ("Fine", ""), ("Fine", ""), ("Breach", "")]


def test_all_features_together_are_compared_with_the_earlier_window(tmp_path: Path) -> None:
    drift = {"reference": "PreviousWindow", "consecutive": 1, "multivariate": "MMD"}
    watched = Watched(tmp_path, drift=drift)
    weeks(watched, {}, {"shift": 9}, {"shift": 9})
    assert [outcome for outcome, _ in outcomes_of(watched, 3)] == ["NoEvidence", "Breach", "Fine"]
    _, moved, same = load_checkpoint(watched.folder / "monitor" / "state.json").told
    assert moved["features"]["all features"]["breach"]
    assert not same["features"]["all features"]["breach"]


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        pytest.param({"reference": "Seasonal", "seasonLength": "28d"}, None, id="too little history"),
        pytest.param(
            {}, {"reference": "PreviousWindow", "consecutive": 1}, id="trained for the training data"
        ),
        pytest.param(
            {"reference": "PreviousWindow", "consecutive": 1}, {}, id="trained for the window before"
        ),
    ],
)
def test_without_thresholds_for_what_the_file_asks_there_is_no_verdict(
    tmp_path: Path, trained: dict[str, object], asked: dict[str, object] | None
) -> None:
    watched = Watched(tmp_path, drift=trained)
    if asked is not None:
        written = document()
        written["spec"]["monitoring"]["drift"].update(asked)  # type: ignore[index]
        watched.system = parse(written, base_dir=Path())
    weeks(watched, {}, {"shift": 9})
    assert outcomes_of(watched, 2) == [("NoEvidence", "NotCalibrated")] * 2


OWN = """
from spread import spread

class Spread:
    def compare(self, reference, window):
        return min(1.0, abs(spread(window) / spread(reference) - 1))

def make():
    return Spread()
"""
HELPER = """
def spread(values):
    return float(values.std())
"""


def test_a_detector_of_a_persons_own_decides_in_the_monitor_and_its_code_travels_with_the_model(
    tmp_path: Path,
) -> None:
    """It sees the spread alone: a shift that every other detector sees is nothing to it."""
    own = Watched(tmp_path, own={"mydetectors.py": OWN, "spread.py": HELPER})
    own.start()
    try:
        rng = np.random.default_rng(2)
        for n, wider in enumerate((1.0, 3.0, 3.0)):
            columns = week(rng, SINCE + n * WEEK, shift=9)
            columns["temp"] = 19 + (columns["temp"] - 19) * wider
            own.serve(columns)
        own.client.watch(VersionName("v1"), since=SINCE)
        seen = [own.client.advance(SINCE + n * WEEK + timedelta(days=3)).alerts for n in range(1, 4)]
        assert seen == [(), (), ("DriftDetected",)]
        calm, _, wide = own.client.windows()
        assert (wide["features"]["temp"]["test"], wide["features"]["dest"]["test"]) == (
            "Spread",
            "TotalVariation",
        )
        assert not calm["features"]["temp"]["breach"], "a shift alone is no drift by it"
        assert wide["features"]["temp"]["distance"] == 1.0
        assert wide["features"]["temp"]["p_value"] is None
    finally:
        own.kill()


def test_a_detector_of_a_persons_own_that_fails_leaves_its_columns_unjudged_and_is_told(
    tmp_path: Path,
) -> None:
    fails = OWN.replace("return min", "assert window.max() < 1e6, 'out of this world'\n        return min")
    own = Watched(tmp_path, own={"mydetectors.py": fails, "spread.py": HELPER})
    own.start()
    try:
        weeks(own, {"shift": 1e7}, {"shift": 1e7}, {})
        own.client.watch(VersionName("v1"), since=SINCE)
        seen = [own.client.advance(SINCE + n * WEEK + timedelta(days=3)).alerts for n in range(1, 4)]
        assert seen == [(), ("MonitorBlind",), ()]
        first, _, last = own.client.windows()
        assert first["answers"]["drift"]["gap"] == {
            "reason": "DetectorFailed",
            "message": "mydetectors:make: compare: AssertionError: out of this world",
        }
        assert first["features"]["dest"]["distance"] is not None
        assert first["quality"]["decision"] == "Fine", "quality is judged all the same"
        assert last["answers"]["drift"]["gap"] is None
    finally:
        own.kill()


def test_gauges_say_what_was_decided_and_as_of_when(watched: Watched) -> None:
    weeks(watched, {"shift": 9, "new_dest": 0.5}, {"shift": 9, "new_dest": 0.5})
    watched.client.watch(VersionName("v1"), since=SINCE)
    step = watched.client.advance(SINCE + 2 * WEEK)
    gauges = watched.metrics()
    v1 = 'system="flight-delays",version="v1"'
    assert gauges[f'capstan_data_alert{{alert="DriftDetected",{v1}}}'] == 1
    assert gauges['capstan_monitor_generation{system="flight-delays"}'] == step.generation
    end = 'capstan_window_end_timestamp_seconds{system="flight-delays",version="v1",window="drift"}'
    assert gauges[end] == (SINCE + 2 * WEEK).timestamp()
    dest = 'feature="dest",system="flight-delays",version="v1"'
    assert gauges[f"capstan_drift_distance{{{dest}}}"] == pytest.approx(0.5, abs=0.06)
    assert gauges[f"capstan_drift_distance{{{dest}}}"] > gauges[f"capstan_drift_threshold{{{dest}}}"]
    assert gauges[f'capstan_data_alert{{alert="MissingValuesRose",{v1}}}'] == 0


def test_a_posted_event_changes_the_gauge_of_its_version_and_the_standing(watched: Watched) -> None:
    written = document()
    clicked = {"name": "clicked", "event": "click", "aggregate": "Rate", "window": "1d", "better": "Higher"}
    written["spec"]["evaluation"]["online"] = [clicked]  # type: ignore[index]
    (watched.folder / "spec.json").write_bytes(orjson.dumps(written))
    weeks(watched, {})
    watched.client.watch(VersionName("v1"), since=SINCE)
    watched.client.advance(SINCE + WEEK)
    labels = '{metric="clicked",system="flight-delays",version="v1"}'
    gauges = watched.metrics()
    assert gauges[f"capstan_online_metric{labels}"] == 0
    assert f"capstan_online_delay_seconds{labels}" not in gauges, "there was no event"
    assert gauges[f"capstan_online_coverage{labels}"] == pytest.approx(6 / 7, abs=0.01)
    units = gauges[f"capstan_online_units{labels}"]
    events = [
        {"eventId": f"c{n}", "event": "click", "requestId": f"r{n}", "at": moment, "availableAt": moment}
        for n in range(1, 101)
        for moment in [(SINCE + timedelta(hours=18)).isoformat()]
    ]
    watched.intake.events(orjson.dumps({"events": events}), WALL, system=None)
    watched.intake.flush()
    watched.client.advance(SINCE + WEEK + timedelta(hours=1))
    gauges = watched.metrics()
    assert gauges[f"capstan_online_metric{labels}"] == pytest.approx(100 / units, rel=0.01)
    assert 0 < gauges[f"capstan_online_delay_seconds{labels}"] < 86400
    (standing,) = watched.client.standing().online
    assert (standing.version, standing.title, standing.value) == (
        "v1",
        "clicked",
        gauges[f"capstan_online_metric{labels}"],
    )


def test_a_monitor_that_cannot_judge_is_blind_and_not_calm(watched: Watched) -> None:
    """The first weeks have too few rows, with drift in them; the last one has enough."""
    weeks(watched, {"rows": 84, "shift": 9}, {"rows": 84, "shift": 9}, {})
    assert watched.client.standing().version is None
    watched.client.watch(VersionName("v1"), since=SINCE)
    watched.client.advance(SINCE + WEEK - timedelta(days=1))
    assert [question.end for question in watched.client.standing().questions] == [None, None, None]
    seen = [watched.client.advance(SINCE + n * WEEK + timedelta(days=3)).alerts for n in (1, 2)]
    assert seen == [(), ("MonitorBlind",)]
    told = "84 of 1,000 rows (monitoring.window.minRows)"
    standing = watched.client.standing()
    assert standing.version == "v1"
    assert [(q.name, q.unjudged, q.message) for q in standing.questions] == [
        (name, 2, told) for name in ("drift", "predictions", "quality")
    ]
    gauges = watched.metrics()
    assert gauges['capstan_data_alert{alert="MonitorBlind",system="flight-delays",version="v1"}'] == 1
    drift = 'question="drift",reason="TooFewRows",system="flight-delays",version="v1"'
    assert gauges[f"capstan_windows_unjudged{{{drift}}}"] == 2
    assert [window["answers"]["drift"]["gap"]["reason"] for window in watched.client.windows()] == [
        "TooFewRows"
    ] * 2
    assert watched.client.advance(SINCE + 3 * WEEK + timedelta(days=3)).alerts == ()
    assert [question.unjudged for question in watched.client.standing().questions] == [0, 0, 0]


def test_missing_values_raise_their_own_alert_and_one_nan_hides_no_shift(watched: Watched) -> None:
    weeks(watched, {"missing": 0.4}, {"missing": 0.4, "shift": 9})
    watched.client.watch(VersionName("v1"), since=SINCE)
    step = watched.client.advance(SINCE + 2 * WEEK)
    assert step.alerts == ("MissingValuesRose",)
    last = watched.client.windows()[-1]["features"]["temp"]
    assert last["missing_rate"] == pytest.approx(0.4, abs=0.05)
    assert last["breach"]


def test_quality_waits_for_labels_and_claims_nothing_below_the_coverage(watched: Watched) -> None:
    weeks(watched, {"useless": True})
    watched.client.watch(VersionName("v1"), since=SINCE)
    assert watched.client.advance(SINCE + WEEK).alerts == ()
    assert (
        watched.client.windows()[0]["quality"] is None
        or watched.client.windows()[0]["quality"]["coverage"] >= 0.98
    )
    step = watched.client.advance(SINCE + WEEK + timedelta(days=3))
    assert step.alerts == ("QualityDropped",)
    quality = watched.client.windows()[0]["quality"]
    assert quality["value"] == pytest.approx(0.5, abs=0.06)
    assert quality["drop_bound"] > 0


@pytest.mark.parametrize(
    ("blocks", "alert", "reason"),
    [
        pytest.param("Requests", "QualityDropped", "Dropped", id="blocks of requests"),
        pytest.param("Day", "MonitorBlind", "TooFewDays", id="days"),
    ],
)
def test_a_drop_within_a_day_is_shown_where_the_file_judges_by_blocks_of_requests(
    watched: Watched, blocks: str, alert: str, reason: str
) -> None:
    edited = document()
    edited["spec"]["monitoring"]["window"] = {"duration": "1d", "minRows": 100}
    edited["spec"]["rollout"]["analyses"][0]["blocks"] = blocks
    edited["spec"]["rollout"]["blockRequests"] = 20
    (watched.folder / "spec.json").write_bytes(orjson.dumps(edited))
    weeks(watched, {"useless": True})
    watched.client.watch(VersionName("v1"), since=SINCE)
    told = watched.client.advance(SINCE + timedelta(days=4)).alerts
    assert {"QualityDropped", "MonitorBlind"} & set(told) == {alert}
    quality = watched.client.windows()[0]["quality"]
    assert quality["reason"] == reason
    assert (quality["drop_bound"] is not None) == (blocks == "Requests")


def test_half_of_the_labels_are_no_claim(watched: Watched) -> None:
    weeks(watched, {"useless": True}, labelled=0.5)
    watched.client.watch(VersionName("v1"), since=SINCE)
    assert watched.client.advance(SINCE + WEEK + timedelta(days=2)).alerts == ()
    assert watched.client.windows()[0]["quality"] is None
    assert watched.client.advance(SINCE + WEEK + timedelta(days=3)).alerts == ()
    quality = watched.client.windows()[0]["quality"]
    assert (quality["decision"], quality["reason"], quality["value"]) == (
        "NoEvidence",
        "CoverageTooLow",
        None,
    )
    assert quality["coverage"] == pytest.approx(0.5, abs=0.01)
    assert (
        watched.metrics()['capstan_data_alert{alert="QualityDropped",system="flight-delays",version="v1"}']
        == 0
    )


def test_an_empty_window_neither_alerts_nor_says_fine_nor_ends_an_alert(watched: Watched) -> None:
    weeks(watched, {"shift": 9}, {"shift": 9})
    watched.client.watch(VersionName("v1"), since=SINCE)
    step = watched.client.advance(SINCE + 5 * WEEK)
    assert step.alerts == ("DriftDetected", "MonitorBlind")
    told = watched.client.windows()
    assert [window["answers"]["drift"]["outcome"] for window in told] == [
        "Breach",
        "Breach",
        "NoEvidence",
        "NoEvidence",
        "NoEvidence",
    ]
    assert (told[3]["quality"]["decision"], told[4]["quality"]) == ("NoEvidence", None)


def test_a_new_version_begins_its_own_windows(watched: Watched) -> None:
    weeks(watched, {"shift": 9}, {"shift": 9})
    watched.client.watch(VersionName("v1"), since=SINCE)
    assert watched.client.advance(SINCE + 2 * WEEK).alerts == ("DriftDetected",)
    watched.client.watch(VersionName("v2"), since=SINCE + 2 * WEEK)
    step = watched.client.advance(SINCE + 2 * WEEK)
    assert (step.alerts, step.alerting_changed) == ((), True)
    assert (
        'capstan_data_alert{alert="DriftDetected",system="flight-delays",version="v1"}'
        not in watched.metrics()
    )
    before = watched.client.advance(SINCE + 2 * WEEK)
    watched.client.watch(VersionName("v2"), since=SINCE + 2 * WEEK)
    assert watched.client.advance(SINCE + 2 * WEEK) == before
    assert len(watched.client.windows()) == 2


def ask(watched: Watched, now: datetime) -> None:
    with suppress(UnavailableError):
        watched.client.advance(now)


def test_a_killed_monitor_decides_the_same_windows_once(tmp_path: Path) -> None:
    kinds: list[dict[str, float]] = [{}, {"shift": 9}, {"shift": 9}, {"missing": 0.3}, {}, {"useless": True}]
    straight, killed = Watched(tmp_path / "straight"), Watched(tmp_path / "killed")
    end = SINCE + len(kinds) * WEEK + timedelta(days=3)
    told = {}
    for name, one in (("straight", straight), ("killed", killed)):
        weeks(one, *kinds)
        one.client.watch(VersionName("v1"), since=SINCE)
        one.start()
        if name == "killed":
            rng = random.Random(7)
            for _ in range(4):
                asked = threading.Thread(target=ask, args=(one, end))
                asked.start()
                one.wait_for_a_decision(asked)
                time.sleep(rng.random() * 0.1)
                one.kill()
                asked.join(timeout=30)
                one.start()
        one.client.advance(end)
        told[name] = one.client.windows()
        one.kill()
    assert len(told["straight"]) == len(kinds)
    ends = [window["end"] for window in told["killed"]]
    assert ends == sorted(set(ends))
    assert [w | {"generation": 0} for w in told["killed"]] == [
        w | {"generation": 0} for w in told["straight"]
    ]


def test_alibi_detect_decides_as_scipy_does_in_bounded_memory_and_little_time(tmp_path: Path) -> None:
    told = {}
    for kind in ("Scipy", "AlibiDetect"):
        one = Watched(tmp_path / kind, kind)
        weeks(one, {}, {"shift": 2, "new_dest": 0.1})
        one.client.watch(VersionName("v1"), since=SINCE)
        one.start()
        one.client.advance(SINCE + WEEK)
        process = psutil.Process(one.process.pid)
        before = process.cpu_times()
        one.client.advance(SINCE + 2 * WEEK)
        after = process.cpu_times()
        seconds = after.user + after.system - before.user - before.system
        print(f"{kind}: {process.memory_info().rss / 2**20:.0f} MiB, {seconds:.2f} s CPU for one window")
        assert process.memory_info().rss < 450 * 2**20
        assert seconds < 1
        told[kind] = one.client.windows()
        one.kill()
    for exact, found in zip(told["Scipy"], told["AlibiDetect"], strict=True):
        assert found["answers"] == exact["answers"]
        for name, feature in exact["features"].items():
            assert found["features"][name]["distance"] == pytest.approx(feature["distance"], abs=1e-6)
            assert found["features"][name]["p_value"] == pytest.approx(
                feature["p_value"], rel=1e-4, abs=1e-30
            )


def test_an_edited_file_is_followed_and_what_was_decided_stays(watched: Watched) -> None:
    weeks(watched, {}, {"shift": 9})
    watched.client.watch(VersionName("v1"), since=SINCE)
    assert watched.client.advance(SINCE + WEEK).alerts == ()
    edited = document()
    edited["spec"]["monitoring"]["drift"]["consecutive"] = 1
    edited["spec"]["monitoring"]["window"] = {"duration": "3d", "minRows": 100}
    (watched.folder / "spec.json").write_bytes(orjson.dumps(edited))
    assert watched.client.advance(SINCE + WEEK + timedelta(days=3)).alerts == ("DriftDetected",)
    (watched.folder / "spec.json").write_bytes(b"{")
    watched.client.advance(SINCE + WEEK + timedelta(days=6))
    told = [(window["start"], window["end"], window["drift_alert"]) for window in watched.client.windows()]
    days = [(0, 7, False), (7, 10, True), (10, 13, True)]
    assert told == [
        ((SINCE + timedelta(days=first)).isoformat(), (SINCE + timedelta(days=last)).isoformat(), alert)
        for first, last, alert in days
    ]


class Told:
    """A monitor that is told what to watch over HTTP, and fetches it from where artifacts are kept."""

    def __init__(self, root: Path) -> None:
        self.watched = Watched(root)
        self.artifacts = root / "artifacts"
        self.store = ArtifactStore(f"file://{self.artifacts}")
        config = orjson.loads(self.watched.config.read_bytes())
        config |= {"artifacts": f"file://{self.artifacts}", "home": str(root / "home")}
        self.watched.config.write_bytes(orjson.dumps(config))
        self.bentos: dict[VersionName, tuple[str, Digest]] = {}
        self.monitor = HttpMonitor(
            httpx.Client(trust_env=False),
            self.watched.client.address,
            token="secret",
            bento=self.bentos.__getitem__,
        )

    def publish(self, version: str) -> None:
        bento = self.watched.root / f"bento-{version}"
        shutil.copytree(self.watched.model, bento / MODEL_FOLDER)
        (bento / "bento.yaml").write_text(f"name: flight-delays\nversion: {version}\n")
        (bento / "made").write_text(version)
        tag = f"flight-delays:{version}"
        self.store.push_bento(tag, bento)
        self.bentos[VersionName(version)] = (tag, content_digest(bento))

    @property
    def kept(self) -> list[str]:
        return sorted(path.name for path in (self.watched.root / "home").glob("bentos/flight-delays/*"))


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    running = Told(tmp_path)
    running.publish("v1")
    running.watched.start()
    yield running
    running.watched.kill()


def test_a_monitor_fetches_what_it_is_told_to_watch_once_and_drops_what_it_no_longer_needs(
    told: Told,
) -> None:
    weeks(told.watched, {}, {"shift": 9}, {"shift": 9})
    target = told.watched.folder / "monitor" / "target.json"
    told.monitor.watch(VersionName("v1"), since=SINCE)
    first = target.stat()
    shutil.rmtree(told.artifacts)
    told.monitor.watch(VersionName("v1"), since=SINCE)  # needs nothing that is not here already
    assert target.stat().st_ino == first.st_ino
    assert told.watched.client.advance(SINCE + 3 * WEEK).alerts == ("DriftDetected",)
    told.watched.kill()
    told.watched.start()
    assert [window["version"] for window in told.monitor.windows()] == ["v1", "v1", "v1"]
    told.publish("v2")
    told.monitor.watch(VersionName("v2"), since=SINCE + 3 * WEEK)
    assert told.watched.client.advance(SINCE + 3 * WEEK).alerts == ()
    assert told.kept == ["v2"]


def test_a_bento_that_is_absent_or_not_what_was_registered_is_not_watched(told: Told) -> None:
    told.monitor.watch(VersionName("v1"), since=SINCE)
    told.publish("v2")
    tag, digest = told.bentos[VersionName("v2")]
    told.bentos[VersionName("v2")] = (tag, Digest("sha256:" + "0" * 64))
    with pytest.raises(UntrustedArtifactError):
        told.monitor.watch(VersionName("v2"), since=SINCE)
    told.bentos[VersionName("v2")] = ("flight-delays:gone", digest)
    with pytest.raises(NotFoundError):
        told.monitor.watch(VersionName("v2"), since=SINCE)
    told.watched.client.advance(SINCE)
    assert httpx.get(f"{told.monitor.address}/windows").json()["version"] == "v1"
    assert told.kept == ["v1"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"version": "../v2"}, "version"),
        ({"bento_tag": "flight-delays"}, "bento_tag"),
        ({"bento_tag": "../../etc:passwd"}, "bento_tag"),
        ({"digest": "md5:1"}, "digest"),
        ({"since": "2013-02-01"}, "since"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_a_wrong_target_is_named(told: Told, changes: dict[str, str], field: str) -> None:
    tag, digest = told.bentos[VersionName("v1")]
    asked = {"version": "v1", "bento_tag": tag, "digest": digest, "since": SINCE.isoformat(), **changes}
    address = f"{told.monitor.address}/target"
    assert httpx.put(address, json=asked).status_code == 401
    answer = httpx.put(address, json=asked, headers={"authorization": "Bearer secret"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_only_the_internal_token_moves_the_clock(watched: Watched) -> None:
    answer = httpx.post(f"{watched.client.address}/advance", json={"now": SINCE.isoformat()})
    assert answer.status_code == 401
    wrong = httpx.post(
        f"{watched.client.address}/advance", json={"now": "soon"}, headers={"authorization": "Bearer secret"}
    )
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "now")
