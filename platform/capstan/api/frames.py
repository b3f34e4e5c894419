"""Data frames as tables of a file, and answers as data frames."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from capstan.errors import InvalidDataError
from capstan.files import write_error

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    Frame: TypeAlias = pd.DataFrame | pl.DataFrame | pa.Table


def as_table(frame: Frame) -> pa.Table:
    """The rows as an Arrow table: of a pandas frame NaN is a missing value, and an index with a name is a column.

    Raises InvalidDataError for what is no frame, for columns without a name of text or with the same name, and for a
    column that holds values of several kinds.
    """
    import pyarrow as pa

    kind = type(frame).__module__.partition(".")[0]
    if isinstance(frame, pa.Table):
        table = frame
    elif kind == "pandas" and hasattr(frame, "columns"):
        table = _of_pandas(frame)
    elif kind == "polars" and callable(getattr(frame, "to_arrow", None)):
        table = frame.to_arrow()  # type: ignore[operator]
    else:
        raise InvalidDataError(
            f"{type(frame).__name__} is no data frame that is known; give one of pandas or Polars, or a table of Arrow"
        )
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise InvalidDataError(f"column {twice[0]!r} is there more than once; name each column differently")
    return table


def _of_pandas(frame: Any) -> pa.Table:
    import pyarrow as pa

    for name in (*frame.columns, *(one for one in frame.index.names if one is not None)):
        if not isinstance(name, str) or not _is_unicode(name):
            raise InvalidDataError(f"the column {name!r} has a name that is no text; rename it")
    for names, what in ((frame.columns, "column"), (frame.index.names, "level of the index")):
        if twice := _first_twice(names):
            raise InvalidDataError(f"{what} {twice!r} is there more than once; name each column differently")
    frame = _with_its_index(frame)
    columns = {}
    for place, name in enumerate(frame.columns):
        try:
            columns[name] = pa.Array.from_pandas(frame.iloc[:, place])
        except (
            pa.ArrowInvalid,
            pa.ArrowTypeError,
            pa.ArrowNotImplementedError,
            OverflowError,
            UnicodeError,
        ) as error:
            raise InvalidDataError(
                f"column {name!r} holds values of several kinds, or of one that no table has: {error}; convert it to "
                "numbers, texts or moments"
            ) from error
    return pa.table(columns)


def _first_twice(names: Iterable[Any]) -> str | None:
    counts = Counter(name for name in names if name is not None)
    return next((name for name, count in counts.items() if count > 1), None)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeError:
        return False
    return True


def _with_its_index(frame: Any) -> Any:
    """The frame with the named parts of its index as columns; those that are columns too must say the same."""
    import pandas as pd

    named = [name for name in frame.index.names if name is not None]
    for name in named:
        if name in frame.columns and not frame.index.get_level_values(name).equals(pd.Index(frame[name])):
            raise InvalidDataError(f"{name!r} is index and column, with different values; rename one")
    new = [name for name in named if name not in frame.columns]
    return frame.reset_index(level=new) if new else frame


def as_parquet(frame: Frame, file: Path) -> None:
    """Write the rows; moments are kept to the microsecond. Raises InvalidDataError, DiskFullError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = as_table(frame)
    try:
        pq.write_table(table, file, coerce_timestamps="us", allow_truncated_timestamps=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InvalidDataError(f"the frame cannot be kept as Parquet: {error}") from error
    except OSError as error:
        raise write_error(file, error) from error


@contextmanager
def in_a_file(frame: Frame) -> Iterator[Path]:
    """The rows as a Parquet file, while it is read."""
    with tempfile.TemporaryDirectory(prefix="capstan-rows-") as folder:
        file = Path(folder, "rows.parquet")
        as_parquet(frame, file)
        yield file


def index_of(frame: Frame) -> Any:
    """The index of a pandas frame; None: rows have numbers."""
    return getattr(frame, "index", None)


def answers(rows: Sequence[dict[str, Any]], index: Any, columns: Sequence[str]) -> pd.DataFrame:
    """Answers by the index of the frame that was asked; `columns` come last, whether or not a row has them."""
    import pandas as pd

    names = [*dict.fromkeys(name for row in rows for name in row if name not in columns), *columns]
    return pd.DataFrame(
        {name: _column([row.get(name) for row in rows], index) for name in names}, index=index
    )


def _column(values: list[Any], index: Any) -> pd.Series[Any]:
    import pandas as pd

    there = [one for one in values if one is not None]
    dtype = None
    if there and len(there) < len(values) and all(type(one) is int for one in there):
        # A missing value would make floats of whole numbers, which hold no id above 2^53.
        dtype = "Int64" if all(-(2**63) <= one < 2**63 for one in there) else "object"
    return pd.Series(values, index=index, dtype=dtype)
