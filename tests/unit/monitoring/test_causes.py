"""Injected causes of a rise of losses are named with their share, and nothing is blamed where nothing moved."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from capstan.monitoring.causes import explaining
from capstan.monitoring.causes.explaining import Judged, explain
from capstan.monitoring.causes.kinds import Kinds, kinds_of
from capstan.monitoring.causes.reference import CauseReference
from capstan.monitoring.causes.words import causes_in_words, moved_in_words
from capstan.monitoring.windows import Causes, DriftWindow, FeatureDrift, ReferenceWindow
from capstan.spec.features import Feature
from capstan.tasks import TASKS, Predictions
from capstan_pipelines.steps import evaluate

FEATURES = tuple(
    Feature.model_validate(one)
    for one in (
        {"name": "weather", "categorical": {}},
        {"name": "temp", "numeric": {}},
        {"name": "hour", "numeric": {}},
        {"name": "noise", "numeric": {}},
    )
)
SNOW = [0.7, 0.28, 0.02]


def world(
    rng: np.random.Generator, rows: int, *, days: int = 14, snow: float = 0.02
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Columns, mean losses of rows and days: snow is hard, and temp falls with it."""
    shares = [0.7 * (1 - snow) / 0.98, 0.28 * (1 - snow) / 0.98, snow]
    weather = rng.choice(["sun", "rain", "snow"], rows, p=shares)
    temp = rng.normal(12, 6, rows) - 14 * (weather == "snow")
    hour = rng.integers(0, 24, rows).astype(float)
    table = {"weather": weather, "temp": temp, "hour": hour, "noise": rng.normal(0, 1, rows)}
    day = np.arange(rows) * days // rows
    base = 10 + 20.0 * (weather == "snow") + rng.normal(0, 0.5, days)[day]
    return table, base, day


def judged(kinds: tuple[Kinds, ...], table: dict[str, Any], losses: np.ndarray, days: np.ndarray) -> Judged:
    return Judged(np.column_stack([one.codes(table[one.column]) for one in kinds]), losses, days)


def found(
    *,
    snow: float = 0.02,
    worse: Any = lambda table: 0.0,
    rows: int = 6000,
    seed: int = 0,
    hidden: tuple[str, ...] = (),
) -> Causes:
    rng = np.random.default_rng(seed)
    features = tuple(one for one in FEATURES if one.name not in hidden)
    before, base, day = world(rng, 8000)
    kinds = kinds_of(pa.table(before), features)
    known = judged(kinds, before, base * rng.exponential(1, len(base)), day)
    now, base, day = world(rng, rows, days=7, snow=snow)
    losses = (base + worse(now)) * rng.exponential(1, rows)
    return explain(kinds, known, judged(kinds, now, losses, day), metric="absoluteError")


def test_a_harder_kind_with_more_rows_is_named_and_explains_the_rise() -> None:
    one = found(snow=0.2)
    assert [cause.what for cause in one.causes] == ["weather=snow"]
    cause = one.causes[0]
    assert cause.reference_share == pytest.approx(0.02, abs=0.01)
    assert cause.share == pytest.approx(0.2, abs=0.02)
    assert cause.mix > 5 * abs(cause.within)
    assert one.rise is not None
    assert cause.explained == pytest.approx(0.18 * 20, abs=cause.margin)
    assert abs(one.unexplained or 0.0) < 0.25 * one.rise
    said = causes_in_words(one)
    assert len(said) == 3
    assert "weather=snow explains" in said[1]
    assert "more rows of it, 2 % -> 20 % of all" in said[1]


def test_a_kind_whose_relation_broke_is_named_by_its_range() -> None:
    one = found(worse=lambda table: 25.0 * ((table["hour"] >= 17) & (table["hour"] <= 20)))
    assert [cause.feature for cause in one.causes] == ["hour"]
    cause = one.causes[0]
    assert cause.within > 5 * abs(cause.mix)
    assert cause.explained == pytest.approx(25.0 * 4 / 24, abs=2 * cause.margin)
    assert "judged worse" in causes_in_words(one)[1]


def test_both_at_once_are_told_apart() -> None:
    one = found(snow=0.15, worse=lambda table: 20.0 * (table["weather"] == "rain"))
    by_name = {cause.what: cause for cause in one.causes}
    assert set(by_name) == {"weather=snow", "weather=rain"}
    assert by_name["weather=snow"].mix > 5 * abs(by_name["weather=snow"].within)
    assert by_name["weather=rain"].within > 5 * abs(by_name["weather=rain"].mix)


def test_the_parts_make_up_the_rise_exactly() -> None:
    one = found(snow=0.15, worse=lambda table: 20.0 * (table["weather"] == "rain"))
    assert sum(cause.explained for cause in one.causes) + (one.unexplained or 0.0) == pytest.approx(one.rise)


def test_where_all_rows_are_worse_alike_nobody_is_blamed() -> None:
    one = found(worse=lambda table: 5.0 + 0 * table["temp"])
    assert one.causes == ()
    assert one.unexplained == pytest.approx(one.rise)
    assert "No kind of rows" in causes_in_words(one)[1]
    assert "100 % of the rise stays unexplained" in causes_in_words(one)[2]


def test_where_nothing_moved_nothing_is_blamed() -> None:
    blamed = [cause.what for seed in range(30) for cause in found(seed=seed, rows=3000).causes]
    assert len(blamed) <= 1, blamed


def test_without_the_guards_against_chance_something_always_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would pass for a technique that never finds anything, and for one without its guards."""
    monkeypatch.setattr(explaining, "ndtri", lambda _: 0.0)
    monkeypatch.setattr(explaining, "stdtrit", lambda *_: 0.0)
    assert sum(bool(found(seed=seed, rows=3000).causes) for seed in range(10)) >= 3


def test_a_feature_that_goes_along_is_blamed_only_where_the_cause_is_hidden() -> None:
    assert [cause.feature for cause in found(snow=0.2, hidden=("weather",)).causes][:1] == ["temp"]


def test_a_value_that_the_test_never_saw_explains_by_its_share() -> None:
    def hail(table: dict[str, Any]) -> np.ndarray:
        is_hail = np.arange(len(table["temp"])) % 10 == 0
        table["weather"] = np.where(is_hail, "hail", table["weather"])
        return 30.0 * is_hail

    one = found(worse=hail)
    assert [cause.what for cause in one.causes] == ["weather=a new value"]
    assert one.causes[0].reference_loss is None
    assert one.causes[0].within == 0.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda one: replace(one, losses=one.losses[:50], codes=one.codes[:50], blocks=one.blocks[:50]),
            "TooFewRows",
        ),
        (lambda one: replace(one, blocks=one.blocks * 0), "TooFewDays"),
        (lambda one: replace(one, losses=one.losses * 0.5), "NoRise"),
    ],
)
def test_what_cannot_be_said_is_said(change: Any, reason: str) -> None:
    rng = np.random.default_rng(0)
    table, losses, day = world(rng, 2000)
    kinds = kinds_of(pa.table(table), FEATURES)
    known = judged(kinds, table, losses, day)
    one = explain(kinds, known, change(known), metric="absoluteError")
    assert one.gap is not None
    assert one.gap.reason == reason
    assert causes_in_words(one)[0].startswith("Which rows they are cannot be said: ")


def test_a_training_keeps_the_judged_rows_of_its_test_by_kind() -> None:
    rng = np.random.default_rng(0)
    table, base, _ = world(rng, 300)
    truth = base * 0.0
    times = [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(300)]
    judged_rows = SimpleNamespace(
        task=TASKS["Regression"],
        table=pa.table({**table, "at": pa.array(times[::-1], pa.timestamp("us", "UTC"))}),
        truth=truth,
        groups=None,
    )
    data = SimpleNamespace(keys=SimpleNamespace(time="at", group=None), time_zone="UTC")
    spec = SimpleNamespace(concept_metric="absoluteError", data=data, features=FEATURES)
    job = SimpleNamespace(system=SimpleNamespace(spec=spec))
    document = evaluate._causes(job, judged_rows, Predictions({"value": base}))  # type: ignore[arg-type]
    found = CauseReference.of(document)
    assert found.judged.losses == pytest.approx(base[::-1], rel=1e-6), "in order of time"
    assert found.kinds[0].categories[0] == "sun"
    assert (found.judged.codes[:, 0] == found.kinds[0].codes(table["weather"])[::-1]).all()
    assert found.judged.blocks.tolist() == (np.arange(300) // 24).tolist()


def test_a_training_goes_on_where_the_rows_of_its_test_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("a column of lists")

    monkeypatch.setattr("capstan.monitoring.causes.kinds.kinds_of", fail)
    rows = SimpleNamespace(
        task=TASKS["Regression"], table=pa.table({"x": [1.0]}), truth=np.zeros(1), groups=None
    )
    data = SimpleNamespace(keys=SimpleNamespace(time=None, group=None), time_zone="UTC")
    job = SimpleNamespace(
        system=SimpleNamespace(spec=SimpleNamespace(concept_metric="absoluteError", data=data, features=()))
    )
    document = evaluate._causes(job, rows, Predictions({"value": np.ones(1)}))  # type: ignore[arg-type]
    found = CauseReference.of(orjson.loads(orjson.dumps(document)))
    assert found.why_not.startswith("the rows of the test could not be kept: ")
    assert "a column of lists" in found.why_not


def test_a_reference_is_the_same_after_it_was_kept() -> None:
    rng = np.random.default_rng(0)
    table, losses, day = world(rng, 500)
    table["temp"][:20] = np.nan
    kinds = kinds_of(pa.table(table), FEATURES)
    kept = CauseReference("absoluteError", kinds, judged(kinds, table, losses, day))
    again = CauseReference.of(orjson.loads(orjson.dumps(kept.document())))
    assert again.kinds == kept.kinds
    assert (again.judged.codes == kept.judged.codes).all()
    assert again.judged.losses == pytest.approx(losses, rel=1e-6)
    assert (again.judged.blocks == day).all()
    with pytest.raises(ValueError, match="format 0 is not"):
        CauseReference.of({**kept.document(), "format": 0})


def test_missing_values_are_told_beside_training_also_where_windows_are_compared_with_earlier_ones() -> None:
    week, end = timedelta(days=7), datetime(2013, 6, 8, tzinfo=UTC)
    dry = FeatureDrift("temp", 800, 0.3, 0.1, None, 0.2, 0.18, 0.05)
    earlier = ReferenceWindow(end - 2 * week, end - week)
    window = DriftWindow(3, end - week, end, 1000, True, (dry,), reference=earlier)
    told = moved_in_words(window)
    assert told["missing"] == ["Shares of rows at training and now: temp missing 2 % -> 20 %."]
