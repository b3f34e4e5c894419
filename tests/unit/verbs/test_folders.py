"""A system that lives beside another one is found there, whoever asks."""

from __future__ import annotations

from pathlib import Path

from capstan.adapters.sqlite.store import SqliteStore
from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.ports.store import Kind, Record
from capstan.verbs.folders import where_lives


def test_a_second_system_lives_beside_the_first(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert where_lives(state, "churned") == state
    state.store.parent.mkdir(parents=True, exist_ok=True)
    store = SqliteStore(state.store)
    store.put(Record(Kind.SYSTEM, "churned", SystemName("churned"), {}))
    store.close()
    assert where_lives(state, "churned") == state
    assert where_lives(state, "other") == state.beside("other")
