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

    A period becomes the date or the moment at which it begins, an interval its text, a length of time its seconds.
    Raises InvalidDataError for what is no frame, for columns without a name of text or with the same name, and for a
    column that holds values of several kinds, moments with and without an offset among them.
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
            f"{type(frame).__name__} is not a data frame; give one of pandas or Polars, or a table of Arrow"
        )
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise InvalidDataError(f"column {twice[0]!r} is there more than once; name each column differently")
    for place, field in enumerate(table.schema):
        if (column := _as_parquet_keeps(table.column(place), field.name)) is not None:
            table = table.set_column(place, field.name, column)
    return table


def _as_parquet_keeps(column: pa.ChunkedArray, name: str) -> pa.Array | pa.ChunkedArray | None:
    """The column in a type that keeps its meaning in a file; None: it has one.

    A file would keep a length of time as a whole number without its unit, and a period of pandas as its number.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type) and pa.types.is_duration(column.type.value_type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_duration(kind):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        return pc.divide(pc.cast(pc.cast(column, pa.int64()), pa.float64(), safe=False), float(per_second))
    if getattr(kind, "extension_name", "") in ("pandas.period", "pandas.interval"):
        return _column_of(column.to_pandas(), name)
    return None


def _column_of(series: Any, name: str) -> pa.Array:
    """Raises InvalidDataError."""
    import pandas as pd
    import pyarrow as pa

    try:
        found = pa.Array.from_pandas(_plain(series))
        if pd.api.types.is_object_dtype(series.dtype) and pa.types.is_timestamp(found.type):
            kinds = {one.tzinfo is None for one in series if not pd.isna(one)}
            if len(kinds) > 1:
                raise InvalidDataError(
                    f"column {name!r} holds moments with and without an offset; give all of them one, such as by "
                    "pandas.to_datetime(..., utc=True), or none"
                )
    except (
        pa.ArrowInvalid,
        pa.ArrowNotImplementedError,
        TypeError,
        ValueError,
        OverflowError,
    ) as error:
        raise InvalidDataError(
            f"column {name!r} holds values of several kinds, or of one that no table has: {error}; convert it to "
            "numbers, texts or moments"
        ) from error
    return found


def _plain(series: Any) -> Any:
    """The values in types that Arrow and a file know as pandas means them; others are left as they are."""
    import pandas as pd

    dtype: Any = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        parts = pd.Series(dtype.categories)
        plain = _plain(parts)
        # Texts of intervals and dates of periods are as distinct as those are.
        return series if plain is parts else plain.reindex(series.cat.codes.replace(-1, len(plain)))
    if isinstance(dtype, pd.SparseDtype):
        return series.sparse.to_dense()
    if pd.api.types.is_object_dtype(dtype):
        kind = pd.api.types.infer_dtype(series, skipna=True)
        if kind not in ("period", "interval"):
            return series
        series = pd.Series(pd.array(list(series)))
        dtype = series.dtype
    if isinstance(dtype, pd.IntervalDtype):
        return series.map(str, na_action="ignore").astype(object)
    if isinstance(dtype, pd.PeriodDtype):
        begin = series.dt.start_time
        # Periods of hours, 36 of them too, may begin within a day.
        is_of_days = not isinstance(dtype.freq, pd.tseries.offsets.Tick) or isinstance(
            dtype.freq, pd.tseries.offsets.Day
        )
        return begin.dt.date.where(begin.notna(), None) if is_of_days else begin
    return series


def _of_pandas(frame: Any) -> pa.Table:
    import pyarrow as pa

    for name in (*frame.columns, *(one for one in frame.index.names if one is not None)):
        if not isinstance(name, str) or not _is_unicode(name):
            raise InvalidDataError(f"the column {name!r} has a name that is no text; rename it")
    for names, what in ((frame.columns, "column"), (frame.index.names, "level of the index")):
        if twice := _first_twice(names):
            raise InvalidDataError(f"{what} {twice!r} is there more than once; name each column differently")
    frame = _with_its_index(frame)
    return pa.table(
        {name: _column_of(frame.iloc[:, place], name) for place, name in enumerate(frame.columns)}
    )


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
