"""What the loop decided and did, as lines of the log: one for each decision and each action, as key=value.

    decision system=shop/churn object=ModelRollout/churn-v2-89ab reason=StepPassed message="..."
    action system=shop/churn do=SetTraffic split="v1 75, v2 25" result=done

What is repeated pass after pass, as an action that waits for a part which does not answer, is one line. Nothing here is
secret: names, versions, digests and the words of the story.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import assert_never

from capstan.domain.actions import (
    Action,
    CancelTraining,
    CreateRollout,
    CreateRun,
    Decision,
    DeleteRecords,
    DeployVersion,
    RetireVersion,
    SetAlias,
    SetTraffic,
    StartBatch,
    StartTraining,
    StopBatch,
    WatchVersion,
)
from capstan.domain.planners.rollout import describe_split
from capstan.domain.versions import SystemName
from capstan.ports.store import Record

logger = logging.getLogger(__name__)

_PLAIN = re.compile(r"[\w./:+-]+")
_where: ContextVar[str] = ContextVar("where", default="")


@contextmanager
def looking_at(where: str) -> Iterator[None]:
    """Name the system, such as `shop/churn`, in the lines that are written meanwhile."""
    before = _where.set(where)
    try:
        yield
    finally:
        _where.reset(before)


def line(what: str, system: str, facts: Mapping[str, object]) -> str:
    """`what system=... key=value ...`; a value that is no plain word is quoted as in JSON."""
    known = {"system": _where.get() or system, **facts}
    return " ".join([what, *(f"{key}={_quoted(value)}" for key, value in known.items())])


def log_decisions(record: Record, decisions: tuple[Decision, ...]) -> None:
    """Log the decisions that have just been stored."""
    for decision in decisions:
        facts = {
            "object": f"{record.kind.value}/{record.name}",
            "reason": decision.reason,
            "message": decision.message,
        }
        logger.info("%s", line("decision", record.system, facts))


@dataclass
class ActionLog:
    """Writes each action once as long as it is repeated with the same result."""

    _before: set[str] = field(default_factory=set)
    _now: set[str] = field(default_factory=set)

    def note(self, system: SystemName, action: Action, *, failure: str = "") -> None:
        """Note that the action was taken, or that the part that it needs did not answer."""
        facts = {"do": type(action).__name__, **facts_of(action), "result": failure or "done"}
        text = line("action", system, facts)
        if text not in self._before | self._now:
            logger.info("%s", text)
        self._now.add(text)

    def end_pass(self) -> None:
        """End the pass: an action that it did not repeat is logged again when it comes again."""
        self._before, self._now = self._now, set()


def facts_of(action: Action) -> dict[str, object]:
    """Facts about an action for its line."""
    match action:
        case CreateRun(request) | StartTraining(request):
            return {"run": request.run, "trigger": request.trigger.kind.value}
        case CancelTraining(run):
            return {"run": run}
        case CreateRollout(request):
            return {"rollout": request.name, "version": request.challenger.name, "cause": request.cause.value}
        case DeployVersion(version):
            return {"version": version.name, "digest": version.digest}
        case RetireVersion(name):
            return {"version": name}
        case SetTraffic(split):
            return {"split": describe_split(split)}
        case SetAlias(alias, name):
            return {"alias": alias, "version": name or "none"}
        case WatchVersion(name, since):
            return {"version": name, "since": since.isoformat()}
        case StartBatch(order) | StopBatch(order):
            return {
                "start": order.stretch.start.isoformat(),
                "end": order.stretch.end.isoformat(),
                "version": order.version.name,
                "attempt": order.attempt,
            }
        case DeleteRecords():
            return {}
        case _:
            assert_never(action)


def _quoted(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
