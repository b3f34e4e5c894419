"""Whether a person can be singled out among rows: how many are alike in what others may know.

k-anonymity is that of Sweeney (2002), distinct l-diversity that of Machanavajjhala et al. (2007).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.conditions import without_nan
from capstan.errors import InvalidDataError
from capstan.spec.privacy import Anonymity


@dataclass(frozen=True)
class Alike:
    """What was found of the rows of a table."""

    asked: Anonymity
    rows: int
    groups: int
    """Of rows that are alike."""
    fewest: int
    """Rows of the smallest group: the table's k. 0 for a table without a row."""
    exposed: int
    """Rows in groups of fewer than the k that is asked; 0 where none is."""
    diversity: Mapping[str, int]
    """Of each sensitive column the fewest different values of a group: its l."""
    uniform: Mapping[str, int]
    """Of each sensitive column the rows in groups of fewer values than the l that is asked."""
    counted: str = "rows"
    """What is counted, in words; people in place of rows where rows tell whose they are."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps models from learning, in words that tell no value."""
        asked, by = self.asked, ", ".join(self.asked.by)
        rows = self.counted
        found = []
        if asked.k is not None and self.fewest < asked.k:
            found.append(
                f"{self.exposed:,} of {self.rows:,} {rows} have fewer than {asked.k} alike in {by} (the fewest are "
                f"{self.fewest})"
            )
        for column, fewest in self.diversity.items():
            if asked.l is not None and fewest < asked.l:
                found.append(
                    f"{self.uniform[column]:,} of {self.rows:,} {rows} are alike in {by} with {rows} of fewer than "
                    f"{asked.l} different values in {column} (the fewest are {fewest})"
                )
        return tuple(found)

    def require(self) -> None:
        """Raises InvalidDataError where fewer rows are alike, or their values less different, than the file asks."""
        if self.problems:
            raise InvalidDataError(
                f"data.privacy.anonymity: {'; '.join(self.problems)}. Generalise these columns further, such as by a "
                "larger width or a shorter prefix, drop one from the features and from `by`, or leave the rows out in "
                "data.query"
            )


def rows_alike(table: pa.Table, asked: Anonymity) -> Alike:
    """What rows have in common; a missing value of `by` is a value of its own, one of `sensitive` is none."""
    by, sensitive = list(asked.by), list(asked.sensitive)
    chosen = without_nan(
        pa.table(
            {
                **{f"by{at}": table[name] for at, name in enumerate(by)},
                **{f"of{at}": table[name] for at, name in enumerate(sensitive)},
            }
        )
    )
    counted = pc.CountOptions(mode="only_valid")
    found = chosen.group_by([f"by{at}" for at in range(len(by))]).aggregate(
        [([], "count_all"), *((f"of{at}", "count_distinct", counted) for at in range(len(sensitive)))]
    )
    rows = found["count_all"]
    values = {name: found[f"of{at}_count_distinct"] for at, name in enumerate(sensitive)}
    return Alike(
        asked,
        table.num_rows,
        found.num_rows,
        pc.min(rows).as_py() or 0,
        _rows_below(rows, rows, asked.k),
        {name: pc.min(one).as_py() or 0 for name, one in values.items()},
        {name: _rows_below(rows, one, asked.l) for name, one in values.items()},
    )


def _rows_below(rows: pa.ChunkedArray, counts: pa.ChunkedArray, bound: int | None) -> int:
    """Rows of the groups that have less than the bound."""
    if bound is None:
        return 0
    return pc.sum(rows.filter(pc.less(counts, bound))).as_py() or 0
