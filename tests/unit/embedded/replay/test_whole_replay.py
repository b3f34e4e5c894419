"""A replay empties only what a replay left."""

from __future__ import annotations

import os
from concurrent.futures import wait
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.replay import whole_replay
from capstan.embedded.replay.fixed_durations import FixedDurations
from capstan.embedded.replay.replaying import Journal, load_journal
from capstan.embedded.replay.whole_replay import _empty, scope_of
from capstan.errors import CapstanError, InvalidDataError, NotAllowedError
from capstan.spec import load


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
    Journal(position=datetime(2013, 2, 1, tzinfo=UTC)).save(state.journal, FixedDurations())
    _empty(state)
    assert not state.store.exists()
    assert (state.secrets / "db").is_dir()


def test_a_system_beside_a_replay_is_not_removed_with_it(state):
    beside = state.beside("bikes")
    beside.prepare(SystemName("bikes"))
    beside.store.write_bytes(b"records")
    Journal(position=datetime(2013, 2, 1, tzinfo=UTC)).save(state.journal, FixedDurations())
    _empty(state)
    assert not state.store.exists()
    assert beside.store.read_bytes() == b"records"


def test_a_directory_of_somebody_else_is_never_emptied(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(NotAllowedError, match=r"thesis\.tex.*--state"):
        _empty(StateDir(tmp_path))
    assert (tmp_path / "thesis.tex").exists()


@pytest.fixture
def flights():
    return load(Path(__file__).parents[2] / "spec" / "flight_delays.yaml")


def test_a_live_system_is_not_resumed_as_a_replay(flights, state):
    with pytest.raises(NotAllowedError, match="live system"):
        whole_replay.run_replay(flights, state, None, addresses=None, scope=scope_of(flights), resume=True)
    assert not state.journal.exists()


def test_another_share_of_the_cases_is_not_mixed_into_a_replay_that_has_begun(flights, state):
    begun = Journal(position=datetime(2013, 2, 3, tzinfo=UTC), share=0.5)
    begun.save(state.journal, FixedDurations())
    with pytest.raises(NotAllowedError, match=r"--sample 0\.25: .* share of 0\.5 .* --sample 0\.5"):
        whole_replay.run_replay(
            flights, state, None, addresses=None, scope=scope_of(flights, share=0.25), resume=True
        )
    assert load_journal(state.journal, begun.position)[0] == begun


def test_a_replay_that_ends_before_it_begins_is_refused(flights):
    with pytest.raises(NotAllowedError, match=r"--until 2013-02-01.*later day"):
        scope_of(flights, end=date(2013, 2, 1))


def test_bad_data_read_in_the_other_process_is_the_same_clear_error_here(flights, tmp_path):
    with pytest.raises(InvalidDataError, match=r"data\.sources\.flights: .*does not exist"):
        whole_replay.read_apart(flights, scope_of(flights), tmp_path, lambda: False)


def test_bad_data_is_known_to_what_goes_on_meanwhile(flights, tmp_path):
    with whole_replay._reading(flights, scope_of(flights), tmp_path, lambda: False) as reading:
        wait([reading])
        assert whole_replay._has_failed(reading)
        with pytest.raises(InvalidDataError, match="does not exist"):
            reading.result()


@pytest.mark.parametrize("stopped", [True, False])
def test_a_killed_reader_is_no_traceback(flights, tmp_path, monkeypatch, stopped):
    monkeypatch.setattr(whole_replay, "_leave_interrupts", os.abort)
    if stopped:
        assert whole_replay.read_apart(flights, scope_of(flights), tmp_path, lambda: True) is None
        return
    with pytest.raises(CapstanError, match="memory"):
        whole_replay.read_apart(flights, scope_of(flights), tmp_path, lambda: False)
