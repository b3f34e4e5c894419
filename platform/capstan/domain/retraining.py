"""Whether a retraining may start now, and if not, why not and when.

Triggers may come in any number and order: one run exists per champion and attempt, and the newest trigger that came
meanwhile is kept. All times are on the system's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from capstan.domain.durations import in_words
from capstan.domain.reasons import Reason
from capstan.domain.triggers.alerts import trigger_of
from capstan.domain.triggers.all_of import AllTrigger
from capstan.domain.triggers.schedule import ScheduleTrigger
from capstan.domain.triggers.trigger import Trigger, TriggerKind, TriggerRule, TriggerSight

_LONGEST_FAILURE = 500
_MOST_MOMENTS = 1000
"""Of a schedule that are looked at, to say whether it comes too often."""


@dataclass(frozen=True)
class Budget:
    """At most so many runs in any period of this length."""

    runs: int
    per: timedelta


@dataclass(frozen=True)
class Backoff:
    """The wait after a failed run doubles up to a maximum; after `circuit_after` in a row it takes a person."""

    initial: timedelta = timedelta(hours=1)
    maximum: timedelta = timedelta(days=2)
    circuit_after: int = 5

    def delay(self, failures: int) -> timedelta:
        """The wait after so many failures in a row."""
        if failures <= 0:
            return timedelta(0)
        # Doubling an unbounded number of times would overflow a timedelta.
        return min(self.maximum, self.initial * float(2 ** min(failures - 1, 20)))


@dataclass(frozen=True)
class RetrainingPolicy:
    """What the file says about retraining."""

    triggers: tuple[TriggerRule, ...] = ()
    cooldown: timedelta = timedelta(0)
    budget: Budget | None = None
    needs_approval: bool = False
    loop_breaker: int = 3
    """So many trained and not promoted models in a row, and the next run needs a person's approval."""
    backoff: Backoff = Backoff()


@dataclass(frozen=True)
class RetrainingState:
    """What is remembered between runs."""

    attempt: int = 0
    """Of the run that runs now or comes next; rises when a run ends."""
    pending: Trigger | None = None
    starts: tuple[datetime, ...] = ()
    """Starts of retrainings that still count towards the budget."""
    begun: datetime | None = None
    """When the last run was asked for, the first model's too."""
    as_of: datetime | None = None
    """Up to when that run reads data."""
    finished_at: datetime | None = None
    """End of the last run that did not fail: the cooldown counts from here."""
    failed_at: datetime | None = None
    failures: int = 0
    """In a row."""
    failure: str = ""
    """Why the last training or first deployment failed, in one line; empty after one that did not."""
    circuit_open: bool = False
    unpromoted: int = 0
    """Trained and not promoted, in a row."""
    missed_by: int | None = None
    """Generation of the file whose first model missed its gates; None: none did."""
    approved: bool = False
    """A person has approved the next run."""
    asked: bool = False
    """A person has asked for the next run: neither backoff, cooldown nor budget holds it."""
    held: str = ""
    """Reason of the present hold, so that it is told once."""


def find_due(
    rules: Sequence[TriggerRule], seen: TriggerSight, state: RetrainingState, now: datetime
) -> Trigger | None:
    """The newest of what the rules find due; alerts that concern several rules make one trigger together."""
    due = [trigger for rule in rules if (trigger := rule.due(seen, state, now)) is not None]
    fired = {mark for trigger in due if trigger.kind is TriggerKind.ALERT for mark in trigger.alerts}
    joined = trigger_of([alert for alert in seen.alerts if alert.fingerprint in fired])
    return newest(joined, *(trigger for trigger in due if trigger.kind is not TriggerKind.ALERT))


def newest(*triggers: Trigger | None) -> Trigger | None:
    """The trigger that knows most; a person's wish goes before others of the same moment."""
    known = [trigger for trigger in triggers if trigger is not None]
    return max(
        known, key=lambda t: (t.as_of, t.kind is TriggerKind.MANUAL, t.kind, t.reason, t.alerts), default=None
    )


def is_news(trigger: Trigger, pending: Trigger | None) -> bool:
    """Whether the trigger is to be kept in place of the pending one.

    Labels come all the time: a trigger by them that is held is not written anew with each. The run that it starts
    reads up to the newest.
    """
    if pending is None or trigger.kind not in (TriggerKind.NEW_DATA, TriggerKind.COMBINED):
        return trigger != pending
    before, after = ((one.kind, one.alerts, one.webhooks) for one in (pending, trigger))
    return before != after


@dataclass(frozen=True)
class Hold:
    """Why a pending trigger does not start a run now."""

    reason: Reason
    message: str
    until: datetime | None
    """None: until a person acts."""


def find_hold(
    state: RetrainingState, policy: RetrainingPolicy, trigger: Trigger, now: datetime
) -> Hold | None:
    """The first rule that holds the run back, the ones that need a person first; None if it may start."""
    if state.circuit_open:
        return Hold(
            Reason.CIRCUIT_OPEN,
            describe_circuit(state),
            None,
        )
    if policy.needs_approval and not state.approved:
        return Hold(
            Reason.APPROVAL_REQUIRED, "retraining.approval is Required; `capstan approve` starts it", None
        )
    if trigger.kind is TriggerKind.INITIAL and state.missed_by is not None and not state.approved:
        return Hold(
            Reason.LOOP_BROKEN,
            "the first model missed its gates, and the same file, code and rows would give the same model. A "
            "changed file trains anew; after new rows or changed code `capstan retrain` does",
            None,
        )
    if state.unpromoted >= policy.loop_breaker and not state.approved:
        return Hold(
            Reason.LOOP_BROKEN,
            f"{state.unpromoted} retrained models in a row were not promoted "
            f"(retraining.loopBreaker {policy.loop_breaker}); `capstan approve` starts the next",
            None,
        )
    if state.asked:
        return None
    if state.failures and state.failed_at is not None:
        until = state.failed_at + policy.backoff.delay(state.failures)
        if now < until:
            return Hold(
                Reason.BACKING_OFF,
                _because(
                    state,
                    f"{state.failures} failed in a row; next try at {until:%Y-%m-%d %H:%M} UTC, or `capstan retrain`",
                ),
                until,
            )
    if trigger.kind is TriggerKind.MANUAL:
        # The repeat of a run that a person asked for and that failed.
        return None
    if state.finished_at is not None and now < state.finished_at + policy.cooldown:
        until = state.finished_at + policy.cooldown
        return Hold(
            Reason.COOLING_DOWN,
            f"cooldown of {_days(policy.cooldown)} lasts until {until:%Y-%m-%d %H:%M} UTC",
            until,
        )
    if policy.budget is not None:
        counted = sorted(start for start in state.starts if start > now - policy.budget.per)
        if len(counted) >= policy.budget.runs:
            until = counted[-policy.budget.runs] + policy.budget.per
            message = (
                f"{len(counted)} {'run' if len(counted) == 1 else 'runs'} in the last "
                f"{_days(policy.budget.per)} {'is' if len(counted) == 1 else 'are'} the budget of "
                f"{policy.budget.runs}; the next may start at {until:%Y-%m-%d %H:%M} UTC"
            )
            return Hold(Reason.BUDGET_SPENT, message, until)
    return None


def started(
    state: RetrainingState, policy: RetrainingPolicy, trigger: Trigger, now: datetime
) -> RetrainingState:
    """The state once the run for the trigger is asked for."""
    starts = state.starts
    if trigger.kind is not TriggerKind.INITIAL and policy.budget is not None:
        starts = (*(start for start in starts if start > now - policy.budget.per), now)
    return replace(
        state,
        pending=None,
        starts=starts,
        begun=now,
        as_of=trigger.as_of,
        approved=False,
        asked=False,
        held="",
    )


def ended(
    state: RetrainingState,
    policy: RetrainingPolicy,
    now: datetime,
    *,
    failed: bool,
    promotable: bool,
    why: str = "",
) -> RetrainingState:
    """The state once a run has ended; a run that failed or whose gates did not pass is not promotable.

    `why`: what a failed run died of.
    """
    failures = state.failures + 1 if failed else 0
    unpromoted = state.unpromoted if failed or promotable else state.unpromoted + 1
    return replace(
        state,
        attempt=state.attempt + 1,
        finished_at=state.finished_at if failed else now,
        failed_at=now if failed else state.failed_at,
        failures=failures,
        failure=in_one_line(why) if failed else "",
        circuit_open=failures >= policy.backoff.circuit_after,
        unpromoted=unpromoted,
        held="",
    )


def describe_circuit(state: RetrainingState) -> str:
    """Why nothing is trained any more, and what a person can do."""
    return _because(state, f"{state.failures} trainings failed in a row; `capstan resume` closes the circuit")


def in_one_line(text: str) -> str:
    """Of a long text its first lines, as far as a condition or an event has room."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_FAILURE else f"{line[: _LONGEST_FAILURE - 4]} ..."


def _because(state: RetrainingState, message: str) -> str:
    return f"{state.failure}; {message}" if state.failure else message


def _days(duration: timedelta) -> str:
    days, rest = divmod(duration, timedelta(days=1))
    if not rest:
        return f"{days} days" if days != 1 else "1 day"
    return in_words(duration) if duration < timedelta(days=1) else str(duration)


def in_vain(policy: RetrainingPolicy) -> list[str]:
    """A sentence for each `all` of which one reason stands beside it: that one alone starts all that it could."""
    found = []
    for rule in policy.triggers:
        beside = [one for one in rule.of if one in policy.triggers] if isinstance(rule, AllTrigger) else []
        if beside:
            alone = " and ".join(one.title for one in beside)
            found.append(
                f"{rule.title} starts nothing that {alone} does not start alone; drop {alone} beside it, or the `all`"
            )
    return found


def too_often(policy: RetrainingPolicy, now: datetime) -> list[str]:
    """A sentence for each schedule whose moments from `now` on come more often than cooldown and budget allow."""
    found = []
    budget = policy.budget
    for rule in policy.triggers:
        if not isinstance(rule, ScheduleTrigger):
            continue
        until = now + (policy.cooldown if budget is None else max(budget.per, policy.cooldown))
        moments = rule.moments(now, until, _MOST_MOMENTS)
        apart = min((later - earlier for earlier, later in pairwise(moments)), default=None)
        if apart is not None and apart < policy.cooldown:
            found.append(
                f"schedule {rule.cron} comes after {_days(apart)}, and a cooldown of {_days(policy.cooldown)} follows "
                "each training: others wait for its end; write a rarer schedule or a shorter cooldown"
            )
        elif budget is not None and len(moments) > budget.runs:
            many = (
                f"{len(moments)} times" if len(moments) < _MOST_MOMENTS else f"{_MOST_MOMENTS} times or more"
            )
            found.append(
                f"schedule {rule.cron} comes {many} in {_days(budget.per)}, and the budget lets {budget.runs} "
                "trainings start in that time: others wait; write a rarer schedule or a larger budget.runs"
            )
    return found
