"""The first commands after an installation say why they are slow."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from capstan.cli import bytecode
from capstan.cli.verbs import doctor


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with one large package, which was not compiled yet."""
    package = tmp_path / "site" / "large_one"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("a = 1")
    (package / "template.py").write_text("no {{ python }}")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(bytecode, "LARGE", ("large_one", "not_installed"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return package


@pytest.mark.usefixtures("fresh")
def test_the_first_run_is_told_to_compile() -> None:
    assert bytecode.uncompiled() == ["large_one"]
    assert bytecode.why_slow() == (
        "the first run since the installation: Python compiles large_one, which may take minutes"
    )


@pytest.mark.usefixtures("fresh")
def test_where_no_bytecode_is_written_every_run_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert "each process compiles large_one anew, since PYTHONDONTWRITEBYTECODE is set" in str(
        bytecode.why_slow()
    )


def test_what_is_compiled_is_said_no_more(fresh: Path) -> None:
    assert bytecode.compile_packages() == []
    assert bytecode.why_slow() is None
    assert Path(importlib.util.cache_from_source(str(fresh / "inner.py"))).exists()


def test_a_folder_that_cannot_be_written_is_named(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Root may write whatever the mode says, so the compiler is told to write nothing.
    (fresh / "__pycache__").write_text("a file where a folder should be")
    assert bytecode.compile_packages() == [str(fresh.parent)]
    monkeypatch.setattr(doctor.out, "width", 500)
    doctor._compile(quiet=False)
    assert f"not compiled: {fresh.parent} cannot be written by this user" in capsys.readouterr().out
