"""A person's own code travels whole: what it imports from beside the file comes with it, and nothing else."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from capstan.errors import InvalidDataError, InvalidSpecError
from capstan.spec import MLSystem, parse
from capstan.training.factories import call_factory, carry_factories, importable
from capstan.training.local_modules import local_modules


def system(folder: Path, factory: str) -> MLSystem:
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "churn"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "churned"},
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv", "timeColumn": "seen_at"}}],
                "keys": {"id": "id", "time": "seen_at"},
                "label": {"column": "churned", "availableAt": "known_at"},
            },
            "features": [{"name": "plan", "categorical": {}}],
            "training": {"candidates": [{"name": "own", "custom": {"factory": factory}}]},
        },
    }
    return parse(document, base_dir=folder)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


FILES = {
    "mymodels.py": "import helper, numpy, json\nfrom steps.clean import tidy\n"
    "def make():\n    import late\n    return helper.model(late.DEPTH)\n",
    "helper.py": "from deeper import DEPTH\nfrom sklearn.tree import DecisionTreeClassifier\n"
    "def model(depth): return DecisionTreeClassifier(max_depth=depth + DEPTH)\n",
    "deeper.py": "DEPTH = 1\n",
    "late.py": "import importlib\nDEPTH = importlib.import_module('named').DEPTH\n",
    "named.py": "DEPTH = 2\n",
    "steps/__init__.py": "",
    "steps/clean.py": "from . import words\nfrom .words import LIST\nimport shared\ndef tidy(): return LIST\n",
    "steps/words.py": "LIST = open(__file__.replace('words.py', 'words.txt')).read().split()\n",
    "steps/words.txt": "a b",
    "shared.py": "import mymodels\n",
    "unrelated.py": "raise SystemExit('nobody asked for this')\n",
    "json.py": "raise SystemExit('the standard library goes first')\n",
    "data/rows.csv": "id\n1\n",
    "secrets.txt": "no module",
}


def test_all_local_modules_of_a_factory_travel_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "here", FILES)
    carry_factories(system(tmp_path / "here", "mymodels:make"), tmp_path / "run" / "factories")
    carried = {
        path.relative_to(tmp_path / "run" / "factories").as_posix()
        for path in (tmp_path / "run" / "factories").rglob("*")
        if path.is_file()
    }
    left = {"unrelated.py", "json.py", "data/rows.csv", "secrets.txt"}
    assert carried == FILES.keys() - left


def test_a_detector_of_a_persons_own_travels_too(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, "mydetectors.py": "import measure\ndef make(): ...", "measure.py": ""})
    document = system(tmp_path, "mymodels:make").model_dump(mode="json", by_alias=True, exclude_unset=True)
    own = {"factory": "mydetectors:make", "reads": "Number"}
    document["spec"]["monitoring"] = {"drift": {"custom": own}}
    carry_factories(parse(document, base_dir=tmp_path), tmp_path / "run" / "factories")
    carried = {path.name for path in (tmp_path / "run" / "factories").glob("*.py")}
    assert {"mydetectors.py", "measure.py", "mymodels.py"} <= carried
    own["factory"] = "absent:make"
    with pytest.raises(InvalidSpecError, match=r"monitoring\.drift\.custom\.factory.*no absent\.py"):
        carry_factories(parse(document, base_dir=tmp_path), tmp_path / "other" / "factories")


def test_what_travelled_can_be_imported_where_the_file_is_not(tmp_path: Path) -> None:
    write(tmp_path / "here", FILES)
    carry_factories(system(tmp_path / "here", "mymodels:make"), tmp_path / "run" / "factories")
    for name in FILES:
        (tmp_path / "here" / name).unlink()
    with importable(tmp_path / "run" / "factories"):
        assert call_factory("mymodels:make", {}, seed=0, method="predict_proba").max_depth == 3


def test_a_package_without_init_travels_whole_and_is_forgotten(tmp_path: Path) -> None:
    for name, depth in (("one", 1), ("two", 2)):
        here, run = tmp_path / name, tmp_path / f"run-{name}"
        write(
            here,
            {
                "models/trees.py": "from sklearn.tree import DecisionTreeClassifier\n"
                f"def make(): return DecisionTreeClassifier(max_depth={depth})\n"
            },
        )
        carry_factories(system(here, "models.trees:make"), run / "factories")
        with importable(run / "factories"):
            assert call_factory("models.trees:make", {}, seed=0, method="predict_proba").max_depth == depth


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        (
            "import nowhere_at_all\n",
            "put it beside the file: what a factory imports from there travels with it",
        ),
        ("def make(): open('weights.bin')\n", "only Python travels: put the file into a package"),
    ],
    ids=["module", "file"],
)
def test_what_did_not_travel_is_told_with_the_way_out(tmp_path: Path, code: str, way_out: str) -> None:
    write(tmp_path, {"theirs.py": code})
    with importable(tmp_path), pytest.raises(InvalidDataError, match=way_out):
        call_factory("theirs:make", {}, seed=0, method="predict_proba")


def test_a_broken_helper_is_carried_so_that_its_own_error_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"theirs.py": "import helper\n", "helper.py": "def make(:\n"})
    assert [path.name for path in local_modules(tmp_path, "theirs")] == ["helper.py", "theirs.py"]


def test_a_factory_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match=r"there is no theirs\.py in"):
        carry_factories(system(tmp_path, "theirs:make"), tmp_path / "factories")


class Obliging(ModuleType):
    """A module that has whatever attribute it is asked for, as `torch.classes` does."""

    def __getattr__(self, name: str) -> Any:
        return object()


def test_a_module_that_has_every_attribute_does_not_end_a_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with importable(tmp_path):
        monkeypatch.setitem(sys.modules, "obliging", Obliging("obliging"))
    assert "obliging" in sys.modules


def test_a_module_is_found_that_was_written_after_the_folder_had_been_listed(tmp_path: Path) -> None:
    listed = tmp_path.stat().st_mtime_ns
    with importable(tmp_path), pytest.raises(ModuleNotFoundError):
        importlib.import_module("written_later")
    (tmp_path / "written_later.py").write_text("found = True\n")
    # A folder's time may be too coarse to tell; then Python trusts its old list.
    os.utime(tmp_path, ns=(listed, listed))
    with importable(tmp_path):
        assert importlib.import_module("written_later").found
