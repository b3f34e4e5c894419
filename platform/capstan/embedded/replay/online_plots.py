"""Drawing what users did in a step: bounds, shares, regret and preference over time, as a file beside the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capstan.dashboard.online_panel import OnlineStepShown
from capstan.dashboard.page import ArmShown, BanditShown, EvidencePoint, ExperimentShown, PreferenceShown
from capstan.evaluation.experiments.drawing import COLOUR, draw_sequence, drawn


def draw_online(shown: OnlineStepShown, path: Path) -> bool:
    """Write the SVG; False: nothing was measured that could be drawn. Raises CapstanError."""
    match shown:
        case ExperimentShown():
            return _experiment(shown, path)
        case BanditShown():
            return _bandit(shown, path)
        case PreferenceShown():
            return _preference(shown, path)


def _experiment(shown: ExperimentShown, path: Path) -> bool:
    arms = [arm for arm in shown.arms if _bounded(arm.series)]
    guards = [one for one in shown.others if one.purpose == "guardrail" and _known(one.arms)]
    if not arms and not guards:
        return False
    champion = shown.arms[0].version
    looks = "at one look" if shown.has_one_look else "at every look"
    with drawn(path, len(arms) + len(guards), named="report") as panels:
        for panel, arm in zip(panels[: len(arms)], arms, strict=True):
            _sequence(panel, arm.series, levels=(shown.promote_above, shown.reject_below))
            title = f"{arm.version} against {champion}: {shown.metric} per unit, bounds that hold {looks}"
            panel.set_title(title, loc="left")
            panel.set_ylabel(f"positive favours {arm.version}")
        for panel, guard in zip(panels[len(arms) :], guards, strict=True):
            _guardrail(panel, _known(guard.arms), guard.margin)
            panel.set_title(f"Guardrail {guard.metric} at the last look, against {champion}", loc="left")
            panel.set_xlabel(
                "positive favours the arm; a bar that lies left of the dashed margin is an alarm"
            )
    return True


def _known(arms: Sequence[ArmShown]) -> dict[str, tuple[float, float, float]]:
    """Difference and bounds by version, of the arms that have them."""
    return {
        arm.version: (arm.difference, arm.lower, arm.upper)
        for arm in arms
        if arm.difference is not None and arm.lower is not None and arm.upper is not None
    }


def _guardrail(panel: Any, arms: dict[str, tuple[float, float, float]], margin: float) -> None:
    """A bar from bound to bound for each arm, the first on top, and how much worse they may be."""
    for place, (difference, lower, upper) in enumerate(arms.values()):
        panel.hlines(place, lower, upper, color=COLOUR, alpha=0.4, linewidth=8)
        panel.plot([difference], [place], color=COLOUR, marker="o")
    panel.axvline(0, color="black", linewidth=0.8)
    panel.axvline(-margin, color="black", linewidth=0.8, linestyle="--")
    panel.set_yticks(range(len(arms)), [*arms])
    panel.set_ylim(len(arms) - 0.5, -0.5)


def _preference(shown: PreferenceShown, path: Path) -> bool:
    if not shown.series:
        return False
    with drawn(path, 1, named="report") as (panel,):
        _sequence(panel, shown.series, levels=())
        title = f"{shown.challenger} against {shown.champion}: preference by {shown.event}"
        panel.set_title(f"{title}, bounds that hold at every look", loc="left")
        panel.set_ylabel(f"positive favours {shown.challenger}")
    return True


def _bandit(shown: BanditShown, path: Path) -> bool:
    with drawn(path, 2 if shown.regret else 1, named="report") as (shares, *rest):
        at = [*(move.at for move in shown.moves), shown.until]
        for arm in shown.moves[0].weights:
            weights = [move.weights[arm] for move in shown.moves]
            shares.step(at, [*weights, weights[-1]], where="post", label=arm)
        shares.set_title(f"Shares by {shown.policy} on {shown.metric}", loc="left")
        shares.set_ylabel("percent")
        shares.set_ylim(0, 100)
        shares.legend()
        shares.tick_params(axis="x", labelrotation=20)
        for panel in rest:
            times = [point.at for point in shown.regret]
            panel.plot(times, [point.bandit for point in shown.regret], marker=".", label="this bandit")
            panel.plot(times, [point.even for point in shown.regret], linestyle="--", label="equal shares")
            panel.set_title("Estimated regret, by the means that were known at last", loc="left")
            panel.set_ylabel(shown.metric)
            panel.legend()
            panel.tick_params(axis="x", labelrotation=20)
    return True


def _bounded(points: Sequence[EvidencePoint]) -> list[EvidencePoint]:
    return [point for point in points if point.lower is not None and point.upper is not None]


def _sequence(panel: Any, points: Sequence[EvidencePoint], *, levels: Sequence[float]) -> None:
    """One point alone has no width: its interval is a bar."""
    found = _bounded(points)
    lower = [point.lower for point in found if point.lower is not None]
    upper = [point.upper for point in found if point.upper is not None]
    at = [point.at for point in found]
    differences = [point.difference for point in found]
    draw_sequence(panel, at, differences, lower, upper, levels=levels)
    if len(found) == 1:
        panel.vlines(at, lower, upper, linewidth=2, alpha=0.4)
