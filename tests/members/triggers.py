"""A trigger that trains once the last training is old."""

from __future__ import annotations

from members.toy import ROOT, Edit, Toy

TRIGGER = Toy(
    "trigger",
    edits=(
        Edit(
            "platform/capstan/domain/triggers/__init__.py",
            "from capstan.domain.triggers.drift",
            """from capstan.domain.triggers.age import AgeTrigger
""",
            before=True,
        ),
        Edit("platform/capstan/domain/triggers/__init__.py", "    NewDataTrigger,", "\n    AgeTrigger,"),
        Edit(
            "platform/capstan/spec/retraining.py",
            "class OnSchedule(SpecModel):",
            '''class OnAge(SpecModel):
    """Time since the last training starts one."""

    after: PositiveDuration = Field(description="So long after the last.", examples=["30d"])


''',
            before=True,
        ),
        Edit("platform/capstan/spec/retraining.py", '        "quality",\n', '        "age",\n'),
        Edit(
            "platform/capstan/spec/retraining.py",
            "    schedule: OnSchedule | None",
            """    age: OnAge | None = Field(None, description="Time.", examples=[{"after": "30d"}])
""",
            before=True,
        ),
    ),
    new={
        "platform/capstan/domain/triggers/age.py": '''"""A training starts when the last one is old."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from capstan.domain.triggers.trigger import Trigger, TriggerKind, TriggerRule, TriggerSight

if TYPE_CHECKING:
    from capstan.domain.retraining import RetrainingState


@dataclass(frozen=True)
class AgeTrigger(TriggerRule):
    """So long after the end of the last training."""

    name: ClassVar[str] = "age"
    after: timedelta

    def due(self, seen: TriggerSight, state: RetrainingState, now: datetime) -> Trigger | None:
        if state.finished_at is None or now - state.finished_at < self.after:
            return None
        return Trigger(TriggerKind.SCHEDULE, now, f"the last training ended {state.finished_at:%Y-%m-%d}")
''',
    },
    check="""
from capstan.domain.retraining import RetrainingState
from capstan.domain.triggers import TRIGGERS, TriggerSight
from capstan.engine.policies import system_policy
from capstan.spec import parse
from capstan.spec.reference import reference
from capstan.testing import check_trigger
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ruamel.yaml import YAML
import json

now = datetime(2013, 6, 1, tzinfo=UTC)
rule = TRIGGERS["age"](timedelta(days=30))
check_trigger(rule, seen=TriggerSight("v1"), state=RetrainingState(finished_at=now - timedelta(days=31)), now=now)
example = Path("system.yaml")
document = YAML(typ="safe").load(example.read_text())
document["spec"].setdefault("retraining", {})["triggers"] = [{"age": {"after": "30d"}}]
policy = system_policy(parse(json.loads(json.dumps(document, default=str)), base_dir=example.parent))
assert policy.retraining.triggers == (rule,)
assert "retraining.triggers.age.after" in reference()
""",
    also={"system.yaml": (ROOT / "examples/flight-delays/system.yaml").read_text()},
)
