"""The loop as stations: which one is busy, and one fact about each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from capstan.dashboard.observation import Observed, ObservedRollout
from capstan.dashboard.page import Stage
from capstan.domain.reasons import Tone
from capstan.domain.rollout import RolloutCause, RolloutPhase, flowing_step
from capstan.domain.steps import STATIONS as STEP_STATIONS
from capstan.domain.training import RunPhase

SERVE, WATCH, ALERT, TRAIN, DEPLOY, PROMOTE = "Serve", "Watch", "Alert", "Train", "Deploy", "Promote"
IN_STEPS = {station.name: station for station in STEP_STATIONS}
"""Stations of the steps that the file can ask for."""
STATIONS = (SERVE, WATCH, ALERT, TRAIN, DEPLOY, *IN_STEPS, PROMOTE)
"""Of every file; a system has those of its own steps."""


def stages(seen: Observed) -> list[Stage]:
    """The stations of this system in the order of the loop; exactly one is current."""
    here, tone = _where(seen)
    details = _details(seen)
    marks = _marks(seen)
    found = []
    for name in _stations(seen):
        current = name == here
        shown = tone if current else _resting_tone(seen, name)
        station = IN_STEPS.get(name)
        icon, doing = (station.icon, station.doing) if station is not None else ("", "")
        found.append(Stage(name, shown, details[name], current, marks.get(name, ""), icon, doing))
    return found


def _stations(seen: Observed) -> list[str]:
    asked = {step.station.name for step in seen.policy.rollout.steps if step.station is not None}
    return [name for name in STATIONS if name in asked or name not in IN_STEPS]


def _where(seen: Observed) -> tuple[str, Tone]:
    rollout = seen.active_rollout
    if rollout is not None:
        return _where_rollout(seen, rollout)
    if seen.state.rollout is not None:
        return DEPLOY, Tone.ACTIVE
    if seen.state.run is not None:
        return TRAIN, Tone.ACTIVE
    if seen.state.champion is None:
        return TRAIN, Tone.IDLE
    if seen.state.retraining.pending is not None or seen.state.firing:
        return ALERT, Tone.WARN
    return WATCH, Tone.ACTIVE


def _where_rollout(seen: Observed, rollout: ObservedRollout) -> tuple[str, Tone]:
    steps, state = seen.policy.rollout.steps, rollout.state
    step = flowing_step(steps, state.step) if steps and state.step < len(steps) else None
    in_step = step.station.name if step is not None and step.station is not None else DEPLOY
    match state.phase:
        case RolloutPhase.DEPLOYING:
            return DEPLOY, Tone.ACTIVE
        case RolloutPhase.PROGRESSING:
            return in_step, Tone.WARN if state.held else Tone.ACTIVE
        case RolloutPhase.PROMOTING | RolloutPhase.PROMOTED:
            return PROMOTE, Tone.GOOD
        case RolloutPhase.ROLLING_BACK | RolloutPhase.ROLLED_BACK:
            return (in_step if state.started_at and state.step_since else DEPLOY), Tone.BAD


def _resting_tone(seen: Observed, name: str) -> Tone:
    if name == SERVE and seen.state.champion is not None:
        return Tone.GOOD
    if name == ALERT and (seen.state.firing or seen.operation_alerts):
        return Tone.WARN
    if name == WATCH and seen.windows and not _is_judged(seen):
        return Tone.WARN
    return Tone.IDLE


def _details(seen: Observed) -> Mapping[str, str]:
    state, now = seen.state, seen.now
    zone = ZoneInfo(seen.system.spec.data.time_zone)
    rollout, run = seen.active_rollout, seen.active_run
    promoted = [
        r
        for r in seen.rollouts
        if r.state.phase is RolloutPhase.PROMOTED and r.request.cause is RolloutCause.CHALLENGER
    ]
    last = max((r.state.finished_at for r in promoted if r.state.finished_at), default=None)
    finished = sum(r.state.phase is RunPhase.SUCCEEDED for r in seen.runs)
    alerts = len(state.firing) + len(seen.operation_alerts or ())
    return {
        SERVE: state.champion.name if state.champion else "no champion yet",
        WATCH: _watching(seen, zone),
        ALERT: f"{alerts} firing" if alerts else ("quiet" if _is_judged(seen) else "nothing judged"),
        TRAIN: _training(run.status.steps if run and run.status else ()) if run else _times(finished, "run"),
        DEPLOY: rollout.request.challenger.name if rollout else "nothing new",
        **{name: _step_detail(seen, name) for name in IN_STEPS},
        PROMOTE: f"{len(promoted)}×, last {_ago(last, now)}" if last else "none yet",
    }


def _training(steps: tuple[object, ...]) -> str:
    running = [
        getattr(step, "name", "") for step in steps if getattr(step, "phase", None) is RunPhase.RUNNING
    ]
    return ", ".join(running[:2]) + ("…" if len(running) > 2 else "") if running else "starting"


def _watching(seen: Observed, zone: ZoneInfo) -> str:
    last = _last_window(seen)
    if last is None:
        return "no window yet"
    end = datetime.fromisoformat(str(last["end"])).astimezone(zone)
    is_short = seen.system.spec.monitoring.window.duration < timedelta(days=1)
    is_today = end.date() == seen.now.astimezone(zone).date()
    told = f"{end:%d %b}" if not is_short else f"{end:%H:%M}" if is_today else f"{end:%d %b %H:%M}"
    return f"to {told}" if _is_judged(seen) else f"blind, to {told}"


def _last_window(seen: Observed) -> Mapping[str, Any] | None:
    decided = [window for window in seen.windows or () if window.get("end")]
    return max(decided, key=lambda window: str(window["end"]), default=None)


def _is_judged(seen: Observed) -> bool:
    """Whether the newest window had a verdict about drift; no window has none."""
    last = _last_window(seen)
    return last is not None and not any(answer.get("gap") for answer in last.get("answers", {}).values())


def _step_detail(seen: Observed, station: str) -> str:
    steps = [step for step in seen.policy.rollout.steps if step.station and step.station.name == station]
    return " → ".join(step.share for step in steps)


def _marks(seen: Observed) -> dict[str, str]:
    marks: dict[str, str] = {}
    if seen.state.run is not None:
        marks[TRAIN] = f"run:{seen.state.run.run}"
    if seen.state.rollout is not None:
        marks |= dict.fromkeys((DEPLOY, *IN_STEPS, PROMOTE), f"rollout:{seen.state.rollout.name}")
    if seen.state.champion is not None:
        marks[SERVE] = f"version:{seen.state.champion.name}"
    return marks


def _times(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _ago(moment: datetime, now: datetime) -> str:
    minutes = int((now - moment) / timedelta(minutes=1))
    for unit, size in (("d", 1440), ("h", 60), ("min", 1)):
        if minutes >= size:
            return f"{minutes // size} {unit} ago"
    return "just now"
