"""`capstan up` and `capstan down`: run a system live on this machine, and stop it without leaving anything behind."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.background import start_in_background
from capstan.cli.console import (
    DEFAULT_GATEWAY_PORT,
    DEFAULT_PAGE_PORT,
    DEFAULT_STATE,
    File,
    GatewayPort,
    Json,
    Narrator,
    PagePort,
    State,
    err,
    honest_errors,
    out,
    print_json,
)
from capstan.cli.interrupt import Interrupt
from capstan.cli.place import Context, Machine, Namespace, place_for, place_of
from capstan.cli.stored_system import StoredSystem, SystemOption, open_store, open_system
from capstan.cluster.places import Cluster
from capstan.errors import CapstanError, NotAllowedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capstan.embedded.host.leaving import Left
    from capstan.embedded.layout import StateDir
    from capstan.embedded.wiring import LocalSystem
    from capstan.ports.store import Store
    from capstan.spec import MLSystem

app = App()

PORTS = {"page_port": "--page-port", "gateway_port": "--gateway-port"}


@app.command(epilog="Example: capstan up system.yaml --detach")
def up(
    ctx: typer.Context,
    file: File,
    state: State = DEFAULT_STATE,
    detach: Annotated[
        bool, typer.Option("--detach", help="Go on in the background; return when a model serves.")
    ] = False,
    page_port: PagePort = DEFAULT_PAGE_PORT,
    gateway_port: GatewayPort = DEFAULT_GATEWAY_PORT,
    context: Context = None,
    namespace: Namespace = None,
    wait: Annotated[bool, typer.Option(help="In a cluster: tell the story until the system serves.")] = True,
    timeout: Annotated[float, typer.Option(min=1, help="In a cluster: seconds until it must serve.")] = 1800,
    ready_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Bring the system up live and keep it what the file says: train, serve, watch, retrain, promote.

    If other systems run at the gateway's port, this one joins them and answers at `/NAME/predict`. If this system runs
    already, it is given the changed file; the command says what follows, as `capstan plan` does before.
    Ctrl-C stops everything cleanly (exit 0). State stays, and `capstan up` goes on from it. If the first training
    fails, the page stays up. The next training begins once the file, a table or the code beside it has changed.

    With --context the file is applied to that cluster, where the operator brings it up and Ctrl-C ends nothing.
    """
    with honest_errors():
        from capstan.spec import load

        system = load(file)
        place = place_for(system, state, context, namespace)
        if isinstance(place, Cluster):
            from capstan.cli.cluster_up import apply_system

            apply_system(place, system, wait=wait, timeout=timeout)
            return
        from capstan.embedded.host.members import host_folder

        where = place.state
        holder, host = where.holder(), host_folder(gateway_port, place.state)
        if holder is not None:
            asked = [name for name in PORTS if _is_given(ctx, name)]
            _hand_over(system, where, holder, asked)
        elif host.holder() is not None:
            from capstan.cli.joining import join, tell_page_port
            from capstan.verbs.background import Starter

            if _is_given(ctx, "page_port") and ready_fd is None:
                tell_page_port(page_port, host)
            join(system, file, where, host, Starter(ready_fd))
        elif detach:
            # What the background says goes to a log, while one waits here.
            Narrator().say_why_slow()
            start_in_background(file, where, page_port, gateway_port)
        else:
            _run(system, file, where, page_port, gateway_port, ready_fd)


def _run(
    system: MLSystem, file: Path, state: StateDir, page_port: int, gateway_port: int, ready_fd: int | None
) -> None:
    """Raises typer.Exit with 1 where it is stopped before any model was trained."""
    from capstan.cli.joining import join
    from capstan.embedded.host.host import Host, HostRunsError
    from capstan.embedded.host.members import Member, host_folder
    from capstan.embedded.mending import Mending
    from capstan.embedded.wiring import Addresses
    from capstan.verbs.background import SERVING, STUCK, Starter

    _tell_changes(system, state)
    starter, host = Starter(ready_fd), host_folder(gateway_port, state)
    mending = Mending(file, lambda: starter.hear(STUCK))
    with Interrupt() as interrupt, Narrator() as narrator:
        narrator.say_why_slow()

        def on_up(local: LocalSystem) -> None:
            # In the background this goes to a log, and a log holds no token.
            secret = f"?token={local.state.page_token()}" if ready_fd is None else ""
            # A first alone needs no name.
            whose = f" of {local.name}" if local.addresses.gateway_path else ""
            narrator.say(f"page     {local.addresses.page}/{secret}")
            narrator.say(f"gateway  {local.addresses.gateway}/predict{whose}")

        def on_serving(local: LocalSystem) -> None:
            for line in _how_to_ask(local):
                narrator.say(line)
            if local.name == system.metadata.name:
                starter.hear(SERVING)

        def mending_of(member: Member) -> Mending:
            return mending if member.system == system.metadata.name else Mending(member.file)

        has_lost_race = False
        try:
            Host(
                host,
                narrator,
                Addresses(page_port=page_port, gateway_port=gateway_port),
                interrupt.is_set,
                on_up,
                on_serving,
                mending_of,
            ).run(system, file, state)
        except HostRunsError:
            # Another `up` of the same moment was quicker.
            has_lost_race = True
    if has_lost_race:
        join(system, file, state, host, starter)
        return
    if mending.is_stuck:
        out.print("stopped; no model was trained, so that nothing ever served")
        raise typer.Exit(1)
    out.print("stopped; state stays, `capstan up` goes on from it")


def _how_to_ask(local: LocalSystem) -> list[str]:
    from capstan.cli.asking import EXAMPLE_ID, event_lines, feedback_lines, predict_line
    from capstan.embedded.sample_request import sample_request
    from capstan.engine.records import system_state
    from capstan.ports.store import Kind
    from capstan.tasks import task_of

    record = local.store.get(Kind.SYSTEM, local.name)
    champion = system_state(record).champion if record is not None else None
    body = sample_request(local, champion, identity=EXAMPLE_ID) if champion is not None else None
    token = f"$(cat {shlex.quote(str(local.state.token_file('feedback')))})"
    label = task_of(local.system.spec).label
    whose = f" of {local.name}" if local.addresses.gateway_path else ""
    return [
        f"{champion.name if champion else 'the champion'}{whose} serves; ask it:",
        predict_line(f"{local.addresses.gateway}/predict", body),
        *feedback_lines(f"{local.addresses.gateway}/feedback", token, body, label),
        *event_lines(f"{local.addresses.gateway}/events", token, local.system.spec.evaluation.online),
    ]


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _hand_over(system: MLSystem, state: StateDir, holder: int, ports: Sequence[str]) -> None:
    """Tell what follows of a changed file, and what of the command line does not."""
    from capstan.embedded.live import submit_change

    name = system.metadata.name
    with open_store(state.root) as (_, store):
        told = _changed_since(Machine(state), store, system)
        generation = submit_change(system, state, store)
    if generation is not None:
        out.print(f"{name}: generation {generation} is stored; process {holder} goes on by it")
        for line in told:
            out.print(line, soft_wrap=True)
    else:
        out.print(f"{name}: process {holder} runs it already, the file says the same")
    for port in ports:
        out.print(f"{PORTS[port]} is not followed: a running system keeps its ports; `capstan down` first")


def _changed_since(place: Machine, store: Store, system: MLSystem) -> list[str]:
    """Lines about what follows; none where nothing is stored or all is the same."""
    from capstan.cli.changes_shown import told_changes
    from capstan.ports.store import Kind

    record = store.get(Kind.SYSTEM, system.metadata.name)
    return told_changes(StoredSystem(place, store, record), system) if record is not None else []


def _tell_changes(system: MLSystem, state: StateDir) -> None:
    """Of a system that ran here before, and by another file."""
    if not state.store.exists():
        return
    with open_store(state.root) as (_, store):
        told = _changed_since(Machine(state), store, system)
    if told:
        out.print("the file was changed since the system last ran")
    for line in told:
        out.print(line, soft_wrap=True)


@app.command(epilog="Example: capstan down system.yaml")
def down(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Only the system of this file; default: all that run with it.", show_default=False
        ),
    ] = None,
    system: SystemOption = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    delete: Annotated[
        bool,
        typer.Option(
            "--delete", help="Also delete the system: its records, and aliases if the file says so."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds for a clean stop or deletion; then it is killed.")
    ] = 90,
    json: Json = False,
) -> None:
    """Stop what runs here, and what a killed supervisor left. State stays, unless --delete is given.

    With a FILE only its system is stopped. Others that share its gateway and page go on.
    """
    with honest_errors(json):
        from capstan.embedded.host.members import host_of
        from capstan.embedded.live import take_down

        place = place_of(state, context, namespace)
        if file is not None:
            from capstan.spec import load

            loaded = load(file)
            system, place = system or loaded.metadata.name, place_for(loaded, state, context, namespace)
        if isinstance(place, Cluster):
            _down_in_cluster(place, system, delete, yes, timeout, json)
            return
        where = place.state if file is not None else _where_it_runs(place.state)
        host = host_of(where)
        deleted = _delete(where, system, yes, timeout) if delete else None
        if file is not None and system is not None:
            from capstan.embedded.host.leaving import leave

            left = leave(system, where, wait_seconds=timeout)
            if left is not None:
                _tell_left(left, deleted, json)
                return
        if not where.root.exists():
            if json:
                print_json({"supervisor": None, "killed": False, "orphans": [], "deleted": deleted})
            else:
                out.print(f"nothing ever ran in {where.root}", soft_wrap=True)
            return
        done = take_down(where, host=host, wait_seconds=timeout)
    if json:
        print_json(
            {
                "supervisor": done.supervisor,
                "killed": done.killed,
                "orphans": done.orphans,
                "deleted": deleted,
            }
        )
        return
    if done.supervisor is not None:
        how = "killed after it did not stop in time" if done.killed else "stopped"
        out.print(f"process {done.supervisor} and all that it ran: {how}")
    if done.orphans:
        out.print(f"left by a killed supervisor and stopped: {', '.join(done.orphans)}")
    if done.supervisor is None and not done.orphans:
        out.print("nothing was running")


def _where_it_runs(state: StateDir) -> StateDir:
    """The folder itself, or one beside it where only that runs, or was left by a killed host."""
    from capstan.embedded.host.members import host_of

    folders = [state, *state.all_beside()]
    runs = (one for one in folders if one.holder() is not None)
    left = (one for one in folders if host_of(one) is not None)
    return next(runs, None) or next(left, state)


def _tell_left(left: Left, deleted: bool | None, json: bool) -> None:
    if json:
        print_json({"supervisor": left.host, "left": left.system, "others": left.others, "deleted": deleted})
        return
    others = ", ".join(left.others)
    out.print(
        f"{left.system}: {'deleted and ' if deleted else ''}stopped; {others} goes on in process {left.host}"
    )


def _down_in_cluster(
    place: Cluster, system: str | None, delete: bool, yes: bool, timeout: float, json: bool
) -> None:
    from capstan.cli.cluster_up import delete_system

    if not delete:
        raise NotAllowedError(
            "down: in a cluster the operator keeps a system up; `suspend: true` in its file stops all but serving, "
            "--delete removes it"
        )
    name = delete_system(place, system, yes=yes, timeout=timeout)
    if json:
        print_json({"deleted": True, "system": name})


def _delete(state: StateDir, name: str | None, yes: bool, timeout: float) -> bool:
    """Ask the loop for the deletion and wait for it; False where it will be done at the next `capstan up`."""
    from datetime import UTC, datetime

    from capstan.engine.commands import delete

    with open_system(Machine(state), name) as stored:
        if not yes:
            typer.confirm(
                f"Delete {stored.name}: all its records and its story's objects?", abort=True, err=True
            )
        delete(stored.store, stored.name, at=datetime.now(UTC))
        if state.holder() is None:
            err.print(
                f"{stored.name}: deletion is asked for; nothing runs, so the next `capstan up` carries it out"
            )
            return False
        deadline = time.monotonic() + timeout
        while stored.again() is not None:
            if time.monotonic() > deadline:
                raise CapstanError(
                    f"{stored.name} is not deleted after {timeout:g} s; it goes on, see `capstan status`"
                )
            time.sleep(0.2)
        return True
