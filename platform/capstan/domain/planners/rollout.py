"""What a rollout should do next.

A decision is stored before anything is done about it; then each pass compares what is stored with what is seen and asks
for the difference. So a crash between any two actions, or the same pass twice, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from capstan.domain.actions import (
    Action,
    Command,
    Decision,
    DeployVersion,
    Plan,
    SetTraffic,
    Verb,
    Waiting,
)
from capstan.domain.planners.looks import Look, look_at
from capstan.domain.reasons import Reason
from capstan.domain.rollout import (
    OnLimit,
    RolloutCause,
    RolloutPhase,
    RolloutPolicy,
    RolloutRequest,
    RolloutState,
    StepSpan,
    arms_of,
    contender,
    copy_of,
    outlook,
    wanted_split,
)
from capstan.domain.steps.questions import SPLIT, StepEvidence
from capstan.domain.steps.step import STAND_IN, Step, blocks_span
from capstan.domain.system import Surroundings
from capstan.domain.traffic import TrafficSplit, Untaken, champion_only
from capstan.domain.trouble import Away
from capstan.domain.verdicts.analysis import AnalysisResult, Verdict
from capstan.domain.verdicts.quality import LOOKS_WORSE, NOT_DECIDED
from capstan.domain.versions import ModelVersion, Readiness, VersionName

CRASHES_BORNE = 3
"""A challenger that is lost more often than this after it had been ready is rolled back."""


_FRESH_STEP: dict[str, Any] = {
    "step_since": None,
    "step_since_wall": None,
    "routing_since": None,
    "failures": 0,
    "inconclusive": 0,
    "withheld_at": {},
    "errors": 0,
    "looked_at": None,
    "latest": {},
    "latches": {},
    "held": "",
    "waiting": "",
    "message": "",
    "moves": (),
    "vacant": (),
}
"""Fields of the state as they are at the beginning of a step."""


@dataclass(frozen=True)
class RolloutObservation:
    """All that `plan_rollout` looks at besides the rollout itself."""

    surroundings: Surroundings
    watched_since: datetime
    """Wall time since when somebody could look: a challenger gets its whole deadline after an absence of the loop, and
    after one of whoever tells what is ready.
    """
    measured: StepEvidence | None = None
    """None: no look is due."""
    paused: bool = False
    deleting: bool = False
    commands: tuple[Command, ...] = ()
    """Those meant for this rollout."""
    refused: str = ""
    """Why the challenger can't run: its bytes or a step's traffic were refused; empty: they were not."""
    refused_arms: Mapping[VersionName, str] = field(default_factory=dict)
    """Versions whose bytes were refused, with the reason."""
    forecasts: tuple[str, ...] = ()
    """How long steps take with units as they were, in words; asked when the rollout begins."""
    untaken: Untaken | None = None
    """None: the gateway took the split that it was asked for last."""


def plan_rollout(
    request: RolloutRequest,
    state: RolloutState,
    seen: RolloutObservation,
    policy: RolloutPolicy,
    *,
    now: datetime,
    wall: datetime,
) -> Plan[RolloutState]:
    """The next stored state of the rollout, the actions that bring reality nearer to it, and why."""
    if state.phase.is_final:
        return Plan(state)
    return _Planning(request, state, seen, policy.of(request), now, wall).plan()


@dataclass
class _Planning:
    request: RolloutRequest
    state: RolloutState
    seen: RolloutObservation
    policy: RolloutPolicy
    now: datetime
    wall: datetime
    decisions: list[Decision] = field(default_factory=list)
    waiting: Waiting = Waiting.NOTHING
    message: str = ""
    until: datetime | None = None

    def plan(self) -> Plan[RolloutState]:
        self._begin()
        self._follow_commands()
        if self.seen.deleting and self._can_still_go_back():
            self._roll_back(Reason.SYSTEM_DELETED, "the system is being deleted")
        elif self._is_outdated():
            self._restart()
        match self.state.phase:
            case RolloutPhase.DEPLOYING:
                self._deploy()
            case RolloutPhase.PROGRESSING:
                self._progress()
            case RolloutPhase.PROMOTING:
                self._promote()
            case RolloutPhase.ROLLING_BACK:
                self._finish_rollback()
            case RolloutPhase.PROMOTED | RolloutPhase.ROLLED_BACK:
                pass
        requeue = max(self.until - self.now, timedelta(0)) if self.until else None
        return Plan(
            self.state,
            tuple(self._actions()),
            tuple(self.decisions),
            self.waiting,
            self.message,
            requeue,
        )

    # -- beginning, commands and changes of the file

    def _begin(self) -> None:
        if self.state.started_at is not None:
            return
        against = f" against {self.request.champion.name}" if self.request.champion else ""
        self.state = replace(
            self.state,
            started_at=self.now,
            deploying_since=self.wall,
            policy_digest=self.policy.digest,
        )
        told = ""
        if self.request.cause is RolloutCause.CHALLENGER:
            told = "; ".join(filter(None, [outlook(self.policy, self.now), *self.seen.forecasts]))
            self.state = replace(self.state, forecasts=self.seen.forecasts)
        message = f"{self.challenger}{against}" + (f": {told}" if told else "")
        self._tell(Reason.ROLLOUT_STARTED, message, "started")
        self._leave_unknown_arms()

    def _follow_commands(self) -> None:
        for command in self.seen.commands:
            if command.id in self.state.handled:
                continue
            self.state = replace(self.state, handled=(*self.state.handled, command.id))
            match command.verb:
                case Verb.ABORT if self._can_still_go_back():
                    self._roll_back(Reason.ABORTED, command.told("asked for it"), by=command.by)
                case Verb.PROMOTE if self.is_ready and self._can_still_go_back():
                    self._end_step()
                    why = command.told("asked for it, past the remaining steps")
                    self._start_promotion(why, by=command.by)
                case Verb.APPROVE | Verb.RESUME if self.state.phase is RolloutPhase.PROGRESSING:
                    steps = (*self.state.approved_steps, self.state.step)
                    self.state = replace(self.state, approved_steps=steps)
                    message = command.told(f"approved {self._step_name}")
                    self._tell(Reason.STEP_APPROVED, message, f"approved/{command.id}", by=command.by)
                case _:
                    message = f"{command.verb} is not possible while the rollout is {self.state.phase}"
                    key = f"ignored/{command.id}"
                    self._tell(Reason.COMMAND_IGNORED, command.signed(message), key, by=command.by)

    def _can_still_go_back(self) -> bool:
        return self.state.phase in (RolloutPhase.DEPLOYING, RolloutPhase.PROGRESSING)

    def _is_outdated(self) -> bool:
        return (
            self._can_still_go_back()
            and self.request.cause is RolloutCause.CHALLENGER
            and self.state.policy_digest != self.policy.digest
        )

    def _restart(self) -> None:
        message = (
            f"the file was edited during step {self.state.step + 1}; {self.challenger} starts again at step 1"
        )
        restarts = self.state.restarts + 1
        self.state = RolloutState(
            started_at=self.state.started_at,
            deploying_since=self.wall,
            policy_digest=self.policy.digest,
            restarts=restarts,
            handled=self.state.handled,
            crashes=self.state.crashes,
            corrections=self.state.corrections,
            forecasts=self.state.forecasts,
        )
        self._tell(Reason.ROLLOUT_RESTARTED, message, f"restarted/{restarts}")
        self._leave_unknown_arms()

    # -- phases

    def _deploy(self) -> None:
        if self.seen.refused:
            self._roll_back(Reason.CHALLENGER_REFUSED, self.seen.refused)
            return
        if self.is_ready:
            self.state = replace(self.state, deploying_since=None)
            self._tell(Reason.CHALLENGER_READY, f"{self.challenger} is ready", self._key("ready"))
            if self.request.cause is not RolloutCause.CHALLENGER or not self.policy.steps:
                self._start_promotion("it is ready and there are no steps to go")
            else:
                self.state = replace(self.state, phase=RolloutPhase.PROGRESSING)
            return
        self._wait_for_readiness()

    def _wait_for_readiness(self) -> None:
        if isinstance(self.seen.surroundings.readiness, Away):
            self._wait(Waiting.DEPLOYMENT, str(self.seen.surroundings.readiness))
            return
        readiness = self.seen.surroundings.readiness.get(self.challenger, Readiness.ABSENT)
        if self._is_overdue():
            message = (
                f"{self.challenger} was not ready within {self.policy.progress_deadline}; it is {readiness}"
            )
            self._roll_back(Reason.PROGRESS_DEADLINE_EXCEEDED, message)
            return
        self._wait(Waiting.DEPLOYMENT, f"{self.challenger} is {readiness}")

    def _progress(self) -> None:
        if isinstance(self.seen.surroundings.readiness, Away) or isinstance(
            self.seen.surroundings.split, Away
        ):
            away = next(
                part
                for part in (self.seen.surroundings.readiness, self.seen.surroundings.split)
                if isinstance(part, Away)
            )
            self._wait(Waiting.EVIDENCE, str(away))
            return
        if not self.is_ready:
            self._lose_challenger()
            return
        if self._is_copy_awaited() or self._are_arms_awaited():
            return
        if self.seen.surroundings.split != self.wanted:
            self._notice_changed_split(self.seen.surroundings.split)
            if not self._lacks_rewards_alone:
                self._await_split()
                return
        self.state = replace(self.state, routing_since=None)
        if self.state.step_since is None:
            self.state = replace(
                self.state, step_since=self.now, step_since_wall=self.wall, looked_at=None, latest={}
            )
            self._tell(Reason.STEP_STARTED, f"{self._step_name} of {self.challenger}", self._key("step"))
        self._judge()

    def _await_split(self) -> None:
        """A router has to be brought up first, for which there is as much time as for a version."""
        wanted, untaken = self.wanted, self.seen.untaken
        if untaken is not None and untaken.split != wanted:
            untaken = None
        why = f": {untaken.why}" if untaken is not None else ""
        if wanted is not None and wanted.routed:
            since = self.state.routing_since or self.wall
            self.state = replace(self.state, routing_since=since)
            if self.wall - max(since, self.seen.watched_since) >= self.policy.progress_deadline:
                self._give_graph_up(wanted, untaken, why)
                if self.state.phase is not RolloutPhase.PROGRESSING:
                    return
        self._wait(Waiting.EVIDENCE, f"the gateway does not yet obey the step's split{why}")

    def _give_graph_up(self, wanted: TrafficSplit, untaken: Untaken | None, why: str) -> None:
        """Further arms that alone are in its way leave, and it is made without them; else it ends the rollout."""
        allowed = self.policy.progress_deadline
        unready = untaken.unready if untaken is not None else frozenset[VersionName]()
        if unready and unready <= {arm.name for arm in self.arms}:
            for arm in sorted(unready):
                self._leave(arm, f"it was not ready in the router's graph within {allowed}{why}")
            return
        arms = ", ".join(one.version for one in wanted.routed)
        message = f"the router between {arms} did not get the requests within {allowed}{why}"
        self._roll_back(Reason.PROGRESS_DEADLINE_EXCEEDED, message)

    @property
    def _lacks_rewards_alone(self) -> bool:
        """Whether the step's arms answer, and only a router has not heard the newest rewards: guardrails go on."""
        found, wanted = self.seen.surroundings.split, self.wanted
        return (
            self.state.step_since is not None
            and isinstance(found, TrafficSplit)
            and wanted is not None
            and bool(wanted.routed)
            and found.untold == wanted.untold
        )

    # -- further arms

    def _leave_unknown_arms(self) -> None:
        if self.request.cause is not RolloutCause.CHALLENGER:
            return
        known = {version.name for version in self.request.others}
        champion = self.request.champion.name if self.request.champion else ""
        for name in dict.fromkeys(name for step in self.policy.steps for name in step.others):
            if name == champion:
                self._leave(name, "it is the champion itself")
            elif name == self.challenger:
                self._leave(name, "it is the challenger itself")
            elif name in self.request.kept_out:
                self._leave(name, f"the run's gates keep it out: {self.request.kept_out[name]}")
            elif name not in known:
                self._leave(name, self._why_unknown(name))

    def _why_unknown(self, arm: VersionName) -> str:
        if not arm.startswith(STAND_IN):
            return "the registry did not know it when the rollout began"
        if self.request.trigger is None:
            return "a person asked for the challenger alone, without the runners-up of its run"
        # Stand-ins are numbered on from those that were made.
        number = int(arm.removeprefix(STAND_IN)) - len(self.request.runners_up)
        without = list(self.request.left_out.items())
        if number <= len(without):
            candidate, why = without[number - 1]
            return f"the run of the challenger made no version of {candidate}: {why}"
        return "the run of the challenger made no more of them"

    def _are_arms_awaited(self) -> bool:
        """Whether a further arm is still being brought up; one that can't be, or was lost, leaves."""
        here, refused = self.seen.surroundings, self.seen.refused_arms
        for arm in self.arms:
            if arm.name in refused:
                self._leave(arm.name, refused[arm.name])
            elif self.state.step_since is not None and not here.is_ready(arm.name):
                self._leave(arm.name, f"it was ready and is {self._readiness(arm.name)}")
        missing = [arm.name for arm in self.arms if not here.is_ready(arm.name)]
        if not missing:
            self.state = replace(self.state, deploying_since=None)
            return False
        if self._is_overdue():
            for name in missing:
                why = (
                    f"it was not ready within {self.policy.progress_deadline}; it is {self._readiness(name)}"
                )
                self._leave(name, why)
            self.state = replace(self.state, deploying_since=None)
            return False
        waits = ", ".join(f"{name} is {self._readiness(name)}" for name in missing)
        self._wait(Waiting.DEPLOYMENT, waits)
        return True

    def _is_copy_awaited(self) -> bool:
        """Whether the fresh copy of the champion is not there: the step can't end without what it compares with."""
        copy = copy_of(self.request, self.state, self.policy.steps)
        if copy is None:
            return False
        if self.seen.surroundings.is_ready(copy.name):
            self.state = replace(self.state, deploying_since=None)
            return False
        is_overdue = self._is_overdue()
        found = self.seen.refused_arms.get(copy.name) or f"{copy.name} is {self._readiness(copy.name)}"
        if self.state.step_since_wall is not None:
            self.state = replace(self.state, step_since_wall=None)
            message = f"{found}; errors and latencies of {self._step_name} are counted anew once it is ready"
            self._tell(Reason.BASELINE_MISSING, message, self._key(f"baseline/{self.wall.isoformat()}"))
        step = self.policy.steps[self.state.step]
        if (
            step.deadline is not None
            and self.state.step_since is not None
            and self.now >= self.state.step_since + step.deadline
        ):
            self._miss_deadline(found)
        elif is_overdue:
            message = (
                f"holding {self._step_name}, which compares with a fresh copy of the champion: {found} after "
                f"{self.policy.progress_deadline}"
            )
            self._stay(Reason.BASELINE_MISSING, message, Waiting.DEPLOYMENT)
        else:
            self._wait(Waiting.DEPLOYMENT, found)
        return True

    def _leave(self, arm: VersionName, why: str) -> None:
        """The arm takes no part any more. Its units stay its own, so that the evidence of the others goes on."""
        message = f"{arm} takes no part: {why}"
        began = self.state.step_since is not None
        if began:
            champion = self.request.champion.name if self.request.champion else "nobody"
            is_routed = self.wanted is not None and bool(self.wanted.routed)
            message += (
                f"; {champion} answers all users until the router's graph is made without it"
                if is_routed
                else f"; {champion} answers its users"
            )
        # A graph without it is another one, which has its whole time.
        self.state = replace(self.state, left={**self.state.left, arm: why}, routing_since=None)
        self._tell(Reason.ARM_LEFT, message, f"left/{self.state.restarts}/{arm}")
        if began and self.request.champion is not None:
            step, before = self.policy.steps[self.state.step], self.wanted
            without = step.without(arm, self.request.champion.name, self.challenger, self.state, self.now)
            self.state = replace(
                without,
                vacant=(*without.vacant, arm),
                latches={name: latch for name, latch in without.latches.items() if latch.arm != arm},
            )
            self._expect_change(before)

    def _expect_change(self, before: TrafficSplit | None) -> None:
        """The gateway follows in the next pass; that it obeys the former split until then is no fault."""
        wanted = self.wanted
        if wanted is None or before is None or wanted.untold != before.untold:
            self.state = replace(self.state, step_since_wall=None)

    def _is_overdue(self) -> bool:
        """Whether what is being brought up has taken longer than it may; the first call begins to count."""
        if self.state.deploying_since is None:
            self.state = replace(self.state, deploying_since=self.wall)
        since = max(self.state.deploying_since or self.wall, self.seen.watched_since)
        return self.wall - since >= self.policy.progress_deadline

    def _readiness(self, name: VersionName) -> Readiness:
        readiness = self.seen.surroundings.readiness
        return Readiness.ABSENT if isinstance(readiness, Away) else readiness.get(name, Readiness.ABSENT)

    def _lose_challenger(self) -> None:
        crashes = self.state.crashes + 1
        keeps_evidence = self.policy.steps[self.state.step].keeps_evidence
        message = (
            f"{self.challenger} was ready and is not any more; time {crashes}, {CRASHES_BORNE} are borne"
        )
        self.state = replace(
            self.state,
            phase=RolloutPhase.DEPLOYING,
            deploying_since=self.wall,
            crashes=crashes,
            step_since=self.state.step_since if keeps_evidence else None,
            step_since_wall=None,
            routing_since=None,
            moves=self.state.moves if keeps_evidence else (),
            vacant=self.state.vacant if keeps_evidence else (),
        )
        self._tell(Reason.CHALLENGER_LOST, message, f"lost/{crashes}")
        if crashes > CRASHES_BORNE:
            self._roll_back(Reason.CHALLENGER_CRASHING, message)

    def _notice_changed_split(self, found: TrafficSplit | None) -> None:
        if self.state.step_since is None or self.state.step_since_wall is None:
            return
        if found is not None and self.wanted is not None and found.untold == self.wanted.untold:
            # A router that has yet to hear of rewards, or forgot them with its pod, changed no traffic.
            return
        corrections = self.state.corrections + 1
        self.state = replace(self.state, corrections=corrections, step_since_wall=None)
        message = f"found {describe_split(found)}, put back {describe_split(self.wanted)}"
        self._tell(Reason.TRAFFIC_RESTORED, message, f"traffic/{corrections}")

    def _judge(self) -> None:
        step = self.policy.steps[self.state.step]
        since = self.state.step_since or self.now
        if self.state.step_since_wall is None:
            self.state = replace(self.state, step_since_wall=self.wall)
        ends = since + (step.duration or timedelta(0))
        deadline = since + step.deadline if step.deadline is not None else None
        self.until = min((t for t in (ends, deadline) if t is not None and t > self.now), default=None)
        if self.seen.measured is None:
            waiting = Waiting(self.state.waiting) if self.state.waiting else Waiting.EVIDENCE
            self._wait(waiting, self.state.message or f"the first look at {self._step_name}")
            return
        self._judge_now(step, since, ends, deadline)
        if self.state.phase is RolloutPhase.PROGRESSING:
            self.state = replace(self.state, waiting=self.waiting.value, message=self.message)

    def _judge_now(self, step: Step, since: datetime, ends: datetime, deadline: datetime | None) -> None:
        if self.seen.measured is None:
            return
        look = look_at(self.request, self.state, self.policy, self.seen.measured, self.now)
        self._count(look)
        if self._is_over_limit(look):
            return
        # The rollout is the challenger's: where it alone is shown worse, the step goes on to its end or its deadline.
        leaving = {arm: why for arm, why in look.leaving.items() if arm != self.challenger}
        if leaving:
            for arm, why in leaving.items():
                self._leave(arm, why)
            self._wait(Waiting.EVIDENCE, "; ".join(f"{arm} left: {why}" for arm, why in leaving.items()))
            return
        self._move(step, self.seen.measured)
        if step.approval and self.state.step not in self.state.approved_steps:
            self._wait(Waiting.APPROVAL, step.approval)
            return
        if not look.is_successful:
            self._hold(look, since, ends, deadline)
        elif self.now < ends:
            self._wait(Waiting.TIME, f"{self._step_name} lasts until {ends:%Y-%m-%d %H:%M} UTC")
        elif self.seen.paused:
            self._wait(Waiting.APPROVAL, f"paused at {self._step_name}; `capstan resume` goes on")
        else:
            self._advance(look)

    def _move(self, step: Step, measured: StepEvidence) -> None:
        moved, before = step.moved(self.state, measured), self.wanted
        if moved != self.state:
            self.state = moved
            self._expect_change(before)

    def _count(self, look: Look) -> None:
        failed, errors = look.having(Verdict.FAILED), look.having(Verdict.ERROR)
        undecided = {
            name: result.closed_blocks
            for name, result in look.having(Verdict.INCONCLUSIVE).items()
            if name not in {SPLIT, *look.settled} and _is_limited(result)
        }
        # Looks come every few seconds; one that saw no further block says nothing that was not counted already.
        fresh = {
            name
            for name, blocks in undecided.items()
            if blocks is None or blocks != self.state.withheld_at.get(name)
        }
        self.state = replace(
            self.state,
            looked_at=self.now,
            failures=self.state.failures + bool(failed),
            errors=self.state.errors + 1 if errors else 0,
            inconclusive=self.state.inconclusive + bool(fresh),
            withheld_at={
                **self.state.withheld_at,
                **{name: blocks for name, blocks in undecided.items() if blocks is not None},
            },
            latest=look.latest(self.now),
            latches={**self.state.latches, **look.latches},
        )
        if failed and not look.is_shown_worse and self.state.failures <= self.policy.limits.failures:
            borne = f"{self.state.failures} of {self.policy.limits.failures} failed looks borne"
            message = f"{look.tell(Verdict.FAILED)} ({borne})"
            self._tell(Reason.ANALYSIS_FAILED_ONCE, message, self._key(f"failed/{self.state.failures}"))

    def _is_over_limit(self, look: Look) -> bool:
        limits = self.policy.limits
        if look.is_shown_worse or self.state.failures > limits.failures:
            self._roll_back(Reason.ANALYSIS_FAILED, look.tell(Verdict.FAILED))
        elif self.state.errors > limits.errors and limits.on_error is OnLimit.ABORT:
            message = f"no measurement in {self.state.errors} looks in a row: {look.tell(Verdict.ERROR)}"
            self._roll_back(Reason.MEASUREMENT_AWAY, message)
        elif look.settled and limits.on_inconclusive is OnLimit.ABORT:
            self._roll_back(_reason_of(look), look.tell(Verdict.INCONCLUSIVE))
        elif self.state.inconclusive > limits.inconclusive and limits.on_inconclusive is OnLimit.ABORT:
            message = f"inconclusive in {self.state.inconclusive} looks: {look.tell(Verdict.INCONCLUSIVE)}"
            self._roll_back(Reason.INCONCLUSIVE, message)
        else:
            return False
        return True

    def _hold(self, look: Look, since: datetime, ends: datetime, deadline: datetime | None) -> None:
        limits = self.policy.limits
        words = "; ".join(
            look.tell(v) for v in (Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.FAILED) if look.tell(v)
        )
        if deadline is not None and self.now >= deadline:
            self._miss_deadline(words)
        elif look.settled:
            message = f"{self._step_name} can have no verdict; `capstan promote` or `capstan abort` ends it: {words}"
            self._stay(_reason_of(look), message, Waiting.APPROVAL)
        elif SPLIT in look.having(Verdict.INCONCLUSIVE) and not look.results[SPLIT].premature:
            self._stay(Reason.TRAFFIC_SPLIT_NOT_OBEYED, look.results[SPLIT].message, Waiting.EVIDENCE)
        elif self.state.errors > limits.errors:
            message = (
                f"no measurement in {self.state.errors} looks in a row, holding {self._step_name}: {words}"
            )
            self._stay(Reason.MEASUREMENT_AWAY, message, Waiting.EVIDENCE)
        elif self.state.inconclusive > limits.inconclusive:
            message = f"inconclusive in {self.state.inconclusive} looks, holding {self._step_name}: {words}"
            self._stay(Reason.INCONCLUSIVE, message, Waiting.APPROVAL)
        elif self._takes_longer(since, ends) and look.having(Verdict.INCONCLUSIVE):
            self._stay(Reason.TOO_LITTLE_EVIDENCE, f"holding {self._step_name}: {words}", Waiting.EVIDENCE)
        else:
            self._wait(Waiting.EVIDENCE, words)

    def _takes_longer(self, since: datetime, ends: datetime) -> bool:
        """Whether the step lasts longer than the file says, or than the blocks take that its verdicts need."""
        blocks = self.policy.steps[self.state.step].needed_blocks(self.policy)
        # The first block may be the rest of a day, so that one more is no delay.
        closed = since + blocks_span(blocks + 1, self.policy.label_delay, self.policy.block).latest
        return since < ends <= self.now or (blocks > 0 and closed <= self.now)

    def _miss_deadline(self, found: str) -> None:
        message = f"{self._step_name} has no verdict at its deadline: {found}"
        if self.policy.limits.on_inconclusive is OnLimit.ABORT:
            self._roll_back(Reason.DEADLINE_EXCEEDED, message)
        else:
            self._stay(Reason.DEADLINE_EXCEEDED, message, Waiting.APPROVAL)

    def _advance(self, look: Look) -> None:
        if isinstance(self.seen.surroundings.aliases, Away):
            message = f"promotion waits: {self.seen.surroundings.aliases}"
            if self.state.step + 1 >= len(self.policy.steps):
                self._stay(Reason.REGISTRY_AWAY, message, Waiting.EVIDENCE)
                return
        words = look.tell(Verdict.SUCCESSFUL) or "nothing was asked"
        self._end_step()
        self._settle_arms(look)
        if self.state.step + 1 >= len(self.policy.steps):
            self._tell(Reason.STEP_PASSED, f"{self._step_name}: {words}", self._key("passed"))
            passed = "its only step" if len(self.policy.steps) == 1 else f"all {len(self.policy.steps)} steps"
            self._start_promotion(f"it passed {passed}; {words}")
            return
        self._tell(Reason.STEP_PASSED, f"{self._step_name}: {words}", self._key("passed"))
        self.state = replace(
            self.state,
            step=self.state.step + 1,
            **_FRESH_STEP,
        )

    def _end_step(self) -> None:
        """Keep what was measured, while the state still says between whom."""
        state = self.state
        if state.step_since is not None:
            span = StepSpan(state.step, state.step_since, self.now, state.moves, self.wanted, state.latest)
            self.state = replace(state, spans=(*state.spans, span))

    def _settle_arms(self, look: Look) -> None:
        """The winner goes on as the challenger; the others' part is over."""
        arms = [arm.name for arm in self.arms]
        winner = VersionName(look.winner or self.challenger)
        left = {arm: f"{winner} won" for arm in arms if arm != winner}
        if left or winner != self.challenger:
            self.state = replace(
                self.state,
                winner=winner if winner in arms else self.state.winner,
                left={**self.state.left, **left},
            )

    def _start_promotion(self, why: str, *, by: str = "") -> None:
        self.state = replace(self.state, phase=RolloutPhase.PROMOTING, why=why, held="")
        if self.request.cause is RolloutCause.CHALLENGER:
            self._tell(Reason.PROMOTING, f"{self.challenger} becomes champion: {why}", "promoting", by=by)

    def _promote(self) -> None:
        here = self.seen.surroundings
        moved = here.split == champion_only(self.challenger)
        if not moved:
            if not self.is_ready:
                self._wait_for_readiness()
            else:
                self._wait(Waiting.EVIDENCE, f"moving all traffic to {self.challenger}")
            return
        if isinstance(here.aliases, Away):
            self._wait(Waiting.EVIDENCE, f"the alias waits: {here.aliases}")
            return
        named = here.aliases.get("champion") == self.challenger and "challenger" not in here.aliases
        if not named:
            self._wait(Waiting.EVIDENCE, "moving the alias")
            return
        self.state = replace(self.state, phase=RolloutPhase.PROMOTED, finished_at=self.now)
        former = self.request.champion.name if self.request.champion else None
        match self.request.cause:
            case RolloutCause.FIRST:
                self._tell(Reason.FIRST_DEPLOYED, f"{self.challenger} is the first champion", "finished")
            case RolloutCause.CHALLENGER:
                self._tell(
                    Reason.PROMOTED, f"{self.challenger} replaces {former}: {self.state.why}", "finished"
                )
            case RolloutCause.UNDO:
                self._tell(
                    Reason.ROLLED_BACK,
                    f"{self.challenger} replaces {former}: a person asked for it",
                    "finished",
                )

    def _finish_rollback(self) -> None:
        here = self.seen.surroundings
        if self.request.champion is not None:
            if here.split != self.wanted:
                self._wait(Waiting.EVIDENCE, f"moving all traffic back to {self.request.champion.name}")
                return
            if isinstance(here.aliases, Away) or here.aliases.get("challenger") == self.challenger:
                self._wait(Waiting.EVIDENCE, "taking the alias back")
                return
        self.state = replace(self.state, phase=RolloutPhase.ROLLED_BACK, finished_at=self.now)
        kept = (
            f"{self.request.champion.name} keeps all traffic"
            if self.request.champion
            else "there is no champion"
        )
        self._tell(Reason.ROLLED_BACK, f"{self.challenger} is out, {kept}: {self.state.why}", "finished")

    # -- what follows from the state

    def _actions(self) -> list[Action]:
        actions: list[Action] = []
        here = self.seen.surroundings
        goes_on = self.state.phase not in (RolloutPhase.ROLLING_BACK, RolloutPhase.ROLLED_BACK)
        if goes_on and not isinstance(here.readiness, Away):
            copy = copy_of(self.request, self.state, self.policy.steps)
            wanted_here = (contender(self.request, self.state), *self.arms, *([copy] if copy else ()))
            actions += [
                DeployVersion(version)
                for version in wanted_here
                if here.readiness.get(version.name, Readiness.ABSENT) is Readiness.ABSENT
            ]
        wanted = self.wanted
        if wanted is None or isinstance(here.split, Away) or here.split == wanted:
            return actions
        # Where a router dies, versions beside it count as not ready, and the way out of it is still to be taken.
        leaves_router = here.split is not None and bool(here.split.routed) and not wanted.routed
        if leaves_router or all(here.is_ready(version) for version in wanted.versions):
            actions.append(SetTraffic(wanted))
        return actions

    @property
    def challenger(self) -> VersionName:
        return contender(self.request, self.state).name

    @property
    def arms(self) -> tuple[ModelVersion, ...]:
        return arms_of(self.request, self.state, self.policy.steps)

    @property
    def is_ready(self) -> bool:
        return self.seen.surroundings.is_ready(self.challenger)

    @property
    def wanted(self) -> TrafficSplit | None:
        return wanted_split(self.request, self.state, self.policy.steps)

    @property
    def _step_name(self) -> str:
        if self.state.step >= len(self.policy.steps):
            return f"step {self.state.step + 1}"
        return f"step {self.state.step + 1} ({self.policy.steps[self.state.step].describe()})"

    # -- telling

    def _roll_back(self, reason: Reason, message: str, *, by: str = "") -> None:
        self._end_step()
        self.state = replace(self.state, phase=RolloutPhase.ROLLING_BACK, why=message, held="")
        self._tell(reason, message, "rollback", by=by)

    def _stay(self, reason: Reason, message: str, waiting: Waiting) -> None:
        self._wait(waiting, message)
        if self.state.held != reason:
            self.state = replace(self.state, held=reason)
            self._tell(reason, message, self._key(f"held/{reason}"))

    def _wait(self, waiting: Waiting, message: str) -> None:
        self.waiting, self.message = waiting, message

    def _key(self, fact: str) -> str:
        return f"{fact}/{self.state.restarts}/{self.state.step}/{self.state.crashes}"

    def _tell(self, reason: Reason, message: str, key: str, *, by: str = "") -> None:
        """`by` is the person whose order it is; empty: nobody's."""
        request = self.request
        details: dict[str, object] = {
            "rollout": request.name,
            "challenger": self.challenger,
            "run": contender(request, self.state).run,
        }
        if request.champion is not None:
            details["champion"] = request.champion.name
        if request.trigger is not None and request.trigger.alerts:
            details["alerts"] = list(request.trigger.alerts)
        if self.policy.steps and self.state.phase is RolloutPhase.PROGRESSING:
            details["step"] = self.state.step
        if by:
            details["by"] = by
        self.decisions.append(Decision(reason, message, key, details))


def _is_limited(result: AnalysisResult) -> bool:
    """Whether an Inconclusive look counts towards `limits.inconclusive`.

    Sound evidence that needs more blocks, as most looks of an always-valid test find, has the deadline as its limit.
    What looks worse counts by closed blocks, so that a person hears of it and no step without a deadline waits in
    silence; looks at units come every few seconds, so there the deadline is its limit too.
    """
    if result.premature or result.reason == NOT_DECIDED:
        return False
    return result.reason != LOOKS_WORSE or result.closed_blocks is not None


def _reason_of(look: Look) -> Reason:
    """Why no later look gives a verdict."""
    frozen = any(result.reason != NOT_DECIDED for result in look.settled.values())
    return Reason.EXPERIMENT_FROZEN if frozen else Reason.INCONCLUSIVE


def describe_split(split: TrafficSplit | None) -> str:
    """`v1 75 %, v2 25 %`, mirrors in brackets."""
    if split is None:
        return "no split"
    arms = ", ".join(
        f"{arm.version} {arm.weight} %" + (f" answered by {split.champion}" if arm.is_vacant else "")
        for arm in split.arms
        if not (split.routed and arm.is_vacant)
    )
    if split.interleaved is not None:
        arms += f" (of these {split.interleaved.percent} % interleaved with {split.interleaved.challenger})"
    if split.routed:
        arms = f"a router between {arms}"
    mirrors = ", ".join(f"{mirror.version} {mirror.percent} %" for mirror in split.mirrors)
    return f"{arms} (copies: {mirrors})" if mirrors else arms
