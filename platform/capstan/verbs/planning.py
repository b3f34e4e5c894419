"""What a file would change, before anything is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from capstan.verbs.outlook import WatchPlanned, data_planned
from capstan.verbs.verdict_times import VerdictTime, experiment_times, verdict_times

if TYPE_CHECKING:
    from capstan.domain.rollout import RolloutState
    from capstan.domain.verdicts.feasibility import LossHistory
    from capstan.domain.verdicts.unit_history import UnitHistory
    from capstan.embedded.layout import StateDir
    from capstan.engine.changes import Change
    from capstan.ports.store import Record, Store
    from capstan.spec import MLSystem


@dataclass(frozen=True)
class Planned:
    """What `up` would do with a file, and what follows."""

    system: str
    is_new: bool
    running: int | str | None
    changes: list[Change]
    consequences: list[str]
    verdicts: list[VerdictTime]
    watched: WatchPlanned | None = None
    """None: the data is in a cluster."""
    split: tuple[str, ...] = ()
    """What `data.split` does to the rows that are there and should be known; empty where they cannot be read."""
    left_out: str | None = None
    """Rows that are there and are not read today, and why; None: there are none, or the data could not be read."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should be mended, or known, before `up`."""
        found = [self.left_out, *self.split, None if self.watched is None else self.watched.problem]
        found += [
            f"step {one.step + 1}, {one.analysis}: {one.problem}" for one in self.verdicts if one.problem
        ]
        return tuple(text for text in found if text)


@dataclass(frozen=True)
class Past:
    """What stored payloads say about how long verdicts take."""

    losses: Mapping[str, LossHistory]
    """By metric."""
    units: Mapping[int, UnitHistory]
    """By the index of each experiment."""


NO_PAST = Past({}, {})
TRAINED = "a first model is trained, packaged and served"
"""Where a first champion comes from that `capstan train` did not make before."""


def plan_on_machine(system: MLSystem, state: StateDir, *, now: datetime) -> Planned:
    """The plan of a file for a state directory; nothing is changed.

    Raises InvalidSpecError, also for what one machine cannot do. Data that cannot be read is told in the plan.
    """
    from capstan.embedded.history import stored_histories, stored_units
    from capstan.embedded.refusals import require_one_machine
    from capstan.embedded.wiring import open_store
    from capstan.engine.policies import system_policy
    from capstan.ports.store import Kind

    system_policy(system)
    require_one_machine(system)
    planned, first = None, None
    if state.store.exists():
        with open_store(state) as store:
            record = store.get(Kind.SYSTEM, system.metadata.name)
            if record is not None:
                planned = planned_against(
                    system,
                    store,
                    record,
                    Past(stored_histories(system, state, store), stored_units(system, state, store)),
                    runner=state.holder(),
                    follower=follower_in(state),
                )
            else:
                first = _trained_before(system, state, store)
    if planned is None:
        planned = planned_anew(
            system,
            "page 127.0.0.1:7411 and gateway 127.0.0.1:7480, unless --page-port and --gateway-port say otherwise",
            first=first or TRAINED,
        )
    watched, split, left_out = data_planned(system, state.secrets, now)
    return replace(planned, watched=watched, split=split, left_out=left_out)


def _trained_before(system: MLSystem, state: StateDir, store: Store) -> str | None:
    """What becomes of the model that `capstan train` made; None: it made none."""
    from capstan.embedded.first_model import trained_before

    found = trained_before(system, state, store)
    if found is None:
        return None
    if found.kept_out:
        return f"{TRAINED}, for {found} is not: {found.kept_out}"
    return f"{found} is served, and nothing is trained: {found.origin}{found.stale}"


def planned_anew(system: MLSystem, where: str, *, first: str = TRAINED) -> Planned:
    """The plan of a system that nobody knows yet.

    `where`: what is made for it, and `first`: where its first champion comes from, in words.
    """
    follows = [f"{first}; there is no champion to protect, so no step is taken", where]
    return Planned(system.metadata.name, True, None, [], follows, _times(system, NO_PAST))


def planned_against(
    system: MLSystem,
    store: Store,
    record: Record,
    past: Past,
    *,
    runner: int | str | None,
    follower: str | None,
) -> Planned:
    """The plan of a system that `record` holds.

    `runner`: who runs it; None: nobody. `follower`: who takes a changed file over while it runs; None: nobody does.
    """
    changes, follows = changes_of(system, store, record, follower=follower)
    return Planned(system.metadata.name, False, runner, changes, follows, _times(system, past))


def follower_in(state: StateDir) -> str | None:
    """Who takes a changed file over in a state directory; None: nothing runs, or a replay."""
    return "running supervisor" if state.holder() and state.live.exists() else None


def changes_of(
    system: MLSystem, store: Store, record: Record, *, follower: str | None
) -> tuple[list[Change], list[str]]:
    """Every field that differs in meaning from the stored file, and what that means for what runs, in words."""
    from capstan.engine.changes import compare, consequences
    from capstan.engine.policies import document_of
    from capstan.engine.records import rollout_state, system_state
    from capstan.ports.store import Kind
    from capstan.spec import parse

    old = parse(document_of(record), base_dir=system.base_dir)
    changes = compare(old, system)
    state = system_state(record)
    rollout: RolloutState | None = None
    if state.rollout is not None:
        found = store.get(Kind.ROLLOUT, state.rollout.name)
        rollout = rollout_state(found) if found else None
    follows = consequences(old, system, changes, state=state, rollout=rollout)
    if changes and follower is not None:
        follows.append(f"the {follower} takes it over without a restart of any serving process")
    return changes, follows


def _times(system: MLSystem, past: Past) -> list[VerdictTime]:
    return [*verdict_times(system, past.losses), *experiment_times(system, past.units)]
