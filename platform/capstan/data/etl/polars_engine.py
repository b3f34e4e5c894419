"""What runs a transform by Polars: its SQL over Parquet files, read and written in pieces."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from capstan.data.etl.engines import (
    REASON,
    SELECT,
    Engine,
    Function,
    Made,
    Tables,
    called,
    first_line,
    made_of,
    parquet_files,
    reasons,
)
from capstan.data.etl.polars_sql import types_of_time, with_room
from capstan.errors import DiskFullError, InvalidDataError, MissingExtraError
from capstan.spec.etl import Transform

_RESULT = "capstan_result"
_ZONED = "dt.convert_time_zone("
"""In the plan of a query that reads moments."""
_CAST_TO_MOMENT = re.compile(r"cast\((?:List\()?Datetime\('[^']*', '")
_OTHER_TABLE = re.compile(r"(.+):(.+)")
"""How Polars renames the second of two columns of a name: column, then table."""


@contextmanager
def polars_engine(zone: str) -> Iterator[Engine]:
    """Polars in this process; raises MissingExtraError without it."""
    if find_spec("polars") is None:
        raise MissingExtraError("engine: Polars", "polars")
    yield _Polars(zone)


class _Polars:
    def __init__(self, zone: str) -> None:
        self._zone = zone

    def transform(self, step: Transform, function: Function | None, tables: Tables, target: Path) -> Made:
        marked = target.with_name(f".{target.name}.marked")
        try:
            with _told(step):
                if function is None:
                    frame = self._selected(step, tables)
                else:
                    frame = _lazy(called(step, function, self._scans(tables)))
                whole = self._mark(step, frame, marked)
                return self._keep(step, marked, whole, target)
        finally:
            marked.unlink(missing_ok=True)

    def _scans(self, tables: Tables) -> dict[str, Any]:
        import polars as pl

        found = {}
        for name, table in tables.items():
            scan = pl.scan_parquet(parquet_files(table))
            local = [
                pl.col(column).dt.convert_time_zone(self._zone)
                for column, kind in scan.collect_schema().items()
                if isinstance(kind, pl.Datetime) and kind.time_zone
            ]
            found[name] = scan.with_columns(local)
        return found

    def _selected(self, step: Transform, tables: Tables) -> Any:
        import polars as pl

        if not SELECT.match(step.sql or ""):
            raise InvalidDataError(f"transform.{step.name}: sql must be one select statement")
        scans = {name: _wide(frame) for name, frame in self._scans(tables).items()}
        result = pl.SQLContext(scans).execute(with_room(step.sql or ""), eager=False)
        self._require_moments_alike(step, step.sql or "", result)
        names = result.collect_schema().names()
        for name in names:
            twice = _OTHER_TABLE.fullmatch(name)
            if twice is not None and twice[1] in names:
                raise InvalidDataError(
                    f"transform.{step.name}: two columns are called {twice[1]!r}; list the columns in the place of *, "
                    "and give one of them another name"
                )
        return result

    def _require_moments_alike(self, step: Transform, sql: str, frame: Any) -> None:
        """Raises InvalidDataError where days and clock times meet moments of another zone than UTC."""
        if self._zone == "UTC":
            return
        plan, types = frame.explain(), types_of_time(sql)
        if (_ZONED in plan and types) or "timestamptz" in types or _CAST_TO_MOMENT.search(plan):
            raise InvalidDataError(
                f"transform.{step.name}: Polars takes days and clock times beside moments for those of UTC, and "
                f"the zone is {self._zone}; compare with texts ('2024-03-10'), cut moments by date_trunc or strftime, "
                "or take engine: DuckDB or timeZone: UTC"
            )

    def _mark(self, step: Transform, frame: Any, marked: Path) -> Sequence[str]:
        """Write all rows with the reason of those that do not go on; gives the columns of whole numbers of 128 bits."""
        import polars as pl

        schema = frame.collect_schema()
        if REASON in map(str.casefold, schema):
            raise InvalidDataError(
                f"transform.{step.name}: {REASON!r} is a column of Capstan's own; give it another name"
            )
        context = pl.SQLContext({_RESULT: frame})
        conditions = reasons(step.drop)
        judged = context.execute(
            f"select *, {with_room(conditions)} as {REASON} from {_RESULT}",  # noqa: S608
            eager=False,
        )
        if step.drop:
            self._require_moments_alike(step, conditions, judged)
        whole = [name for name, kind in schema.items() if kind == pl.Int128]
        # Parquet knows no whole numbers of 128 bits.
        judged.with_columns(
            pl.col(whole).cast(pl.Decimal(38, 0)), pl.col(REASON).cast(pl.Int64)
        ).sink_parquet(marked)
        return whole

    def _keep(self, step: Transform, marked: Path, whole: Sequence[str], target: Path) -> Made:
        import polars as pl

        scan = pl.scan_parquet(marked)
        counts = dict(scan.group_by(REASON).len().collect(engine="streaming").iter_rows())
        kept = scan.filter(pl.col(REASON).is_null()).drop(REASON)
        ends = kept.select(
            *(pl.col(name).min().alias(f"{place} least") for place, name in enumerate(whole)),
            *(pl.col(name).max().alias(f"{place} most") for place, name in enumerate(whole)),
        ).collect(engine="streaming")
        narrowed = [
            pl.col(name).cast(_smallest(ends[f"{place} least"].item(), ends[f"{place} most"].item()))
            for place, name in enumerate(whole)
        ]
        moments = [
            pl.col(name).dt.convert_time_zone("UTC")
            for name, kind in kept.collect_schema().items()
            if isinstance(kind, pl.Datetime) and kind.time_zone
        ]
        kept.with_columns(*narrowed, *moments).sink_parquet(target)
        return made_of(step, counts)


def _wide(frame: Any) -> Any:
    """Whole numbers get 128 bits: those of Polars run over without a word."""
    import polars as pl

    narrow = [name for name, kind in frame.collect_schema().items() if kind.is_integer()]
    return frame.with_columns(pl.col(narrow).cast(pl.Int128))


def _smallest(least: Any, most: Any) -> Any:
    """The type for whole numbers between these, as DuckDB's engine writes them."""
    import polars as pl

    if least is None or (least >= -(2**63) and most < 2**63):
        return pl.Int64
    return pl.UInt64 if least >= 0 and most < 2**64 else pl.Decimal(38, 0)


def _lazy(made: Any) -> Any:
    """A LazyFrame of what a function of a person's own gave."""
    import polars as pl

    if isinstance(made, pl.LazyFrame):
        return made
    if isinstance(made, pl.DataFrame):
        return made.lazy()
    if hasattr(made, "iloc"):
        return pl.from_pandas(made).lazy()
    return pl.DataFrame(pl.from_arrow(made)).lazy()


@contextmanager
def _told(step: Transform) -> Iterator[None]:
    """Polars' errors as Capstan's."""
    import polars.exceptions as of_polars

    lacking = (of_polars.SQLInterfaceError, of_polars.SQLSyntaxError, of_polars.SchemaError)
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            raise DiskFullError(f"transform.{step.name}: no room left: {first_line(error)}") from error
        raise InvalidDataError(f"transform.{step.name}: {first_line(error)}") from error
    except (of_polars.PolarsError, of_polars.PanicException) as error:
        way_out = (
            "; where Polars cannot say it in SQL, write the step as python, or take engine: DuckDB"
            if isinstance(error, lacking) and step.sql is not None
            else ""
        )
        raise InvalidDataError(f"transform.{step.name}: {first_line(error)}{way_out}") from error
