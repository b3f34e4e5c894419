"""What a system should do next: follow its run and its rollout, heed alerts and people, and keep its champion served.

At most one run or rollout is in progress. What is wanted of the world follows from the stored records alone; each pass
asks for the difference between that and what is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from capstan.domain.actions import (
    Action,
    Command,
    CreateRollout,
    CreateRun,
    Decision,
    DeleteRecords,
    DeployVersion,
    Plan,
    RetireVersion,
    SetAlias,
    SetTraffic,
    StartBatch,
    StopBatch,
    Verb,
    Waiting,
    WatchVersion,
)
from capstan.domain.batch_calendar import BatchOrder, BatchStatus, plan_batch
from capstan.domain.planners.rollout import describe_split
from capstan.domain.planners.training import gates_passed
from capstan.domain.reasons import Reason
from capstan.domain.retraining import (
    Hold,
    describe_circuit,
    ended,
    find_due,
    find_hold,
    in_one_line,
    is_news,
    newest,
    started,
)
from capstan.domain.rollout import (
    RolloutCause,
    RolloutPhase,
    RolloutRequest,
    RolloutState,
    contender,
    rollout_name,
)
from capstan.domain.system import (
    SystemObservation,
    SystemPolicy,
    SystemState,
    needed_versions,
    wanted_aliases,
    without_metrics,
)
from capstan.domain.traffic import champion_only
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest, training_run_name
from capstan.domain.triggers import HeardCall, Trigger, TriggerKind, TriggerSight
from capstan.domain.trouble import Away
from capstan.domain.versions import ModelVersion, Readiness, VersionName

FIRST_START = timedelta(minutes=5)
"""How long after a system's birth a part that has never answered is not missed yet."""


def plan_system(
    state: SystemState, seen: SystemObservation, policy: SystemPolicy, *, now: datetime
) -> Plan[SystemState]:
    """The next stored state of the system, the actions that bring reality nearer to it, and why."""
    return _Planning(state, seen, policy, now).plan()


def named_arms(policy: SystemPolicy) -> tuple[VersionName, ...]:
    """Registered versions that steps of the file name as further arms."""
    return tuple(dict.fromkeys(name for step in policy.rollout.steps for name in step.others))


def sight_of(state: SystemState, seen: SystemObservation) -> TriggerSight | None:
    """What the file's triggers look at; None without a champion, whom nothing retrains."""
    if state.champion is None:
        return None
    alerts = () if isinstance(seen.alerts, Away) else tuple(seen.alerts)
    labels = None if isinstance(seen.new_labels, Away) else seen.new_labels
    return TriggerSight(state.champion.name, alerts, state.champion_since, labels, state.calls)


@dataclass
class _Planning:
    state: SystemState
    seen: SystemObservation
    policy: SystemPolicy
    now: datetime
    decisions: list[Decision] = field(default_factory=list)
    waiting: Waiting = Waiting.NOTHING
    message: str = ""
    until: datetime | None = None
    batch: StartBatch | StopBatch | None = None

    def plan(self) -> Plan[SystemState]:
        self._tell_outages()
        self._tell_troubles()
        if self.seen.deletion_asked and not self.state.deleting:
            self.state = replace(
                self.state, deleting=True, commands=(), cancel_run=self.state.run is not None
            )
            self._tell(
                Reason.DELETING, "the champion keeps all traffic until everything else is gone", "deleting"
            )
        run, rollout = self.seen.run, self.seen.rollout
        if self.state.run is not None and run is not None and run.is_final:
            if self._arms_are_unknown():
                self.waiting, self.message = Waiting.EVIDENCE, "the registry is asked for the rollout's arms"
            else:
                self._fold_run(self.state.run)
        elif self.state.rollout is not None and rollout is not None and rollout.phase.is_final:
            self._fold_rollout(self.state.rollout, rollout)
        self._follow_commands()
        self._heed_alerts()
        self._hear_calls()
        if self.is_busy:
            self._remember_triggers()
        if not self.is_busy and not self.state.deleting:
            self._consider_training()
        self._keep_batches()
        requeue = max(self.until - self.now, timedelta(0)) if self.until else None
        actions = tuple(self._actions())
        return Plan(self.state, actions, tuple(self.decisions), self.waiting, self.message, requeue)

    @property
    def is_busy(self) -> bool:
        return self.state.run is not None or self.state.rollout is not None

    @property
    def champion(self) -> ModelVersion | None:
        return self.state.champion

    # -- parts that do not answer

    def _tell_outages(self) -> None:
        met = self.state.met + tuple(sorted(self.seen.answered - set(self.state.met)))
        away = {part.part: part for part in self.seen.away if part.part in met or not self._starts}
        if met != self.state.met:
            self.state = replace(self.state, met=met)
        # A part that nobody asked in this look may still be away.
        back = self.state.away.keys() & self.seen.answered - away.keys()
        known = dict(self.state.away)
        for part in sorted(away.keys() - known.keys()):
            outages = self.state.outages + 1
            self.state = replace(self.state, outages=outages)
            known[part] = outages
            self._tell(Reason.PART_AWAY, str(away[part]), f"away/{outages}", part=part)
        for part in sorted(back):
            self._tell(Reason.PART_BACK, f"{part} answers again", f"back/{known.pop(part)}", part=part)
        self.state = replace(self.state, away=known)

    @property
    def _starts(self) -> bool:
        """The system is so young that a part which has never answered may simply not be up yet."""
        born = self.state.incarnation
        return bool(born) and self.now - datetime.fromisoformat(born) < FIRST_START

    def _tell_troubles(self) -> None:
        if isinstance(self.seen.troubles, Away):
            return
        known = dict(self.state.troubles)
        found = {trouble.part: trouble for trouble in self.seen.troubles}
        told = self.state.troubles_told
        for part, trouble in sorted(found.items()):
            if known.get(part) != trouble.reason:
                told += 1
                known[part] = trouble.reason
                self._tell(Reason.PART_NOT_STARTING, str(trouble), f"trouble/{told}", part=part)
        for part in sorted(known.keys() - found.keys()):
            told += 1
            self._tell(
                Reason.PART_STARTED, f"{part}: {known.pop(part)} is over", f"trouble/{told}", part=part
            )
        if told != self.state.troubles_told:
            self.state = replace(self.state, troubles=known, troubles_told=told)

    # -- what has ended

    def _fold_run(self, request: TrainingRequest) -> None:
        run = self.seen.run
        assert run is not None
        failed = run.phase is RunPhase.FAILED
        result = run.result
        version = result.version if result is not None and run.phase is RunPhase.SUCCEEDED else None
        promotable = version is not None and result is not None and gates_passed(result)
        cancelled = run.phase is RunPhase.CANCELLED
        retraining = ended(
            self.state.retraining,
            self.policy.retraining,
            run.finished_at or self.now,
            failed=failed,
            promotable=promotable or cancelled,
            why=(result.message if result is not None else "") or f"{request.run} ended without a model",
        )
        if failed:
            retraining = replace(retraining, pending=newest(retraining.pending, request.trigger))
        self.state = replace(self.state, run=None, cancel_run=False, retraining=retraining)
        if failed and retraining.circuit_open:
            self._tell(
                Reason.CIRCUIT_OPENED,
                describe_circuit(retraining),
                f"circuit/{request.run}",
                run=request.run,
            )
        if version is None or result is None or self.state.deleting:
            return
        if not promotable:
            if self.champion is None:
                missed_by = replace(self.state.retraining, missed_by=self.seen.generation)
                self.state = replace(self.state, retraining=missed_by)
            missed = "; ".join(gate.message for gate in result.gates if gate.passed is not True)
            message = f"{version.name} stays out: {missed}"
            self._tell(
                Reason.NOT_PROMOTED, message, f"gates/{request.run}", run=request.run, version=version.name
            )
            return
        cause = RolloutCause.FIRST if self.champion is None else RolloutCause.CHALLENGER
        gates = "; ".join(gate.message for gate in result.gates)
        passed = f"passed its gates: {gates}" if gates else "was asked by no gate: evaluation.gates is empty"
        why = f"{request.run} {passed}"
        self._start_rollout(cause, version, why, request.trigger, result)

    def _fold_rollout(self, request: RolloutRequest, rollout: RolloutState) -> None:
        retraining = self.state.retraining
        at = rollout.finished_at or self.now
        promoted = contender(request, rollout)
        if rollout.phase is RolloutPhase.PROMOTED:
            former = tuple(
                version
                for version in ((self.champion,) if self.champion else ()) + self.state.previous
                if version.name != promoted.name
            )
            pending = retraining.pending
            if pending is not None and pending.alerts:
                # It speaks about the former champion.
                pending = None
            retraining = replace(
                retraining,
                pending=pending,
                unpromoted=0,
                missed_by=None,
                failures=0,
                failure="",
                circuit_open=False,
                held="",
            )
            if request.cause is RolloutCause.UNDO:
                # The older champion's alerts fire again soon; without a new cooldown they would undo the undo.
                retraining = replace(retraining, finished_at=at)
            if self.champion is not None:
                self._resolve(self.state.firing, f"is over: {self.champion.name} is no longer watched")
            self.state = replace(
                self.state,
                champion=promoted,
                champion_since=at,
                previous=former[: self.policy.rollout.revision_history_limit],
                firing={},
            )
        elif request.cause is RolloutCause.CHALLENGER:
            retraining = replace(retraining, unpromoted=retraining.unpromoted + 1, held="")
        elif request.cause is RolloutCause.FIRST:
            failures = retraining.failures + 1
            is_open = failures >= self.policy.retraining.backoff.circuit_after
            retraining = replace(
                retraining,
                failures=failures,
                failure=in_one_line(f"{request.challenger.name}: {rollout.why or rollout.message}"),
                circuit_open=is_open,
                failed_at=at,
                pending=request.trigger,
            )
        self.state = replace(self.state, rollout=None, retraining=retraining, split_settled=False)

    def _start_rollout(
        self,
        cause: RolloutCause,
        version: ModelVersion,
        why: str,
        trigger: Trigger | None,
        run: RunStatus | None = None,
        *,
        by: str = "",
    ) -> None:
        number = self.state.rollouts + 1
        champion = self.champion.name if self.champion else None
        request = RolloutRequest(
            name=rollout_name(self.seen.name, champion, version.name, number),
            system=self.seen.name,
            cause=cause,
            challenger=version,
            champion=self.champion,
            trigger=trigger,
        )
        if cause is RolloutCause.CHALLENGER:
            request = self._with_arms(request, run)
        self.state = replace(self.state, rollout=request, rollouts=number)
        self._tell(
            Reason.ROLLOUT_REQUESTED,
            why,
            f"rollout/{request.name}",
            rollout=request.name,
            run=version.run,
            version=version.name,
            by=by,
        )

    def _arms_are_unknown(self) -> bool:
        """Whether only the registry, which is away, can tell about an arm that a step names."""
        if not isinstance(self.seen.surroundings.aliases, Away) or self.champion is None:
            return False
        return any(name not in self.seen.versions for name in named_arms(self.policy))

    def _with_arms(self, request: RolloutRequest, run: RunStatus | None) -> RolloutRequest:
        runners_up = run.runners_up if run else ()
        taken = {request.challenger.name, request.champion.name if request.champion else ""}
        known = {one.version.name: one.version for one in runners_up if not one.missed}
        known |= {name: found for name in named_arms(self.policy) if (found := self.seen.versions.get(name))}
        return replace(
            request,
            others=tuple(without_metrics(found) for name, found in known.items() if name not in taken),
            runners_up=tuple(one.version.name for one in runners_up),
            kept_out={one.version.name: one.missed for one in runners_up if one.missed},
            left_out=run.left_out if run else {},
        )

    # -- people

    def _follow_commands(self) -> None:
        kept: list[Command] = []
        for command in self.state.commands:
            if command.id in self.seen.handled:
                continue
            if self._must_wait(command):
                kept.append(command)
            elif not command.target:
                self._follow(command)
            elif self.state.rollout is not None and command.target == self.state.rollout.name:
                kept.append(command)
            elif self.state.run is not None and command.target == self.state.run.run:
                self.state = replace(self.state, cancel_run=True)
                message = command.told(f"stops {command.target}")
                self._tell(Reason.CANCEL_REQUESTED, message, f"command/{command.id}", by=command.by)
            else:
                self._ignore(command, f"{command.target} is over")
        self.state = replace(self.state, commands=tuple(kept))

    def _must_wait(self, command: Command) -> bool:
        """A version that only the registry can tell about, while the registry is away."""
        named = command.version
        return (
            named is not None
            and isinstance(self.seen.surroundings.aliases, Away)
            and (named not in self.seen.versions or self._arms_are_unknown())
        )

    def _follow(self, command: Command) -> None:
        retraining = self.state.retraining
        key = f"command/{command.id}"
        match command.verb:
            case Verb.PAUSE:
                self.state = replace(self.state, paused=True)
                message = "no training starts and no step ends until `capstan resume`"
                self._tell(Reason.PAUSED, command.signed(message), key, by=command.by)
            case Verb.RESUME:
                closed = replace(retraining, circuit_open=False, failures=0, failure="", held="")
                self.state = replace(self.state, paused=False, retraining=closed)
                message = "the loop goes on" + ("; circuit closed" if retraining.circuit_open else "")
                self._tell(Reason.RESUMED, command.signed(message), key, by=command.by)
            case Verb.APPROVE:
                approved = replace(
                    retraining, approved=True, circuit_open=False, failures=0, failure="", held=""
                )
                self.state = replace(self.state, retraining=approved)
                self._tell(Reason.APPROVED, command.told("approved the next training"), key, by=command.by)
            case Verb.RETRAIN:
                asked = (
                    command.told("asked for it") if command.by else command.note or "a person asked for it"
                )
                trigger = Trigger(TriggerKind.MANUAL, self.now, asked)
                pending = newest(retraining.pending, trigger)
                self.state = replace(
                    self.state, retraining=replace(retraining, pending=pending, approved=True, asked=True)
                )
                message = f"{trigger.reason}{self._delay(trigger)}"
                self._tell(Reason.RETRAINING_REQUESTED, message, key, by=command.by)
            case Verb.ROLLBACK | Verb.PROMOTE:
                self._change_version(command)
            case Verb.ABORT:
                self._ignore(command, "nothing is in progress")

    def _delay(self, trigger: Trigger) -> str:
        """What keeps a training that a person asks for from starting now, and what to type; empty if nothing does."""
        active = (
            self.state.run.run if self.state.run else self.state.rollout.name if self.state.rollout else ""
        )
        if active:
            return f"; it starts when {active} is over, which `capstan abort` ends"
        hold = self._find_hold(trigger)
        return f"; it does not start yet: {hold.message}" if hold is not None else ""

    def _change_version(self, command: Command) -> None:
        known = {version.name: version for version in self.state.previous}
        known |= self.seen.versions
        version = known.get(command.version) if command.version else None
        if version is None or self.is_busy or (self.champion and version.name == self.champion.name):
            why = (
                "another run or rollout is in progress"
                if self.is_busy
                else f"{command.version} can't be taken"
            )
            self._ignore(command, why)
            return
        undo = command.verb is Verb.ROLLBACK
        cause = RolloutCause.UNDO if undo else RolloutCause.CHALLENGER
        if self.champion is None:
            cause = RolloutCause.FIRST
        way = "at once" if undo else "through all steps" if self.champion else "as the first champion"
        why = command.told(f"asked for {version.name} {way}")
        self._start_rollout(cause, version, why, None, by=command.by)

    def _ignore(self, command: Command, why: str) -> None:
        message = command.signed(f"{command.verb}: {why}")
        self._tell(Reason.COMMAND_IGNORED, message, f"command/{command.id}", by=command.by)

    # -- retraining

    def _heed_alerts(self) -> None:
        alerts = self.seen.alerts
        if isinstance(alerts, Away) or self.champion is None:
            return
        concerning = {
            alert.fingerprint: alert
            for alert in sorted(alerts, key=lambda a: (a.as_of, a.name, a.fingerprint), reverse=True)
            if alert.version == self.champion.name
        }
        firing = {mark: at for mark, at in self.state.firing.items() if mark in concerning}
        for mark in sorted(concerning.keys() - firing.keys()):
            alert = concerning[mark]
            firing[mark] = alert.as_of
            key = f"alert/{mark}/{alert.as_of.isoformat()}"
            self._tell(alert.name, alert.summary, key, alert=mark)
        gone = {mark: at for mark, at in self.state.firing.items() if mark not in firing}
        self._resolve(gone, "fires no longer")
        self.state = replace(self.state, firing=firing)

    def _resolve(self, marks: Mapping[str, datetime], why: str) -> None:
        for mark in sorted(marks):
            self._tell(Reason.ALERT_RESOLVED, why, f"resolved/{mark}/{marks[mark].isoformat()}", alert=mark)

    def _hear_calls(self) -> None:
        """Of several calls of a sender the newest counts, and each is told."""
        if isinstance(self.seen.webhooks, Away):
            return
        heeded = frozenset().union(*(rule.senders for rule in self.policy.retraining.triggers))
        calls = {sender: call for sender, call in self.state.calls.items() if sender in heeded}
        heard = self.state.heard
        for call in self.seen.webhooks.calls:
            if call.number <= heard:
                continue
            heard = call.number
            if call.sender not in heeded:
                continue
            calls[call.sender] = HeardCall(call.id, call.reason, self.now)
            why = f": {call.reason}" if call.reason else ""
            message = f"{call.sender} asks for a training by webhook {call.id}{why}"
            key = f"webhook/{call.number}"
            self._tell(Reason.WEBHOOK_CALLED, message, key, webhook=call.id, by=call.sender)
        self.state = replace(self.state, calls=calls, heard=heard)

    def _remember_triggers(self) -> None:
        """What becomes due while a run or a rollout goes on waits until it is over."""
        begun, trigger = self._begun_trigger(), self._find_due()
        if trigger is not None and (begun is None or trigger.as_of > begun.as_of):
            retraining = self.state.retraining
            pending = newest(retraining.pending, trigger)
            if pending is not None and is_news(pending, retraining.pending):
                self.state = replace(self.state, retraining=replace(retraining, pending=pending))

    def _begun_trigger(self) -> Trigger | None:
        if self.state.run is not None:
            return self.state.run.trigger
        return self.state.rollout.trigger if self.state.rollout is not None else None

    def _consider_training(self) -> None:
        retraining = self.state.retraining
        if self.champion is None and retraining.missed_by not in (None, self.seen.generation):
            # Another file may give another first model.
            retraining = replace(retraining, missed_by=None, unpromoted=0, pending=None, held="")
            self.state = replace(self.state, retraining=retraining)
        trigger = newest(retraining.pending, self._fresh_trigger())
        if trigger is None:
            self.waiting = Waiting.NOTHING
            return
        if is_news(trigger, retraining.pending):
            retraining = replace(retraining, pending=trigger)
            self.state = replace(self.state, retraining=retraining)
        hold = self._find_hold(trigger)
        if hold is not None:
            self.until = hold.until
            self.waiting = Waiting.TIME if hold.until else Waiting.APPROVAL
            self.message = hold.message
            if retraining.held != hold.reason:
                self.state = replace(self.state, retraining=replace(retraining, held=hold.reason))
                key = f"hold/{retraining.attempt}/{hold.reason}"
                self._tell(
                    hold.reason,
                    f"{hold.message}; waiting: {trigger.reason}",
                    key,
                    alerts=list(trigger.alerts),
                    webhooks=list(trigger.webhooks),
                )
            return
        champion = self.champion.name if self.champion else None
        run = training_run_name(self.seen.name, champion, retraining.attempt)
        request = TrainingRequest(run, self.seen.name, trigger, champion, self.policy.seed)
        self.state = replace(
            self.state, run=request, retraining=started(retraining, self.policy.retraining, trigger, self.now)
        )
        message = f"{trigger.kind} as of {trigger.as_of:%Y-%m-%d %H:%M} UTC: {trigger.reason}"
        self._tell(
            Reason.TRAINING_REQUESTED,
            message,
            f"run/{run}",
            run=run,
            alerts=list(trigger.alerts),
            webhooks=list(trigger.webhooks),
            attempt=retraining.attempt,
        )

    def _fresh_trigger(self) -> Trigger | None:
        if self.champion is None:
            retraining, fresh = (
                self.state.retraining,
                Trigger(TriggerKind.INITIAL, self.now, "the first model"),
            )
            # After a model that missed its gates, an approved training reads what has become known since.
            is_anew = retraining.missed_by is not None and retraining.approved
            return fresh if is_anew else retraining.pending or fresh
        return self._find_due()

    def _find_due(self) -> Trigger | None:
        sight = sight_of(self.state, self.seen)
        if sight is None:
            return None
        return find_due(self.policy.retraining.triggers, sight, self.state.retraining, self.now)

    def _find_hold(self, trigger: Trigger) -> Hold | None:
        if self.state.paused or self.policy.suspend:
            return Hold(Reason.PAUSED, "paused; `capstan resume` goes on", None)
        if self.seen.obstacle:
            return Hold(Reason.OBJECT_REFUSED, f"no training starts: {self.seen.obstacle}", None)
        policy = self.policy.retraining
        if trigger.kind is TriggerKind.INITIAL:
            policy = replace(policy, needs_approval=False, budget=None, cooldown=timedelta(0))
        return find_hold(self.state.retraining, policy, trigger, self.now)

    # -- batches

    def _keep_batches(self) -> None:
        """Hand out the rows that are due, and tell what has become of them."""
        state, seen, calendar = self.state.batch, self.seen.batch, self.policy.batches
        if seen is None or isinstance(seen, Away):
            return
        if calendar is None or self.state.deleting:
            if state.begun is not None and seen.phase is RunPhase.RUNNING:
                self.batch = StopBatch(state.begun)
            return
        if self.champion is None or self.state.champion_since is None:
            return
        step = plan_batch(calendar, state, seen, self.champion, self.state.champion_since, now=self.now)
        self.state = replace(self.state, batch=step.state)
        self.batch = StartBatch(step.start) if step.start is not None else None
        if step.ended is not None and step.order is not None:
            self._tell_batch(step.order, step.ended)
        if step.look_at is not None:
            self.until = min(self.until or step.look_at, step.look_at)

    def _tell_batch(self, order: BatchOrder, ended: BatchStatus) -> None:
        stretch, told = order.stretch, self.state.batch.told
        key = f"batch/{stretch.start.isoformat()}/{stretch.end.isoformat()}"
        facts = {
            "version": order.version.name,
            "from": stretch.start.isoformat(),
            "to": stretch.end.isoformat(),
        }
        if ended.phase is not RunPhase.SUCCEEDED:
            self._tell(Reason.BATCH_FAILED, told, f"{key}/{order.attempt}", **facts)
            return
        rows = {"read": ended.read, "written": ended.written, "refused": ended.refused}
        self._tell(Reason.BATCH_WRITTEN, told, key, **facts, **rows, output=ended.output)

    # -- what follows from the state

    def _actions(self) -> list[Action]:
        if self.state.deleting and not self.is_busy:
            return self._clean_up()
        actions: list[Action] = []
        if self.state.run is not None and self.seen.run is None:
            actions.append(CreateRun(self.state.run))
        if self.state.rollout is not None and self.seen.rollout is None:
            actions.append(CreateRollout(self.state.rollout))
        actions += self._deployments()
        actions += self._champion_traffic()
        actions += self._aliases()
        if self.champion is not None and self.state.champion_since is not None and not self.state.deleting:
            watched = (self.champion.name, self.state.champion_since)
            if self.seen.watched != watched:
                actions.append(WatchVersion(*watched))
        if self.batch is not None:
            actions.append(self.batch)
        return actions

    def _rollout_seen(self) -> RolloutState | None:
        return self.seen.rollout if self.state.rollout is not None else None

    def _deployments(self) -> list[Action]:
        here = self.seen.surroundings
        if isinstance(here.readiness, Away):
            return []
        actions: list[Action] = [
            DeployVersion(version)
            for version in (self.champion, self.state.warm)
            if version is not None and here.readiness.get(version.name, Readiness.ABSENT) is Readiness.ABSENT
        ]
        if isinstance(here.split, Away):
            return actions
        used = here.split.versions if here.split is not None else frozenset[VersionName]()
        needed = needed_versions(self.state, self._rollout_seen(), self.policy.rollout)
        present = (name for name, readiness in here.readiness.items() if readiness is not Readiness.ABSENT)
        actions += [
            RetireVersion(name) for name in sorted(present) if name not in used and name not in needed
        ]
        return actions

    def _champion_traffic(self) -> list[Action]:
        here = self.seen.surroundings
        if self.champion is None or self.state.rollout is not None or isinstance(here.split, Away):
            return []
        wanted = champion_only(self.champion.name)
        if here.split == wanted:
            self.state = replace(self.state, split_settled=True)
            return []
        if self.state.split_settled and here.split is not None:
            corrections = self.state.split_corrections + 1
            self.state = replace(self.state, split_corrections=corrections, split_settled=False)
            message = f"found {describe_split(here.split)}, put back {describe_split(wanted)}"
            self._tell(Reason.TRAFFIC_RESTORED, message, f"traffic/{corrections}")
        if not here.is_ready(self.champion.name):
            self.waiting, self.message = Waiting.DEPLOYMENT, f"{self.champion.name} is not ready"
            return []
        return [SetTraffic(wanted)]

    def _aliases(self) -> list[Action]:
        here = self.seen.surroundings
        if isinstance(here.aliases, Away):
            return []
        wanted = wanted_aliases(self.state, self._rollout_seen(), here.split)
        # The champion first: between the two moves somebody may read both aliases on one version, never none.
        return [
            SetAlias(alias, version)
            for alias, version in wanted.items()
            if here.aliases.get(alias) != version
        ]

    def _clean_up(self) -> list[Action]:
        here = self.seen.surroundings
        if isinstance(here.readiness, Away) or isinstance(here.split, Away):
            self.waiting, self.message = (
                Waiting.DEPLOYMENT,
                "cleaning up waits until serving and gateway answer",
            )
            return []
        present = sorted(
            name for name, readiness in here.readiness.items() if readiness is not Readiness.ABSENT
        )
        champion = self.champion.name if self.champion else None
        if champion is not None and here.split != champion_only(champion) and here.is_ready(champion):
            return [SetTraffic(champion_only(champion))]
        others = [name for name in present if name != champion]
        if others:
            return [RetireVersion(name) for name in others]
        if present:
            return [RetireVersion(name) for name in present]
        aliases: list[Action] = []
        if self.policy.delete_aliases and not isinstance(here.aliases, Away):
            aliases = [SetAlias(alias, None) for alias in here.aliases]
        return [*aliases, DeleteRecords()]

    def _tell(self, reason: str, message: str, key: str, **details: object) -> None:
        told = {name: value for name, value in details.items() if value not in (None, [], "")}
        if self.champion is not None:
            told.setdefault("champion", self.champion.name)
        self.decisions.append(Decision(reason, message, key, told))
