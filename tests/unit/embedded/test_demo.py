"""A replay empties only what a replay left."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from capstan.domain.versions import SystemName
from capstan.embedded.charges import Charges
from capstan.embedded.demo import _empty
from capstan.embedded.layout import StateDir
from capstan.embedded.replay import Journal
from capstan.errors import NotAllowedError


@pytest.fixture
def state(tmp_path):
    directory = StateDir(tmp_path / "state")
    directory.prepare(SystemName("flights"))
    directory.store.write_bytes(b"records")
    (directory.secrets / "db").mkdir()
    return directory


def test_what_a_live_system_keeps_is_never_removed(state):
    with pytest.raises(NotAllowedError, match="--state"):
        _empty(state)
    assert state.store.read_bytes() == b"records"


def test_what_a_replay_left_is_removed_but_for_secrets(state):
    Journal(position=datetime(2013, 2, 1, tzinfo=UTC)).save(state.journal, Charges())
    _empty(state)
    assert not state.store.exists()
    assert (state.secrets / "db").is_dir()
