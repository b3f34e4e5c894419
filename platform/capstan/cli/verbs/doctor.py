"""`capstan doctor`: whether this machine has what a system needs, and the way out where it has not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli import bytecode
from capstan.cli.app import App
from capstan.cli.console import (
    DEFAULT_GATEWAY_PORT,
    DEFAULT_PAGE_PORT,
    DEFAULT_STATE,
    GatewayPort,
    Json,
    PagePort,
    State,
    err,
    honest_errors,
    out,
    print_json,
)
from capstan.cli.diagnosis import Health, Row
from capstan.cli.place import Context, Namespace, place_of
from capstan.cluster.places import Cluster
from capstan.errors import MissingToolError

if TYPE_CHECKING:
    from capstan.embedded.layout import StateDir

app = App()

GIB = 2**30
LITTLE_SPACE, NO_SPACE = 5 * GIB, GIB
LITTLE_MEMORY = 3 * GIB
OLDEST, NEWEST = (3, 11), (3, 13)
WITHOUT_ALIBI = (3, 13)
"""Python from which alibi-detect 0.13 cannot be installed: it wants numpy 1 and numba 0.59."""
PARTS = ("kfp", "mlflow", "bentoml", "alibi-detect", "scikit-learn", "duckdb", "kubernetes", "kopf")
PLATFORMS = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Linux", "arm64"), ("Darwin", "arm64")}


@app.command(epilog="Example: capstan doctor --json")
def doctor(
    state: State = DEFAULT_STATE,
    page_port: PagePort = DEFAULT_PAGE_PORT,
    gateway_port: GatewayPort = DEFAULT_GATEWAY_PORT,
    context: Context = None,
    namespace: Namespace = None,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="First bring Prometheus and Alertmanager, and compile Python's packages where they are not.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Look at Python, programs, ports, disk and left-over processes; exit 1 if something is missing.

    With --context at that cluster: Capstan's kinds, the pods of operator, stack and systems, what systems say of
    themselves, Seldon, Istio, Prometheus, KFP, storage, your rights.
    """
    with honest_errors(json):
        place = place_of(state, context, namespace)
        if isinstance(place, Cluster):
            from capstan.cli.cluster_doctor import look_at

            rows = list(look_at(place))
        else:
            where = place.state
            if fix:
                _bring(quiet=json)
                _compile(quiet=json)
            ports = (("page", page_port), ("gateway", gateway_port))
            rows = [
                *_machine(),
                *_packages(),
                _bytecode(),
                *_tools(),
                *(_port(where, name, port, gateway_port) for name, port in ports),
                *_state(where),
                _example_data(),
            ]
    broken = any(row.health is Health.ERROR for row in rows)
    if json:
        print_json({"healthy": not broken, "rows": [asdict(row) for row in rows]})
    else:
        _print(rows)
    if broken:
        raise typer.Exit(1)


def _machine() -> Iterator[Row]:
    version = platform.python_version()
    fits = OLDEST <= sys.version_info[:2] <= NEWEST
    yield Row(
        "Python",
        Health.OK if fits else Health.ERROR,
        f"{version} at {sys.executable}",
        "" if fits else "Python 3.11, 3.12 or 3.13 is needed: uv tool install --python 3.12 capstan-mlops",
    )
    system = (platform.system(), platform.machine())
    yield Row(
        "platform",
        Health.OK if system in PLATFORMS else Health.ERROR,
        " ".join(system),
        "" if system in PLATFORMS else "Envoy's packages are for Linux x86-64 and arm64 and macOS arm64",
    )
    uv = _uv()
    yield Row(
        "uv",
        Health.OK if uv else Health.ERROR,
        uv or "not found",
        "" if uv else "BentoML runs it on every build of a model: pip install uv",
    )
    memory = _memory()
    if memory is not None:
        enough = memory >= LITTLE_MEMORY
        yield Row(
            "memory",
            Health.OK if enough else Health.WARNING,
            f"{memory / GIB:.1f} GiB available",
            "" if enough else "training and serving take up to 3 GiB; end something else",
        )


def _uv() -> str | None:
    """The program of the package `uv`, as BentoML and `capstan demo` find it."""
    try:
        from uv import find_uv_bin

        return os.fsdecode(find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def _memory() -> int | None:
    import psutil

    available: int = psutil.virtual_memory().available
    return available


def _packages() -> Iterator[Row]:
    for name in PARTS:
        try:
            yield Row(name, Health.OK, metadata.version(name))
        except metadata.PackageNotFoundError:
            if name == "alibi-detect" and sys.version_info >= WITHOUT_ALIBI:
                yield Row(
                    name,
                    Health.OK,
                    "not to be had for this Python; SciPy detects drift, and decides the same",
                )
                continue
            yield Row(
                name,
                Health.ERROR,
                "not installed",
                "installed with Capstan: pip install --force-reinstall capstan-mlops",
            )


def _bytecode() -> Row:
    names = bytecode.uncompiled()
    if not names:
        return Row("bytecode", Health.OK, "the large packages are compiled")
    way = f"the first training compiles them, which takes minutes on a busy machine; {bytecode.FIX} does it before"
    return Row("bytecode", Health.WARNING, f"not compiled yet: {', '.join(names)}", way)


def _compile(*, quiet: bool) -> None:
    if not bytecode.uncompiled():
        return
    if not quiet:
        out.print("compiling Python's packages")
    unwritten = bytecode.compile_packages()
    if unwritten and not quiet:
        out.print(
            f"not compiled: {', '.join(unwritten)} cannot be written by this user; let its owner run "
            f"{bytecode.FIX}, or use an environment of your own",
            markup=False,
            soft_wrap=True,
        )


def _tools() -> Iterator[Row]:
    from capstan.adapters.processes.programs import TOOLS, present, version

    for name, tool in TOOLS.items():
        path = present(name)
        if path is not None:
            yield Row(name, Health.OK, f"{version(tool, path)} at {path}")
        elif tool.debian_package and shutil.which("apt-get") and shutil.which("dpkg"):
            way = "`capstan doctor --fix` or the first `capstan up` takes it out of Debian's package; no service starts"
            yield Row(name, Health.WARNING, "not found", way)
        else:
            yield Row(name, Health.ERROR, "not found", tool.ways)


def _bring(*, quiet: bool) -> None:
    """Take missing programs out of their packages; what can't be had stays missing, and its row says so."""
    from capstan.adapters.processes.programs import TOOLS, find

    for name in TOOLS:
        try:
            find(name, say=(lambda _: None) if quiet else out.print)
        except MissingToolError as error:
            if not quiet:
                err.print(str(error), style="red", markup=False, soft_wrap=True)


def _port(state: StateDir, name: str, port: int, gateway_port: int) -> Row:
    from capstan.adapters.processes.ports_in_use import holder, is_free
    from capstan.adapters.processes.table import holds
    from capstan.embedded.host.members import host_folder

    what = f"port {port} ({name})"
    if is_free(port):
        return Row(what, Health.OK, "free")
    supervisor = state.holder()
    if supervisor is not None or holds(state.processes, port):
        return Row(what, Health.OK, f"in use by this system (process {supervisor or 'left over'})")
    host = host_folder(gateway_port, state).holder()
    if host is not None:
        return Row(what, Health.OK, f"in use by systems of process {host}, which `capstan up FILE` joins")
    by = holder(port).strip() or "by a process of somebody else"
    return Row(what, Health.ERROR, f"in use {by}", f"stop that, or `capstan up FILE --{name}-port N`")


def _state(state: StateDir) -> Iterator[Row]:
    folder = state.root
    while not folder.exists():
        folder = folder.parent
    writable = os.access(folder, os.W_OK | os.X_OK)
    note = "" if state.root.exists() else " (not there yet)"
    yield Row(
        "state directory",
        Health.OK if writable else Health.ERROR,
        f"{state.root}{note}",
        "" if writable else f"{folder} cannot be written; choose another with --state",
    )
    free = shutil.disk_usage(folder).free
    health = Health.ERROR if free < NO_SPACE else Health.WARNING if free < LITTLE_SPACE else Health.OK
    yield Row(
        "disk",
        health,
        f"{free / GIB:.1f} GiB free",
        "" if health is Health.OK else "5 GiB are comfortable; free some, or another disk with --state",
    )
    yield _processes(state)


def _processes(state: StateDir) -> Row:
    from capstan.adapters.processes.table import living_processes

    left = living_processes(state.processes)
    names = ", ".join(sorted(f"{process.name} {process.pid}" for process in left))
    supervisor = state.holder()
    if supervisor is not None:
        return Row("processes", Health.OK, f"supervisor {supervisor}{': ' if names else ''}{names}")
    if left:
        way = "`capstan down` stops them, `capstan up FILE` takes them over"
        return Row("processes", Health.WARNING, f"left by a killed supervisor: {names}", way)
    return Row("processes", Health.OK, "none")


def _example_data() -> Row:
    from capstan.verbs.example import missing_packages, prepared_tables

    tables = prepared_tables()
    if tables is not None:
        return Row("example data", Health.OK, str(tables))
    missing = missing_packages()
    found = (
        f"uv fetches {' and '.join(missing)}" if missing else "no tables yet, what makes them is installed"
    )
    return Row("example data", Health.OK, f"{found}; `capstan demo` makes them")


def _print(rows: list[Row]) -> None:
    from rich.markup import escape
    from rich.table import Table

    colours = {Health.OK: "green", Health.WARNING: "yellow", Health.ERROR: "red"}
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        way = f"\n{row.way_out}" if row.way_out else ""
        table.add_row(
            f"[{colours[row.health]}]{row.health}[/{colours[row.health]}]", row.what, escape(row.found + way)
        )
    out.print(table)
    errors = sum(row.health is Health.ERROR for row in rows)
    warnings = sum(row.health is Health.WARNING for row in rows)
    out.print(f"{errors} errors, {warnings} warnings")
