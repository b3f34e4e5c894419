"""What every OnlineEvents does; subclass it and give it the fixture `store`."""

from __future__ import annotations

from capstan.domain.event_windows import Event
from capstan.ports.online_events import OnlineEvents

TABLE = "payments by customer at paid known 0 s later"
COLUMNS = ("number amount", "text shop")


def paid(
    happened: int, known: int | None = None, amount: float | None = 1.0, shop: str | None = "a"
) -> Event:
    return Event(happened, happened if known is None else known, (amount, shop))


class OnlineEventsContract:
    def test_what_was_never_loaded_is_told(self, store: OnlineEvents) -> None:
        assert store.state(TABLE) == ((), None)
        found = store.find(TABLE, "anna", since=0, before=100)
        assert (list(found.events), found.loaded_until) == ([], None)
        assert store.forget(TABLE, before=10) == 0

    def test_events_are_found_by_entity_window_and_when_they_were_known(self, store: OnlineEvents) -> None:
        events = [paid(10), paid(20), paid(30, known=60), paid(40)]
        store.add(
            TABLE,
            COLUMNS,
            [*(("anna", one) for one in events), ("bob", paid(20, amount=7.0))],
            loaded_until=50,
        )
        found = store.find(TABLE, "anna", since=20, before=40)
        assert (sorted(found.events), found.columns, found.loaded_until) == ([paid(20)], COLUMNS, 50)
        assert sorted(store.find(TABLE, "anna", since=20, before=60).events) == events[1:]
        assert list(store.find(TABLE, "bob", since=0, before=99).events) == [paid(20, amount=7.0)]
        assert list(store.find("another", "anna", since=0, before=99).events) == []

    def test_values_come_back_to_the_bit(self, store: OnlineEvents) -> None:
        events = [
            paid(1, amount=0.1 + 0.2, shop="ä\n'\x00"),
            paid(2, amount=None, shop=None),
            paid(3, amount=-(2.0**42), shop=""),
            paid(4, amount=5e-324),
        ]
        store.add(TABLE, COLUMNS, [("Zoë 7", one) for one in events], loaded_until=9)
        assert sorted(store.find(TABLE, "Zoë 7", since=0, before=9).events, key=str) == sorted(
            events, key=str
        )

    def test_what_is_there_is_not_kept_twice_and_what_is_alike_is(self, store: OnlineEvents) -> None:
        alike = [paid(5), Event(5, 5, (1.0, "a"), number=1)]
        for _ in range(2):
            store.add(TABLE, COLUMNS, [("anna", one) for one in alike], loaded_until=9)
        assert len(store.find(TABLE, "anna", since=0, before=9).events) == 2

    def test_loaded_until_never_goes_back(self, store: OnlineEvents) -> None:
        store.add(TABLE, COLUMNS, [], loaded_until=50)
        store.add(TABLE, COLUMNS, [], loaded_until=40)
        assert store.state(TABLE) == (COLUMNS, 50)

    def test_other_columns_replace_the_table(self, store: OnlineEvents) -> None:
        store.add(TABLE, COLUMNS, [("anna", paid(5))], loaded_until=50)
        store.add("another", COLUMNS, [("anna", paid(5))], loaded_until=50)
        store.add(TABLE, COLUMNS[:1], [("anna", Event(6, 6, (2.0,)))], loaded_until=40)
        assert store.state(TABLE) == (COLUMNS[:1], 40)
        assert list(store.find(TABLE, "anna", since=0, before=9).events) == [Event(6, 6, (2.0,))]
        assert list(store.find("another", "anna", since=0, before=9).events) == [paid(5)]

    def test_how_far_back_events_are_there_is_told(self, store: OnlineEvents) -> None:
        assert store.oldest(TABLE) is None
        store.add(TABLE, COLUMNS, [("anna", paid(5))], loaded_until=50, oldest=4)
        store.add(TABLE, COLUMNS, [], loaded_until=60, oldest=9)
        assert (store.oldest(TABLE), store.find(TABLE, "anna", since=0, before=9).oldest) == (4, 4)
        store.add(TABLE, COLUMNS, [("anna", paid(3))], loaded_until=60, oldest=2)
        assert store.oldest(TABLE) == 2
        store.forget(TABLE, before=4)
        assert (store.oldest(TABLE), store.find(TABLE, "anna", since=0, before=9).oldest) == (4, 4)

    def test_old_events_are_forgotten(self, store: OnlineEvents) -> None:
        store.add(TABLE, COLUMNS, [("anna", paid(second)) for second in range(10)], loaded_until=50)
        assert store.forget(TABLE, before=6) == 6
        assert len(store.find(TABLE, "anna", since=0, before=50).events) == 4
