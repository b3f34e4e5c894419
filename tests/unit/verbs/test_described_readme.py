"""What the README beside a described file says of the way from the table to a second version."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from capstan.errors import InvalidSpecError
from capstan.spec.guessing import ColumnProfile, TableProfile, Wishes, guess
from capstan.verbs.describing import _readme

ROWS = 1000
ID = ColumnProfile("customer_id", "Text", ROWS, distinct=ROWS, counts={})


def readme(labels: dict[str, int], *columns: ColumnProfile) -> str:
    table = TableProfile(
        "rows.csv",
        "csv",
        ROWS,
        (
            ColumnProfile("a", "Number", ROWS, distinct=900, low=-1.0, high=9.0),
            ColumnProfile("y", "Text", ROWS, distinct=2, counts=labels),
            *columns,
        ),
    )
    return _readme(guess(table, "y", now=datetime(2026, 1, 1, tzinfo=UTC)), table)


@pytest.mark.parametrize("verb", ["up", "predict", "feedback", "retrain", "traffic", "status"])
def test_each_command_up_to_a_rollout_is_named(verb: str) -> None:
    assert f"\ncapstan {verb} " in readme({"CH": 653, "MM": 347}).replace("retrain   ", "retrain ")


def test_labels_are_named_by_the_answer_where_no_column_is_an_id() -> None:
    assert "columns `request_id`, copied from `answers.csv`, and `y`" in readme({"CH": 653, "MM": 347})


def test_labels_are_named_by_the_id_where_there_is_one() -> None:
    text = readme({"CH": 653, "MM": 347}, ID)
    assert "has the columns `customer_id` and `y`" in text
    assert "request_id" not in text


def test_an_infinite_number_cannot_be_kept_as_a_category() -> None:
    odd = ColumnProfile("ratio", "Text", ROWS, distinct=900, counts={"1.5": 3}, infinite=(7, "inf"))
    label = ColumnProfile("y", "Text", ROWS, distinct=2, counts={"CH": 653, "MM": 347})
    table = TableProfile("t.csv", "csv", ROWS, (odd, ColumnProfile("a", "Number", ROWS, distinct=9), label))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(
        InvalidSpecError, match=r"--keep ratio: it holds numbers, but 'inf' in row 7.*keep it then"
    ):
        guess(table, "y", now=now, wishes=Wishes(kept=frozenset({"ratio"})))


def test_which_of_two_words_is_true_is_said() -> None:
    assert "write `y` as the table does, where MM is true." in readme({"CH": 653, "MM": 347})
    assert "is true" not in readme({"0": 653, "1": 347})
