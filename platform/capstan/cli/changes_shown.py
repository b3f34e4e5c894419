"""What a changed file changes of a stored system and what follows, as `plan` and `up` tell it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from capstan.cli.place import Cluster
from capstan.cli.stored_system import StoredSystem, read_json

if TYPE_CHECKING:
    from capstan.engine.changes import Change
    from capstan.spec import MLSystem


def changes_against(stored: StoredSystem, system: MLSystem) -> tuple[list[Change], list[str]]:
    """Every field that differs in meaning from the stored file, and what that means for what runs, in words."""
    from capstan.domain.rollout import RolloutState
    from capstan.engine.changes import compare, consequences
    from capstan.engine.policies import document_of
    from capstan.engine.records import rollout_state
    from capstan.ports.store import Kind
    from capstan.spec import parse

    old = parse(document_of(stored.record), base_dir=system.base_dir)
    changes = compare(old, system)
    state = stored.system_state
    rollout: RolloutState | None = None
    if state.rollout is not None:
        record = stored.store.get(Kind.ROLLOUT, state.rollout.name)
        rollout = rollout_state(record) if record else None
    follows = consequences(old, system, changes, state=state, rollout=rollout)
    if changes and stored.place.runner() and _is_live(stored):
        who = "operator" if isinstance(stored.place, Cluster) else "running supervisor"
        follows.append(f"the {who} takes it over without a restart of any serving process")
    return changes, follows


def told_changes(stored: StoredSystem, system: MLSystem) -> list[str]:
    """Lines with rich's markup; none where the file says the same, or where the stored one can't be read any more."""
    from capstan.errors import InvalidSpecError

    try:
        changes, follows = changes_against(stored, system)
    except InvalidSpecError:
        # Another version of Capstan stored it, or somebody applied what nobody can follow; this file replaces it.
        return []
    return list(lines_of(changes, follows)) if changes else []


def _is_live(stored: StoredSystem) -> bool:
    """False where a replay runs."""
    return isinstance(stored.place, Cluster) or read_json(stored.place.state.live) is not None


def lines_of(changes: Sequence[Change], follows: Sequence[str]) -> Iterator[str]:
    """With rich's markup."""
    from rich.markup import escape

    yield from (f"  {_line(change)}" for change in changes)
    if follows:
        yield "what follows"
        yield from (f"  {escape(text)}" for text in follows)


def _line(change: Change) -> str:
    from rich.markup import escape

    path = escape(change.path)
    if change.old is None:
        return f"[green]+ {path}: {escape(_value(change.new))}[/green]"
    if change.new is None:
        return f"[red]- {path}: {escape(_value(change.old))}[/red]"
    return f"[yellow]~ {path}: {escape(_value(change.old))} -> {escape(_value(change.new))}[/yellow]"


def _value(value: Any) -> str:
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value).decode()
