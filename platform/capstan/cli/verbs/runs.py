"""`capstan runs`: every training, why it ran and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, local, out, print_json
from capstan.cli.place import Context, Machine, Namespace, Place, place_of
from capstan.cli.run_shown import lasted, print_status
from capstan.cli.stored_system import AnySystem, read_json
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from capstan.domain.system import TrainingState
    from capstan.domain.training import RunStatus, TrainingRequest
    from capstan.ports.store import Record, Store

app = App()

LAST = "last"
"""Stands for the newest run, whose name ends in a digest and is never this."""


@app.command(epilog="Example: capstan runs last")
def runs(
    run: Annotated[
        str | None,
        typer.Argument(help="A run, the beginning of its name, or `last`; default: all.", show_default=False),
    ] = None,
    system: AnySystem = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    json: Json = False,
) -> None:
    """List the trainings, the newest last; or show one with its steps, candidates, gates and what it led to."""
    with honest_errors(json):
        place = place_of(state, context, namespace)
        with place.store() as store:
            found = sorted((_Run(place, store, record) for record in _records(store, system)), key=_Run.began)
            _show(found, run, json)


def _show(found: list[_Run], run: str | None, json: bool) -> None:
    if run is None:
        if json:
            print_json([one.row() for one in found])
        else:
            _table(found)
        return
    one = _chosen(found, run)
    if json:
        print_json(one.document())
    else:
        one.print()


def _records(store: Store, system: str | None) -> list[Record]:
    """Also those of `capstan train`, where no system is stored."""
    from capstan.ports.store import Kind

    return [record for record in store.list(Kind.RUN) if system in (None, record.system)]


class _Run:
    def __init__(self, place: Place, store: Store, record: Record) -> None:
        from capstan.engine.records import training_request, training_state

        self._store = store
        # In a cluster a run's folder is gone with its pod; what it came to is in its record and in the registry.
        self._folder = place.state.runs(record.system) / record.name if isinstance(place, Machine) else None
        self.request: TrainingRequest = training_request(record)
        self.state: TrainingState = training_state(record)
        self.status: RunStatus | None = self._said() or self.state.result

    def _said(self) -> RunStatus | None:
        """What the run itself wrote: the store keeps no metrics."""
        from capstan.domain.training import RunStatus
        from capstan.ports.codec import from_json

        document = read_json(self._folder / "status.json") if self._folder is not None else None
        return from_json(RunStatus, document) if document is not None else None

    def began(self) -> tuple[datetime, datetime]:
        """What runs are ordered by: the start, on the system's clock, then the data; one that waits comes last."""
        return (self.state.started_at or datetime.max.replace(tzinfo=UTC), self.request.trigger.as_of)

    @property
    def times(self) -> tuple[datetime | None, datetime | None]:
        """Wall time, from the steps; the record's are on the system's clock, which stands still in a replay."""
        steps = self.status.steps if self.status else ()
        begins = [step.started_at for step in steps if step.started_at]
        ends = [step.finished_at for step in steps if step.finished_at]
        return (min(begins, default=None), max(ends, default=None))

    @property
    def version(self) -> str | None:
        return self.status.version.name if self.status and self.status.version else None

    def row(self) -> dict[str, Any]:
        began, ended = self.times
        gates = self.status.gates if self.status else ()
        return {
            "run": self.request.run,
            "trigger": self.request.trigger.kind.value,
            "reason": self.request.trigger.reason,
            "as_of": self.request.trigger.as_of,
            "against": self.request.champion,
            "phase": self.state.phase.value,
            "started_at": self.state.started_at,
            "finished_at": self.state.finished_at,
            "seconds": (ended - began).total_seconds() if began and ended else None,
            "chosen": (self.status.chosen_in_words or None) if self.status else None,
            "failed_candidates": dict(self.status.failed) if self.status else {},
            "warnings": list(self.status.warnings) if self.status else [],
            "gates_passed": all(gate.passed is True for gate in gates) if gates else None,
            "version": self.version,
        }

    def document(self) -> dict[str, Any]:
        from capstan.ports.codec import to_json

        return {
            **self.row(),
            "status": to_json(self.status) if self.status else None,
            "lineage": [
                {"at": event.at, "kind": event.kind.value, "reason": event.reason, "message": event.message}
                for event in self._lineage()
            ],
        }

    def _lineage(self) -> list[Any]:
        from capstan.engine.story import lineage

        return lineage(
            [event for _, event in self._store.events(self.request.system)], "run", self.request.run
        )

    def print(self) -> None:
        from rich.markup import escape

        row = self.row()
        out.print(f"[bold]{self.request.run}[/bold] {row['phase']}", soft_wrap=True)
        out.print(f"{row['trigger']} as of {local(row['as_of'])}: {escape(row['reason'])}", soft_wrap=True)
        out.print(f"against {row['against'] or 'nobody'}; version {row['version'] or 'none'}")
        if self.status:
            print_status(self.status)
            if self.status.message and row["phase"] == "Failed":
                out.print(escape(self.status.message), soft_wrap=True)
        out.print("what it came from and led to")
        for event in self._lineage():
            out.print(
                f"  [dim]{local(event.at)}[/dim] {event.reason} {escape(event.message)}", soft_wrap=True
            )


def _chosen(found: list[_Run], name: str) -> _Run:
    """`found` in order of time."""
    if name == LAST and found:
        return found[-1]
    matching = [one for one in found if one.request.run == name] or [
        one for one in found if one.request.run.startswith(name)
    ]
    if len(matching) != 1:
        there = ", ".join(one.request.run for one in (matching or found)) or "none yet"
        raise NotFoundError(
            f"run {name!r}: {'more than one begins so' if matching else 'not there'}; runs: {there}"
        )
    return matching[0]


def _table(found: list[_Run]) -> None:
    from rich.table import Table

    if not found:
        out.print("no training yet")
        return
    table = Table("run", "trigger", "as of", "result", "took", "version", "", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.no_wrap = True
    for one in found:
        row = one.row()
        result = "not passed" if row["gates_passed"] is False else row["phase"]
        version = f"{row['version']} {row['chosen'] or ''}".rstrip() if row["version"] else "-"
        lost = len(row["failed_candidates"])
        day = f"{row['as_of']:%Y-%m-%d}"
        told = len(row["warnings"])
        notes = [f"{lost} candidate{'s' if lost > 1 else ''} failed"] if lost else []
        notes += [f"{told} warning{'s' if told > 1 else ''}"] if told else []
        table.add_row(row["run"], row["trigger"], day, result, lasted(*one.times), version, ", ".join(notes))
    out.print(table)
