"""Claims about a batch's answers: groups are whole, a value that one model cannot take costs the others nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline

from capstan.domain.batches import Reconciled
from capstan.embedded.backtest.loaded_model import LoadedModel
from capstan.embedded.batch.answering import BatchAnswers, Keys
from capstan.errors import InvalidDataError, UnfitValueError
from capstan.features.kinds import NumericSettings
from capstan.features.transform import FeatureTransform

COLUMN = {"name": "weight", "type": "Number", "kind": "numeric", "nullable": True, "min": 0}
RANGE = {"trained_min": 0, "trained_max": 9}


def folder(root: Path, task: str, **manifest: Any) -> Path:
    """A model of one number."""
    weights = np.linspace(0, 9, 60)
    target = (
        weights
        if task in ("Ranking", "Regression")
        else np.where(weights < 3, "a", np.where(weights < 6, "b", "c"))
    )
    model = LinearRegression() if task in ("Ranking", "Regression") else LogisticRegression(max_iter=1000)
    transform = FeatureTransform((NumericSettings("weight", "weight"),))
    pipeline = Pipeline([("transform", transform), ("model", model)]).fit({"weight": weights}, target)
    root.mkdir(exist_ok=True)
    joblib.dump(pipeline, root / "pipeline.joblib")
    document = {
        "system": "toy",
        "task": task,
        "target": "late",
        "columns": [COLUMN | RANGE],
        "keys": {"id": "id"},
    }
    (root / "manifest.json").write_text(json.dumps(document | manifest))
    return root


def answered(
    answers: BatchAnswers, rows: Sequence[dict[str, Any]], *, parts: int = 3
) -> tuple[list[dict[str, Any]], Reconciled]:
    """The rows come in small parts, as from a table."""
    tally, schema = (
        Reconciled(),
        pa.schema([("id", pa.string()), ("weight", pa.float64()), ("search", pa.string())]),
    )
    batches = pa.Table.from_pylist(list(rows), schema).to_batches(max_chunksize=parts)
    found = [row for table in answers.answered(batches, tally) for row in table.to_pylist()]
    assert tally.adds_up
    return found, tally


def only_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model is that the columns' way does not know, or that raises there."""
    monkeypatch.setattr(LoadedModel, "column_scores", lambda _: lambda _: 1 / 0)


def test_a_group_is_ranked_and_refused_as_a_whole_wherever_it_is_cut(tmp_path: Path) -> None:
    keys = {"id": "id", "group": "search"}
    answers = BatchAnswers(folder(tmp_path, "Ranking", keys=keys), "v1", Keys("id", None, "search"))
    rows = [
        {"id": f"{search}{at}", "weight": -1.0 if (search, at) == ("y", 1) else float(at), "search": search}
        for search in "xyz"
        for at in range(4)
    ]
    found, tally = answered(answers, rows)
    assert [(row["id"], row["rank"]) for row in found] == [
        (f"{search}{at}", 4 - at) for search in "xz" for at in range(4)
    ]
    assert (tally.read, tally.written, tally.refused) == (12, 8, {"weight: is below the minimum 0": 4})


def test_classes_have_a_column_each_and_what_training_never_saw_is_marked(tmp_path: Path) -> None:
    answers = BatchAnswers(
        folder(tmp_path, "MulticlassClassification", classes=["a", "b", "c"]), "v1", Keys("id", None, None)
    )
    found, _ = answered(answers, [{"id": "1", "weight": 1.0}, {"id": "2", "weight": 30.0}])
    assert [row["label"] for row in found] == ["a", "c"]
    assert sum(found[0][f"probabilities.{name}"] for name in "abc") == pytest.approx(1)
    assert found[0]["outside"] is None
    assert json.loads(found[1]["outside"])[0]["field"] == "weight"


def test_many_rows_have_the_scores_of_rows_that_are_asked_one_by_one(tmp_path: Path) -> None:
    model = folder(tmp_path, "Regression")
    rows = [{"id": str(at), "weight": at * 0.37} for at in range(20)]
    found, _ = answered(BatchAnswers(model, "v1", Keys("id", None, None)), rows)
    single = LoadedModel(model)
    wanted = [single.answer([[{"weight": row["weight"]}]])[0][0] for row in rows]
    assert [{"value": row["value"]} for row in found] == wanted


def test_a_value_that_the_model_cannot_take_refuses_its_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_row_by_row(monkeypatch)
    answers = BatchAnswers(folder(tmp_path, "Regression"), "v1", Keys("id", None, None))
    told = LoadedModel.answer_apart

    def unfit(self: LoadedModel, rows: Sequence[Any]) -> Any:
        if any(row["weight"] == 5 for row in rows):
            raise UnfitValueError("weight", 5, "is odd")
        return told(self, rows)

    monkeypatch.setattr(LoadedModel, "answer_apart", unfit)
    found, tally = answered(answers, [{"id": str(at), "weight": float(at)} for at in range(9)])
    assert [row["id"] for row in found] == [str(at) for at in range(9) if at != 5]
    assert tally.refused == {"weight: is odd": 1}
    assert tally.examples == [{"id": "5", "problems": [{"field": "weight", "value": 5, "rule": "is odd"}]}]


def test_an_answer_that_no_user_may_get_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_row_by_row(monkeypatch)
    answers = BatchAnswers(folder(tmp_path, "Regression"), "v1", Keys("id", None, None))
    monkeypatch.setattr(LoadedModel, "_scores", lambda _, rows: [np.nan] + [1.0] * (len(rows) - 1))
    found, tally = answered(answers, [{"id": "1", "weight": 1.0}, {"id": "2", "weight": 2.0}])
    assert [row["id"] for row in found] == ["2"]
    assert list(tally.refused) == ["prediction: is not a finite number"]


def test_a_model_that_raises_ends_the_batch_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_row_by_row(monkeypatch)
    answers = BatchAnswers(folder(tmp_path, "Regression"), "v1", Keys("id", None, None))
    monkeypatch.setattr(LoadedModel, "_scores", lambda *_: 1 / 0)
    with pytest.raises(InvalidDataError, match=r"the model raised ZeroDivisionError.*what is written stays"):
        answered(answers, [{"id": "1", "weight": 1.0}])


def test_infinite_numbers_are_refused_and_missing_ones_are_not(tmp_path: Path) -> None:
    answers = BatchAnswers(folder(tmp_path, "Regression"), "v1", Keys("id", None, None))
    rows = [{"id": "1", "weight": np.inf}, {"id": "2", "weight": None}, {"id": "3", "weight": np.nan}]
    found, tally = answered(answers, rows)
    assert [row["id"] for row in found] == ["2", "3"]
    assert tally.refused == {"weight: must be a finite number": 1}


def numbered(weights: Sequence[float | None]) -> list[dict[str, Any]]:
    return [{"id": str(at), "weight": weight} for at, weight in enumerate(weights)]


def answers_of(model: Path) -> BatchAnswers:
    return BatchAnswers(model, "v1", Keys("id", None, None))


@pytest.mark.parametrize(
    ("task", "more"), [("Regression", {}), ("MulticlassClassification", {"classes": ["a", "b", "c"]})]
)
def test_rows_as_columns_have_the_answers_and_refusals_of_rows_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, more: dict[str, Any]
) -> None:
    model = folder(tmp_path, task, **more)
    weights = [*np.linspace(-2, 12, 90).tolist(), None, np.nan, np.inf, 3.0, -np.inf, 0.0, 9.0]
    found, tally = answered(answers_of(model), numbered(weights), parts=40)
    only_row_by_row(monkeypatch)
    wanted, told = answered(answers_of(model), numbered(weights), parts=40)
    assert found == wanted
    assert (tally.read, tally.written, tally.refused, tally.examples) == (
        told.read,
        told.written,
        told.refused,
        told.examples,
    )
    assert tally.refused_rows > 10, "rows that are refused stand between those that are answered"
    assert sum(row["outside"] is not None for row in found) > 10


def test_no_row_is_read_by_itself_but_those_that_prove_the_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, read = answers_of(folder(tmp_path, "Regression")), []
    own = LoadedModel.read
    monkeypatch.setattr(LoadedModel, "read", lambda self, row: read.append(row) or own(self, row))
    found, _ = answered(answers, numbered([at / 100 for at in range(900)]), parts=300)
    assert len(found) == 900
    assert len(read) == 20


def test_columns_that_say_something_else_than_single_rows_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = folder(tmp_path, "Regression")
    wanted, _ = answered(answers_of(model), numbered([1.0, 2.0, 3.0]))
    monkeypatch.setattr(LoadedModel, "column_scores", lambda _: lambda table: [0.5] * len(table["weight"]))
    found, _ = answered(answers_of(model), numbered([1.0, 2.0, 3.0]))
    assert found == wanted


def test_an_unsound_answer_costs_its_row_alone_among_columns(tmp_path: Path) -> None:
    model = folder(tmp_path, "Regression", columns=[COLUMN])
    pipeline = joblib.load(model / "pipeline.joblib")
    pipeline.steps[-1][1].coef_[:] = 1e300
    joblib.dump(pipeline, model / "pipeline.joblib")
    with np.errstate(over="ignore"):
        found, tally = answered(answers_of(model), numbered([1.0, 1e100, 3.0]))
    assert [row["id"] for row in found] == ["0", "2"]
    assert tally.refused == {"prediction: is not a finite number": 1}


class Shown:
    """Is shown every third row."""

    def __init__(self) -> None:
        self.seen = 0
        self.rows: list[Any] = []

    def wanted(self, requests: int) -> list[int]:
        found = [at for at in range(requests) if (self.seen + at) % 3 == 0]
        self.seen += requests
        return found

    def show(self, requests: Any) -> None:
        self.rows += [
            (row["id"], read["weight"], answer["value"])
            for request in requests
            for (row, read), answer in request
        ]


def test_who_watches_is_shown_the_same_rows_whichever_way_they_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = folder(tmp_path, "Regression")
    rows = numbered([-1.0 if at % 7 == 0 else at / 10 for at in range(80)])
    schema = pa.schema([("id", pa.string()), ("weight", pa.float64())])
    shown = []
    for parts in (11, 80, 80):
        watch = Shown()
        batches = pa.Table.from_pylist(rows, schema).to_batches(max_chunksize=parts)
        list(answers_of(model).answered(batches, Reconciled(), watch=watch))
        shown.append(watch.rows)
        if len(shown) == 2:
            only_row_by_row(monkeypatch)
    assert len(shown[0]) == 23
    assert shown[0] == shown[1] == shown[2]
