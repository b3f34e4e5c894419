"""`capstan card` writes the registered card into a file, with the story so far."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from capstan.cli.main import app


def test_where_no_system_ran_it_says_what_starts_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["card", "v1", "--state", str(tmp_path)])
    assert done.exit_code == 1
    assert "no system ever ran here" in done.output


@pytest.mark.parametrize(
    ("options", "kept"),
    [([], "card.html"), (["--data"], "data.html")],
    ids=["the card", "the report of its data"],
)
def test_it_writes_the_file_where_it_is_told(
    options: list[str], kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from capstan.cli.verbs import card as verb
    from capstan.embedded import wiring
    from capstan.embedded.layout import StateDir
    from capstan.verbs import made_versions

    state = StateDir(tmp_path / "state")
    state.root.mkdir()
    with wiring.open_store(state):
        pass
    monkeypatch.setattr(verb, "trained_system", lambda *_: "flights")
    version = SimpleNamespace(name="v1", rank=0, run="run-a")
    monkeypatch.setattr(made_versions, "made_version", lambda *_: SimpleNamespace(version=version))
    monkeypatch.setattr(
        wiring,
        "registry_named",
        lambda *_: SimpleNamespace(artifact=lambda _, path: f"<p>{path}</p>".encode()),
    )
    file = tmp_path / "there.html"
    told = ["card", "v1", "--state", str(state.root), "--out", str(file), "--json", *options]
    done = CliRunner().invoke(app, told)
    assert done.exit_code == 0, done.output
    assert file.read_text() == f"<p>{kept}</p>"
    assert json.loads(done.output) == {"system": "flights", "version": "v1", "file": str(file)}
