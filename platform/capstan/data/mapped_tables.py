"""Large tables lie in a file that is mapped into memory: the system takes their pages back when others need them.

The file has no name once it is mapped, so it goes with the last process that reads it, however that ends.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from capstan.files import write_error

IN_MEMORY = 256 * 2**20
"""Bytes up to which a table is held as it is."""
BATCH_ROWS = 250_000


def mapped(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """The batches as one table, of which this process holds one batch at a time; raises DiskFullError."""
    path = ""
    try:
        handle, path = tempfile.mkstemp(prefix="capstan-table-", suffix=".arrow")
        with os.fdopen(handle, "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return pa.ipc.open_file(pa.memory_map(path)).read_all()
    except OSError as error:
        told = write_error(Path(tempfile.gettempdir()), error, option="the environment variable TMPDIR")
        raise told from error
    finally:
        if path:
            os.unlink(path)


def filtered(table: pa.Table, keep: pa.ChunkedArray | pa.Array) -> pa.Table:
    """The rows for which `keep` is true, as `Table.filter` gives them; of a large table in a mapped file.

    Raises DiskFullError.
    """
    if pc.all(keep, skip_nulls=False).as_py():
        return table
    if table.nbytes <= IN_MEMORY:
        return table.filter(keep)
    return mapped(table.schema, _kept(table, keep))


def _kept(table: pa.Table, keep: pa.ChunkedArray | pa.Array) -> Iterator[pa.RecordBatch]:
    begin = 0
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        within = keep.slice(begin, batch.num_rows)
        begin += batch.num_rows
        if isinstance(within, pa.ChunkedArray):
            within = within.combine_chunks()
        yield batch.filter(within)
