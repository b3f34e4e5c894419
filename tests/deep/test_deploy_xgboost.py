"""A model of XGBoost becomes a version that answers as it does, or is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import pytest
import xgboost
from shop_frame import shop
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

import capstan
from capstan.cli.main import app
from capstan.cli.verbs import import_model
from capstan.errors import InvalidDataError, MissingExtraError

NUMBERS = ["weight", "size"]
FRAME = shop(240)
FEW = {"n_estimators": 6, "max_depth": 2, "n_jobs": 1}
KINDS = sorted(FRAME["kind"].unique())
Make = Callable[[str], capstan.System]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def system(target: str) -> capstan.System:
        return capstan.System.from_dataframe(
            FRAME[["weight", "size", "shop", target]],
            target,
            name="orders",
            folder=tmp_path / "orders",
            state=tmp_path / "state",
        )

    return system


def of_kinds() -> Any:
    return xgboost.XGBClassifier(**FEW).fit(FRAME[NUMBERS], np.searchsorted(KINDS, FRAME["kind"]))


def test_a_classifier_of_two_answers_by_its_own_columns_and_by_the_rounds_that_are_best(make: Make) -> None:
    model = xgboost.XGBClassifier(**{**FEW, "n_estimators": 60}, early_stopping_rounds=1)
    truth = (FRAME["back"] == "yes").to_numpy()
    model.fit(FRAME[NUMBERS], truth, eval_set=[(FRAME[NUMBERS].tail(80), ~truth[-80:])])
    assert model.best_iteration < 59
    system = make("back")
    made = system.deploy(model)
    assert (made.version, made.model) == ("v1", "imported model of XGBoost")
    expected = model.predict_proba(FRAME[NUMBERS].head(20))[:, 1]
    assert list(system.predict(FRAME.head(20))["probability"]) == pytest.approx(list(expected), abs=1e-5)
    without = FRAME.head(3).assign(size=None)
    expected = model.predict_proba(without[NUMBERS].astype(float))[:, 1]
    assert list(system.predict(without)["probability"]) == pytest.approx(list(expected), abs=1e-5)


def test_numbered_classes_are_named_by_the_person(make: Make) -> None:
    system, model = make("kind"), of_kinds()
    system.deploy(model, classes=KINDS)
    found = system.predict(FRAME.head(5))[[f"probabilities.{name}" for name in KINDS]].to_numpy()
    assert found == pytest.approx(model.predict_proba(FRAME[NUMBERS].head(5)), abs=1e-5)


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
def test_the_command_reads_trees_without_asking(make: Make, tmp_path: Path, suffix: str) -> None:
    model = xgboost.XGBRegressor(**FEW).fit(FRAME[NUMBERS], FRAME["price"])
    system, file = make("price"), tmp_path / f"prices{suffix}"
    model.save_model(file)
    done = CliRunner().invoke(app, ["import", str(system.file), str(file), "--state", str(system.state)])
    assert done.exit_code == 0, done.output
    assert "v1 (imported model of XGBoost)" in done.stdout
    assert "runs whatever code" not in done.output
    assert system.deploy(file).version == "v1"
    assert system.deploy(model.get_booster()).model == "imported model of XGBoost"
    expected = model.predict(FRAME[NUMBERS].head(9))
    assert list(system.predict(FRAME.head(9))["value"]) == pytest.approx(list(map(float, expected)), rel=1e-5)


@pytest.mark.parametrize(
    ("target", "given", "options", "reason"),
    [
        pytest.param("kind", of_kinds, {}, "answers by|classes", id="numbered_classes"),
        pytest.param("back", lambda: xgboost.XGBClassifier(), {}, "it is not fitted", id="not_fitted"),
        pytest.param(
            "price",
            lambda: xgboost.XGBRegressor(missing=-1, **FEW).fit(FRAME[NUMBERS], FRAME["price"]),
            {},
            "takes -1 for a missing value",
            id="missing",
        ),
        pytest.param(
            "price",
            lambda: xgboost.XGBRegressor(**FEW).fit(FRAME[NUMBERS].to_numpy(), FRAME["price"]),
            {},
            "name them in order by `columns`",
            id="no_columns",
        ),
        pytest.param(
            "price",
            lambda: xgboost.XGBRegressor(**FEW).fit(FRAME[NUMBERS].to_numpy(), FRAME["price"]),
            {"columns": ["weight", "shop"]},
            "'shop' is a category in the file",
            id="text",
        ),
        pytest.param("price", lambda: b"no trees", {"columns": NUMBERS}, "model of ONNX", id="bytes"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(
    make: Make, target: str, given: Callable[[], Any], options: dict[str, Any], reason: str
) -> None:
    system = make(target)
    with pytest.raises(InvalidDataError, match=reason):
        system.deploy(given(), **options)
    assert system.versions.empty


def test_a_pipeline_that_ends_in_xgboost_is_taken_as_scikit_learn_has_it(make: Make) -> None:
    model = make_pipeline(StandardScaler(), xgboost.XGBRegressor(**FEW)).fit(FRAME[NUMBERS], FRAME["price"])
    system = make("price")
    assert system.deploy(model).model == "imported Pipeline"


def test_without_the_extra_it_is_named(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = of_kinds()
    monkeypatch.setattr("capstan.features.foreign.xgboost.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"a model of XGBoost needs the extra 'xgboost': pip install"):
        make("kind").deploy(model, classes=KINDS)
    joblib.dump(model, tmp_path / "kinds.joblib")

    def missing(path: Path) -> Any:
        raise ModuleNotFoundError("No module named 'xgboost'", name="xgboost")

    monkeypatch.setattr(joblib, "load", missing)
    with (
        pytest.raises(MissingExtraError, match=r"kinds.joblib needs the extra 'xgboost'"),
        import_model._unpickled(tmp_path / "kinds.joblib", make("kind").spec),
    ):
        pass
