"""k and l of stored answers: those of a count by pandas, of people where rows tell whose they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from capstan.data.anonymity import Alike
from capstan.recording.held_rows import HeldRows
from capstan.recording.labels import LABEL_COLUMNS
from capstan.recording.payloads import FIXED_COLUMNS
from capstan.recording.reading import PayloadReader
from capstan.recording.stored_anonymity import stored_alike
from capstan.spec.privacy import Anonymity
from capstan.tasks import task_with

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
TASK = task_with("Boolean")


def answer(number: int, **given: Any) -> dict[str, Any]:
    fixed: dict[str, Any] = {
        "request_id": f"r{number}", "row": 0, "version": "v1", "role": "champion", "attempt": 1, "event_time": NOON,
        "received_at": NOON, "arm": "v1", "unit": None, "entity_id": f"e{number}", "status": 200,
        "latency_seconds": 0.001, "nonfinite": False, "boot": "b", "sequence": number, "input.age": 30.0,
        "input.zip": "803", "input.ill": "flu",
    }  # fmt: skip
    return fixed | given


def alike(folder: Path, answers: list[dict[str, Any]], labels: tuple[Any, ...] = (), **given: Any) -> Alike:
    held = HeldRows()
    kinds = [
        *FIXED_COLUMNS,
        ("input.age", pa.float64()),
        ("input.zip", pa.string()),
        ("input.ill", pa.string()),
    ]
    held.add_payloads(pa.Table.from_pylist(answers, pa.schema(kinds)))
    held.add_labels(
        pa.Table.from_pylist(
            [
                {
                    "entity_id": entity,
                    "label_boolean": label,
                    "no_label": False,
                    "available_at": NOON,
                    "received_at": NOON,
                }
                for entity, label in labels
            ],
            LABEL_COLUMNS,
        )
    )
    asked = Anonymity.model_validate({"by": ["age", "zip"], **given.pop("asked", {})})
    options = {
        "label": "late",
        "start": NOON,
        "end": NOON + timedelta(days=1),
        "as_of": NOON,
        "by_person": False,
    }
    return stored_alike(PayloadReader(folder, held=held), asked, TASK, **{**options, **given})  # type: ignore[arg-type]


def test_k_and_l_are_those_of_pandas(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "age": rng.choice([30.0, 40.0, np.nan], 400),
            "zip": rng.choice(["803", "804", None], 400),
            "ill": rng.choice(["flu", "cold", "cough", None], 400),
            "unit": rng.choice([f"u{at}" for at in range(60)], 400),
        }
    )
    answers = [
        answer(at, unit=row.unit, **{"input.age": row.age, "input.zip": row.zip, "input.ill": row.ill})
        for at, row in enumerate(frame.itertuples())
    ]
    asked = {"asked": {"k": 30, "sensitive": ["ill"], "l": 4}}
    rows, people = alike(tmp_path, answers, **asked), alike(tmp_path, answers, **asked, by_person=True)
    groups = frame.groupby(["age", "zip"], dropna=False)
    assert (rows.rows, rows.groups, rows.fewest) == (400, groups.ngroups, groups.size().min())
    assert people.fewest == groups["unit"].nunique().min() < rows.fewest
    assert rows.diversity == people.diversity == {"ill": groups["ill"].nunique().min()}
    assert rows.exposed == groups.size()[groups.size() < 30].sum()
    assert people.counted == "people"


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ([{"role": "shadow"}], "a copy that nobody got"),
        ([{"status": 422}], "a request that was refused"),
        ([{"event_time": NOON - timedelta(days=2)}], "another day"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_answer_of_these_days_does_not_count(
    tmp_path: Path, others: list[dict[str, Any]], why: str
) -> None:
    answers = [answer(0), answer(1), *(answer(9, **{"input.age": 77.0}, **one) for one in others)]
    found = alike(tmp_path, answers)
    assert (found.rows, found.groups, found.fewest) == (2, 1, 2), why


def test_of_a_request_that_was_tried_again_the_last_answer_counts(tmp_path: Path) -> None:
    again = answer(0, attempt=2, **{"input.zip": "804"})
    assert alike(tmp_path, [answer(0), again, answer(1, **{"input.zip": "804"})]).groups == 1


def test_a_person_who_asks_often_hides_nobody(tmp_path: Path) -> None:
    often = [answer(at, unit="ann") for at in range(20)]
    assert alike(tmp_path, often).fewest == 20
    found = alike(tmp_path, [*often, answer(50, unit="bob")], by_person=True, asked={"k": 3})
    assert (found.fewest, found.exposed) == (2, 2)
    assert found.problems == ("2 of 2 people have fewer than 3 alike in age, zip (the fewest are 2)",)


def test_the_label_can_be_what_nobody_should_find_out(tmp_path: Path) -> None:
    answers = [answer(at) for at in range(4)]
    same = alike(tmp_path, answers, (("e0", True), ("e1", True)), asked={"sensitive": ["late"], "l": 2})
    assert same.diversity == {"late": 1}
    assert same.uniform == {"late": 4}
    both = alike(tmp_path, answers, (("e0", True), ("e1", False)), asked={"sensitive": ["late"], "l": 2})
    assert (both.diversity, both.problems) == ({"late": 2}, ())


def test_a_column_that_no_answer_has_is_missing_in_all_of_them(tmp_path: Path) -> None:
    found = alike(tmp_path, [answer(0), answer(1)], asked={"by": ["age", "never sent"], "sensitive": ["ill"]})
    assert (found.groups, found.fewest, found.diversity) == (1, 2, {"ill": 1})
