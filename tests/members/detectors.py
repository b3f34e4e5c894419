"""A detector that compares the middle of a column."""

from __future__ import annotations

from members.toy import ROOT, Edit, Toy

DETECTOR = Toy(
    "detector",
    edits=(
        Edit(
            "platform/capstan/monitoring/drift/kinds/__init__.py",
            """from capstan.recording.payloads import Kind
""",
            """from capstan.monitoring.drift.kinds.median import Median
""",
            before=True,
        ),
        Edit(
            "platform/capstan/monitoring/drift/kinds/__init__.py",
            "    KolmogorovSmirnov(),\n",
            "    Median(),\n",
        ),
        Edit("platform/capstan/spec/monitoring.py", 'numeric: Literal["KS"', ', "Median"'),
    ),
    new={
        "platform/capstan/monitoring/drift/kinds/median.py": '''"""Values between the medians."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.distances import Distance
from capstan.monitoring.drift.kinds.detector import Detector
from capstan.recording.payloads import Kind


class Median(Detector):
    """Twice the difference of ranks of the medians."""

    name: ClassVar[str] = "Median"

    @property
    def reads(self) -> Kind:
        return "numeric"

    @property
    def test(self) -> str:
        return "Median"

    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        middle = np.median(window)
        below, up_to = float(np.mean(reference < middle)), float(np.mean(reference <= middle))
        effect = 2 * max(0.0, below - 0.5, 0.5 - up_to)
        return Distance(effect, math.nan, effect)
''',
    },
    check="""
from capstan.monitoring.drift.kinds import DETECTORS, chosen
from capstan.spec.monitoring import Drift
from capstan.testing import check_detector

check_detector(DETECTORS["numeric"]["Median"])
assert chosen(Drift(numeric="Median"))["numeric"] is DETECTORS["numeric"]["Median"]
""",
    also={"system.yaml": (ROOT / "examples/flight-delays/system.yaml").read_text()},
)
