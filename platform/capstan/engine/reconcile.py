"""The loop: observe -> plan -> store -> apply, the same on every substrate.

Decisions are stored before anything is done about them, and told from the stored outbox; actions follow from the stored
state alone. So a pass may be cut off anywhere and the next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from capstan.domain.actions import Action, Plan, Waiting, most_urgent
from capstan.domain.planners.rollout import RolloutObservation, plan_rollout
from capstan.domain.planners.system import named_arms, plan_system, sight_of
from capstan.domain.planners.training import TrainingObservation, plan_training
from capstan.domain.rollout import RolloutRequest, RolloutState, wanted_split
from capstan.domain.system import (
    Surroundings,
    SystemObservation,
    SystemPolicy,
    SystemState,
    TrainingState,
)
from capstan.domain.traffic import TrafficSplit
from capstan.domain.triggers import Webhooks
from capstan.domain.trouble import Away, Trouble
from capstan.domain.versions import SystemName
from capstan.engine.apply import Applier
from capstan.engine.observe import Observer
from capstan.engine.outcome import Outcome
from capstan.engine.policies import policy_of
from capstan.engine.records import (
    StoredState,
    rollout_request,
    rollout_state,
    system_state,
    training_request,
    training_state,
)
from capstan.engine.standstill import Standstill, standstill_of
from capstan.engine.summary import summarize, summarize_rollout, summarize_run
from capstan.errors import ConflictError, NotFoundError
from capstan.ports.batches import BatchRuns
from capstan.ports.clock import Clock
from capstan.ports.measurements import AlertSource, EvidenceSource, Monitoring, OperationMetrics
from capstan.ports.pipelines import Pipelines
from capstan.ports.registry import Registry
from capstan.ports.serving import Serving
from capstan.ports.store import Kind, Record, Store
from capstan.ports.traffic import TrafficProvider

S = TypeVar("S")

OUTAGE = timedelta(minutes=1)
"""From so long on it is an outage that nobody could say what is ready. One look that fails is none."""


class Engine:
    """Keeps one system what its file says; safe to kill, to start twice and to call at any time."""

    def __init__(
        self,
        store: Store,
        pipelines: Pipelines,
        registry: Registry,
        serving: Serving,
        traffic: TrafficProvider,
        evidence: EvidenceSource,
        operation: OperationMetrics,
        alerts: AlertSource,
        monitoring: Monitoring,
        clock: Clock,
        *,
        policy: Callable[[Record], SystemPolicy] = policy_of,
        troubles: Callable[[], Sequence[Trouble]] = tuple,
        batches: BatchRuns | None = None,
    ) -> None:
        """`troubles` tells which parts cannot start or go on by themselves, and may raise UnavailableError.

        Without `batches` none is made, whatever the file says.
        """
        self._store = store
        self._traffic = traffic
        self._clock = clock
        self._observer = Observer(
            pipelines, registry, serving, traffic, evidence, operation, alerts, monitoring, troubles, batches
        )
        self._applier = Applier(store, pipelines, registry, serving, traffic, monitoring, batches)
        self._policy = policy
        self._known_policy: tuple[int, SystemPolicy] | None = None
        self._watched_since: datetime | None = None
        self._blind_since: datetime | None = None
        """Since when nobody could say what is ready; None: somebody could at the last look."""
        self._taken: tuple[Action, ...] = ()

    def reconcile(self, system_name: str, *, obstacle: str = "") -> Outcome:
        """One pass; call again at once while `changed`. Raises NotFoundError, InvalidSpecError and DiskFullError.

        obstacle: what a training would lack, in words, so that none starts; empty: nothing.
        """
        record = self._store.get(Kind.SYSTEM, system_name)
        if record is None:
            raise NotFoundError(f"no system {system_name!r}; `capstan up FILE` creates it")
        try:
            return _Pass(self, record, obstacle).run()
        except ConflictError:
            return Outcome(True, Waiting.NOTHING, "somebody changed the record meanwhile")

    def note_sight(self, *, is_blind: bool, wall: datetime) -> None:
        """After an outage of whoever tells what is ready, what is waited for has its whole time again.

        A single look that fails changes nothing: else a challenger that is never ready would outlive every deadline
        where one look in a few hundred fails.
        """
        if is_blind and self._blind_since is None:
            self._blind_since = wall
        if self._blind_since is not None and wall - self._blind_since >= OUTAGE:
            self._watched_since = None if is_blind else wall
        if not is_blind:
            self._blind_since = None

    def begin_watch_anew(self) -> None:
        """What is waited for has its whole time again: what was decided last could not be stored, and perhaps rests on
        what was read before an outage.
        """
        self._watched_since = None

    def _policy_for(self, record: Record) -> SystemPolicy:
        if self._known_policy is None or self._known_policy[0] != record.generation:
            self._known_policy = (record.generation, self._policy(record))
        return self._known_policy[1]


class _Pass:
    def __init__(self, engine: Engine, record: Record, obstacle: str) -> None:
        self._engine = engine
        self._obstacle = obstacle
        self._store = engine._store
        self._observer, self._applier = engine._observer, engine._applier
        self._now, self._wall = engine._clock.now(), engine._clock.wall()
        if engine._watched_since is None:
            engine._watched_since = self._wall
        state = system_state(record)
        if not state.incarnation:
            # Set at the first write. Events of a deleted system of this name must not silence those of this one.
            state = state.born(self._now.isoformat(), heard=int(self._wall.timestamp() * 1e6))
        self._system = StoredState(self._store, record, state, state.incarnation)
        self._policy = engine._policy_for(record)
        self._changed = False
        self._actions: list[Action] = []
        self._plans: list[Plan[Any]] = []

    def run(self) -> Outcome:
        name = self._system.record.name
        self._system.tell()
        state = self._system.state
        run = self._kept(Kind.RUN, state.run.run, training_state) if state.run else None
        rollout = self._kept(Kind.ROLLOUT, state.rollout.name, rollout_state) if state.rollout else None
        in_progress = state.rollout is not None or state.deleting
        here = self._observer.surroundings(
            self._wall, fresh_aliases=in_progress or self._applier.aliases_moved
        )
        self._applier.aliases_moved = False
        self._engine.note_sight(is_blind=isinstance(here.readiness, Away), wall=self._wall)
        if run is not None:
            self._train(run, state)
        if rollout is not None:
            self._roll_out(rollout, state, here)
        self._keep_system(SystemName(name), run, rollout, here)
        self._applier.log.end_pass()
        repeated = tuple(self._actions) == self._engine._taken
        self._engine._taken = tuple(self._actions)
        standstill = standstill_of(self._system.state, rollout.state if rollout is not None else None)
        return self._outcome(standstill, changed=self._changed or (bool(self._actions) and not repeated))

    # -- records

    def _kept(self, kind: Kind, name: str, state_of: Callable[[Record], S]) -> StoredState[S] | None:
        record = self._store.get(kind, name)
        if record is None:
            return None
        kept = StoredState(self._store, record, state_of(record), self._system.state.incarnation)
        kept.tell()
        return kept

    # -- the three planners

    def _train(self, kept: StoredState[TrainingState], system: SystemState) -> None:
        if kept.state.is_final:
            return
        request = training_request(kept.record)
        status, registered = self._observer.run(request.run)
        cancel = system.cancel_run or system.deleting
        seen = TrainingObservation(status, registered, cancel=cancel, obstacle=self._obstacle)
        plan = plan_training(request, kept.state, seen, now=self._now)
        self._carry_out(kept, plan, summarize_run(kept.record, plan.status, self._now))

    def _roll_out(self, kept: StoredState[RolloutState], system: SystemState, here: Surroundings) -> None:
        request = rollout_request(kept.record)
        policy = self._policy.rollout.of(request)
        if kept.state.phase.is_final:
            return
        measured = self._observer.measure(request, kept.state, policy, self._now, self._wall)
        seen = RolloutObservation(
            surroundings=here,
            watched_since=self._engine._watched_since or self._wall,
            measured=measured,
            paused=system.will_be_paused or self._policy.suspend,
            deleting=system.deleting or self._system.record.deleted_at is not None,
            commands=tuple(command for command in system.commands if command.target == request.name),
            refused=self._refusal(request, kept.state),
            refused_arms=dict(self._applier.refused),
            forecasts=self._observer.forecasts(request, kept.state, policy, self._now),
            untaken=self._applier.untaken,
        )
        plan = plan_rollout(request, kept.state, seen, policy, now=self._now, wall=self._wall)
        summary = summarize_rollout(kept.record, request, plan.status, policy.steps, self._now)
        self._carry_out(kept, plan, summary)

    def _refusal(self, request: RolloutRequest, state: RolloutState) -> str:
        """Why the challenger's bytes or a step's traffic are refused, asked before any traffic moves."""
        if request.challenger.name in self._applier.refused:
            return self._applier.refused[request.challenger.name]
        if state.started_at is not None:
            return ""
        for index, split in self._splits(request):
            refusal = self._engine._traffic.refusal(split)
            if refusal is not None:
                return f"rollout.steps[{index}]: {refusal}"
        return ""

    def _splits(self, request: RolloutRequest) -> list[tuple[int, TrafficSplit]]:
        steps = self._policy.rollout.of(request).steps
        splits = (
            (index, wanted_split(request, RolloutState.at_step(index), steps)) for index in range(len(steps))
        )
        return [(index, split) for index, split in splits if split is not None]

    def _keep_system(
        self,
        name: SystemName,
        run: StoredState[TrainingState] | None,
        rollout: StoredState[RolloutState] | None,
        here: Surroundings,
    ) -> None:
        state = self._system.state
        alerts = self._observer.firing()
        if not isinstance(alerts, Away):
            # A killed replay resumes one tick before what its monitor has decided already.
            alerts = tuple(alert for alert in alerts if alert.as_of <= self._now)
        troubles = self._observer.in_trouble()
        labels = self._observer.new_labels(state.trained_to, self._now) if self._counts_labels else None
        webhooks = self._observer.webhooks() if self._heeds_webhooks else Webhooks()
        if not isinstance(troubles, Away) and not isinstance(webhooks, Away):
            closed = sorted(webhooks.closed.items())
            troubles += tuple(Trouble(f"webhook {sender}", "SecretMissing", why) for sender, why in closed)
        named = [command.version for command in state.commands if command.version is not None]
        if state.rollout is None and (named or (run is not None and run.state.is_final)):
            # A rollout may begin in this pass.
            named += named_arms(self._policy)
        seen = SystemObservation(
            name=name,
            surroundings=here,
            alerts=alerts,
            run=run.state if run else None,
            rollout=rollout.state if rollout else None,
            deletion_asked=self._system.record.deleted_at is not None,
            watched=self._applier.watched,
            versions=self._observer.versions(named),
            handled=rollout.state.handled if rollout else (),
            away=tuple(self._observer.away.values()),
            answered=frozenset(self._observer.answered),
            generation=self._system.record.generation,
            obstacle=self._obstacle,
            troubles=troubles,
            new_labels=labels,
            batch=self._observer.batch(state.batch.begun),
            webhooks=webhooks,
        )
        plan = plan_system(state, seen, self._policy, now=self._now)
        plans, policy = [*self._plans, plan], self._policy.rollout
        in_rollout = rollout.state if rollout is not None and plan.status.rollout is not None else None
        summary = summarize(
            self._system.record,
            plan.status,
            in_rollout,
            here,
            plans,
            self._now,
            steps=(policy.of(plan.status.rollout) if plan.status.rollout is not None else policy).steps,
            alerts=alerts,
            operation_alerts=self._observer.operation_alerts(),
            standing=self._observer.standing(),
            obstacle=self._obstacle,
            outlooks=self._outlooks(plan.status, seen),
            troubles=() if isinstance(troubles, Away) else troubles,
        )
        self._carry_out(self._system, plan, summary)

    def _outlooks(self, state: SystemState, seen: SystemObservation) -> list[str]:
        sight = sight_of(state, seen)
        if sight is None:
            return []
        told = (rule.outlook(sight, self._now) for rule in self._policy.retraining.triggers)
        return [outlook for outlook in told if outlook]

    @property
    def _heeds_webhooks(self) -> bool:
        return any(rule.senders for rule in self._policy.retraining.triggers)

    @property
    def _counts_labels(self) -> bool:
        return any(rule.counts_labels for rule in self._policy.retraining.triggers)

    def _carry_out(self, kept: StoredState[Any], plan: Plan[Any], summary: dict[str, Any]) -> None:
        self._changed |= kept.commit(plan, summary, self._now)
        self._plans.append(plan)
        self._actions += plan.actions
        self._applier.apply(SystemName(kept.record.system), plan.actions)

    def _outcome(self, standstill: Standstill, *, changed: bool) -> Outcome:
        urgent = most_urgent(*(plan.waiting for plan in self._plans))
        message = next((plan.message for plan in self._plans if plan.waiting is urgent), "")
        requeue = min((p.requeue_after for p in self._plans if p.requeue_after is not None), default=None)
        return Outcome(changed, urgent, message, requeue, standstill)
