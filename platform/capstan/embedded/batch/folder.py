"""A batch on disk: a Parquet file for each partition, which appears when it is whole, and a manifest of all.

What a partition follows from, and what became of its rows, stands in the footer of its own file. So a file that is
there says by itself whether it still holds, whenever a kill comes. The manifest tells it all to people and programs.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from capstan.domain.batches import PartitionInputs, Reconciled
from capstan.errors import AlreadyRunningError, NotAllowedError
from capstan.files import write_error, write_whole

MANIFEST = "manifest.json"
REFUSED = "refused"
"""Folder of the rows that were refused."""
OPTION = "--output"
_FOOTER = b"capstan.batch"
_NAMED = re.compile(r"(\d{4,}-\d\d-\d\d-)?\d{4,}\.(parquet|refused)")
_UNFINISHED = ".unfinished"
Aside = Callable[[dict[str, Any]], None]
"""Takes a refused row."""


@dataclass(frozen=True)
class Finished:
    """A partition that is written."""

    inputs: PartitionInputs
    rows: Reconciled


@dataclass(frozen=True)
class BatchFolder:
    """The folder of one batch: one system, one stretch of time."""

    root: Path

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Hold the folder for one run; raises AlreadyRunningError while another has it.

        What a killed run left half-written is removed.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise write_error(self.root, error, option=OPTION) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise AlreadyRunningError(
                    f"{self.root}: another batch is being written here; wait for it, or name another folder with "
                    f"{OPTION}"
                ) from error
            for left in self.root.glob(f".*{_UNFINISHED}"):
                # The folder may be somebody else's, as `require` finds out.
                if _NAMED.fullmatch(left.name[1 : -len(_UNFINISHED)]) is not None:
                    left.unlink(missing_ok=True)
            yield
        finally:
            os.close(handle)

    def require(self, batch: Mapping[str, str | None]) -> None:
        """Raises NotAllowedError where the folder holds another batch, or files of somebody else."""
        try:
            found = orjson.loads((self.root / MANIFEST).read_bytes())
            holds = {name: found.get(name) for name in batch}
        except FileNotFoundError:
            strangers = sorted(path.name for path in self.root.iterdir() if not path.name.startswith("."))
            if not strangers:
                return
            raise NotAllowedError(
                f"{self.root}: holds {strangers[0]!r} and no batch of Capstan; name an empty folder with {OPTION}"
            ) from None
        except (OSError, ValueError, AttributeError) as error:
            raise NotAllowedError(
                f"{self.root / MANIFEST}: cannot be read: {error}; name an empty folder with {OPTION}"
            ) from error
        if holds != batch:
            told = ", ".join(
                f"{name} {found.get(name) or 'open'}" for name in batch if holds[name] != batch[name]
            )
            raise NotAllowedError(
                f"{self.root}: holds another batch ({told}); name another folder with {OPTION}, or ask for that one"
            )

    def finished(self, name: str) -> Finished | None:
        """What the partition's file says of itself; None where there is none, or one that is not whole."""
        try:
            footer = pq.read_metadata(self._file(name))
            found = finished_of(orjson.loads((footer.metadata or {})[_FOOTER]))
            rows = found.rows
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
            return None
        is_whole = footer.num_rows == rows.written and rows.adds_up
        return found if is_whole and (not rows.refused_rows or self._refused(name).is_file()) else None

    def is_there(self, name: str) -> bool:
        """Whether there is a file of the partition, whatever it holds."""
        return self._file(name).exists()

    def write(
        self, name: str, schema: pa.Schema, tables: Callable[[Aside], Iterable[pa.Table]], finished: Finished
    ) -> None:
        """Write a partition; its rows are counted in `finished` as the tables come. Raises DiskFullError, CapstanError.

        `tables` gets where refused rows are put. The old file stays until the new one is whole and on the disk, and
        so are the refused rows.
        """
        unfinished = self.root / f".{name}.parquet{_UNFINISHED}"
        refused = RefusedRows(self._refused(name), self.root / f".{name}.refused{_UNFINISHED}")
        try:
            with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
                for table in tables(refused.keep):
                    writer.write_table(table)
                writer.add_key_value_metadata({_FOOTER: orjson.dumps(told_of(finished))})
            with unfinished.open("rb+") as file:
                os.fsync(file.fileno())
            refused.finish()
            os.replace(unfinished, self._file(name))
        except OSError as error:
            raise write_error(self.root, error, option=OPTION) from error
        finally:
            refused.close()
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def others(self, names: Collection[str]) -> list[str]:
        """Names of partitions that are there and not among these; a file of somebody else is none."""
        found = {
            path.stem
            for path in self.root.iterdir()
            if _NAMED.fullmatch(path.name) is not None and path.stem not in names and _is_own(path)
        }
        return sorted(found)

    def remove(self, names: Iterable[str]) -> None:
        """Remove partitions; raises CapstanError."""
        try:
            for name in names:
                self._file(name).unlink(missing_ok=True)
                self._refused(name).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.root, error, option=OPTION) from error

    def write_manifest(self, document: Mapping[str, Any]) -> None:
        """Replace the manifest at once; raises DiskFullError, CapstanError."""
        write_whole(
            self.root / MANIFEST,
            orjson.dumps(document, option=orjson.OPT_INDENT_2),
            mode=0o644,
            survives_power_cut=True,
        )

    def _file(self, name: str) -> Path:
        return self.root / f"{name}.parquet"

    def _refused(self, name: str) -> Path:
        return self.root / REFUSED / f"{name}.jsonl"


class RefusedRows:
    """Rows of a partition that the model may not answer, kept aside for people: one JSON object a line."""

    def __init__(self, file: Path, unfinished: Path) -> None:
        self._final, self._unfinished = file, unfinished
        self._open: BinaryIO | None = None

    def keep(self, row: dict[str, Any]) -> None:
        """Raises OSError."""
        if self._open is None:
            self._open = self._unfinished.open("wb")
        self._open.write(orjson.dumps(row, default=str, option=orjson.OPT_APPEND_NEWLINE))

    def finish(self) -> None:
        """They are on the disk under their name, or nothing is where none was refused; raises OSError."""
        if self._open is None:
            self._final.unlink(missing_ok=True)
            return
        self._open.flush()
        os.fsync(self._open.fileno())
        self._final.parent.mkdir(exist_ok=True)
        os.replace(self._unfinished, self._final)

    def close(self) -> None:
        """What is unfinished is removed."""
        if self._open is not None:
            with suppress(OSError):
                self._open.close()
        with suppress(OSError):
            self._unfinished.unlink(missing_ok=True)


def _is_own(file: Path) -> bool:
    try:
        return _FOOTER in (pq.read_metadata(file).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def finished_of(told: Mapping[str, Any]) -> Finished:
    """A partition as `told_of` tells it; raises KeyError, TypeError, ValueError."""
    rows = Reconciled(told["read"], told["written"], Counter(told["refused"]), list(told["examples"]))
    return Finished(PartitionInputs(**told["inputs"]), rows)


def told_of(finished: Finished) -> dict[str, Any]:
    """What a partition's file says of itself, as JSON."""
    rows = finished.rows
    return {
        "inputs": asdict(finished.inputs),
        "read": rows.read,
        "written": rows.written,
        "refused": dict(rows.refused),
        "examples": rows.examples,
    }


def folder_name(start: datetime | None, end: datetime | None) -> str:
    """`2013-02-01--2013-03-01`, in UTC."""
    return f"{'first' if start is None else _short(start)}--{'last' if end is None else _short(end)}"


def _short(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}" if moment.time() == moment.min.time() else f"{moment:%Y-%m-%dT%H%M%SZ}"
