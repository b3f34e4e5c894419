"""What a changed file changes, and what follows from that, told before anything is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capstan.domain.rollout import RolloutState
from capstan.domain.system import SystemState
from capstan.engine.policies import system_policy
from capstan.spec import MLSystem

_ABSENT = object()
_LEARNING = (
    "data.sources",
    "data.query",
    "data.checks",
    "data.split",
    "data.keys",
    "data.label",
    "features",
    "training",
    "models",
    "combine",
)
"""Fields that a training learns by."""


@dataclass(frozen=True)
class Change:
    """One field with its values; None: the field is not there."""

    path: str
    """Field with dots; items of named lists by their name: `features[distance].numeric.scale`."""
    old: Any
    new: Any


def compare(old: MLSystem, new: MLSystem) -> list[Change]:
    """Every field that differs in meaning: a default that is written out is no change."""
    return list(_differences("", _document(old), _document(new)))


def learns_by(changes: Sequence[Change]) -> list[str]:
    """Fields of the changes by which another model would be trained, or another one chosen or let pass."""
    roots = (*_LEARNING, "data", "objective.task", "objective.target", "objective.losses", "evaluation")
    paths = [change.path for change in changes]
    return [path for path in paths if _touches([path], *roots) and not _touches([path], "evaluation.online")]


def _document(system: MLSystem) -> dict[str, Any]:
    document: dict[str, Any] = system.model_dump(mode="json", by_alias=True, exclude_none=True)
    spec = document["spec"]
    if not system.spec.data.has_label:
        # It stands for none: a label of the same column is a change.
        del spec["data"]["label"]
    return {**spec, "metadata": document["metadata"]}


def _differences(path: str, old: Any, new: Any) -> Iterator[Change]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(
                f"{path}.{key}" if path else str(key), old.get(key, _ABSENT), new.get(key, _ABSENT)
            )
    elif isinstance(old, list) and isinstance(new, list) and old + new and _are_named(old + new):
        before, after = ({item["name"]: item for item in items} for items in (old, new))
        for name in dict.fromkeys((*before, *after)):
            yield from _differences(f"{path}[{name}]", before.get(name, _ABSENT), after.get(name, _ABSENT))
        common = [name for name in before if name in after]
        if common != [name for name in after if name in before]:
            yield Change(f"{path} (order)", list(before), list(after))
    elif isinstance(old, list) and isinstance(new, list) and _hold_maps(old + new):
        for index in range(max(len(old), len(new))):
            yield from _differences(
                f"{path}[{index}]",
                old[index] if index < len(old) else _ABSENT,
                new[index] if index < len(new) else _ABSENT,
            )
    else:
        yield Change(path, None if old is _ABSENT else old, None if new is _ABSENT else new)


def _are_named(items: Sequence[Any]) -> bool:
    return all(isinstance(item, Mapping) and "name" in item for item in items)


def _hold_maps(items: Sequence[Any]) -> bool:
    return any(isinstance(item, Mapping) for item in items)


def consequences(
    old: MLSystem,
    new: MLSystem,
    changes: Sequence[Change],
    *,
    state: SystemState,
    rollout: RolloutState | None,
) -> list[str]:
    """What the changes mean for what runs, in words, the most drastic first."""
    paths = [change.path for change in changes]
    return [
        text
        for text in (
            _of_suspension(changes),
            _of_rollout(old, new, state, rollout),
            _of_identity(paths, state),
            _of_learning(paths, state),
            _of_the_task(paths),
            _of_losses(paths),
            _of_watching(paths),
            _of_retraining(old, new, changes, state),
            _of_gates(paths),
            _of_the_replay(paths),
            _of_the_cluster(paths),
        )
        if text
    ]


def _touches(paths: Sequence[str], *roots: str) -> bool:
    return any(
        path == root or path.startswith((f"{root}.", f"{root}[", f"{root} "))
        for path in paths
        for root in roots
    )


def _of_suspension(changes: Sequence[Change]) -> str:
    for change in changes:
        if change.path == "suspend":
            return (
                "suspend: no training starts and no step ends until it is false; the champion goes on serving"
                if change.new
                else "suspend: trainings and rollouts go on"
            )
    return ""


def _of_rollout(old: MLSystem, new: MLSystem, state: SystemState, rollout: RolloutState | None) -> str:
    if system_policy(old).rollout.digest == system_policy(new).rollout.digest:
        return ""
    if state.rollout is None or rollout is None or rollout.phase.is_final:
        return "rollout: the next rollout goes by it; no version in service is touched"
    return (
        f"rollout: {state.rollout.name} is in progress at step {rollout.step + 1} and starts again at its first step; "
        "its evidence up to now does not count"
    )


def _of_identity(paths: Sequence[str], state: SystemState) -> str:
    if not _touches(paths, "data.keys", "data.label", "data.timeZone"):
        return ""
    text = (
        "data.keys, data.label: stored payloads and labels that were joined by the old ones are not compared with "
        "the new; windows of quality and evidence begin anew"
    )
    if state.rollout is not None:
        text += f"; consider `capstan abort` for {state.rollout.name}, whose evidence would mix both"
    return text


def _of_learning(paths: Sequence[str], state: SystemState) -> str:
    if not _touches(paths, *_LEARNING):
        return ""
    if state.champion is None:
        return "data, features, training, models: the first training goes by it"
    return (
        f"data, features, training, models: the champion {state.champion.name} is not touched; only a new training "
        "learns by it: `capstan retrain`, or the next trigger"
    )


def _of_the_task(paths: Sequence[str]) -> str:
    if not _touches(paths, "objective.task", "objective.target"):
        return ""
    return "objective: the champion answers another question; better a new name than a changed task"


def _of_losses(paths: Sequence[str]) -> str:
    if not _touches(paths, "objective.losses"):
        return ""
    return (
        "objective.losses: metrics of trainings and of closed windows stay as they were measured; from now on errors "
        "count by the new ones"
    )


def _of_watching(paths: Sequence[str]) -> str:
    if not _touches(paths, "monitoring"):
        return ""
    return (
        "monitoring: rules and windows change at once; thresholds are those that were calibrated with the champion "
        "until a new version is trained"
    )


def _of_retraining(old: MLSystem, new: MLSystem, changes: Sequence[Change], state: SystemState) -> str:
    if not _touches([change.path for change in changes], "retraining"):
        return ""
    before, after = system_policy(old).retraining, system_policy(new).retraining
    notes = []
    had, has = ({rule.title for rule in policy.triggers} for policy in (before, after))
    if lost := had - has:
        notes.append(f"no training starts by {', '.join(sorted(lost))} any more")
    if won := has - had:
        notes.append(f"trainings start by {', '.join(sorted(won))} too")
    if state.retraining.pending is not None:
        notes.append("the training that waits now is judged by it at the next look")
    return "retraining: " + ("; ".join(notes) or "the next trigger is judged by it")


def _of_gates(paths: Sequence[str]) -> str:
    return (
        "evaluation: the next trained version is measured and gated by it"
        if _touches(paths, "evaluation")
        else ""
    )


def _of_the_replay(paths: Sequence[str]) -> str:
    return "replay: used by `capstan replay` only" if _touches(paths, "replay") else ""


def _of_the_cluster(paths: Sequence[str]) -> str:
    return "serving: without effect on one machine, used in a cluster" if _touches(paths, "serving") else ""
