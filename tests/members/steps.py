"""A step that gives the challenger half of the requests."""

from __future__ import annotations

from members.toy import ROOT, Edit, Toy

STEP = Toy(
    "rollout step",
    edits=(
        Edit(
            "platform/capstan/domain/steps/__init__.py",
            "from capstan.domain.steps.pause",
            """from capstan.domain.steps.halves import HalvesStep
""",
            before=True,
        ),
        Edit("platform/capstan/domain/steps/__init__.py", "    ShadowStep,\n", "    HalvesStep,\n"),
        Edit(
            "platform/capstan/spec/rollout.py",
            "class Pause(SpecModel):",
            '''class Halves(SpecModel):
    """Both versions answer half of the requests."""

    min_requests: Count = Field(0, description="Requests before anything is decided.", examples=[100])
    duration: Duration = Field(timedelta(0), description="The step lasts so long.", examples=["2d"])


''',
            before=True,
        ),
        Edit("platform/capstan/spec/rollout.py", '        "shadow",\n', '        "halves",\n'),
        Edit(
            "platform/capstan/spec/rollout.py",
            "    pause: Pause | None",
            """    halves: Halves | None = Field(None, description="Half each.", examples=[{"duration": "2d"}])
""",
            before=True,
        ),
    ),
    new={
        "platform/capstan/domain/steps/halves.py": '''"""Both versions answer half of the requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from capstan.domain.steps.step import Station, Step
from capstan.domain.traffic import Arm, TrafficSplit, Weight
from capstan.domain.versions import VersionName

if TYPE_CHECKING:
    from capstan.domain.rollout import RolloutState


@dataclass(frozen=True)
class HalvesStep(Step):
    """A step of equal shares."""

    name: ClassVar[str] = "halves"
    station: ClassVar[Station | None] = Station("Halves", "M3 10h14", "both versions answer as many requests")

    min_requests: int = 0
    duration: timedelta = timedelta(0)

    @property
    def share(self) -> str:
        return "50 %"

    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        return TrafficSplit(arms=(Arm(champion, Weight(50)), Arm(challenger, Weight(50))), salt=salt)
''',
    },
    check="""
from capstan.cluster.crds import *  # the custom resources can be made
from capstan.dashboard.loop_picture import STATIONS
from capstan.domain.rollout import outlook
from capstan.domain.steps import STEPS
from capstan.engine.policies import system_policy
from capstan.spec import parse
from capstan.spec.reference import reference
from capstan.testing import check_step
from datetime import UTC, datetime
from pathlib import Path
from ruamel.yaml import YAML

check_step(STEPS["halves"](min_requests=100))
example = Path("system.yaml")
document = YAML(typ="safe").load(example.read_text())
document["spec"]["rollout"]["steps"] = [{"halves": {"minRequests": 100, "duration": "2d"}}]
document["spec"]["rollout"].pop("analyses", None)
import json
policy = system_policy(parse(json.loads(json.dumps(document, default=str)), base_dir=example.parent)).rollout
assert [step.describe() for step in policy.steps] == ["halves 50 %"]
assert "step 1 waits for 100 requests" in outlook(policy, datetime(2013, 1, 1, tzinfo=UTC))
assert "Halves" in STATIONS
assert "rollout.steps.halves.minRequests" in reference()
""",
    also={"system.yaml": (ROOT / "examples/flight-delays/system.yaml").read_text()},
)
