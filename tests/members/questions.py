"""A question that counts requests."""

from __future__ import annotations

from members.toy import ROOT, Edit, Toy

QUESTION = Toy(
    "question about a window",
    edits=(
        Edit(
            "platform/capstan/monitoring/questions/__init__.py",
            "from capstan.monitoring.questions.drift",
            """from capstan.monitoring.questions.crowd import CrowdQuestion
""",
            before=True,
        ),
        Edit(
            "platform/capstan/monitoring/questions/__init__.py",
            """    QualityDrop(),
""",
            """    CrowdQuestion(),
""",
        ),
    ),
    new={
        "platform/capstan/monitoring/questions/crowd.py": '''"""Whether many more requests came than usual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from capstan.monitoring.questions.question import AlertFacts, Answer, StoredRows, WindowQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import DriftWindow, WindowOutcome, compare


class CrowdQuestion(WindowQuestion):
    """More than a million requests."""

    name: ClassVar[str] = "crowd"
    alert: ClassVar[AlertFacts] = AlertFacts("RequestsCrowded", "warning", "")

    def measure(self, rows: StoredRows) -> Mapping[str, float]:
        counted = rows.reader.fetch(
            "select count(*) as n from stored_payloads where version = $version "
            "and epoch_us(event_time) >= $start and epoch_us(event_time) < $end",
            start=rows.start, end=rows.end, version=rows.version,
        )
        return {"requests": float(counted["n"][0].as_py())}

    def ask(self, window: DriftWindow) -> Answer:
        if (gap := window.too_few) is not None:
            return Answer(WindowOutcome.NO_EVIDENCE, gap)
        return Answer(compare(window.numbers.get(self.name, {}).get("requests"), 1e6))

    def summary(self, text: AlertText) -> str:
        number = text.value_of("capstan_window_number", extra=",question='crowd'", form="%.0f")
        return f"{number} requests{text.in_windows}"
''',
    },
    check="""
from capstan.monitoring.checkpoint import Checkpoint
from capstan.monitoring.questions import QUESTIONS
from capstan.monitoring.rules import render
from capstan.monitoring.windows import DriftWindow
from capstan.spec import load
from capstan.testing import check_question
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

system = load(Path("system.yaml"))
start = datetime(2013, 1, 1, tzinfo=UTC)
fine = DriftWindow(0, start, start + timedelta(days=7), 2000, True, numbers={"crowd": {"requests": 2000.0}})
breach = replace(fine, numbers={"crowd": {"requests": 2e6}})
check_question(QUESTIONS["crowd"], system, breach=breach, fine=fine)
checkpoint = Checkpoint().watching("v1", "/m", start).with_drift(breach, consecutive=1)
assert "RequestsCrowded" in checkpoint.watch.alerts(consecutive=1)
assert any(rule.get("alert") == "RequestsCrowded" for group in render(system)["groups"] for rule in group["rules"])
""",
    also={"system.yaml": (ROOT / "examples/flight-delays/system.yaml").read_text()},
)
