"""Labels of a frame are those of the command, against the real collector."""

from __future__ import annotations

import asyncio

import orjson
import pandas as pd
import pytest
from unit.cli.test_feedback import Place, place  # noqa: F401 — a fixture

import capstan
from capstan.errors import InvalidDataError, NotAllowedError, NotFoundError

LABELS = pd.DataFrame(
    {
        "case": ["007", "b", "c"],
        "late": [True, False, None],
        "known_at": pd.to_datetime(["2026-01-02 10:00", "2026-01-02 10:00", None]),
    }
)


@pytest.fixture
def system(place: Place) -> capstan.System:  # noqa: F811
    return capstan.System.from_file(place.folder / "system.yaml", state=place.state.root)


def test_labels_are_handed_in_and_counted_by_what_is_known_of_their_requests(system: capstan.System) -> None:
    told = system.feedback(LABELS)
    assert (told.accepted, told.duplicates, told.without_label, told.matched) == (2, 0, 1, 2)
    assert (system.feedback(LABELS).duplicates, told.never_asked) == (2, 0)
    strange = system.feedback(LABELS.assign(case=["x", "y", "z"]))
    assert (strange.matched, strange.waiting + strange.never_asked + strange.unknown) == (0, 2)
    assert "of answered requests: 2" in repr(told)
    assert "<td" in told._repr_html_()


def test_the_moment_of_a_frame_is_one_of_the_files_zone(system: capstan.System, place: Place) -> None:  # noqa: F811
    system.feedback(LABELS)
    told = place.feedback(
        "case,late,known_at\n007,1,2026-01-02T09:00:00Z\nb,0,2026-01-02 10:00:00\n", "--json"
    )
    assert '"duplicates": 2' in told.stdout


def test_labels_go_to_a_gateway_elsewhere_by_its_token(
    system: capstan.System,
    place: Place,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = orjson.loads((place.state.processes / "ports.json").read_bytes())["collector"]
    url = f"http://127.0.0.1:{port}/"
    elsewhere = capstan.System.from_file(system.file, state=place.folder / "nothing-here")
    with pytest.raises(NotAllowedError, match=r"`token` or \$CAPSTAN_FEEDBACK_TOKEN gives it"):
        elsewhere.feedback(LABELS, url=url)
    assert elsewhere.feedback(LABELS, url=url, token=f"{place.state.token('feedback')}\n").accepted == 2
    monkeypatch.setenv("CAPSTAN_FEEDBACK_TOKEN", place.state.token("feedback"))
    assert elsewhere.feedback(LABELS, url=url).duplicates == 2


def test_it_works_where_an_event_loop_runs_already(system: capstan.System) -> None:
    async def cell() -> int:
        return system.feedback(LABELS).accepted

    assert asyncio.run(cell()) == 2


def test_a_refused_row_is_told_before_any_label_is_handed_in(system: capstan.System) -> None:
    bad = LABELS.assign(late=["yes", "perhaps", None])
    with pytest.raises(
        InvalidDataError, match=r"no label was handed in.*\nrow 2, late: 'perhaps' is no label"
    ):
        system.feedback(bad)
    told = system.feedback(bad, refused="mark")
    assert (told.accepted, len(told.refused)) == (1, 1)


def test_where_nothing_runs_it_says_so(system: capstan.System, tmp_path) -> None:
    idle = capstan.System.from_file(system.file, state=tmp_path / "idle")
    with pytest.raises(NotFoundError, match="nothing runs here that takes labels"):
        idle.feedback(LABELS)
