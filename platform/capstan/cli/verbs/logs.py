"""`capstan logs`: what the processes and the training runs wrote."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, out, print_json
from capstan.cli.place import Context, Namespace, place_of
from capstan.cluster.places import Cluster
from capstan.errors import NotFoundError

app = App()

LOOK_SECONDS = 0.25
LAST = "last"
"""Stands for the run that wrote last."""
RUN_LOG = "run.log"
_BLOCK = 65_536


@app.command(epilog="Example: capstan logs v1 -f")
def logs(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A process (v1, envoy, monitor, supervisor, ...), a run or `last`, the newest; in a cluster a pod, a "
            "version, a run or `last`; default: list them.",
            show_default=False,
        ),
    ] = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    lines: Annotated[int, typer.Option("--lines", min=0, help="So many lines from the end.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Show the end of a log, or list all logs."""
    with honest_errors(json):
        place = place_of(state, context, namespace)
        if isinstance(place, Cluster):
            from capstan.cli.pod_logs import list_pods, show_pods

            if name is None:
                list_pods(place, json)
                return
            with contextlib.suppress(KeyboardInterrupt):
                show_pods(place, name, lines, follow, json)
            return
        found = _logs(state.resolve())
        if name is None:
            _list(found, state, json)
            return
        file = _chosen(found, name, state)
        text, end = _tail(file, lines)
        if json:
            print_json({"log": str(file), "lines": text.splitlines()})
            return
        out.out(text, end="", highlight=False)
        if follow:
            try:
                for more in _growth(file, end):
                    out.out(more, end="", highlight=False)
            except KeyboardInterrupt:
                return


def _logs(root: Path) -> dict[str, Path]:
    """By name: of the processes, those that systems share first, then of the runs. `SYSTEM/log` where it is beside."""
    from capstan.embedded.layout import StateDir

    here = StateDir(root)
    host = here.last_host
    folders = [*([host.logs] if host is not None else []), here.logs]
    processes = {file.stem: file for folder in folders for file in sorted(folder.glob("*.log"))}
    runs = {file.parent.name: file for file in sorted(root.glob(f"systems/*/runs/*/{RUN_LOG}"))}
    beside = {
        f"{other.root.name}/{name}": file
        for other in here.all_beside()
        for name, file in _logs(other.root).items()
    }
    return {**beside, **runs, **processes}


def _list(found: dict[str, Path], state: Path, json: bool) -> None:
    if json:
        print_json({name: {"path": str(file), "bytes": file.stat().st_size} for name, file in found.items()})
        return
    if not found:
        out.print(
            f"no logs in {state}; `capstan up FILE` or `capstan replay FILE` writes some", soft_wrap=True
        )
        return
    from rich.table import Table

    table = Table("log", "size", "written", box=None, pad_edge=False)
    for name, file in sorted(found.items(), key=lambda item: item[1].stat().st_mtime, reverse=True):
        stat = file.stat()
        written = time.strftime("%Y-%m-%d %H:%M", time.localtime(stat.st_mtime))
        table.add_row(name, f"{stat.st_size:,}", written)
    out.print(table)


def _chosen(found: dict[str, Path], name: str, state: Path) -> Path:
    if name == LAST and (runs := [file for file in found.values() if file.name == RUN_LOG]):
        return max(runs, key=lambda file: file.stat().st_mtime)
    if name in found:
        return found[name]
    matching = [file for other, file in found.items() if other.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    there = ", ".join(sorted(found)) or "none"
    raise NotFoundError(
        f"log {name!r}: {'more than one begins so' if matching else 'not there'} in {state}; logs: {there}"
    )


def _tail(file: Path, lines: int) -> tuple[str, int]:
    """The last lines, read from the end, and where the file ended then."""
    with file.open("rb") as log:
        end = start = log.seek(0, 2)
        content = b""
        while start and content.count(b"\n") <= lines:
            start = max(0, start - _BLOCK)
            log.seek(start)
            content = log.read(end - start)
    kept = content.splitlines(keepends=True)[-lines:] if lines else []
    return b"".join(kept).decode("utf-8", "replace"), end


def _growth(file: Path, since: int) -> Iterator[str]:
    """What is written from now on; a log that was emptied because it was too long is read from its beginning."""
    while True:
        try:
            size = file.stat().st_size
            if size < since:
                since = 0
            if size > since:
                with file.open("rb") as log:
                    log.seek(since)
                    content = log.read()
                since += len(content)
                yield content.decode("utf-8", "replace")
        except FileNotFoundError:
            since = 0
        time.sleep(LOOK_SECONDS)
