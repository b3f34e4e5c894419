"""What a changed file changes of a stored system and what follows, as `plan` and `up` tell it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from capstan.cli.stored_system import StoredSystem
from capstan.cluster.places import Cluster

if TYPE_CHECKING:
    from capstan.engine.changes import Change
    from capstan.spec import MLSystem


def changes_against(stored: StoredSystem, system: MLSystem) -> tuple[list[Change], list[str]]:
    """Every field that differs in meaning from the stored file, and what that means for what runs, in words."""
    from capstan.verbs.planning import changes_of

    return changes_of(system, stored.store, stored.record, follower=_follower(stored))


def _follower(stored: StoredSystem) -> str | None:
    if isinstance(stored.place, Cluster):
        return "operator" if stored.place.runner() else None
    from capstan.verbs.planning import follower_in

    return follower_in(stored.place.state)


def told_changes(stored: StoredSystem, system: MLSystem) -> list[str]:
    """Lines with rich's markup; none where the file says the same, or where the stored one can't be read any more."""
    from capstan.errors import InvalidSpecError

    try:
        changes, follows = changes_against(stored, system)
    except InvalidSpecError:
        # Another version of Capstan stored it, or somebody applied what nobody can follow; this file replaces it.
        return []
    return list(lines_of(changes, follows)) if changes else []


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
