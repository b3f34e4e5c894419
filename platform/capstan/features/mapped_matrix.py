"""Room for the matrix of many rows: in a mapped file, whose pages the system takes back when others need them.

The file has no name, so it goes with the last process that uses it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capstan.files import write_error

IN_MEMORY = 256 * 2**20
"""Bytes up to which a matrix is held as any other array."""
BATCH_ROWS = 250_000


def is_large(rows: int, columns: int) -> bool:
    """Whether a matrix of floats of 64 bits lies in a file."""
    return rows * columns * 8 > IN_MEMORY


def empty_matrix(rows: int, columns: int) -> npt.NDArray[np.float64]:
    """(rows, columns) of whatever stands there; raises DiskFullError."""
    if not is_large(rows, columns):
        return np.empty((rows, columns))
    try:
        with tempfile.TemporaryFile(prefix="capstan-matrix-") as file:
            file.truncate(rows * columns * 8)
            return np.memmap(file, dtype=np.float64, mode="r+", shape=(rows, columns))
    except OSError as error:
        told = write_error(Path(tempfile.gettempdir()), error, option="the environment variable TMPDIR")
        raise told from error
