"""Whether a person can be singled out among stored answers, as `data.privacy.anonymity` asks of tables."""

from __future__ import annotations

from datetime import datetime

from capstan.data.anonymity import Alike
from capstan.recording.outputs import INPUT_PREFIX
from capstan.recording.reading import PayloadReader, labels_by
from capstan.spec.privacy import Anonymity
from capstan.tasks import Task

_GROUPS = """
with asked as (
  select request_id, row, max_by({'unit': unit, 'entity': entity_id, COLUMNS}, attempt) as it
  from stored_payloads
  where role <> 'shadow' and status = 200 and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
  group by request_id, row
), LABELS
known as (select PEOPLE as person, VALUES from asked JOINS)
select count(distinct person) as peopleDISTINCT from known group by GROUPS
"""


def stored_alike(
    reader: PayloadReader,
    asked: Anonymity,
    task: Task,
    *,
    label: str,
    start: datetime,
    end: datetime,
    as_of: datetime,
    by_person: bool,
) -> Alike:
    """What answers of [start, end) have in common; raises UnavailableError.

    A person is counted once: with `by_person` all rows of one `stickyBy` are of one, else each row is of somebody else.
    `label` is the column of labels, which count as they are known at `as_of`. A missing value of `by` is a value of its
    own, one of `sensitive` is none. Memory does not grow with the rows; the groups are held.
    """
    inputs = [*asked.by, *(name for name in asked.sensitive if name != label)]
    places = {name: f"c{at}" for at, name in enumerate(inputs)}
    columns = ", ".join(f"'{places[name]}': {_value(INPUT_PREFIX + name)}" for name in inputs)
    person = "coalesce(it.unit, request_id || '/' || row)" if by_person else "request_id || '/' || row"
    values = [f"it.{place} as {place}" for place in places.values()]
    labels, joins = "", ""
    if label in asked.sensitive:
        labels = (
            f"by_entity as ({labels_by('entity_id', task)}), by_request as ({labels_by('request_id', task)}),"
        )
        joins = "left join by_request on by_request.key = request_id left join by_entity on by_entity.key = it.entity"
        told = "coalesce(by_request.label, by_entity.label)"
        values.append(f"case when {told}.none then null else {told}.value end as label")
    groups = [places[name] for name in asked.by]
    kinds = [
        f"count(distinct {places.get(name, 'label')}) as l{at}" for at, name in enumerate(asked.sensitive)
    ]
    query = (
        _GROUPS.replace("COLUMNS", columns)
        .replace("LABELS", labels)
        .replace("PEOPLE", person)
        .replace("VALUES", ", ".join(values))
        .replace("JOINS", joins)
        .replace("DISTINCT", "".join(f", {kind}" for kind in kinds))
        .replace("GROUPS", ", ".join(groups))
    )
    found = reader.fetch(query, start=start, end=end, as_of=as_of, inputs=inputs)
    people = found["people"].to_pylist()
    diversity = {name: found[f"l{at}"].to_pylist() for at, name in enumerate(asked.sensitive)}

    def below(counts: list[int], bound: int | None) -> int:
        return (
            0
            if bound is None
            else sum(here for here, count in zip(people, counts, strict=True) if count < bound)
        )

    return Alike(
        asked,
        sum(people),
        found.num_rows,
        min(people, default=0),
        below(people, asked.k),
        {name: min(counts, default=0) for name, counts in diversity.items()},
        {name: below(counts, asked.l) for name, counts in diversity.items()},
        counted="people" if by_person else "rows",
    )


def _value(column: str) -> str:
    """What is no number is missing."""
    quoted = '"' + column.replace('"', '""') + '"'
    return f"nullif(cast({quoted} as varchar), 'nan')"
