"""Candidates learn and repeat themselves byte by byte."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from capstan.data.requests import request_schema
from capstan.errors import InvalidDataError
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.spec.loading import parse
from capstan.spec.training import TrainingWindow
from capstan.tasks import TASKS
from capstan.tasks.areas import roc_auc
from capstan.training import fitting
from capstan.training.cases import Cases
from capstan.training.factories import importable
from capstan.training.fitting import fit_candidate
from capstan.training.window import in_window

BINARY = TASKS["BinaryClassification"]
FEATURES = TypeAdapter(list[Feature]).validate_python(
    [
        {"name": "x", "numeric": {}},
        {"name": "kind", "categorical": {"encode": "Integer"}},
        {"name": "flat", "numeric": {}},
    ]
)


def cases(rows: int, seed: int) -> Cases:
    rng = np.random.default_rng(seed)
    x, kind = rng.normal(1000, 300, rows), rng.choice(["a", "b", "c"], rows)
    truth = rng.random(rows) < 1 / (1 + np.exp(-((x - 1000) / 200 + (kind == "b"))))
    return Cases(BINARY, pa.table({"x": x, "kind": kind, "flat": np.zeros(rows), "y": truth}), truth)


def predict(pipeline, table):
    return fitting.predict(BINARY, pipeline, table)["probability"]


TRAIN, VALIDATION = cases(2000, 1), cases(1000, 2)


def candidate(**family: object) -> Candidate:
    return Candidate.model_validate({"name": "one", **family})


def fit(one: Candidate, train: Cases = TRAIN, seed: int = 0, threads: int = 1):
    return fit_candidate(one, FEATURES, train, seed=seed, threads=threads)


@pytest.mark.parametrize(
    ("family", "least"),
    [
        ({"mostFrequent": {}}, 0.5),
        ({"logisticRegression": {"l2": 1}}, 0.8),
        ({"gradientBoosting": {"iterations": 30, "leaves": 7}}, 0.75),
    ],
    ids=["most-frequent", "logistic", "boosting"],
)
def test_a_family_learns_and_repeats_itself_byte_by_byte(family: dict[str, object], least: float) -> None:
    first, second = fit(candidate(**family)), fit(candidate(**family))
    assert roc_auc(VALIDATION.truth, predict(first.pipeline, VALIDATION.table)) >= least
    assert pickle.dumps(first.pipeline) == pickle.dumps(second.pipeline)


def test_the_baseline_says_the_positive_share() -> None:
    probability = predict(fit(candidate(mostFrequent={})).pipeline, VALIDATION.table)
    assert probability == pytest.approx(np.full(1000, TRAIN.truth.mean()))


def test_a_stronger_penalty_shrinks_the_coefficients_and_the_predictions() -> None:
    weak, strong = (fit(candidate(logisticRegression={"l2": l2})).pipeline for l2 in (0.01, 10_000))
    size = [np.abs(fitted.steps[-1][1].coef_).sum() for fitted in (weak, strong)]
    spread = [predict(fitted, VALIDATION.table).std() for fitted in (weak, strong)]

    assert size[1] < size[0] / 5
    assert spread[1] < spread[0] / 2


def test_the_logistic_penalty_does_not_depend_on_units() -> None:
    """Scaled inside and folded back: x in other units gives the same predictions, and a plain estimator."""
    in_other_units = [
        Cases(BINARY, part.table.set_column(0, "x", pa.array(part.table["x"].to_numpy() / 1e6)), part.truth)
        for part in (TRAIN, VALIDATION)
    ]
    here = predict(fit(candidate(logisticRegression={"l2": 100})).pipeline, VALIDATION.table)
    there_model = fit(candidate(logisticRegression={"l2": 100}), in_other_units[0]).pipeline
    assert predict(there_model, in_other_units[1].table) == pytest.approx(here, abs=1e-6)
    assert type(there_model.steps[-1][1]).__name__ == "LogisticRegression"


def test_one_class_only_is_refused() -> None:
    one = Cases(BINARY, TRAIN.table, np.ones(2000, dtype=bool))
    with pytest.raises(
        InvalidDataError, match="2,000 true and 0 false; a model learns from labels that differ"
    ):
        fit(candidate(logisticRegression={}), one)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def make(): raise ValueError('bad day')", "ValueError: bad day"),
        ("def make(): return 7", "int, which has no fit and no predict_proba"),
        ("x = 1", "AttributeError"),
        ("def make(:", "SyntaxError"),
    ],
    ids=["raises", "no-classifier", "no-function", "no-python"],
)
def test_a_factory_that_is_wrong_is_named(tmp_path: Path, code: str, problem: str) -> None:
    (tmp_path / "theirs.py").write_text(code)
    with importable(tmp_path), pytest.raises(InvalidDataError, match=problem) as caught:
        fit(candidate(custom={"factory": "theirs:make"}))
    assert "theirs:make" in str(caught.value)


def test_a_factory_gets_the_seed_and_its_module_is_forgotten(tmp_path: Path) -> None:
    code = "from sklearn.tree import DecisionTreeClassifier\n"
    code += "def make(depth, seed=0): return DecisionTreeClassifier(max_depth=depth, random_state=seed)"
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "theirs.py").write_text(code)
    (tmp_path / "two" / "theirs.py").write_text(code.replace("max_depth=depth", "max_depth=1"))
    depths = []
    for folder in ("one", "two"):
        with importable(tmp_path / folder):
            found = fit(candidate(custom={"factory": "theirs:make", "parameters": {"depth": 3}}), seed=11)
        model = found.pipeline.steps[-1][1]
        assert model.random_state == 11
        depths.append(model.max_depth)
    assert depths == [3, 1], "a champion's module of the same name must not be taken for the challenger's"


def test_a_sliding_window_forgets_and_an_expanding_one_does_not() -> None:
    start = datetime(2013, 1, 1, tzinfo=UTC)
    times = np.array([np.datetime64("2013-01-01") + np.timedelta64(day, "D") for day in range(10)])
    until = start + timedelta(days=9)
    sliding = TrainingWindow.model_validate({"type": "Sliding", "duration": "3d"})
    assert in_window(times, sliding, until=until).tolist() == [False] * 7 + [True] * 3
    assert in_window(times, TrainingWindow(), until=until).all()


CLASSIFIER = """
import numpy as np

class Theirs:
    def __init__(self):
        self.classes_ = np.array([False, True])
    def fit(self, X, y):
        self.share = y.mean()
        return self
    def predict_proba(self, X):
        return np.column_stack([np.full(len(X), 1 - self.share), np.full(len(X), self.share)])

def make():
    return Theirs()
"""
SHARE = "self.share = y.mean()"
ANSWER = "return np.column_stack([np.full(len(X), 1 - self.share), np.full(len(X), self.share)])"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (ANSWER, "return np.full((len(X), 2), np.nan)", r"gave \[nan, nan\] for 50 of 50 rows"),
        (ANSWER, "return np.full(len(X), 0.5)", r"gave shape \(50,\) for 50 rows; it must be \(50, 2\)"),
        (ANSWER, "return np.full((len(X), 3), 1 / 3)", r"gave shape \(50, 3\)"),
        (ANSWER, "return np.full((len(X), 2), 0.9)", r"gave \[0.9, 0.9\] for 50 of 50 rows"),
        (ANSWER, "return 'high'", "gave str, not numbers"),
        (ANSWER, "return self.missing", "predict_proba: AttributeError"),
        ("return self\n", "pass\n", "fit gave NoneType; it must return the fitted model"),
        ("[False, True]", "[True, False]", r"classes_ of the fitted Theirs is array\(\[ True, False\]\)"),
        ("self.classes_ =", "self.known =", "classes_ of the fitted Theirs is None"),
        (SHARE, "raise RuntimeError('no licence')", "fit: RuntimeError: no licence"),
        (SHARE, "self.share = y.mean(); self.key = lambda x: x", "can't be saved after fit"),
    ],
    ids=[
        *("nan", "no-columns", "three-classes", "not-one-together", "text", "raises", "returns-nothing"),
        *("classes-reversed", "no-classes", "fit-raises", "lambda-after-fit"),
    ],
)
def test_an_own_model_whose_answers_cannot_be_served_fails_when_it_is_fitted(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    assert CLASSIFIER.count(old) == 1
    (tmp_path / "theirs.py").write_text(CLASSIFIER.replace(old, new))
    with importable(tmp_path), pytest.raises(InvalidDataError, match=problem) as caught:
        fit(candidate(custom={"factory": "theirs:make"}))
    assert str(caught.value).startswith("theirs:make: ")


def test_what_cannot_be_saved_is_told_before_it_is_trained(tmp_path: Path) -> None:
    code = CLASSIFIER.replace("return Theirs()", "one = Theirs(); one.key = lambda x: x; return one")
    (tmp_path / "theirs.py").write_text(code.replace(SHARE, "raise SystemExit('it was trained')"))
    with importable(tmp_path), pytest.raises(InvalidDataError, match="can't be saved before it is trained"):
        fit(candidate(custom={"factory": "theirs:make"}))


def test_a_model_that_is_another_once_loaded_is_refused(tmp_path: Path) -> None:
    code = CLASSIFIER + "\ndef forgetful(self): return {**self.__dict__, 'share': 0.0}\n"
    code += "Theirs.__getstate__ = forgetful\n"
    (tmp_path / "theirs.py").write_text(code)
    with importable(tmp_path), pytest.raises(InvalidDataError, match="answers otherwise once it is saved"):
        fit(candidate(custom={"factory": "theirs:make"}))


def test_a_fit_tells_what_it_ran_into() -> None:
    features = TypeAdapter(list[Feature]).validate_python(
        [{"name": "x", "numeric": {"impute": "DropRow"}}, {"name": "flat", "numeric": {}}]
    )
    x = np.where(np.arange(2000) % 4 == 0, np.nan, TRAIN.table["x"].to_numpy())
    table = TRAIN.table.set_column(0, "x", pa.array(x, from_pandas=True))
    own = Candidate.model_validate({"name": "short", "logisticRegression": {"l2": 0}})
    found = fit_candidate(own, features, Cases(BINARY, table, TRAIN.truth), seed=0)
    assert found.warnings == (
        "500 of 2,000 training rows are left out: a feature with `impute: DropRow` has no value there",
        "features that are the same in all 1,500 training rows tell nothing: flat (always 0.0)",
    )


GAPS = pa.table(
    {
        "x": np.arange(100.0),
        "number": pa.array([None if row % 4 else float(row) for row in range(100)]),
        "infinite": [np.inf if row % 4 else 1.0 * row for row in range(100)],
        "text": [None if row % 4 else "a" if row % 8 else "b" for row in range(100)],
    }
)
MOMENTS = pa.table({"when": pa.array([None, 1, None, 2] * 5, pa.timestamp("us", "UTC")), "x": range(20)})
HARDLY = [
    {"name": "x", "maxMissing": "0%", "numeric": {}},
    {"name": "number", "maxMissing": "60%", "numeric": {"impute": "DropRow"}},
    {"name": "infinite", "maxMissing": "74.9%", "numeric": {}},
    {"name": "text", "maxMissing": "75%", "categorical": {"encode": "Integer"}},
    {"name": "hardly", "column": "text", "maxMissing": "60%", "categorical": {}},
]


def test_features_with_hardly_any_value_are_left_out_by_name() -> None:
    features = TypeAdapter(list[Feature]).validate_python(HARDLY)
    found = fit_candidate(
        candidate(decisionTree={"leafRows": 1}),
        features,
        Cases(BINARY, GAPS, np.arange(100) % 2 == 0),
        seed=0,
    )
    assert list(found.pipeline.steps[0][1].get_feature_names_out()) == ["x", "text"]
    assert [one.partition(": ")[0] for one in found.warnings] == [
        "feature number is left out",
        "feature infinite is left out",
        "feature hardly is left out",
    ]
    assert found.warnings[0].endswith(
        "75.0% of 100 training rows have no value in number, and `maxMissing` is 60.0%"
    )
    assert len(predict(found.pipeline, GAPS)) == 100, "all rows stayed, though DropRow would have left 25"
    kept = [{key: value for key, value in one.items() if key != "maxMissing"} for one in HARDLY[2:]]
    plain = fit_candidate(
        candidate(decisionTree={}),
        TypeAdapter(list[Feature]).validate_python(kept),
        Cases(BINARY, GAPS, np.arange(100) % 2 == 0),
        seed=0,
    )
    assert len(plain.pipeline.steps[0][1].features_) == 3


def test_moments_that_are_hardly_ever_there_are_left_out_too() -> None:
    features = [
        {"name": "x", "numeric": {}},
        {"name": "hour", "column": "when", "maxMissing": "49%", "date": {"parts": ["Hour"]}},
        {"name": "day", "column": "when", "maxMissing": "50%", "date": {"parts": ["Day"]}},
    ]
    found = fit_candidate(
        candidate(decisionTree={}),
        TypeAdapter(list[Feature]).validate_python(features),
        Cases(BINARY, MOMENTS, np.arange(20) % 2 == 0),
        seed=0,
    )
    assert list(found.pipeline.steps[0][1].get_feature_names_out()) == ["x", "day.Day"]
    assert "feature hour is left out: 50.0% of 20" in found.warnings[0]


def test_a_feature_that_was_left_out_asks_nothing_of_a_request() -> None:
    document = YAML(typ="safe").load(
        (Path(__file__).parents[1] / "spec" / "flight_delays.yaml").read_text().replace("checks:", "ignored:")
    )
    del document["spec"]["data"]["ignored"]
    document["spec"]["features"] = list(HARDLY)
    del document["spec"]["evaluation"]["slices"]
    for share, nullable in (("60%", True), ("80%", False)):
        document["spec"]["features"][1] = {**HARDLY[1], "maxMissing": share}
        system = parse(document, base_dir=Path())
        (asked,) = [one for one in request_schema(system, GAPS) if one.name == "number"]
        assert (asked.nullable, asked.required) == (nullable, not nullable)


def test_a_training_that_is_left_without_a_feature_is_refused_with_their_names() -> None:
    features = TypeAdapter(list[Feature]).validate_python([HARDLY[1], HARDLY[4]])
    told = r"maxMissing leaves none; feature number is left out.*; feature hardly .* Raise `maxMissing`"
    with pytest.raises(InvalidDataError, match=told):
        fit_candidate(
            candidate(decisionTree={}), features, Cases(BINARY, GAPS, np.arange(100) % 2 == 0), seed=0
        )


def test_a_fit_that_does_not_converge_says_so(tmp_path: Path) -> None:
    code = "from sklearn.linear_model import LogisticRegression\n"
    code += "def make(): return LogisticRegression(max_iter=1)"
    (tmp_path / "theirs.py").write_text(code)
    with importable(tmp_path):
        found = fit(candidate(custom={"factory": "theirs:make"}))
    assert any(one.startswith("one: ConvergenceWarning: lbfgs failed to converge") for one in found.warnings)


def test_a_matrix_that_does_not_fit_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the rows are of two shops; the others are of one each."""
    shops = ["big" if row % 4 == 0 else "large" if row % 4 == 2 else f"shop-{row}" for row in range(4000)]
    table = pa.table({"shop": shops, "late": [row % 2 == 0 for row in range(4000)]})
    features = [Feature.model_validate({"name": "shop", "categorical": {}})]
    candidate = Candidate.model_validate({"name": "linear", "logisticRegression": {}})
    monkeypatch.setattr("capstan.data.memory.machine_memory", lambda: 16 * 2**20)
    with pytest.raises(InvalidDataError) as refused:
        fit_candidate(
            candidate,
            features,
            Cases(BINARY, table, table["late"].to_numpy()),
            seed=0,
        )
    told = str(refused.value)
    assert "4,000 rows x 2,003 columns" in told
    assert "shop alone has 2,002 categories" in told
    assert "`minFrequency: 2`, which keeps the 2 most frequent" in told
    features = [Feature.model_validate({"name": "shop", "categorical": {"minFrequency": 2}})]
    fit_candidate(
        candidate,
        features,
        Cases(BINARY, table, table["late"].to_numpy()),
        seed=0,
    )
