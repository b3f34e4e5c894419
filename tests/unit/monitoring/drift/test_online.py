"""Online detectors find a drift within days, keep to a budget where rows of a day are alike, and survive a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from capstan.errors import InvalidDataError, InvalidSpecError
from capstan.monitoring.checkpoint import Checkpoint
from capstan.monitoring.drift import fitted_detectors
from capstan.monitoring.drift.online import calibrating
from capstan.monitoring.drift.online.detectors import OwnCramerVonMises, OwnFisherExact
from capstan.monitoring.drift.online.lots import BEGUN, CellSums, as_fed, cell_of, joined, sizes_of
from capstan.monitoring.drift.online.reference import OnlineColumn, OnlineReference
from capstan.monitoring.drift.online.watched_rows import RowsWatch, cell_at
from capstan.monitoring.drift.reference import Reference
from capstan.monitoring.windows import DriftWindow, Gap, Lot, OnlineDrift, OnlineFeature, WindowOutcome
from capstan.ports.codec import from_json, to_json
from capstan.spec import MLSystem, parse
from capstan.testing import NotConformingError, check_online_detector

SINCE, HOUR, DAY = datetime(2013, 1, 1, tzinfo=UTC), timedelta(hours=1), timedelta(days=1)
PER_DAY = 144


def system(online: object, **more: Any) -> MLSystem:
    keys = {"id": "id", "time": "at"}
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": "online"},
            "spec": {
                "objective": {"task": "BinaryClassification", "target": "label"},
                "data": {
                    "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
                    "keys": {**keys, **more.pop("keys", {})},
                    "label": {"column": "label", "availableAt": "at"},
                },
                "features": [{"name": "number", "numeric": {}}, {"name": "flag", "categorical": {}}],
                "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
                "monitoring": {"drift": {"online": online, **more}},
            },
        },
        base_dir=Path(),
    )


def days_of(
    rng: np.random.Generator,
    days: int,
    *,
    first: int = 0,
    alike: float = 0.3,
    shift: float = 0.0,
    yes: float = 0.3,
) -> pd.DataFrame:
    """Rows of days that differ from each other, by `alike` standard deviations of a row."""
    number = np.concatenate([rng.normal(shift + rng.normal(0, alike), 1, PER_DAY) for _ in range(days)])
    shares = np.repeat(np.clip(yes + rng.normal(0, alike / 5, days), 0.01, 0.99), PER_DAY)
    flag = np.where(rng.random(days * PER_DAY) < shares, "yes", "no")
    times = [SINCE + first * DAY + n * DAY / PER_DAY for n in range(days * PER_DAY)]
    return pd.DataFrame({"at": pd.to_datetime(times), "number": number, "flag": flag})


BOTH = ["CramerVonMises", "FisherExact"]


@pytest.fixture(scope="module")
def trained() -> Reference:
    return fitted_detectors.fit(days_of(np.random.default_rng(0), 90), system(BOTH))


@pytest.fixture(scope="module")
def known(trained: Reference) -> OnlineReference:
    assert trained.online is not None
    return trained.online


def cells_of(rows: pd.DataFrame, known: OnlineReference) -> list[Lot]:
    cells = rows["at"].astype("int64").to_numpy() // 10**3 // (known.cell // timedelta(microseconds=1))
    sums = CellSums(int(cells[0]), int(cells[-1] - cells[0]) + 1, 2)
    places = sums.add(cells)
    there = np.ones(len(rows), dtype=np.bool_)
    sums.add_column(0, places, rows["number"].to_numpy(), there)
    code = known.columns[1].category
    sums.add_column(1, places, (rows["flag"].to_numpy() == ["no", "yes"][code or 0]).astype(float), there)
    return list(sums.lots())


def watched(
    known: OnlineReference, rows: pd.DataFrame, *, looks: int = 1, restart: bool = False
) -> list[OnlineDrift]:
    """What each of so many looks finds."""
    watch, first = RowsWatch(known, by_alibi=False), rows["at"].iloc[0].to_pydatetime()
    found, told = watch.begin(first), []
    cells = cells_of(rows, known)
    for part in np.array_split(np.arange(len(cells)), looks):
        some = [cells[at] for at in part]
        found = watch.after(found, some, SINCE + (some[-1].end - cell_at(SINCE, known.cell)) * known.cell)
        if restart:
            found = from_json(OnlineDrift, orjson.loads(orjson.dumps(to_json(found))))
            watch = RowsWatch(known, by_alibi=False)
        told.append(found)
    return told


def own_numbers(reference: Any, sizes: Sequence[int]) -> OwnCramerVonMises:
    return OwnCramerVonMises(reference, sizes)


def own_flags(reference: Any, sizes: Sequence[int]) -> OwnFisherExact:
    return OwnFisherExact(len(reference), int(reference.sum()), sizes)


def test_our_detectors_keep_the_suite() -> None:
    check_online_detector(own_numbers, "CramerVonMises")
    check_online_detector(own_flags, "FisherExact")


class Forgetful(OwnCramerVonMises):
    """Its scores depend on all values that ever came."""

    def scores(self, values: Any) -> Any:
        return super().scores(values) + np.cumsum(values)[:, None]


class Deaf(OwnCramerVonMises):
    def scores(self, values: Any) -> Any:
        return super().scores(values) * 0


@pytest.mark.parametrize(
    ("member", "says"), [(Forgetful, "values before the last ones"), (Deaf, "less like the reference")]
)
def test_the_suite_notices(member: type[OwnCramerVonMises], says: str) -> None:
    with pytest.raises(NotConformingError, match=says):
        check_online_detector(member, "CramerVonMises")


def test_scores_are_those_of_scipy() -> None:
    from scipy.stats import cramervonmises_2samp, fisher_exact

    rng = np.random.default_rng(1)
    reference, values = rng.normal(size=80).round(1), rng.normal(0.4, 1, 30).round(1)
    found = OwnCramerVonMises(reference, (30,)).scores(values)[-1, 0]
    # Without ties the statistic of SciPy is the same, counted by ranks.
    apart, beside = rng.normal(size=80), rng.normal(0.4, 1, 30)
    statistic = cramervonmises_2samp(apart, beside).statistic
    both, product = 110, 80 * 30
    mean = (1 + 1 / both) / 6
    variance = (
        (both + 1) * (4 * product * both - 3 * (80**2 + 30**2) - 2 * product) / (45 * both**2 * 4 * product)
    )
    exact = OwnCramerVonMises(apart, (30,)).scores(beside)[-1, 0]
    assert exact == pytest.approx((statistic - mean) / variance**0.5, abs=0.02)
    assert np.isfinite(found)
    score = OwnFisherExact(100, 30, (20,)).scores(np.append(np.zeros(8), np.ones(12)))[-1, 0]
    p = fisher_exact([[12, 8], [30, 70]], alternative="greater").pvalue
    assert score == pytest.approx(-np.log10(p), abs=1e-3)


def test_a_sudden_drift_is_found_within_days_and_told_since_when(known: OnlineReference) -> None:
    rng = np.random.default_rng(21)
    for moved, feature in (({"shift": 1.5}, "number"), ({"yes": 0.75}, "flag")):
        rows = pd.concat([days_of(rng, 30, first=100), days_of(rng, 14, first=130, **moved)])
        told = watched(known, rows, looks=44)
        assert told[29].outcome is WindowOutcome.FINE
        found = told[-1]
        assert found.outcome is WindowOutcome.BREACH
        assert found.since is not None
        assert timedelta(0) < found.since - (SINCE + 130 * DAY) < 5 * DAY
        assert found.end == found.since
        assert [one.feature for one in found.features if one.is_above] == [feature]


def test_an_alarm_ends_after_a_window_that_is_as_it_was(known: OnlineReference) -> None:
    rng = np.random.default_rng(3)
    rows = pd.concat(
        [
            days_of(rng, 14, first=100),
            days_of(rng, 10, first=114, shift=2.0),
            days_of(rng, 21, first=124),
        ]
    )
    told = watched(known, rows, looks=45)
    ended = next(at for at in range(24, 45) if told[at].since is None)
    # The last lots that moved leave the large size after a week, and a week later the alarm ends.
    assert 30 <= ended <= 40
    assert told[-1].outcome is WindowOutcome.FINE


def test_days_that_are_alike_alarm_no_more_often_than_the_budget_allows(known: OnlineReference) -> None:
    assert known.level is not None
    assert known.alarms is not None
    assert known.alarms <= 0.025
    alarms = 0
    for seed in range(20):
        told = watched(known, days_of(np.random.default_rng([4, seed]), 91, first=100), looks=13)
        alarms += any(one.outcome is WindowOutcome.BREACH for one in told)
    # Twenty times three months: one or two alarms are the budget.
    assert alarms <= 4
    hasty = replace(known, level=known.level / 2.5)
    rows = days_of(np.random.default_rng(5), 91, first=100)
    assert any(one.outcome is WindowOutcome.BREACH for one in watched(hasty, rows, looks=13))


def test_a_level_for_independent_rows_would_alarm_often_where_days_are_alike(known: OnlineReference) -> None:
    """The reason to draw days: a calibration on rows in any order is far too hasty."""
    mixed = days_of(np.random.default_rng(0), 90)
    order = np.random.default_rng(1).permutation(len(mixed))
    mixed[["number", "flag"]] = mixed[["number", "flag"]].to_numpy()[order]
    mixed["number"] = mixed["number"].astype(float)
    hasty = fitted_detectors.fit(mixed, system(BOTH)).online
    assert hasty is not None
    alarms = [
        sum(
            watched(one, days_of(np.random.default_rng([6, seed]), 91, first=100))[-1].quiet < 91 * 8 - 8
            for seed in range(8)
        )
        for one in (known, hasty)
    ]
    assert alarms[0] <= 2
    assert alarms[1] == 8


def test_each_number_is_the_same_after_a_restart_and_however_often_somebody_looks(
    known: OnlineReference,
) -> None:
    rng = np.random.default_rng(7)
    rows = pd.concat([days_of(rng, 20, first=100), days_of(rng, 10, first=120, shift=2.0)])
    once = watched(known, rows)[-1]
    assert once.outcome is WindowOutcome.BREACH
    assert watched(known, rows, looks=30, restart=True)[-1] == once
    assert watched(known, rows, looks=240)[-1] == once


def test_what_is_kept_does_not_grow(known: OnlineReference) -> None:
    rng = np.random.default_rng(8)
    short, long = (watched(known, days_of(rng, days, first=100), looks=10)[-1] for days in (10, 60))
    most = max(known.sizes) - 1
    assert [len(one.kept) for one in short.features] == [len(one.kept) for one in long.features] == [most] * 2


def test_lots_are_of_whole_hours_and_quiet_hours_are_joined() -> None:
    assert cell_of(7 * DAY) == 3 * HOUR
    assert sizes_of(7 * DAY) == (8, 56)
    assert cell_of(HOUR) == HOUR
    assert sizes_of(HOUR) == (4, 24)
    assert cell_of(364 * DAY) == DAY
    assert sizes_of(364 * DAY) == (52, 364)
    cells = [Lot(at + 1, rows, (float(rows),), (rows,)) for at, rows in enumerate((9, 3, 4, 5, 1))]
    lots, begun = joined(None, cells, 8)
    assert [(lot.end, lot.rows) for lot in lots] == [(1, 9), (4, 12)]
    assert (begun and begun.rows) == 1
    assert joined(begun, [Lot(9, 7, (7.0,), (7,))], 8) == ([Lot(9, 8, (8.0,), (8,))], None)


def test_yes_and_no_follow_the_shares_of_lots() -> None:
    fed, carried = as_fed("FisherExact", [0.4, 0.6, 0.4, 0.6, 0.1, 0.1], BEGUN)
    assert sum(fed) == round(sum([0.4, 0.6, 0.4, 0.6, 0.1, 0.1]))
    assert set(fed) <= {0.0, 1.0}
    assert as_fed("FisherExact", [0.4] * 10, carried)[0].count(1.0) == 4
    again: list[float] = []
    carry = BEGUN
    for share in (0.4, 0.6, 0.4, 0.6, 0.1, 0.1):
        one, carry = as_fed("FisherExact", [share], carry)
        again += one
    assert (again, carry) == (fed, carried)
    assert as_fed("CramerVonMises", [0.4, 7.0], BEGUN) == ([0.4, 7.0], 0.0)


def test_a_lot_without_values_of_a_feature_feeds_it_nothing(known: OnlineReference) -> None:
    rows = days_of(np.random.default_rng(9), 20, first=100)
    cells = cells_of(rows, known)
    silent = [replace(lot, totals=(0.0, lot.totals[1]), counts=(0, lot.counts[1])) for lot in cells[80:]]
    watch = RowsWatch(known, by_alibi=False)
    before = watch.after(watch.begin(rows["at"].iloc[0].to_pydatetime()), cells[:80], SINCE)
    after = watch.after(before, silent, SINCE + DAY)
    number, flag = after.features
    assert number == before.features[0]
    assert flag.kept != before.features[1].kept
    assert after.lots == before.lots + len(silent)


@pytest.mark.parametrize(
    ("days", "asked", "more", "why"),
    [
        (13, BOTH, {}, "the training data has 13 days, 14 are needed; train on more"),
        (
            20,
            BOTH,
            {"keys": {"time": None}},
            "rows of the training have no time (data.keys.time), so that none",
        ),
    ],
)
def test_where_nothing_can_be_calibrated_it_says_why(
    days: int, asked: list[str], more: dict[str, Any], why: str
) -> None:
    asked_for = system(asked)
    rows = days_of(np.random.default_rng(10), days)
    if more:
        data = asked_for.spec.data
        data = data.model_copy(update={"keys": data.keys.model_copy(update={"time": None})})
        asked_for = asked_for.model_copy(update={"spec": asked_for.spec.model_copy(update={"data": data})})
        rows = rows.rename(columns={"at": asked_for.spec.data.keys.time_column})
    found = fitted_detectors.fit(rows, asked_for).online
    assert found is not None
    assert found.level is None
    assert found.why_not.startswith(why)
    told = RowsWatch(found, by_alibi=False).begin(SINCE)
    assert told.outcome is WindowOutcome.NO_EVIDENCE
    assert told.gap == Gap("NotCalibrated", found.why_not)


def test_features_that_no_detector_reads_are_told() -> None:
    rows = days_of(np.random.default_rng(11), 20)
    found = fitted_detectors.fit(rows, system(["CramerVonMises"])).online
    assert found is not None
    assert [one.feature for one in found.columns] == ["number"]
    assert found.left_out == ("flag: monitoring.drift.online lacks FisherExact",)
    constant = fitted_detectors.fit(rows.assign(flag="no", number=np.nan), system(BOTH)).online
    assert constant is not None
    assert constant.left_out == ("number: training saw no value", "flag: training saw one category alone")
    assert constant.why_not.startswith(
        "no feature is read by CramerVonMises or FisherExact: number: training"
    )
    assert fitted_detectors.fit(rows, system([])).online is None


def test_windows_and_online_detectors_share_the_budget() -> None:
    rows = days_of(np.random.default_rng(12), 60)
    alone, beside = (fitted_detectors.fit(rows, system(online)).features[0].distance for online in ([], BOTH))
    assert beside.probability == pytest.approx(alone.probability / 2**0.5)


def test_the_level_is_never_below_what_the_training_itself_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A season of weeks is lost when days are drawn, so the level would be too low."""
    monkeypatch.setattr(calibrating, "STREAMS", 20)
    rng = np.random.default_rng(13)
    season = pd.concat([days_of(rng, 30), days_of(rng, 30, first=30, shift=1.5), days_of(rng, 30, first=60)])
    found = fitted_detectors.fit(season, system(["CramerVonMises"])).online
    assert found is not None
    told = watched(replace(found, columns=(*found.columns, flags())), season, looks=90)
    assert {one.outcome for one in told[2:]} == {WindowOutcome.FINE}
    assert found.alarms == 0.0


def flags() -> OnlineColumn:
    return OnlineColumn("flag", "FisherExact", 0, (), 100, 70, (100.0, 100.0))


def test_a_reference_is_read_as_it_was_written(trained: Reference, tmp_path: Path) -> None:
    fitted_detectors.save(trained, tmp_path)
    assert fitted_detectors.load_reference(tmp_path).online == trained.online
    document = orjson.loads((tmp_path / "online.json").read_bytes())
    (tmp_path / "online.json").write_bytes(orjson.dumps({**document, "detectors": ["os.system"]}))
    with pytest.raises(
        InvalidDataError, match=r"no online detector is called os.system; train the model again"
    ):
        fitted_detectors.load_reference(tmp_path)


@pytest.mark.parametrize(
    ("online", "says"),
    [
        (["MMD"], r"monitoring.drift.online: MMD .* PyTorch or TensorFlow .* write online: \[CramerVonMises"),
        (["CramerVonMises", "LSDD"], r"or multivariate: LSDD to compare windows"),
        (["FisherExact", "FisherExact"], r"FisherExact stands twice; write each detector once"),
        (["KS"], r"monitoring.drift.online\[0\]: 'KS' is not one of CramerVonMises, FisherExact"),
    ],
)
def test_a_word_that_cannot_be_is_refused(online: list[str], says: str) -> None:
    with pytest.raises(InvalidSpecError, match=says):
        system(online)


def drift(number: int) -> DriftWindow:
    start = SINCE + number * 7 * DAY
    return DriftWindow(number, start, start + 7 * DAY, 2000, True)


def test_the_alert_begins_between_windows_and_ends_with_the_detector_that_the_file_no_longer_names() -> None:
    feature = OnlineFeature("temp", "CramerVonMises", 2.0, 1.5)
    fine = OnlineDrift(SINCE + DAY, WindowOutcome.FINE, features=(replace(feature, distance=1.0),), lots=8)
    moved = OnlineDrift(
        SINCE + 2 * DAY, WindowOutcome.BREACH, since=SINCE + 2 * DAY, features=(feature,), lots=16
    )
    begun = Checkpoint().watching("v3", "/model", SINCE).with_online(fine)
    again = begun.with_online(replace(fine, reached=SINCE + DAY + HOUR, lots=9))
    assert again.generation == begun.generation, "rows that change no answer are no decision"
    after = again.with_online(moved)
    assert after.watch is not None
    assert after.generation == begun.generation + 1
    assert after.watch.alerts(consecutive=2) == ("OnlineDriftDetected",)
    told = after.with_drift(drift(0), consecutive=2).told[-1]
    assert told["online"]["outcome"] == WindowOutcome.BREACH
    assert told["online"]["sentences"] == [
        "Requests since 2013-01-03 00:00 UTC moved away from the training data: temp (CramerVonMises 2.00); 1.50 is "
        "the threshold, 1 is usual."
    ]
    assert "OnlineDriftDetected" in told["alerts"]
    none = after.with_online(None).watch
    assert none is not None
    assert none.alerts(consecutive=2) == ()
    assert "online" not in {question.name for question in none.questions()}


def test_a_version_that_was_not_trained_for_it_is_blind_and_not_fine() -> None:
    lacking = OnlineDrift(SINCE, gap=Gap("NoReference", "train it again"))
    checkpoint = Checkpoint().watching("v3", "/model", SINCE).with_online(lacking)
    for number in range(2):
        checkpoint = checkpoint.with_drift(drift(number), consecutive=2)
    assert checkpoint.watch is not None
    assert checkpoint.watch.gaps["online"].windows == 2
    assert "MonitorBlind" in checkpoint.watch.alerts(consecutive=2)


def test_answers_of_the_version_are_a_lot_by_their_share_of_it_and_not_by_how_busy_it_was() -> None:
    column = OnlineColumn(
        ":score", "CramerVonMises", None, tuple(n / 10 for n in range(10)), 10, 0, (1.0, 1.0)
    )
    watch = RowsWatch(OnlineReference(("CramerVonMises",), HOUR, 50, (4, 24), (column,), 2.0), by_alibi=False)
    told = [(60, 36, 0.2), (200, 120, 0.7), (200, 90, 0.9)]
    lots = [Lot(n, rows, (own * mean,), (own,)) for n, (rows, own, mean) in enumerate(told, 1)]
    found = watch.after(watch.begin(SINCE), lots, SINCE + 3 * HOUR)
    assert found.features[0].kept == (0.2, 0.7)
