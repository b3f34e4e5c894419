"""A state directory of one system that payloads and labels are put into as a collector does, whatever its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from contract.recorded_arms import no_bento
from sent_payloads import body
from starlette.testclient import TestClient

from capstan.adapters.own.evidence import ParquetEvidence
from capstan.adapters.own.monitor import HttpMonitor
from capstan.domain.verdicts.evidence import PairedEvidence
from capstan.domain.versions import VersionName
from capstan.monitoring.monitor import MonitorConfig, MonitorService
from capstan.recording.collector.intake import Intake
from capstan.spec import parse

V1, V2 = VersionName("v1"), VersionName("v2")
START = datetime(2026, 3, 1, tzinfo=UTC)
NOON = START + timedelta(hours=12)
DAY = timedelta(days=1)
TOKEN = "secret"


class RecordedTask:
    """Answers of two versions, v1 the champion and v2 in its shadow, and the labels that came."""

    def __init__(self, root: Path, document: Mapping[str, Any], kind: str = "parquet") -> None:
        """kind: `source` is read by the loop's process (`parquet`) or is a monitor over HTTP (`monitor`)."""
        self.root, self.name = root, str(document["metadata"]["name"])
        self.folder = root / "systems" / self.name
        self.folder.mkdir(parents=True)
        (self.folder / "spec.json").write_bytes(orjson.dumps(document))
        self.intake = Intake(root / "collector", root / "systems")
        self.evidence = ParquetEvidence(self.folder, parse(document, base_dir=Path()))
        self.source: ParquetEvidence | HttpMonitor = self.evidence
        if kind == "monitor":
            self.source = HttpMonitor(self.monitor(), "http://testserver", token=TOKEN, bento=no_bento)
        self._sequence = 0

    def monitor(self) -> TestClient:
        """A monitor of the folder, to be asked by hand."""
        (self.root / "token").write_text(TOKEN)
        config = MonitorConfig(port=0, folder=self.folder, token=self.root / "token", detectors="Scipy")
        return TestClient(MonitorService(config).app())

    def event(
        self,
        request: str,
        version: str,
        outputs: Mapping[str, object] | None,
        *,
        row: int = 0,
        entity: str | None = None,
        at: datetime = NOON,
        inputs: Mapping[str, object] | None = None,
        **more: object,
    ) -> dict[str, object]:
        """A payload as a model service sends it; `more` fields take the place of its own."""
        self._sequence += 1
        data = {
            "request_id": request, "version": version, "role": "champion" if version == V1 else "shadow", "attempt": 1,
            "row": row, "event_time": at.isoformat(), "entity_id": entity or f"e-{request}", "status": 200,
            "latency_seconds": 0.01, "outputs": outputs, "nonfinite": False, "inputs": inputs or {"x": 1.0}, **more,
        }  # fmt: skip
        return {
            "id": f"boot-{self._sequence}",
            "source": f"/capstan/{self.name}/{version}",
            "data": data,
        }

    def receive(self, events: Sequence[Mapping[str, object]]) -> None:
        self.intake.receive(None, body(events), NOON)

    def feedback(self, labels: Sequence[Mapping[str, object]]) -> None:
        self.intake.feedback(orjson.dumps({"labels": labels}), NOON, system=None)

    def pairs(self, metric: str, *, as_of: datetime = START + DAY) -> PairedEvidence:
        """Of both versions since START."""
        self.intake.flush()
        return self.evidence.paired(V1, V2, metric=metric, since=START, as_of=as_of)
