"""What a state directory or a namespace holds, read by a command without starting anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.place import Machine, Place
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from datetime import datetime

    from capstan.domain.system import SystemState
    from capstan.domain.versions import SystemName
    from capstan.embedded.layout import StateDir
    from capstan.ports.store import Event, Record, Store

System = Annotated[
    str | None,
    typer.Argument(help="Name of the system; default: the only one there is.", show_default=False),
]
SystemOption = Annotated[
    str | None,
    typer.Option("--system", help="Name of the system; default: the only one there is.", show_default=False),
]

AnySystem = Annotated[
    str | None, typer.Option("--system", help="Only of this system; default: all.", show_default=False)
]


@dataclass(frozen=True)
class StoredSystem:
    """One system of a state directory or of a namespace."""

    place: Place
    store: Store
    record: Record

    @property
    def name(self) -> SystemName:
        return self.record.system

    @property
    def system_state(self) -> SystemState:
        from capstan.engine.records import system_state

        return system_state(self.record)

    def events(self, *, after: int = 0) -> list[tuple[int, Event]]:
        return list(self.store.events(self.name, after=after))

    def again(self) -> StoredSystem | None:
        """As it is now; None if it was deleted meanwhile."""
        from capstan.ports.store import Kind

        record = self.store.get(Kind.SYSTEM, self.record.name)
        return StoredSystem(self.place, self.store, record) if record is not None else None


@contextmanager
def open_store(root: Path) -> Iterator[tuple[StateDir, Store]]:
    """The store of the directory; raises NotFoundError where no system ever ran."""
    from capstan.embedded.layout import StateDir

    place = Machine(StateDir(root.resolve()))
    with place.store() as store:
        yield place.state, store


@contextmanager
def open_system(place: Place, name: str | None) -> Iterator[StoredSystem]:
    """The system of this name, or the only one; raises NotFoundError that lists those there are."""
    from capstan.ports.store import Kind

    with ExitStack() as opened:
        places = [place, *(place.beside() if isinstance(place, Machine) else ())]
        stores = [(one, opened.enter_context(one.store())) for one in places]
        records = [(one, store, record) for one, store in stores for record in store.list(Kind.SYSTEM)]
        chosen = [found for found in records if name in (None, found[2].name)]
        if len(chosen) != 1:
            names = ", ".join(record.name for _, _, record in records)
            there = names or "none yet, `capstan up FILE` creates one"
            asked = f"no system {name!r}" if name else "several systems, name one" if records else "no system"
            raise NotFoundError(f"{asked}; systems in {place}: {there}")
        yield StoredSystem(*chosen[0])


def trained_system(store: Store, named: str | None) -> SystemName:
    """The only one that has a training, unless one is named: `capstan train` stores no system."""
    from capstan.domain.versions import SystemName
    from capstan.ports.store import Kind

    there = sorted({record.system for record in store.list(Kind.RUN)})
    if named is not None:
        return SystemName(named)
    if len(there) != 1:
        listed = ", ".join(there) or "none yet"
        raise NotFoundError(
            f"systems with trainings: {listed}; {'name one with --system' if there else 'train first'}"
        )
    return there[0]


def replayed_to(state: StateDir, events: list[tuple[int, Event]]) -> datetime | None:
    """Where the system's clock stands after a replay; None for a system whose last word was spoken in wall time."""
    from datetime import datetime, timedelta

    import orjson

    try:
        position = datetime.fromisoformat(orjson.loads(state.journal.read_bytes())["position"])
    except (OSError, ValueError, KeyError):
        return None
    if state.live.exists() or (events and events[-1][1].at > position + timedelta(days=31)):
        return None
    return max(position, events[-1][1].at) if events else position


def read_json(path: Path) -> Any:
    """The file's JSON; None if it is not there or not whole."""
    import orjson

    try:
        return orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
