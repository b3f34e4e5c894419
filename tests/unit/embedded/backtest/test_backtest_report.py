"""The table, the picture and the page of a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from capstan.embedded.backtest.grid import Finished
from capstan.embedded.backtest.one_policy import PolicyResult
from capstan.embedded.backtest.report import columns_of, document_of, require_report, write_report
from capstan.embedded.backtest.variations import Policy
from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem


def result(gain: float, *, money: float | None = None, missed: int = 0) -> PolicyResult:
    both = {"static": 0.62, "managed": 0.62 + gain, "gain": gain, "gain_interval": (gain - 0.01, gain + 0.01)}
    found: dict[str, Any] = {
        "system": "flights",
        "requests": 1000,
        "start": "2013-02-01T05:00:00+00:00",
        "end": "2014-01-01T05:00:00+00:00",
        "metrics": [{"name": "rocAuc", "title": "ROC-AUC", "direction": "Higher", "key": "auc"}],
        "months": {month: {"rows": 500, "metrics": {"rocAuc": both}} for month in ("2013-02", "2013-03")},
        "overall": {"rows": 1000, "metrics": {"rocAuc": both}},
        "gain": gain,
        "gain_interval": (gain - 0.01, gain + 0.01),
        "resampled_gains": [gain - 0.01, gain + 0.01],
        "alerts": 5,
        "false_alarms": 2,
        "delay_days": 12.4,
        "missed": missed,
        "hurt_reigns": 3,
        "trainings": 4,
        "promotions": 3,
        "money": None
        if money is None
        else {"currency": "$", "static": 10.0, "managed": 10 + money, "gain": money},
        "windows_told": [{"number": 0}],
    }
    return cast(PolicyResult, found)


def finished(*results: PolicyResult) -> list[Finished]:
    policies = (Policy({"retraining.cooldown": f"{day}d"}, cast(MLSystem, None)) for day in (7, 14, 28))
    return [Finished(policy, one) for policy, one in zip(policies, results, strict=False)]


def test_the_table_tells_each_number_and_money_where_the_file_says_what_answers_are_worth() -> None:
    poor, rich = result(0.067, missed=1), result(0.067, money=1234.5)
    told = {one.title: one.text(poor) for one in columns_of([poor])}
    assert told == {
        "ROC-AUC": "0.687",
        "gain [95 %]": "+0.067 [+0.057, +0.077]",
        "alerts": "5",
        "false": "2",
        "delay": "12 d",
        "missed": "1 of 3",
        "trained": "4",
        "promoted": "3",
    }
    assert {one.title: one.text(rich) for one in columns_of([rich])}["$ gained"] == "+1,234"


def test_the_page_holds_the_table_and_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "backtest.html"
    write_report(finished(result(0.067, money=10.0), result(0.05, money=5.0, missed=1)), path)
    page = path.read_text()
    for words in ("cooldown=7d", "cooldown=14d", "+0.067", "1 of 3", "<svg", "$ gained", "1,000 requests"):
        assert words in page
    picture = tmp_path / "backtest.png"
    write_report(finished(result(0.067)), picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_policies_that_decided_alike_share_a_line_that_names_them(tmp_path: Path) -> None:
    picture = tmp_path / "backtest.svg"
    write_report(finished(result(0.067), result(0.05), result(0.067)), picture)
    drawn = picture.read_text()
    assert "cooldown=7d, and 1 alike" in drawn
    assert "cooldown=14d, and" not in drawn


def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match=r"must end in \.html, \.png, \.svg"):
        require_report(tmp_path / "backtest.pdf")
    with pytest.raises(InvalidSpecError, match="there is no folder"):
        require_report(tmp_path / "nowhere" / "backtest.html")


def test_json_has_each_policy_and_the_windows_of_one_alone() -> None:
    one = document_of(finished(result(0.067)))
    assert one["policies"][0]["policy"] == {"retraining.cooldown": "7d"}
    assert "windows_told" in one["policies"][0]
    many = document_of(finished(result(0.067), result(0.05)))
    assert [len(many["policies"]), "windows_told" in many["policies"][0]] == [2, False]
