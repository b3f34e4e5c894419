"""What is drawn of a step that asked users."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from capstan.dashboard.page import ArmShown, EvidencePoint, ExperimentShown, OtherMetric
from capstan.embedded.replay.online_plots import draw_online

NOW = datetime(2013, 2, 1, tzinfo=UTC)
CHAMPION = ArmShown("v1", "champion", wanted=70, assigned=732, units=348, mean=0.0)
UNBOUNDED = EvidencePoint(NOW, difference=0.0, lower=None, upper=None, units=522)
ARM = replace(CHAMPION, version="v2", role="challenger", wanted=30, difference=0.0, series=[UNBOUNDED])
EARLY = ExperimentShown(
    metric="surprised",
    better="Lower",
    rule="Better by AlwaysValid at 0.05 at any look",
    is_running=False,
    since=datetime(2013, 1, 30, tzinfo=UTC),
    until=NOW,
    promote_above=0.0,
    reject_below=0.0,
    has_one_look=False,
    crossed=0,
    arms=[CHAMPION, ARM],
)


def guardrail(purpose: str, arm: ArmShown) -> OtherMetric:
    return OtherMetric("misled", purpose, "Lower", [CHAMPION, arm])


def test_a_guardrail_that_stops_an_experiment_before_its_metric_has_bounds_is_drawn(tmp_path: Path) -> None:
    stopped = replace(ARM, difference=-0.319, lower=-0.469, upper=-0.169, series=())
    path = tmp_path / "plot.svg"
    assert draw_online(replace(EARLY, others=[guardrail("guardrail", stopped)]), path)
    drawing = path.read_text()
    assert "Guardrail misled at the last look, against v1" in drawing
    assert "surprised per unit" not in drawing
    allowed = replace(guardrail("guardrail", stopped), margin=0.02)
    other = tmp_path / "margin.svg"
    assert draw_online(replace(EARLY, others=[allowed]), other)
    assert other.read_text() != drawing, "the margin is drawn"
    assert "left of the dashed margin is an alarm" in drawing


def test_nothing_is_drawn_where_no_metric_that_may_end_the_step_has_bounds(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    known = replace(ARM, difference=-0.319, lower=-0.469, upper=-0.169)
    for others in ((), (guardrail("guardrail", ARM),), (guardrail("secondary", known),)):
        assert not draw_online(replace(EARLY, others=others), path)
    assert not path.exists()
