"""What a page and `capstan drift` make of slices that a monitor of another release tells otherwise."""

from __future__ import annotations

from datetime import timedelta

from capstan.dashboard.watch_panel import watch_shown
from capstan.monitoring.told_windows import slices_of

WHOLE = {
    "slice": "carrier=UA",
    "feature": "dep_hour",
    "rows": 900,
    "distance": 0.31,
    "threshold": 0.1,
    "breach": True,
}


def window(farthest: object, moved: object = 3) -> dict[str, object]:
    return {
        "version": "v1",
        "number": 0,
        "start": "2013-02-01T00:00:00+00:00",
        "end": "2013-02-08T00:00:00+00:00",
        "rows": 1000,
        "slices": {"farthest": farthest, "moved": moved, "compared": None},
    }


def test_slices_that_are_told_otherwise_are_left_out_and_the_others_shown() -> None:
    odd = window([{}, None, {"breach": True}, {**WHOLE, "distance": "far"}, WHOLE])
    panel = watch_shown([odd], metric="rocAuc", every=timedelta(days=7), features=["dep_hour"], online=())
    assert panel.windows[0].slices == ["carrier=UA: dep_hour 0.31", "2 more"]
    read = slices_of(odd)
    assert read is not None
    assert [(one.slice, one.rows) for one in read.farthest] == [("carrier=UA", 900)]
    assert (read.moved, read.compared) == (3, 0)


def test_slices_of_no_list_are_none() -> None:
    panel = watch_shown(
        [window(None, moved=None)], metric="rocAuc", every=None, features=["dep_hour"], online=()
    )
    assert panel.windows[0].slices == []
    read = slices_of(window("many", moved="x"))
    assert read is not None
    assert read.farthest == ()


def test_slices_that_could_not_be_judged_are_counted() -> None:
    told = window([WHOLE], moved=1)
    told["slices"] = {"farthest": [WHOLE], "moved": 1, "compared": 17, "too_few": 3}
    told["doubt"] = "thresholds were found for another window"
    panel = watch_shown([told], metric="rocAuc", every=None, features=["dep_hour"], online=())
    assert panel.windows[0].slices == ["carrier=UA: dep_hour 0.31", "3 of 20 not judged"]
    assert panel.windows[0].doubt == "thresholds were found for another window"
    read = slices_of(told)
    assert read is not None
    assert read.in_short == "1 above by slice, 3 of 20 slices not judged"
    told["slices"] = {"farthest": [], "gap": {"reason": "NoReference", "message": "train it again"}}
    read = slices_of(told)
    assert read is not None
    assert read.in_short == "no slice judged"
