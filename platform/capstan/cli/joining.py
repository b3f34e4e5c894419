"""`capstan up` where a host runs already: the file joins it, and its story is told until a model serves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from capstan.cli.console import Narrator, out
from capstan.cli.stored_system import read_json
from capstan.errors import CapstanError

if TYPE_CHECKING:
    from capstan.domain.versions import SystemName
    from capstan.embedded.layout import StateDir
    from capstan.ports.store import Store
    from capstan.spec import MLSystem
    from capstan.verbs.background import Starter

LOOK_SECONDS = 0.5
STARTS_SECONDS = 60.0
"""Seconds within which a host has begun to run what joins it."""


def join(system: MLSystem, file: Path, state: StateDir, host: StateDir, starter: Starter) -> None:
    """Let the host run the file too; returns when a model serves. Ctrl-C ends the telling, not the system.

    `starter`: whoever has started this process in the background hears of it too. Raises InvalidSpecError,
    AlreadyRunningError where a system of that name is there already, and CapstanError where the host gave it up.
    """
    from capstan.domain.versions import SystemName
    from capstan.embedded.host.members import Member, members, note, require_own_path
    from capstan.embedded.live import end_elsewhere, store_file
    from capstan.verbs.background import SERVING, STUCK

    name = SystemName(system.metadata.name)
    # It is the first still while its host waits to start its loop again.
    is_first = any(
        one.is_first for one in members(host) if one.system == name and one.state.root == state.root
    )
    if not is_first:
        require_own_path(name)
    store_file(system, state)
    end_elsewhere(state, host)
    note(host, Member(name, state, file.resolve(), is_first))
    out.print(f"{name} joins the systems of process {host.holder()}", soft_wrap=True)
    try:
        is_serving = _follow(name, state, host)
    except KeyboardInterrupt:
        out.print(f"{name} goes on there; `capstan down {file}` ends it")
        raise typer.Exit(130) from None
    if not is_serving:
        starter.hear(STUCK)
        raise CapstanError(
            f"no model serves yet: the first training failed. {name} goes on when its file, a table or the code beside "
            "it is mended"
        )
    addresses = read_json(state.addresses) or {}
    # In the background this goes to a log, and a log holds no token.
    secret = "" if starter.is_there else f"?token={state.page_token()}"
    out.print(f"page     {addresses.get('page')}/{secret}", soft_wrap=True)
    out.print(f"gateway  {addresses.get('gateway')}/predict", soft_wrap=True)
    out.print(f"`capstan predict {file} NEW.csv` asks it, `capstan down {file}` ends it", soft_wrap=True)
    starter.hear(SERVING)


def tell_page_port(page_port: int, host: StateDir) -> None:
    """That the host keeps its page, where that has another port."""
    from capstan.embedded.host.members import members

    pages = [str((read_json(one.state.addresses) or {}).get("page", "")) for one in members(host)]
    if not any(urlsplit(page).port == page_port for page in pages):
        out.print("--page-port is not followed: a running host keeps its page; `capstan down` first")


def _follow(name: SystemName, state: StateDir, host: StateDir) -> bool:
    """Tell its story until a model serves; False where the first training failed.

    Raises CapstanError where its host does not run it any more.
    """
    from capstan.cli.wiring import local_store
    from capstan.domain.reasons import Reason
    from capstan.embedded.first_model import is_serving, is_stuck
    from capstan.embedded.host.members import members
    from capstan.engine.records import system_state
    from capstan.ports.store import Kind

    store = local_store(state.store)
    told = max((number for number, _ in store.events(name)), default=0)
    deadline, failed = time.monotonic() + STARTS_SECONDS, False
    try:
        with Narrator() as narrator:
            while True:
                for number, event in store.events(name, after=told):
                    told = number
                    narrator.tell(event)
                    failed = failed or event.reason == Reason.TRAINING_FAILED
                record = store.get(Kind.SYSTEM, name)
                runs = state.holder() is not None
                if runs and record is not None and is_serving(record) and _answers(state):
                    return True
                # A failure of an earlier life is tried again first.
                if runs and failed and record is not None and is_stuck(system_state(record)):
                    return False
                wanted = host.holder() is not None and any(one.system == name for one in members(host))
                if not wanted or (not runs and time.monotonic() > deadline):
                    raise CapstanError(_why_not(name, store, host))
                # A start that was seen may be followed by another, after an error of the loop.
                deadline = time.monotonic() + STARTS_SECONDS if runs else deadline
                time.sleep(LOOK_SECONDS)
    finally:
        store.close()


def _answers(state: StateDir) -> bool:
    """Whether a version is there for requests: what is stored may be of an earlier life."""
    import httpx

    gateway = (read_json(state.addresses) or {}).get("gateway")
    try:
        return gateway is not None and httpx.get(f"{gateway}/v2/health/ready", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _why_not(name: SystemName, store: Store, host: StateDir) -> str:
    if host.holder() is None:
        return f"{name}: its host ended meanwhile; `capstan up` starts one"
    return (
        f"{name} does not run{_last_failure(name, store)}; the others go on, and what process "
        f"{host.holder()} wrote says why. Mend the file and `capstan up` it again"
    )


def _last_failure(name: SystemName, store: Store) -> str:
    from capstan.domain.reasons import Reason

    reasons = [event.message for _, event in store.events(name) if event.reason == Reason.TRAINING_FAILED]
    return f": {reasons[-1]}" if reasons else ""
