"""A new SQLite file of MLflow, with its tables.

MLflow makes the tables of each new file by all migrations that it ever had, which takes seconds of a processor. So they
are made once for each release of MLflow, in the cache, and a new file begins as a copy.
"""

from __future__ import annotations

import os
import secrets
import shutil
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from capstan.files import cache_home


def make(tracking_uri: str) -> None:
    """Make the SQLite file of that address with MLflow's empty tables.

    Nothing is done for a file that is there, and for other databases and servers. Where the file or the cache cannot be
    written, MLflow still makes the tables itself, and its error names the file.
    """
    if not tracking_uri.startswith("sqlite"):
        return
    # An installation that asks a server only has the client alone, which brings no SQLAlchemy.
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    engine = sqlalchemy.create_engine(tracking_uri)
    file = Path(engine.dialect.create_connect_args(engine.url)[0][0])
    if not file.is_absolute() or file.exists() or not file.parent.is_dir():
        return
    copy = _beside(file)
    try:
        shutil.copyfile(_tables(), copy)
        # Another process may have made the file meanwhile, and is not overwritten.
        os.link(copy, file)
    except (OSError, RuntimeError, SQLAlchemyError):
        # RuntimeError is of a user without a home.
        return
    finally:
        copy.unlink(missing_ok=True)


def _tables() -> Path:
    """An SQLite file with the tables of the installed MLflow, and nothing in them."""
    kept = cache_home() / "mlflow" / f"tables-{version('mlflow')}.db"
    if not kept.exists():
        from mlflow.db import upgrade

        kept.parent.mkdir(parents=True, exist_ok=True)
        made = _beside(kept)
        try:
            upgrade.callback(f"sqlite+pysqlite:///{quote(str(made))}")
            made.replace(kept)
        finally:
            made.unlink(missing_ok=True)
    return kept


def _beside(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
