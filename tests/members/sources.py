"""A kind of source that is not there: Arrow files."""

from __future__ import annotations

from members.toy import Edit, Toy

SOURCE = Toy(
    "source",
    edits=(
        Edit(
            "platform/capstan/spec/data.py",
            "class DatabaseSource(SourceSettings):\n",
            '''class ArrowSource(FileSource):
    """An Arrow file."""

    time_column: ColumnName | None = Field(None, description=_TIME_COLUMN, examples=["created_at"])


''',
            before=True,
        ),
        Edit("platform/capstan/spec/data.py", '("csv", "parquet", "json_lines", ', '"arrow", '),
        Edit(
            "platform/capstan/spec/data.py",
            "    database: DatabaseSource | None = Field(\n",
            '    arrow: ArrowSource | None = Field(None, description="Arrow.", examples=[{"path": "rows.arrow"}])\n',
            before=True,
        ),
        Edit(
            "platform/capstan/data/sources/__init__.py",
            "SOURCES: Mapping[type[SourceSettings], Open] = {\n",
            "    ArrowSource: ArrowReader,\n",
        ),
        Edit(
            "platform/capstan/data/sources/__init__.py",
            "from capstan.data.sources.databases import open_database\n",
            "from capstan.data.sources.arrow import ArrowReader\nfrom capstan.spec.data import ArrowSource\n",
        ),
    ),
    new={
        "platform/capstan/data/sources/arrow.py": '''"""Arrow files as a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow.feather

from capstan.data.moments import column_types
from capstan.data.sources.files import files_of
from capstan.data.sources.known_rows import copy_known_rows, require_time_column
from capstan.data.sources.reading import Reading
from capstan.data.sources.untyped import state_types
from capstan.data.text_types import FoundType
from capstan.spec.data import ArrowSource


class ArrowReader:
    def __init__(self, reading: Reading, settings: ArrowSource) -> None:
        self._reading = reading
        (self._file,) = files_of(reading, settings.path, (".arrow",))
        self._table = pyarrow.feather.read_table(self._file)
        require_time_column(reading, self._table.column_names)

    @property
    def columns(self) -> Mapping[str, str]:
        return self.first_types(self._table.column_names)

    def first_types(self, columns: Sequence[str]) -> Mapping[str, str]:
        connection = self._reading.connection
        connection.register("arrow_file", self._table.select(list(columns)))
        found = connection.sql("from arrow_file")
        types = {name: str(kind) for name, kind in zip(found.columns, found.types, strict=True)}
        connection.unregister("arrow_file")
        return types

    def require_distinct(self, columns: Sequence[str]) -> None:
        pass

    def read(self, columns: Sequence[str]) -> list[FoundType]:
        connection = self._reading.connection
        connection.register("arrow_file", self._table.select(self._reading.with_time(columns)))
        types = column_types(connection, "from arrow_file")
        copy_known_rows(self._reading, self, "select * from arrow_file", types, self._reading.rows)
        connection.unregister("arrow_file")
        return state_types(self._reading, self, columns)

    def numbered(self, column: str, *, undated: bool = False) -> str | None:
        return None

    def place(self, file: str, number: int) -> str:
        return f"{self._file}, row {number}"
'''
    },
    check="""
import pyarrow.feather
from capstan.testing import check_source


def as_arrow(folder, table):
    pyarrow.feather.write_feather(table, folder / "rows.arrow")
    return {"name": "rows", "arrow": {"path": "rows.arrow", "timeColumn": "at"}}


check_source(as_arrow)
""",
)
