"""A shop whose requests a gateway assigns to arms: payloads, labels and events of units, and what follows by hand."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from sent_payloads import body
from starlette.testclient import TestClient

from capstan.adapters.own.evidence import ParquetEvidence
from capstan.adapters.own.monitor import HttpMonitor
from capstan.domain.steps.questions import Arms
from capstan.domain.verdicts.evidence import ArmsEvidence, ArmSums
from capstan.domain.versions import Digest, VersionName
from capstan.monitoring.monitor import MonitorConfig, MonitorService
from capstan.ports.measurements import EvidenceSource
from capstan.recording.collector.boots import Heading
from capstan.recording.collector.intake import Intake
from capstan.spec import parse

V1, V2, V3 = VersionName("v1"), VersionName("v2"), VersionName("v3")
ZONE = ZoneInfo("America/New_York")
START = datetime(2026, 3, 2, tzinfo=ZONE).astimezone(UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LABEL_DELAY, EVENT_DELAY = timedelta(hours=6), timedelta(hours=2)


def document() -> dict[str, Any]:
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "shop"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "bought"},
            "data": {
                "timeZone": "America/New_York",
                "sources": [{"name": "visits", "csv": {"path": "visits.csv"}}],
                "keys": {"id": "visit", "time": "at", "stickyBy": "customer"},
                "label": {"column": "bought", "availableAt": "seen", "maximumDelay": "6h"},
            },
            "features": [{"name": "price", "numeric": {}}],
            "training": {"candidates": [{"name": "trees", "gradientBoosting": {}}]},
            "evaluation": {
                "online": [
                    online("revenue", "Sum"),
                    online("conversion", "Rate"),
                    online("basket", "Mean", cap=50),
                ]
            },
        },
    }


def online(name: str, aggregate: str, **more: Any) -> dict[str, Any]:
    metric = {"name": name, "event": "purchase", "aggregate": aggregate, "window": "1d", "better": "Higher"}
    return {**metric, "maximumDelay": "2h", **more}


class Shop:
    """What a collector was given, read by the loop's process or by a monitor over HTTP."""

    def __init__(self, root: Path, kind: str = "parquet", file: Mapping[str, Any] | None = None) -> None:
        self.root = root
        self.document = file or document()
        self.folder = root / "systems" / "shop"
        self.folder.mkdir(parents=True)
        (self.folder / "spec.json").write_bytes(orjson.dumps(self.document))
        self.intake = Intake(root / "collector", root / "systems")
        self.source: EvidenceSource = ParquetEvidence(self.folder, parse(self.document, base_dir=Path()))
        if kind == "monitor":
            (root / "token").write_text("secret")
            config = MonitorConfig(port=0, folder=self.folder, token=root / "token", detectors="Scipy")
            self.client = TestClient(MonitorService(config).app())
            self.source = HttpMonitor(self.client, "http://testserver", token="secret", bento=no_bento)
        self._sequence = 0

    def payload(
        self,
        request: str,
        arm: str | None,
        at: datetime,
        *,
        unit: str | None = None,
        version: str | None = None,
        probability: float | None = 0.5,
        **more: object,
    ) -> dict[str, object]:
        """As a model service sends it; `version` answered, the arm's own unless another one did."""
        self._sequence += 1
        by = version or arm or "v1"
        data = {
            "request_id": request, "version": by, "role": "champion" if by == "v1" else "challenger", "attempt": 1,
            "row": 0, "event_time": at.isoformat(), "arm": arm, "unit": unit, "entity_id": f"e-{request}",
            "status": 200, "latency_seconds": 0.01, "outputs": {"probability": probability}, "nonfinite": False,
            "inputs": {"price": 1.0}, **more,
        }  # fmt: skip
        return {"id": f"boot{by}-{self._sequence}", "source": f"/capstan/shop/{by}", "data": data}

    def put(self, *payloads: Mapping[str, object], heading: Heading | None = None) -> None:
        self.intake.receive(heading, body(payloads), START)

    def ask(self, request: str, arm: str | None, at: datetime, **more: Any) -> None:
        self.put(self.payload(request, arm, at, **more))

    def label(self, request: str, value: bool | None, at: datetime) -> None:
        said = {"noLabel": True} if value is None else {"label": value}
        labels = [{"id": f"e-{request}", "availableAt": at.isoformat(), **said}]
        self.intake.feedback(orjson.dumps({"labels": labels}), START, system="shop")

    def event(self, number: int, at: datetime, value: float | None = None, **more: object) -> None:
        """A purchase, posted as soon as it happened unless `availableAt` says otherwise."""
        event = {
            "eventId": f"b{number}", "event": "purchase", "at": at.isoformat(), "availableAt": at.isoformat(),
            "value": value, **more,
        }  # fmt: skip
        self.intake.events(orjson.dumps({"events": [event]}), START, system="shop")

    def arms(
        self, as_of: datetime, metric: str = "logLoss", *, window: timedelta = DAY, **more: Any
    ) -> ArmsEvidence:
        self.intake.flush()
        versions = more.pop("versions", (V1, V2))
        return self.source.arms(Arms(metric, versions, window, **more), since=START, as_of=as_of)


def no_bento(version: VersionName) -> tuple[str, Digest]:
    raise AssertionError(f"nobody asked to watch {version}")


@dataclass
class UnitByHand:
    """One unit as somebody with pencil and paper counts it."""

    first: datetime
    arm: str
    arms: set[str] = field(default_factory=set)
    outcomes: list[float] = field(default_factory=list)
    past: list[float] = field(default_factory=list)


def log_loss(probability: float, label: bool) -> float:
    """With probabilities bounded by 0.001 from both ends, in whole numbers of 1e-12."""
    bounded = min(max(probability, 0.001), 0.999)
    return round(-math.log(bounded if label else 1 - bounded) * 1e12) / 1e12


def sums_by_hand(
    units: Iterable[UnitByHand], *, as_of: datetime, takes: timedelta, mean: bool
) -> dict[tuple[datetime, str], ArmSums]:
    """By local day and arm."""
    found: dict[tuple[datetime, str], list[UnitByHand]] = defaultdict(list)
    for unit in units:
        local = unit.first.astimezone(ZONE)
        midnight = datetime(local.year, local.month, local.day, tzinfo=ZONE).astimezone(UTC)
        found[midnight, unit.arm].append(unit)
    return {place: _sums(group, as_of, takes, mean=mean) for place, group in found.items()}


def _sums(units: list[UnitByHand], as_of: datetime, takes: timedelta, *, mean: bool) -> ArmSums:
    closed = [unit for unit in units if unit.first + takes <= as_of]
    known = [unit for unit in closed if unit.outcomes or not mean]

    def value(numbers: list[float]) -> float:
        total = sum((Fraction(number) for number in numbers), Fraction(0))
        return float(total / len(numbers)) if mean else float(total)

    pairs = [(value(unit.outcomes), value(unit.past) if unit.past else None) for unit in known]
    with_past = [(y, x) for y, x in pairs if x is not None]
    return ArmSums(
        assigned=len(units),
        closed=len(closed),
        units=len(known),
        total=math.fsum(y for y, _ in pairs),
        squares=math.fsum(y**2 for y, _ in pairs),
        cubes=math.fsum(y**3 for y, _ in pairs),
        covariate_known=len(with_past),
        covariate=math.fsum(x for _, x in with_past),
        covariate_squares=math.fsum(x**2 for _, x in with_past),
        products=math.fsum(x * y for y, x in with_past),
        covariate_total=math.fsum(y for y, _ in with_past),
    )
