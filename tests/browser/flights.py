"""A flights system in memory whose story the real engine tells; the page's sources read from it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from simulation.world import DAY, START, SYSTEM, Model, World

from capstan.adapters.memory.loop import Training
from capstan.dashboard.budgets import Budget
from capstan.dashboard.page import Part, Progress, Tone, Totals, VersionNumbers
from capstan.dashboard.view import Sources, StoreView
from capstan.domain.batch_calendar import BatchState, BatchStatus, Stretch
from capstan.domain.comparison import (
    Decile,
    OutputCompared,
    PairShown,
    PredictionComparison,
    SliceCompared,
)
from capstan.domain.rollout import RolloutRequest, RolloutState
from capstan.domain.training import GateOutcome, RunPhase, RunStatus, StepProgress, TrainingRequest
from capstan.domain.triggers import OperationAlert
from capstan.domain.verdicts.evidence import LossBlock, PairedEvidence
from capstan.domain.versions import Digest, SystemName
from capstan.engine.records import system_state
from capstan.monitoring.checkpoint import Checkpoint
from capstan.monitoring.windows import (
    Cause,
    Causes,
    DriftWindow,
    OnlineDrift,
    OnlineFeature,
    QualityWindow,
    WindowOutcome,
)
from capstan.monitoring.windows_json import tell_causes, tell_online
from capstan.ports.codec import to_json
from capstan.ports.store import Kind

ROOT = Path(__file__).resolve().parents[2]
FEATURES = (
    *("carrier", "origin", "dest", "distance", "day_of_week", "sched_dep_minute", "sched_arr_minute"),
    *("block_minutes", "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"),
    *("plane_age", "seats"),
)
DRIFTING = {"temp": 1.1, "dewp": 0.95, "humid": 0.3, "dest": 0.35, "precip": 0.25}
SCORES = {
    "baseline": (0.5, 0.601),
    "logistic": (0.668, 0.548),
    "own": (0.703, 0.529),
    "trees": (0.712, 0.522),
}


def file_spec() -> dict[str, Any]:
    """The example's own file, so that the page is shown the shape that people see first."""
    spec: dict[str, Any] = copy.deepcopy(_document()["spec"])
    spec["replay"] = {**spec["replay"], "start": "2013-02-01", "end": "2014-01-01"}
    return spec


@cache
def _document() -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / "examples/flight-delays/system.yaml").read_text())


class Flights(World):
    """The simulated world with candidates, steps and noisy days."""

    def __init__(self, **monitoring: Any) -> None:
        spec = file_spec()
        spec["monitoring"] = {**spec["monitoring"], **monitoring}
        super().__init__(spec)
        self.training = self.succeed
        self.requests_per_day = 480

    def succeed(self, request: TrainingRequest) -> Training:
        number = len(self.registry.versions())
        auc = 0.655 + 0.013 * number
        done = self.trained(request)
        version = done.result.version
        assert version is not None
        digest = Digest("sha256:" + f"{0x9F3C2A71 + number * 0x1D3B57F1 & 0xFFFFFFFF:08x}" * 8)
        against = request.champion
        gate = GateOutcome(
            "rocAuc",
            True,
            f"rocAuc {auc:.3f} against {against}'s {auc - 0.013:.3f}: "
            "difference +0.013 [+0.004, +0.022], needs > -0.005"
            if against
            else f"rocAuc {auc:.3f}: the first model has nobody to beat",
        )
        result = replace(
            done.result,
            version=replace(
                version, digest=digest, metrics={"rocAuc": auc, "logLoss": 0.56 - 0.008 * number}
            ),
            gates=(gate,),
            steps=pipeline_steps(self.clock.now(), done=99),
            chosen=("trees",),
            candidates={name: {"rocAuc": a, "logLoss": b} for name, (a, b) in SCORES.items()},
        )
        return Training(result)

    def train_slowly(self, request: TrainingRequest) -> Training:
        """A run that never ends; `steps` says how far it is."""
        return Training(self.succeed(request).result, takes=timedelta(days=10_000))

    def _pairs(
        self, champion: str, challenger: str, metric: str, since: datetime, as_of: datetime
    ) -> PairedEvidence:
        model = self.model(challenger)
        noise = random.Random(f"{challenger}{since}")
        whole = max(0, int((as_of - since) / DAY))
        blocks = []
        for day in range(whole):
            count = self.requests_per_day + noise.randrange(-60, 60)
            blocks.append(
                LossBlock(since + DAY * day, count, count * (model.gain + noise.gauss(0, 0.012)), 0.99)
            )
        pairs = int((as_of - since) / DAY * self.requests_per_day)
        return PairedEvidence(tuple(blocks), pairs, sum(b.count for b in blocks), 0.083 if pairs else None)

    def drift(self, gain: float, *, feature: str, days: int = 15) -> None:
        self.models[f"v{len(self.registry.versions()) + 1}"] = Model(gain=gain)
        self.days(days)
        alert = self.fire(mark=f"drift-{feature}-{self.champion}")
        summary = f"ks({feature}) 0.21 > 0.12 in 2 windows of 7 days"
        self.alerts.firing = [replace(alert, summary=summary)]
        self.settle()


def pipeline_steps(at: datetime, *, done: int) -> tuple[StepProgress, ...]:
    names = [
        *(("extract", 2.1), ("check", 0.4), ("split", 0.2)),
        *((f"fit {name}", seconds) for name, seconds in zip(SCORES, (0.3, 3.9, 5.2, 8.4), strict=True)),
        *(("choose", 0.6), ("refit", 4.8), ("package", 2.7), ("register", 3.1)),
    ]
    steps, start = [], at
    for index, (name, seconds) in enumerate(names):
        phase = (
            RunPhase.SUCCEEDED if index < done else RunPhase.RUNNING if index < done + 2 else RunPhase.ABSENT
        )
        end = start + timedelta(seconds=seconds)
        message = (
            "trees: rocAuc 0.712, no simpler one within 0.005" if name == "choose" and index < done else ""
        )
        over = phase is RunPhase.SUCCEEDED
        begun = start if phase is not RunPhase.ABSENT else None
        steps.append(StepProgress(name, phase, begun, end if over else None, message))
        start = end
    return tuple(steps)


def windows_until(now: datetime, reigns: Sequence[tuple[datetime, str]]) -> list[Mapping[str, Any]]:
    """Decided windows in the monitor's own shape: features drift away from a version's training data."""
    noise = random.Random(7)
    found: list[Mapping[str, Any]] = []
    for index, (since, version) in enumerate(reigns):
        until = reigns[index + 1][0] if index + 1 < len(reigns) else now
        number, in_a_row = 0, 0
        while since + (number + 1) * 7 * DAY <= until:
            age = number + 1
            features = {}
            for name in FEATURES:
                ratio = noise.uniform(0.25, 0.72) + DRIFTING.get(name, 0.02) * age * 0.32
                features[name] = {
                    **{"test": "KS", "distance": round(0.12 * ratio, 4), "threshold": 0.12, "rows": 3300},
                    **{"breach": ratio > 1, "missing_rate": 0.004 if name == "wind_dir" else 0.0},
                }
                if ratio > 1:
                    features[name]["moves"] = [
                        {"what": f"{name} up to -4.8", "before": 0.012, "now": min(0.9, 0.05 * age)},
                        {"what": f"{name} above 18.3", "before": 0.31, "now": 0.12},
                    ]
            breach = any(feature["breach"] for feature in features.values())
            moved = [
                f"Of 18 features {sum(one['breach'] for one in features.values())} moved: temp (KS 0.161 above 0.120).",
                "Shares of rows at training and now: temp up to -4.8 1 % -> 22 %.",
                "The other 16 stayed within their thresholds.",
            ]
            in_a_row = in_a_row + 1 if breach else 0
            labelled = since + age * 7 * DAY + 2 * DAY <= now
            quality = {
                **{"metric": "rocAuc", "value": round(0.70 - 0.014 * age + noise.uniform(-0.01, 0.01), 4)},
                **{"coverage": round(noise.uniform(0.94, 0.99), 3), "floor": 0.63},
            }
            found.append(
                {
                    **{"number": number, "version": version, "rows": 3300 + noise.randrange(-200, 200)},
                    "start": (since + number * 7 * DAY).isoformat(),
                    "end": (since + age * 7 * DAY).isoformat(),
                    **{"drift_alert": in_a_row >= 2, "features": features, "has_enough_rows": True},
                    **{
                        "alerts": ["DriftDetected"] * (in_a_row >= 2),
                        "moved": {"drift": moved} if breach else {},
                    },
                    "outputs": {
                        "probability": {
                            "distance": round(0.03 + 0.014 * age, 4),
                            "threshold": 0.1,
                            "test": "KS",
                        }
                    },
                    "quality": quality if labelled else None,
                }
            )
            number += 1
    return found


def with_reasons(windows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same windows with estimates, a detector of concept drift, and what explains the last drop."""
    found: list[Mapping[str, Any]] = []
    for number, window in enumerate(windows):
        value = 0.69 - 0.013 * number
        truth = window["quality"]["value"] if window["quality"] else None
        low, high = value - 0.02, value + 0.02
        estimate = {
            **{"metric": "rocAuc", "value": value, "low": low, "high": high, "is_sure": True, "message": ""},
            **{"truth": truth, "held": None if truth is None else low <= truth <= high},
        }
        quality = window["quality"]
        if quality is not None:
            loss, is_rise = 0.55 + 0.012 * number, number > 4
            concept = {
                **{"detector": "PageHinkley", "metric": "logLoss", "loss": loss, "reference": 0.56},
                **{"outcome": "Breach" if is_rise else "Fine", "since": window["end"] if is_rise else None},
            }
            quality = {**quality, "concept": concept, "causes": tell_causes(CAUSES)}
            window = {**window, "alerts": [*window["alerts"], "QualityDropped"]}
        online = tell_online(seen_as_rows_came(number, datetime.fromisoformat(window["end"])))
        found.append({**window, "estimate": estimate, "quality": quality, "online": online})
    return found


def seen_as_rows_came(number: int, end: datetime) -> OnlineDrift:
    """What online detectors say by the end of a window: a drift since the fifth, of predictions too."""
    is_drift = number > 4
    return OnlineDrift(
        end,
        WindowOutcome.BREACH if is_drift else WindowOutcome.FINE,
        end - 5 * DAY if is_drift else None,
        features=(
            OnlineFeature("temp", "CramerVonMises", 0.8 + 0.2 * number, 1.6),
            OnlineFeature("carrier", "FisherExact", 0.9, 1.6),
            OnlineFeature(":probability", "CramerVonMises", 0.7 + 0.19 * number, 1.6),
        ),
        lots=56 * (number + 1),
    )


CAUSES = Causes(
    "logLoss",
    3217,
    0.634,
    0.56,
    (
        Cause("carrier", "carrier=EV", 0.31, 0.17, 0.78, 0.74, 0.022, 0.009, 0.011),
        Cause("temp", "temp up to -4.8", 0.06, 0.05, 0.98, 0.63, 0.001, 0.019, 0.008),
    ),
    0.023,
    0.013,
)


def unjudged_until(now: datetime, reigns: Sequence[tuple[datetime, str]]) -> list[Mapping[str, Any]]:
    """Windows of a system with hardly a request, as the monitor itself tells them."""
    ((since, version),) = reigns
    checkpoint = Checkpoint().watching(version, "/model", since)
    for number in range((now - since) // (7 * DAY)):
        start, end = since + number * 7 * DAY, since + (number + 1) * 7 * DAY
        few = DriftWindow(number, start, end, 84, False, min_rows=1000)
        quality = QualityWindow(
            number, start, end, "rocAuc", 84, 80, 0.95, None, None, 0.7, None, None, 0.65,
            WindowOutcome.NO_EVIDENCE, "TooFewRows", "84 of 1,000 rows (monitoring.window.minRows)",
        )  # fmt: skip
        checkpoint = checkpoint.with_drift(few, consecutive=2).with_quality(quality, consecutive=2)
    return list(checkpoint.told)


def comparison() -> PredictionComparison:
    """A challenger that says a little more where the champion says much."""
    means = [0.03, 0.06, 0.09, 0.12, 0.15, 0.19, 0.24, 0.31, 0.42, 0.63]
    deciles = tuple(Decile(259, mean, mean + 0.2 * mean * mean) for mean in means)
    output = OutputCompared("probability", 0.0413, 0.0124, 0.0552, 0.0131, 2592, deciles)
    slices = tuple(
        SliceCompared("carrier", carrier, pairs, 0.02, apart, apart / 2, apart / 5)
        for carrier, pairs, apart in (
            ("UA", 861, 0.07),
            ("B6", 795, 0.06),
            ("EV", 610, 0.14),
            ("DL", 326, 0.05),
        )
    )
    most = tuple(
        PairShown(
            request_id=f"6f1c2a{number}e-8d1f-4b6a-9f43-0c5a7d21b9e{number}",
            row=0,
            at=START,
            distance=0.4 - number / 50,
            champion={"probability": 0.21},
            challenger={"probability": 0.61 - number / 50},
            inputs={"carrier": "EV", "distance": 229 + number},
        )
        for number in range(3)
    )
    return PredictionComparison(2592, 2592, 0.021, 0.083, 0.0413, (output,), slices, (), most, 11, 2, 0)


@dataclass
class Scene:
    """The world with everything around it that the page asks."""

    world: World
    reigns: list[tuple[datetime, str]] = field(default_factory=list)
    running_steps: int | None = None
    """How many steps of the run in progress are done; None: as the pipelines say."""
    sent: int = 0
    broken: str = ""
    """A source that raises."""
    has_requests: bool = True
    has_enough_rows: bool = True
    """False: 84 rows come a week, where a window needs a thousand."""

    has_reasons: bool = False
    """Whether windows tell estimates and causes, and Prometheus knows of budgets."""

    def _windows(self) -> list[Mapping[str, Any]]:
        now = self.world.clock.now()
        if not self.has_enough_rows:
            return unjudged_until(now, self.reigns)
        windows = windows_until(now, self.reigns)
        return with_reasons(windows) if self.has_reasons else windows

    def view(self) -> StoreView:
        world = self.world
        sources = Sources(
            versions=self._or_broken("registry", world.registry.versions),
            readiness=world.serving.readiness,
            split=self._or_broken("gateway", world.traffic.read_back),
            run=self._run,
            alerts=world.alerts.active,
            evidence=self._evidence,
            comparison=lambda request, state: comparison() if state.step == 0 else None,
            operation_alerts=world.alerts.operation,
            windows=self._windows,
            numbers=self._or_broken("Prometheus", self._numbers),
            budgets=lambda: (
                {"answered": Budget(0.72, 0.4), "soon": Budget(-0.2, 3.1)} if self.has_reasons else {}
            ),
            totals=lambda: Totals(self.sent, 0, 0, self.sent, 0, int(self.sent * 0.96)),
            parts=self._parts,
            progress=self._progress,
        )
        return StoreView(world.store, SystemName(SYSTEM), world.clock, is_replay=True, sources=sources)

    def _or_broken(self, name: str, source: Callable[[], Any]) -> Callable[[], Any]:
        def ask() -> Any:
            if self.broken == name:
                raise ConnectionError(f"{name} refused the connection")
            return source()

        return ask

    def _run(self, run: Any) -> RunStatus:
        status = self.world.pipelines.status(run)
        if self.running_steps is not None and status.phase is RunPhase.RUNNING:
            return replace(status, steps=pipeline_steps(self.world.clock.now(), done=self.running_steps))
        return status

    def _evidence(self, request: RolloutRequest, state: RolloutState, metric: str) -> PairedEvidence | None:
        assert request.champion is not None
        assert state.step_since is not None
        now = self.world.clock.now()
        since = state.started_at or state.step_since
        return self.world.evidence.paired(
            request.champion.name, request.challenger.name, metric=metric, since=since, as_of=now
        )

    def _numbers(self) -> Sequence[VersionNumbers]:
        split = self.world.traffic.read_back()
        if split is None or not self.has_requests:
            return ()
        noise = random.Random(self.sent)
        rate = 460 + noise.uniform(-60, 60)
        found = [
            VersionNumbers(
                arm.version,
                "champion" if index == 0 else "challenger",
                rate * arm.weight / 100,
                0.0,
                0.0,
                0.0021 + 0.0003 * index,
                0.0094 + 0.0013 * index,
            )
            for index, arm in enumerate(split.arms)
        ]
        found += [
            VersionNumbers(m.version, "shadow", rate * m.percent / 100, 0.0, 0.0, 0.0023, 0.0102)
            for m in split.mirrors
        ]
        self.sent += 900
        return found

    def _parts(self) -> Sequence[Part]:
        names = [
            "gateway",
            "prometheus",
            "alertmanager",
            "collector",
            "monitor",
            *sorted(self.world.serving.readiness()),
        ]
        return [Part(name, Tone.GOOD, "up") for name in names]

    def _progress(self) -> Progress:
        end = datetime.fromisoformat("2014-01-01T05:00:00+00:00")
        return Progress(START, end, self.world.clock.now(), self.sent, 0, 105_316, 214.0)


def empty() -> Scene:
    """Just created; the loop has not looked yet."""
    return Scene(Flights())


def training() -> Scene:
    """The first drift has started a training that is under way."""
    world = Flights()
    world.start()
    world.training = world.train_slowly
    world.drift(0.02, feature="temp")
    return Scene(world, [(START, "v1")], running_steps=5, sent=9_120)


def shadow() -> Scene:
    """Two months: one promotion, one rollback, and now the third challenger has five of seven blocks."""
    world = Flights()
    world.start()
    world.drift(0.03, feature="temp")
    world.resolve()
    world.days(14)
    second = world.clock.now()
    world.drift(-0.06, feature="dewp", days=16)
    world.resolve()
    world.days(12)
    world.drift(0.022, feature="humid", days=18)
    world.days(5.4, step=timedelta(hours=6))
    return Scene(world, [(START, "v1"), (second - 3 * DAY, "v2")], sent=41_870)


def canary() -> Scene:
    """The same, three days later: the challenger gets a quarter of the requests."""
    scene = shadow()
    scene.world.days(2.2, step=timedelta(hours=6))
    scene.world.resolve()
    scene.sent = 44_010
    return scene


def batched() -> Scene:
    """A system whose champion predicts a batch each day: the newest is at work, the one before it was tried again."""
    world = Flights()
    world.start()
    world.days(10)
    record = world.store.get(Kind.SYSTEM, SYSTEM)
    state = system_state(record)
    assert state.champion is not None
    batches, day = BatchState(), world.clock.now().replace(hour=3, minute=0)
    for number, attempts in ((3, 1), (2, 2)):
        stretch = Stretch(day - number * DAY, day - (number - 1) * DAY)
        for _ in range(attempts - 1):
            away = BatchStatus(RunPhase.FAILED, "flights.csv: there is no such file")
            batches = batches.begin(stretch, state.champion).fail("told", away, stretch.end)
        done = BatchStatus(
            RunPhase.SUCCEEDED, read=884, written=882, refused=2, output=f"predictions/{number}", seconds=74.0
        )
        batches = batches.begin(stretch, state.champion).finish("told", done, stretch.end)
    batches = batches.begin(Stretch(day - DAY, day), state.champion)
    status = {**record.status, "state": to_json(replace(state, batch=batches))}
    world.store.put(replace(record, status=status))
    return Scene(world, [(START, "v1")], sent=4_100)


def dropped() -> Scene:
    """Seven weeks of one champion: inputs drifted, then quality fell, and users were promised two things."""
    answered = {"name": "answered", "availability": {"objective": "99.9%"}}
    soon = {"name": "soon", "latency": {"below": "100ms", "objective": "99%"}}
    fast = {"name": "fast", "latency": {"below": "10ms", "objective": "95%"}}
    world = Flights(slos=[answered, soon, fast])
    world.start()
    world.days(50)
    drift, drop = world.fire(), world.fire("QualityDropped", mark="drop")
    world.alerts.firing = [
        replace(
            drift, summary="drift in 2 windows in a row; above threshold in the last: temp 0.161 (distance)"
        ),
        replace(drop, summary="rocAuc 0.612 in the last window with labels, at the test 0.701"),
    ]
    world.settle()
    return Scene(world, [(START, "v1")], sent=21_300, has_reasons=True)


def blind() -> Scene:
    """Two months in which no window could be judged, and payloads that were lost."""
    world = Flights()
    world.start()
    world.days(62)
    assert world.champion is not None
    blind = world.fire("MonitorBlind", mark="blind")
    summary = (
        "cannot be judged: drift for 8 windows (TooFewRows), so that no alert does not mean that all is well"
    )
    world.alerts.firing = [replace(blind, summary=summary)]
    world.alerts.about_operation = [
        OperationAlert(
            "PayloadsLost",
            world.champion,
            world.clock.now(),
            f"{world.champion} lost 30 payloads in 5 minutes",
        )
    ]
    world.settle()
    return Scene(world, [(START, "v1")], sent=700, has_enough_rows=False)


def hostile(text: str) -> Scene:
    """A system in which every name and message that somebody else may choose is markup."""
    world = Flights()
    world.start()
    world.days(15)

    def fail(request: TrainingRequest) -> Training:
        step = StepProgress(text, RunPhase.FAILED, message=text)
        return Training(RunStatus(RunPhase.FAILED, message=text, steps=(step,)))

    world.training = fail
    alert = world.fire("DriftDetected", mark=f"{text}1")
    world.alerts.firing = [
        replace(alert, summary=text),
        replace(alert, name=text, fingerprint=text, summary=text),
    ]
    world.settle()
    return Scene(world, [(START, text)], sent=10)
