"""A model that was fitted elsewhere becomes a version that answers as it does, or is refused with the reason."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from shop_frame import shop
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from typer.testing import CliRunner

import capstan
from capstan.adapters.sqlite.store import SqliteStore
from capstan.cli.main import app
from capstan.domain.actions import Verb
from capstan.domain.system import SystemState
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import registry_of, spec_document
from capstan.engine.records import system_state
from capstan.errors import InvalidDataError, NotAllowedError, UntrustedArtifactError
from capstan.ports.codec import to_json
from capstan.ports.store import Kind, Record
from capstan.verbs.importing import import_model

MODULE = """
from sklearn.linear_model import LogisticRegression
from own_helper import DOUBLE

class Doubled(LogisticRegression):
    def predict_proba(self, rows):
        return super().predict_proba(DOUBLE * rows)
"""


Make = Callable[..., capstan.System]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def system(target: str, features: list[str]) -> capstan.System:
        return capstan.System.from_dataframe(
            shop(300)[[*features, target]],
            target,
            name="orders",
            folder=tmp_path / "orders",
            state=tmp_path / "state",
        )

    return system


def test_it_answers_as_the_model_does_and_is_registered_as_imported(make: Make) -> None:
    system, frame = make("back", ["weight", "size", "shop"]), shop(300)
    encode = make_column_transformer((OneHotEncoder(), ["shop"]), remainder=StandardScaler())
    model = make_pipeline(encode, LogisticRegression()).fit(frame[["weight", "size", "shop"]], frame["back"])
    made = system.deploy(model, sample=frame.iloc[200:])
    assert (made.version, made.model) == ("v1", "imported Pipeline")
    assert made.metrics["rocAuc"] > 0.8
    asked = frame[["shop", "size", "weight"]].head(20)
    expected = model.predict_proba(frame[["weight", "size", "shop"]].head(20))[:, 1]
    assert list(system.predict(asked)["probability"]) == pytest.approx(list(expected), abs=1e-12)
    (run,) = system.runs().itertuples()
    assert (run.reason, run.version, run.chosen) == ("capstan import", "v1", "imported Pipeline")
    assert "is served, and nothing is trained: `capstan import` took it" in repr(system.plan())
    assert "v1" in made._repr_html_()
    assert system.deploy(model, sample=frame.iloc[200:]).version == "v1"
    assert len(system.versions) == 1


def test_classes_that_are_texts_and_numbers_are_answered_too(make: Make) -> None:
    frame = shop(300)
    system = make("kind", ["weight", "size"])
    model = LogisticRegression().fit(frame[["size", "weight"]], frame["kind"])
    system.deploy(model)
    found = system.predict(frame.head(5))
    expected = model.predict_proba(frame[["size", "weight"]].head(5))
    assert found[[f"probabilities.{name}" for name in "abc"]].to_numpy() == pytest.approx(expected, abs=1e-12)


def test_a_model_of_numbers_that_stand_for_the_labels_is_refused(make: Make) -> None:
    frame = shop(300)
    system = make("kind", ["weight", "size"])
    model = LogisticRegression().fit(frame[["size", "weight"]], frame["kind"].astype("category").cat.codes)
    with pytest.raises(
        InvalidDataError, match=r"classes are '0', '1', '2', .* of the rows \('a', 'b', 'c'\)"
    ):
        system.deploy(model)
    model.classes_ = np.array(["a", "b", "a"])
    with pytest.raises(InvalidDataError, match="'a' is there twice"):
        system.deploy(model)
    assert system.versions.empty


def test_the_same_model_is_the_same_version_on_another_day(make: Make) -> None:
    system, frame = make("price", ["weight", "size"]), shop(300)
    model = LinearRegression().fit(frame[["weight", "size"]], frame["price"])
    days = (datetime(2026, 11, 29, 23, 59, tzinfo=UTC), datetime(2026, 11, 30, 0, 1, tzinfo=UTC))
    first, second = (
        import_model(model, system.spec, system._state, sample=None, columns=None, now=day).status.version
        for day in days
    )
    assert first is not None
    assert second is not None
    assert (first.name, first.digest) == (second.name, second.digest)


def test_a_model_of_an_array_answers_by_the_named_columns(make: Make) -> None:
    system, frame = make("price", ["weight", "size"]), shop(300)
    rows = frame[["size", "weight"]].to_numpy()
    model = RandomForestRegressor(5, random_state=0).fit(rows, frame["price"])
    with pytest.raises(InvalidDataError, match="does not say which columns it learnt from"):
        system.deploy(model)
    with pytest.raises(InvalidDataError, match="learnt from 2 columns, and 1 are named"):
        system.deploy(model, columns=["size"])
    system.deploy(model, columns=["size", "weight"])
    assert list(system.predict(frame.head(9))["value"]) == pytest.approx(list(model.predict(rows[:9])))


class InTheTest(LogisticRegression):
    """As a class of a notebook, which no other process finds."""


InTheTest.__module__ = "__main__"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        pytest.param(
            lambda x, y: StandardScaler().fit(x), "StandardScaler has no predict_proba", id="no_answers"
        ),
        pytest.param(
            lambda x, y: LogisticRegression().fit(x.assign(colour=1.0), y),
            "reads 'colour', but no feature of the file does; features read weight, size",
            id="unknown_column",
        ),
        pytest.param(
            lambda x, y: LogisticRegression().fit(x, y.map({"yes": "bad", "no": "good"})),
            "classes_ of LogisticRegression holds 'bad', which is no label",
            id="other_classes",
        ),
        pytest.param(
            lambda x, y: LogisticRegression().fit(x, y.map({"yes": 0, "no": 1}) + 1),
            "holds 2, which is no label",
            id="numbers_that_are_no_labels",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(make: Make, model: Any, said: str) -> None:
    system, frame = make("back", ["weight", "size"]), shop(300)
    with pytest.raises(InvalidDataError, match=said):
        system.deploy(model(frame[["weight", "size"]], frame["back"]))
    assert system.versions.empty


def test_a_class_of_the_notebook_itself_is_refused_with_the_way_out(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "InTheTest", InTheTest, raising=False)
    system, frame = make("back", ["weight", "size"]), shop(300)
    with pytest.raises(
        InvalidDataError, match=r"__main__\.InTheTest is defined in the notebook .* put it into a"
    ):
        system.deploy(InTheTest().fit(frame[["weight", "size"]], frame["back"]))


def test_a_class_that_lies_elsewhere_is_refused_with_the_way_out(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lost_models.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n\nclass Lost(LogisticRegression):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from lost_models import Lost  # type: ignore[import-not-found]

    system, frame = make("back", ["weight", "size"]), shop(300)
    with pytest.raises(InvalidDataError, match=r"lost_models\.Lost lies neither in .* put its module into"):
        system.deploy(Lost().fit(frame[["weight", "size"]], frame["back"]))


def test_a_sample_without_labels_is_refused(make: Make) -> None:
    system, frame = make("back", ["weight", "size"]), shop(300)
    model = LogisticRegression().fit(frame[["weight", "size"]], frame["back"])
    with pytest.raises(InvalidDataError, match=r"rows\.parquet: has no row with a label in 'back'"):
        system.deploy(model, sample=frame.assign(back=None).astype({"back": "string"}))


def test_where_another_version_serves_its_rollout_is_asked_for(make: Make) -> None:
    system, frame = make("back", ["weight", "size"]), shop(300)
    x, y = frame[["weight", "size"]], frame["back"]
    system.deploy(LogisticRegression().fit(x, y))
    state = StateDir(system.state)
    (first,) = registry_of(system.spec, state).versions()
    store = SqliteStore(state.store)
    status = {"state": to_json(SystemState(champion=first))}
    store.put(Record(Kind.SYSTEM, system.name, first.run, spec_document(system.spec), status=status))
    made = system.deploy(LogisticRegression(C=0.1).fit(x, y))
    assert made.follows == "its rollout against v1 begins as soon as the system runs"
    record = store.get(Kind.SYSTEM, system.name)
    assert record is not None
    (command,) = system_state(record).commands
    assert (command.verb, command.version) == (Verb.PROMOTE, "v2")
    store.close()


def test_two_systems_of_one_folder_keep_their_models_apart(make: Make, tmp_path: Path) -> None:
    frame = shop(300)
    x = frame[["weight", "size"]]
    first = make("back", ["weight", "size"])
    first.deploy(LogisticRegression().fit(x, frame["back"]))
    second = capstan.System.from_dataframe(
        frame[["weight", "size", "price"]],
        "price",
        name="prices",
        folder=tmp_path / "prices",
        state=first.state,
    )
    model = RandomForestRegressor(5, random_state=0).fit(x, frame["price"])
    second.deploy(LinearRegression().fit(x, frame["price"]))
    joblib.dump(model, tmp_path / "model.joblib")
    done = command(second, str(tmp_path / "model.joblib"), "--yes")
    assert done.exit_code == 0, done.output
    assert list(first.runs()["chosen"]) == ["imported LogisticRegression"]
    assert list(second.runs()["chosen"]) == ["imported LinearRegression", "imported RandomForestRegressor"]
    assert (list(first.versions.index), list(second.versions.index)) == (["v1"], ["v1", "v2"])
    assert (first.state / "beside/prices/bentos").is_dir()
    assert list(second.predict(frame.head(5))["value"]) == pytest.approx(list(model.predict(x.head(5))))
    assert "probability" in first.predict(frame.head(5))


def test_bytes_that_were_changed_later_are_never_loaded(make: Make) -> None:
    system, frame = make("back", ["weight", "size"]), shop(300)
    system.deploy(LogisticRegression().fit(frame[["weight", "size"]], frame["back"]))
    (kept,) = (system.state / "bentos").rglob("pipeline.joblib")
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes() + b"x")
    with pytest.raises(UntrustedArtifactError):
        system.predict(frame.head(2))


# -- the command


@pytest.fixture
def own_code(tmp_path: Path, make: Make) -> tuple[capstan.System, Path]:
    """A model whose class lies beside the file, as a file of joblib."""
    system, frame = make("back", ["weight", "size"]), shop(300)
    folder = system.file.parent
    (folder / "own_models.py").write_text(MODULE)
    (folder / "own_helper.py").write_text("DOUBLE = 2\n")
    sys.path.insert(0, str(folder))
    try:
        from own_models import Doubled  # type: ignore[import-not-found]

        joblib.dump(
            Doubled().fit(frame[["weight", "size"]], frame["back"] == "yes"), tmp_path / "model.joblib"
        )
    finally:
        sys.path.remove(str(folder))
        for name in ("own_models", "own_helper"):
            sys.modules.pop(name, None)
    return system, tmp_path / "model.joblib"


def command(system: capstan.System, *arguments: str, said: str | None = None) -> Any:
    words = ["import", str(system.file), *arguments, "--state", str(system.state)]
    return CliRunner().invoke(app, words, input=said)


def test_the_command_carries_the_code_beside_the_file(own_code: tuple[capstan.System, Path]) -> None:
    system, model = own_code
    done = command(system, str(model), "--yes")
    assert done.exit_code == 0, done.output
    assert "v1 is registered; `capstan up` serves it" in done.stdout
    carried = {path.name for path in (system.state / "bentos").rglob("factories/*.py")}
    assert carried == {"own_models.py", "own_helper.py"}
    assert len(system.predict(shop(300).head(3))) == 3


def test_the_command_warns_and_reads_nothing_unless_the_person_says_so(
    own_code: tuple[capstan.System, Path],
) -> None:
    system, model = own_code
    refused = command(system, str(model), said="n\n")
    assert refused.exit_code == 1
    assert "runs whatever code is written in it" in refused.stderr
    assert "was not read" in refused.stderr
    assert "own_models" not in sys.modules
    assert system.versions.empty


def test_a_file_that_is_no_model_is_told(make: Make, tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"no pickle")
    done = command(make("back", ["weight", "size"]), str(tmp_path / "model.joblib"), "--yes")
    assert done.exit_code == 1
    assert "model.joblib: cannot be read" in done.stderr


def test_a_system_of_several_models_takes_none() -> None:
    example = Path(__file__).parents[3] / "examples/two-models/system.yaml"
    with pytest.raises(NotAllowedError, match="cannot serve a file with `combine`"):
        capstan.System.from_file(example).deploy(LogisticRegression())
