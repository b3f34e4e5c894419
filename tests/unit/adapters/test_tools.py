"""Claims about finding programs, with stand-ins for apt-get, dpkg and the programs themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from capstan.adapters.processes import programs as tools
from capstan.errors import MissingToolError

PROMETHEUS = "echo 'prometheus, version 9.9.9 (branch: x)'"
ALERTMANAGER = "echo 'alertmanager, version 8.8.8 (branch: x)' # looks in /usr/share/prometheus/alertmanager"


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on PATH and an empty cache; `tmp_path / "bin"` is on PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    monkeypatch.setenv("CAPSTAN_TOOLS", str(tmp_path / "cache"))
    return tmp_path


def debian(machine: Path, binary: str, content: str, *, needs_update: bool = False) -> None:
    """Debian's tools: `apt-get download` leaves an archive, `dpkg -x` unpacks it."""
    fails = (
        'case "$*" in *lists=*) ;; *) echo "E: Unable to locate package" >&2; exit 100;; esac'
        if needs_update
        else ""
    )
    log = machine / "apt.log"
    program(
        machine / "bin" / "apt-get",
        f'echo "$*" >> {log}\n{fails}\ncase "$*" in *" download "*) echo > thing.deb;; esac',
    )
    unpacked = f'"$3/usr/bin/{binary}"'
    assets = '"$3/usr/share/prometheus/alertmanager"'
    program(
        machine / "bin" / "dpkg",
        f'PATH=/usr/bin:/bin\nmkdir -p "$3/usr/bin" {assets}\necho page > {assets}/default.tmpl\n'
        f"cat > {unpacked} <<'END'\n#!/bin/sh\n{content}\nEND\nchmod 755 {unpacked}",
    )


def test_a_program_on_path_comes_first(machine: Path) -> None:
    installed = program(machine / "bin" / "prometheus", PROMETHEUS)
    program(machine / "cache" / "prometheus", PROMETHEUS)
    assert tools.find("prometheus") == installed


def test_debians_name_of_alertmanager_is_known(machine: Path) -> None:
    installed = program(machine / "bin" / "prometheus-alertmanager", ALERTMANAGER)
    assert tools.find("alertmanager") == installed


def test_another_program_of_the_same_name_is_not_taken(machine: Path) -> None:
    program(machine / "bin" / "prometheus", "echo 'some other prometheus 1.0'")
    cached = program(machine / "cache" / "prometheus", PROMETHEUS)
    assert tools.find("prometheus") == cached


def test_a_package_is_unpacked_once_without_installing(machine: Path) -> None:
    debian(machine, "prometheus", PROMETHEUS)
    taken = tools.find("prometheus")
    assert taken == machine / "cache" / "prometheus"
    assert tools.version(tools.TOOLS["prometheus"], taken) == "9.9.9"
    assert tools.find("prometheus") == taken
    assert (machine / "apt.log").read_text().splitlines() == ["-q download prometheus"]
    assert sorted(file.name for file in (machine / "cache").iterdir()) == ["prometheus"]


def test_package_lists_are_fetched_only_after_a_failure_and_beside_the_systems(machine: Path) -> None:
    debian(machine, "prometheus", PROMETHEUS, needs_update=True)
    tools.find("prometheus")
    first, update, second = (machine / "apt.log").read_text().splitlines()
    assert first == "-q download prometheus"
    assert update.endswith(" update")
    assert "Dir::State::lists=" in update
    assert second.endswith(" download prometheus")


def test_debians_alertmanager_finds_its_assets_beside_it(machine: Path) -> None:
    debian(machine, "prometheus-alertmanager", ALERTMANAGER)
    taken = tools.find("alertmanager")
    folder = tools.working_folder(taken)
    relative = next(word for word in taken.read_text().split() if word.endswith("alertmanager-assets"))
    assert (folder / relative / "default.tmpl").read_text() == "page\n"
    assert len(relative) == len("/usr/share/prometheus/alertmanager")
    assert "/usr/share" not in taken.read_text()


def test_a_missing_tool_names_the_ways_to_get_it(machine: Path) -> None:
    with pytest.raises(
        MissingToolError, match=r"alertmanager is needed.*brew install alertmanager.*releases"
    ):
        tools.find("alertmanager")


def test_a_failing_download_says_what_apt_said(machine: Path) -> None:
    program(machine / "bin" / "apt-get", "echo 'E: no network' >&2; exit 100")
    program(machine / "bin" / "dpkg", "")
    with pytest.raises(MissingToolError, match=r"no network.*brew install prometheus"):
        tools.find("prometheus")
    assert list((machine / "cache").iterdir()) == []


def test_envoy_comes_from_its_package() -> None:
    assert tools.version(tools.TOOLS["envoy"], tools.find("envoy")) is not None
