"""What users did in the steps that asked them: a section of the report of a replay, with a drawing for each step."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict

from capstan.dashboard.online_panel import UserEvidence, online_shown
from capstan.dashboard.verdicts_shown import verdicts_shown
from capstan.domain.online_steps import OnlineStep, online_steps
from capstan.domain.rollout import RolloutPhase, RolloutPolicy, RolloutRequest, RolloutState
from capstan.domain.versions import SystemName
from capstan.engine.observe import ask_users
from capstan.engine.records import rollout_request, rollout_state
from capstan.errors import UnavailableError
from capstan.ports.codec import to_json
from capstan.ports.measurements import EvidenceSource
from capstan.ports.store import Kind, Store


class OnlineStepTold(TypedDict):
    """One step of a kind that asks users, which ended or runs."""

    rollout: str
    step: int
    """Its place in the file, from 1."""
    kind: str
    """`experiment`, `bandit` or `interleave`."""
    name: str
    """The step in a few words."""
    asked: str
    """What is decided by which rule, as it was told beforehand."""
    champion: str
    challenger: str
    since: str
    until: str
    ended: str
    """`passed`, `promoted`, `rolled back`, or `runs`."""
    why: str
    """Of a rollout that ended with this step."""
    found: dict[str, Any] | None
    """Arms, differences, bounds and their course, as on the page; None: `note` says why."""
    verdicts: list[dict[str, Any]]
    """The last ones: which rule, what it said, what it may have missed."""
    plot: str | None
    """Name of the SVG beside the report; None: nothing was measured that could be drawn."""
    note: str


def online_section(
    store: Store,
    system: SystemName,
    policy: RolloutPolicy,
    source: EvidenceSource,
    *,
    now: datetime,
    folder: Path,
) -> list[OnlineStepTold]:
    """In order of time; plots are written into `folder`. Raises CapstanError where they can't be."""
    told = []
    for record in store.list(Kind.ROLLOUT, system):
        request, state = rollout_request(record), rollout_state(record)
        steps = online_steps(request, state, policy, now=now)
        told += [_told(online, request, state, policy, source, folder) for online in steps]
    return sorted(told, key=lambda one: (one["since"], one["rollout"], one["step"]))


def _told(
    online: OnlineStep,
    request: RolloutRequest,
    state: RolloutState,
    policy: RolloutPolicy,
    source: EvidenceSource,
    folder: Path,
) -> OnlineStepTold:
    # The library that draws is large, and most systems have no such step.
    from capstan.embedded.replay.online_plots import draw_online

    note, shown = "", None
    try:
        shown = online_shown(online, _evidence(online, source))
    except UnavailableError as error:
        note = str(error)
    plot = f"{request.name}-step-{online.number}.svg"
    is_drawn = shown is not None and draw_online(shown, folder / plot)
    ended = _ended(online, state)
    return OnlineStepTold(
        rollout=request.name,
        step=online.number,
        kind=online.step.name,
        name=online.step.describe(),
        asked=online.step.promise(policy),
        champion=online.champion,
        challenger=online.challenger,
        since=online.since.isoformat(),
        until=online.until.isoformat(),
        ended=ended,
        why=state.why if ended in ("promoted", "rolled back") else "",
        found=to_json(replace(shown, verdicts=())) if shown is not None else None,
        verdicts=[to_json(verdict) for verdict in verdicts_shown(online.latest)],
        plot=plot if is_drawn else None,
        note=note,
    )


def _evidence(online: OnlineStep, source: EvidenceSource) -> UserEvidence:
    return {
        need: ask_users(
            source, need, online.champion, online.challenger, since=online.since, now=online.until
        )
        for need in online.needs
    }


def _ended(online: OnlineStep, state: RolloutState) -> str:
    if online.is_running:
        return "runs"
    last = state.spans[-1]
    if last.step != online.number - 1 or last.since != online.since:
        return "passed"
    match state.phase:
        case RolloutPhase.PROMOTED | RolloutPhase.PROMOTING:
            return "promoted"
        case RolloutPhase.ROLLED_BACK | RolloutPhase.ROLLING_BACK:
            return "rolled back"
        case _:
            return "passed"
