"""Drawing what users did in a step: bounds, shares, regret and preference over time, as a file beside the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capstan.dashboard.online_panel import OnlineStepShown
from capstan.dashboard.page import BanditShown, EvidencePoint, ExperimentShown, PreferenceShown
from capstan.evaluation.experiments.drawing import draw_sequence, drawn


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
    if not arms:
        return False
    looks = "at one look" if shown.has_one_look else "at every look"
    with drawn(path, len(arms), named="report") as panels:
        for panel, arm in zip(panels, arms, strict=True):
            _sequence(panel, arm.series, levels=(shown.promote_above, shown.reject_below))
            title = f"{arm.version} against {shown.arms[0].version}: {shown.metric} per unit, bounds that hold {looks}"
            panel.set_title(title, loc="left")
            panel.set_ylabel(f"positive favours {arm.version}")
    return True


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
