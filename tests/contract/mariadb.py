"""A real MariaDB on this machine, whose programs are a package of Debian's: `make mariadb`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql

from capstan.adapters.processes.ports_in_use import free_port

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
START_SECONDS = 60
PASSWORD = "hunter2"


@contextmanager
def mariadb() -> Iterator[str]:
    """The address of a server of this caller alone, with an empty database `shop`."""
    program, install = (shutil.which(name, path=PATH) for name in ("mariadbd", "mariadb-install-db"))
    assert program is not None, "tests of MariaDB need its server: run `make mariadb`"
    assert install is not None, "tests of MariaDB need mariadb-install-db: run `make mariadb`"
    folder = Path(tempfile.mkdtemp(prefix="capstan-mariadb-"))
    port = free_port()
    as_root = ["--user=root"] if os.geteuid() == 0 else []
    # Two servers that are installed at once would take the same names in /tmp.
    (folder / "tmp").mkdir()
    places = [f"--datadir={folder / 'data'}", f"--tmpdir={folder / 'tmp'}", *as_root]
    log = folder / "server.log"
    made = subprocess.run(
        [install, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", *places],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    with log.open("wb") as written:
        server = subprocess.Popen(
            [
                *(program, "--no-defaults", *places, f"--port={port}", "--bind-address=127.0.0.1"),
                *(
                    f"--socket={folder / 'socket'}",
                    f"--pid-file={folder / 'pid'}",
                    "--innodb-flush-log-at-trx-commit=0",
                ),
                *("--default-time-zone=+03:00", "--skip-log-bin"),
            ],
            stdout=written,
            stderr=written,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                connection = pymysql.connect(host="127.0.0.1", port=port, user="root", autocommit=True)
            except pymysql.err.OperationalError:
                time.sleep(0.1)
                continue
            break
        with connection, connection.cursor() as cursor:
            cursor.execute("create database shop character set utf8mb4")
            cursor.execute(f"create user capstan@'127.0.0.1' identified by '{PASSWORD}'")
            cursor.execute("grant all on *.* to capstan@'127.0.0.1'")
        yield f"mariadb://capstan:{PASSWORD}@127.0.0.1:{port}/shop"
    finally:
        server.kill()
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)
