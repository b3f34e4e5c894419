"""A source whose rows are labels of several annotators: the query sees one row for each item, with one label."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Mapping, Sequence

from capstan.data.agreement import Agreement, agreement
from capstan.data.moments import column_types, instant
from capstan.data.sources.reading import Reader, Reading
from capstan.data.text_types import FoundType, literal, quote, value_as
from capstan.errors import InvalidDataError
from capstan.spec.annotations import AGREEMENT, ANNOTATORS, Annotations

_VOTES, _COUNTS = "_capstan_votes", "_capstan_vote_counts"
_DECIDED = quote("decided labels")


class AnnotatedReader:
    """The reader of a source, as the table of its items: item, label, how many annotators and how far they agree.

    `agreement` of the share of an item's annotators who gave its label; null where it has none. The source's
    time column is that of the newest label of the item.
    """

    def __init__(self, reading: Reading, reader: Reader, annotations: Annotations) -> None:
        self._reading, self._reader, self._rule = reading, reader, annotations
        self.told: Agreement | None = None
        """Once it has been read."""
        needed = [annotations.item, annotations.annotator, annotations.label]
        for field, name in zip(("item", "annotator", "label"), needed, strict=True):
            if name not in reader.columns:
                raise InvalidDataError(
                    f"{reading.field}.annotations.{field}: there is no column {name!r}; the columns are "
                    f"{', '.join(reader.columns)}"
                )
        self._needed = needed
        named = {
            "item": annotations.item,
            "label": annotations.label,
            "timeColumn": reading.source.time_column,
        }
        for field, column in named.items():
            if column is not None and column.casefold() in (ANNOTATORS, AGREEMENT):
                raise InvalidDataError(
                    f"{reading.field}: {field} is {column!r}, as a column is called that the table gets; rename it in "
                    "the file"
                )

    @property
    def columns(self) -> Mapping[str, str]:
        """Those of the items."""
        return self._of_items(self._reader.columns)

    def first_types(self, columns: Sequence[str]) -> Mapping[str, str]:
        """As the first annotations show them."""
        asked = [name for name in columns if name not in (ANNOTATORS, AGREEMENT)]
        found = self._of_items(self._reader.first_types(asked))
        return {name: found[name] for name in columns}

    def require_distinct(self, columns: Sequence[str]) -> None:
        """Of the annotations."""
        self._reader.require_distinct([name for name in columns if name not in (ANNOTATORS, AGREEMENT)])

    def read(self, columns: Sequence[str]) -> list[FoundType]:
        """All labels known by then are read and decided on; raises InvalidDataError where they can't be."""
        left = self._settled(self._reader.read(self._reading.with_time(self._needed)))
        self._require_named()
        self._collect_votes()
        self._decide()
        self.told = self._agreement()
        self._require_agreement(self.told)
        kept = [name for name in self._reading.with_time(columns) if name in self.columns]
        items = ", ".join(map(quote, kept)) or "true as present"
        self._reading.connection.execute(
            f"create or replace temp table {self._reading.rows} as select {items} from {_DECIDED} "
            f"order by {quote(self._rule.item)}"
        )
        for table in (_VOTES, _COUNTS, _DECIDED):
            self._reading.connection.execute(f"drop table {table}")
        return [one for one in left if one.column in kept]

    def numbered(self, column: str, *, undated: bool = False) -> str | None:
        """Where the annotations stand."""
        return None if column in (ANNOTATORS, AGREEMENT) else self._reader.numbered(column, undated=undated)

    def place(self, file: str, number: int) -> str:
        """Of an annotation."""
        return self._reader.place(file, number)

    def _of_items(self, types: Mapping[str, str]) -> dict[str, str]:
        time = self._reading.source.time_column
        names = [self._rule.item, self._rule.label, *([time] if time is not None else [])]
        kept = {name: types[name] for name in dict.fromkeys(names) if name in types}
        return {**kept, ANNOTATORS: "BIGINT", AGREEMENT: "DOUBLE"}

    def _settled(self, left: Sequence[FoundType]) -> list[FoundType]:
        """Let labels be numbers where they are written as such: 1.10 and 1.1 are one label. Gives the other columns."""
        rule, reading = self._rule, self._reading
        label = quote(rule.label)
        if rule.scale != "Nominal":
            odd = reading.connection.execute(
                f"select cast({label} as varchar) from {reading.rows} where try_cast({label} as double) is null "
                f"and nullif(cast({label} as varchar), '') is not null order by 1 limit 1"
            ).fetchone()
            if odd:
                raise InvalidDataError(
                    f"{reading.field}.annotations.scale: {rule.scale} needs numbers, and {rule.label!r} holds "
                    f"{odd[0]!r}; write Nominal, or numbers in the file"
                )
            using = f"cast(nullif(cast({label} as varchar), '') as double)"
            reading.connection.execute(f"alter table {reading.rows} alter {label} type double using {using}")
        else:
            for one in left:
                if one.column == rule.label:
                    reading.connection.execute(
                        f"alter table {reading.rows} alter {label} type {one.kind} "
                        f"using {value_as(one.column, one.kind)}"
                    )
        return [one for one in left if one.column != rule.label]

    def _require_named(self) -> None:
        rule = self._rule
        for field, name in (("item", rule.item), ("annotator", rule.annotator)):
            found = self._reading.connection.execute(
                f"select count(*) from {self._reading.rows} "
                f"where nullif(cast({quote(name)} as varchar), '') is null"
            ).fetchone()
            if found and found[0]:
                raise InvalidDataError(
                    f"{self._reading.field}.annotations.{field}: {found[0]:,} "
                    f"{'row has' if found[0] == 1 else 'rows have'} no value in {name!r}, so nobody knows "
                    f"{'what' if field == 'item' else 'who'} was labelling; correct or delete "
                    f"{'it' if found[0] == 1 else 'them'}"
                )

    def _collect_votes(self) -> None:
        """Make the table of votes: item, annotator, label; where one labelled an item again, the newest label."""
        rule, reading = self._rule, self._reading
        label, time = quote(rule.label), reading.source.time_column
        at = "null"
        if time is not None:
            kind = column_types(reading.connection, f"from {reading.rows}")[time]
            at = instant(quote(time), kind, reading.zone)
        newest = (
            f"qualify {at} is not distinct from max({at}) "
            f"over (partition by {quote(rule.item)}, {quote(rule.annotator)})"
            if time is not None
            else ""
        )
        reading.connection.execute(
            f"create or replace temp table {_VOTES} as select distinct {quote(rule.item)} as item, "
            f"cast({quote(rule.annotator)} as varchar) as annotator, {label} as label from ("
            f"from {reading.rows} {newest}) where nullif(cast({label} as varchar), '') is not null"
        )
        twice = reading.connection.execute(
            f"select item, annotator, min(cast(label as varchar)), max(cast(label as varchar)) from {_VOTES} "
            "group by item, annotator having count(*) > 1 order by cast(item as varchar), annotator limit 1"
        ).fetchone()
        if twice:
            item, annotator, one, other = twice
            way = (
                f"at the same moment of {time!r}; correct one of them"
                if time is not None
                else "and nothing says which is newer; correct one of them, or name the column with the moment of each "
                "label as the source's timeColumn"
            )
            raise InvalidDataError(
                f"{reading.field}.annotations: {annotator!r} labels {str(item)!r} both {one!r} and {other!r}, {way}"
            )

    def _decide(self) -> None:
        rule, reading, connection = self._rule, self._reading, self._reading.connection
        if rule.decide == "Trusted":
            self._require_trusted()
        connection.execute(
            f"create or replace temp table {_COUNTS} as select item, label, count(*) as votes, "
            f"sum(count(*)) over (partition by item) as annotators, "
            f"max(count(*)) over (partition by item) as most from {_VOTES} group by item, label"
        )
        if rule.decide == "Trusted":
            ranks = " ".join(f"when {literal(who)} then {place}" for place, who in enumerate(rule.trust))
            rank = f"case annotator {ranks} end"
            chosen = (
                f"select item, arg_min(label, {rank}) as label from {_VOTES} "
                f"where {rank} is not null group by item"
            )
        else:
            least = "votes = annotators" if rule.decide == "Unanimous" else "votes = most"
            chosen = (
                f"select item, any_value(label) as label from {_COUNTS} where {least} "
                "group by item having count(*) = 1"
            )
        time = reading.source.time_column
        newest = f", max({quote(time)}) as {quote(time)}" if time is not None else ""
        enough = f"coalesce(a.annotators, 0) >= {rule.min_annotators}"
        connection.execute(
            f"create or replace temp table {_DECIDED} as "
            f"with listed as (select {quote(rule.item)} as item{newest} from {reading.rows} group by all), "
            f"chosen as ({chosen}), "
            f"totals as (select item, any_value(annotators) as annotators from {_COUNTS} group by item) "
            f"select listed.item as {quote(rule.item)}, "
            f"case when {enough} then chosen.label end as {quote(rule.label)}, "
            f"cast(coalesce(a.annotators, 0) as bigint) as {ANNOTATORS}, "
            f"case when {enough} then c.votes / a.annotators end as {AGREEMENT}"
            f"{f', listed.{quote(time)}' if time is not None else ''} from listed "
            "left join chosen using (item) left join totals a using (item) "
            f"left join {_COUNTS} c on c.item = listed.item and c.label = chosen.label"
        )

    def _require_trusted(self) -> None:
        known = {
            row[0]
            for row in self._reading.connection.execute(
                f"select distinct cast({quote(self._rule.annotator)} as varchar) from {self._reading.rows}"
            ).fetchall()
        }
        for who in self._rule.trust:
            if who not in known:
                raise InvalidDataError(
                    f"{self._reading.field}.annotations.trust: {who!r} labels nothing; the annotators are "
                    f"{', '.join(sorted(known)[:10])}"
                )

    def _agreement(self) -> Agreement:
        rule, connection = self._rule, self._reading.connection
        label = "cast(label as varchar)"
        if rule.scale != "Nominal":
            label = "cast(label as double)"
        votes = connection.sql(
            f"select cast(item as varchar) as item, annotator, {label} as label from {_VOTES}"
        ).to_arrow_table()
        decided = connection.sql(
            f"select cast({quote(rule.item)} as varchar) as item, {label.replace('label', quote(rule.label))} as label "
            f"from {_DECIDED}"
        ).to_arrow_table()
        return agreement(self._reading.source.name, votes, decided, scale=rule.scale)

    def _require_agreement(self, found: Agreement) -> None:
        least = self._rule.min_agreement
        if least is None or (found.alpha is not None and found.alpha >= least):
            return
        raise InvalidDataError(
            f"{self._reading.field}.annotations.minAgreement: {found.in_words()}; at least {least:g} is asked for. Let "
            "annotators settle what they dispute (`capstan labels` lists it), make their instructions clearer, or "
            "lower minAgreement"
        )
