"""What a person may ask of a system now, and why not what they may not: the same checks as the commands' own."""

from __future__ import annotations

from collections.abc import Sequence

from capstan.dashboard.page import ActionShown
from capstan.domain.actions import Verb
from capstan.domain.rollout import RolloutState
from capstan.domain.system import SystemState
from capstan.domain.versions import VersionName
from capstan.engine.commands import check
from capstan.errors import NotAllowedError
from capstan.ports.store import Record

_TITLES = {
    Verb.APPROVE: "Approve",
    Verb.RETRAIN: "Retrain",
    Verb.PAUSE: "Pause",
    Verb.RESUME: "Resume",
    Verb.PROMOTE: "Promote",
    Verb.ABORT: "Abort",
    Verb.ROLLBACK: "Roll back",
}
_WHAT_HAPPENS = {
    Verb.APPROVE: "The training or the step that waits for a person goes on.",
    Verb.RETRAIN: "A new version is trained now, whatever backoff, cooldown and budget say; then it takes all steps.",
    Verb.PAUSE: "No training starts and no step of a rollout ends. The champion goes on serving.",
    Verb.RESUME: "The loop goes on after a pause, a pause step, a held rollout or an open circuit.",
    Verb.PROMOTE: "The challenger becomes champion past the remaining steps, or the chosen version begins a rollout.",
    Verb.ABORT: "The rollout ends and the champion keeps all traffic, or the training in progress ends.",
    Verb.ROLLBACK: "An older version takes all traffic at once, without steps.",
}
"""What follows from each, as the dialog says before it is confirmed."""


def actions_of(
    record: Record, state: SystemState, rollout: RolloutState | None, registered: Sequence[VersionName]
) -> list[ActionShown]:
    """All actions, each possible or with the reason why it is not; `registered`: versions in the registry.

    `rollout`: the one in progress; None: it has no record yet, or there is none.
    """
    return [_action(record, state, rollout, verb, registered) for verb in _TITLES]


def _action(
    record: Record,
    state: SystemState,
    rollout: RolloutState | None,
    verb: Verb,
    registered: Sequence[VersionName],
) -> ActionShown:
    why_not = _why_not(record, state, rollout, verb, None)
    versions: list[str] = []
    if verb is Verb.ROLLBACK and not why_not:
        versions = [version.name for version in state.previous]
    if verb is Verb.PROMOTE and why_not:
        versions = [name for name in registered if not _why_not(record, state, rollout, verb, name)]
    return ActionShown(
        verb=verb.value,
        title=_TITLES[verb],
        what_happens=_WHAT_HAPPENS[verb],
        is_possible=not why_not or bool(versions),
        why_not="" if versions else why_not,
        versions=versions,
        is_awaited=verb is Verb.APPROVE and not why_not,
    )


def _why_not(
    record: Record,
    state: SystemState,
    rollout: RolloutState | None,
    verb: Verb,
    version: VersionName | None,
) -> str:
    try:
        check(record, state, rollout, verb, version)
    except NotAllowedError as error:
        # `approve: nothing waits for approval; possible now: ...` without what the button says already.
        return str(error).removeprefix(f"{verb}: ").partition("; possible now")[0]
    return ""
