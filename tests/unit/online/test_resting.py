"""A store that does not answer is asked once, and not again for each row."""

from __future__ import annotations

import pytest

from capstan.errors import UnavailableError
from capstan.online.resting import REST_SECONDS, RestingEvents
from capstan.ports.online_events import FoundEvents


class Store:
    def __init__(self) -> None:
        self.asked, self.is_there = 0, False

    def find(self, table: str, entity: str, *, since: int, before: int) -> FoundEvents:
        self.asked += 1
        if not self.is_there:
            raise UnavailableError("the store of events", "it is locked")
        return FoundEvents((), (), 7)


def test_a_store_is_asked_once_while_it_rests_and_again_afterwards() -> None:
    store, seconds = Store(), [100.0]
    resting = RestingEvents(store, lambda: seconds[0])
    for _ in range(1000):
        with pytest.raises(UnavailableError, match="it is locked"):
            resting.find("t", "anna", since=0, before=9)
    assert store.asked == 1
    store.is_there = True
    seconds[0] += REST_SECONDS
    for _ in range(3):
        assert resting.find("t", "anna", since=0, before=9).loaded_until == 7
    assert store.asked == 4
