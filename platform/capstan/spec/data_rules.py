"""Rules between sources, keys, label, checks, features and slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capstan.spec.annotations import AGREEMENT, ANNOTATORS
from capstan.spec.data import CLASSES
from capstan.spec.finding import UNKNOWN
from capstan.spec.location import Location
from capstan.spec.monitoring import ALL_FEATURES
from capstan.spec.rule import JOINED_LISTS, UNTRIED, Breach, Cel, rule
from capstan.spec.tasks import ANSWER_PARTS, TASK_FACTS
from capstan.spec.units import format_duration

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec


def unless_there(data: str, part: str) -> str:
    """CEL that holds where a part of the data such as `label.availableAt` is not written, nor what it is a part of."""
    return f"!has({data}.{part.partition('.')[0]}) || !has({data}.{part})"


@rule(
    "is not data.label.column; write one column in both",
    Cel("!has(self.data.label) || self.objective.target == self.data.label.column", field="objective.target"),
)
def target_is_the_label(spec: MLSystemSpec) -> Iterator[Breach]:
    target, column = spec.objective.target, spec.data.label.column
    if column != target and UNKNOWN not in (column, target):
        yield Breach(("spec", "objective", "target"), target, f" ({column!r})")


@rule(
    "is a column of data.keys, which tells rows apart; name what is to be predicted",
    *(
        Cel(
            f"{unless_there('self.data', part)} || self.objective.target != self.data.{part}",
            field="objective.target",
        )
        for part in ("keys.id", "keys.time", "keys.stickyBy", "keys.group")
    ),
)
def target_is_no_key(spec: MLSystemSpec) -> Iterator[Breach]:
    keys, target = spec.data.keys, spec.objective.target
    if target != UNKNOWN and target in (keys.id, keys.time, keys.sticky_by, keys.group):
        yield Breach(("spec", "objective", "target"), target)


@rule(
    "is the label itself; name the column with the moment it became known",
    Cel(
        "!has(self.label) || !has(self.label.availableAt) || self.label.column != self.label.availableAt",
        "data",
        "label.availableAt",
    ),
)
def label_is_dated_by_another_column(spec: MLSystemSpec) -> Iterator[Breach]:
    label = spec.data.label
    if label.column == label.available_at != UNKNOWN:
        yield Breach(("spec", "data", "label", "availableAt"), label.available_at)


@rule(
    "is also keys.time; name a column that is unique for each case",
    Cel("!has(self.keys.id) || !has(self.keys.time) || self.keys.id != self.keys.time", "data", "keys.id"),
)
def id_is_not_the_time(spec: MLSystemSpec) -> Iterator[Breach]:
    keys = spec.data.keys
    if keys.id is not None and keys.id == keys.time != UNKNOWN:
        yield Breach(("spec", "data", "keys", "id"), keys.id)


@rule(
    "runs data.query, and there is none; write data.query, or drop engine",
    Cel("!has(self.engine) || self.engine == 'DuckDB' || has(self.query)", "data", "engine"),
)
def another_engine_has_a_query(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.data.engine != "DuckDB" and spec.data.query is None:
        yield Breach(("spec", "data", "engine"), spec.data.engine)


_ANSWER_PARTS_IN_CEL = ", ".join(f"'{name}'" for name in ANSWER_PARTS)


@rule(
    "is what a part of each answer is called; give the column another name in data.query",
    Cel(f"!has(self.keys.id) || !(self.keys.id in [{_ANSWER_PARTS_IN_CEL}])", "data", "keys.id"),
)
def id_is_no_part_of_an_answer(spec: MLSystemSpec) -> Iterator[Breach]:
    name = spec.data.keys.id
    if name in ANSWER_PARTS:
        message = (
            f"{name!r} is what a part of each answer is called; give the column another name in data.query, such as "
            f"`* rename ({name} as case_{name})`"
        )
        yield Breach(("spec", "data", "keys", "id"), message=message)


@rule(
    "is also keys.id or keys.time; name a column whose value several cases share",
    Cel(
        "!has(self.keys.group) || !(has(self.keys.id) && self.keys.group == self.keys.id || "
        "has(self.keys.time) && self.keys.group == self.keys.time)",
        "data",
        "keys.group",
    ),
)
def group_is_a_key_of_its_own(spec: MLSystemSpec) -> Iterator[Breach]:
    keys = spec.data.keys
    if keys.group in (keys.id, keys.time) and keys.group not in (None, UNKNOWN):
        yield Breach(("spec", "data", "keys", "group"), keys.group)


@rule(
    "several sources and no query; add `query:` with the SQL that joins them",
    Cel("size(self.sources) == 1 || has(self.query)", "data", "query", reason="FieldValueRequired"),
)
def several_sources_have_a_query(spec: MLSystemSpec) -> Iterator[Breach]:
    sources = len(spec.data.sources)
    if sources > 1 and spec.data.query is None:
        way = "add `query:` with the SQL that joins them"
        yield Breach(("spec", "data"), message=f"has {sources} sources and no query; {way}")


@rule(
    "a feature is read from keys.id, keys.time, keys.group, label.column or label.availableAt: a model would learn "
    "cases by heart or know the answer (leakage); drop the feature",
    Cel(
        "self.features.all(f, (has(f.column) ? f.column : f.name) != self.objective.target)",
        field="features",
    ),
    *(
        Cel(
            f"{unless_there('self.data', part)} || "
            f"self.features.all(f, (has(f.column) ? f.column : f.name) != self.data.{part})",
            field="features",
        )
        for part in ("keys.id", "keys.group", "label.column", "label.availableAt")
    ),
    Cel(
        "!self.data.sources.exists(s, has(s.annotations)) || "
        f"self.features.all(f, !((has(f.column) ? f.column : f.name) in ['{ANNOTATORS}', '{AGREEMENT}']))",
        field="features",
    ),
    Cel(
        f"{unless_there('self.data', 'keys.time')} || "
        "self.features.all(f, has(f.date) || (has(f.column) ? f.column : f.name) != self.data.keys.time)",
        field="features",
    ),
)
def no_feature_knows_the_answer(spec: MLSystemSpec) -> Iterator[Breach]:
    keys, label = spec.data.keys, spec.data.label
    named = "data.label.column" if spec.data.has_label else "objective.target"
    reasons: dict[str | None, str] = {
        keys.id: "is keys.id: a model would learn cases by heart; drop the feature",
        keys.time: "is keys.time: a moment never comes back; learn from its parts, such as "
        "`date: {parts: [Hour, Weekday]}`",
        keys.group: "is keys.group: a group never comes back; drop the feature",
        label.available_at: "is data.label.availableAt: known only after the prediction (leakage); drop the feature",
        label.column: f"is {named}: the answer itself (leakage); drop the feature",
    }
    if any(source.annotations is not None for source in spec.data.sources):
        told = "is a column of the annotations: known only with the label (leakage); drop the feature"
        reasons |= {ANNOTATORS: told, AGREEMENT: told}
    reasons.pop(UNKNOWN, None)
    reasons.pop(None, None)
    for index, feature in enumerate(spec.features):
        if feature.column == keys.time and feature.date is not None:
            continue
        if feature.column in reasons:
            field = "column" if "column" in feature.model_fields_set else "name"
            message = f"{feature.column!r} {reasons[feature.column]}"
            yield Breach(("spec", "features", index, field), message=message)


@rule(
    "is what monitoring.drift.multivariate calls all of them together; give the feature another name",
    why_no_cel=UNTRIED,
)
def no_feature_is_called_as_all_together(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.monitoring.drift.multivariate is None:
        return
    for index, feature in enumerate(spec.features):
        if feature.name == ALL_FEATURES:
            yield Breach(("spec", "features", index, "name"), feature.name)


@rule("is no feature; write the name of one", why_no_cel=JOINED_LISTS)
def allowed_leaks_are_features(spec: MLSystemSpec) -> Iterator[Breach]:
    names = {feature.name for feature in spec.features}
    for index, name in enumerate(spec.data.leaks.allow):
        if name not in names:
            message = f"{name!r} is no feature; the features are {', '.join(sorted(names)[:20])}"
            yield Breach(("spec", "data", "leaks", "allow", index), message=message)


@rule("is known only with the label; group by what is known at the prediction", why_no_cel=UNTRIED)
def slices_are_known_at_the_prediction(spec: MLSystemSpec) -> Iterator[Breach]:
    label = spec.data.label
    for location, column in spec.groupings():
        if column in (label.column, label.available_at) and column != UNKNOWN:
            yield Breach(location, column)


@rule(
    "asks for alerts by slices, and no column of evaluation.slices is a feature; name one there, or drop alert",
    why_no_cel=JOINED_LISTS,
)
def slices_that_alert_are_in_requests(spec: MLSystemSpec) -> Iterator[Breach]:
    carried = {feature.column for feature in spec.features}
    if spec.monitoring.drift.slices.alert and carried.isdisjoint(spec.evaluation.slices):
        yield Breach(("spec", "monitoring", "drift", "slices", "alert"), True)


@rule(
    "has both a range and allowed values; a column is a number or a category",
    Cel("!has(self.allowed) || !(has(self.min) || has(self.max))", "data.checks[]", "allowed"),
)
def a_check_is_of_numbers_or_of_categories(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, check in enumerate(spec.data.checks):
        if (check.min is not None or check.max is not None) and check.allowed is not None:
            yield Breach(("spec", "data", "checks", index))


@rule(
    "is the moment at which a label became known, which no case has yet when it is answered; "
    "write the rule as a condition of another column",
    Cel(
        "!has(self.checks) || !has(self.label) || !has(self.label.availableAt) || "
        "self.checks.all(check, check.column != self.label.availableAt)",
        "data",
        "checks",
    ),
)
def a_check_is_of_what_a_case_has(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, check in enumerate(spec.data.checks):
        if check.column == spec.data.label.available_at:
            yield Breach(("spec", "data", "checks", index, "column"), check.column)


@rule("a check is of another kind than the feature; write allowed, or min and max", why_no_cel=JOINED_LISTS)
def a_check_is_of_its_features_kind(spec: MLSystemSpec) -> Iterator[Breach]:
    readings = {feature.column: feature.reading for feature in spec.features}
    for index, check in enumerate(spec.data.checks):
        location: Location = ("spec", "data", "checks", index)
        reading = readings.get(check.column)
        has_range = check.min is not None or check.max is not None
        if has_range and check.allowed is not None:
            continue
        if has_range and reading == "categorical":
            way = "write allowed instead of min and max"
            yield Breach(location, message=f"a feature reads {check.column!r} as a category; {way}")
        elif check.allowed is not None and reading == "numeric":
            way = "write min and max instead of allowed"
            yield Breach(location, message=f"a feature reads {check.column!r} as a number; {way}")


@rule(
    "a column of images is read by features of the kind image alone, with one `folder` and one `unreadable`; "
    "take another column, or write both alike",
    why_no_cel=JOINED_LISTS,
)
def a_column_of_images_is_read_as_images(spec: MLSystemSpec) -> Iterator[Breach]:
    first = {
        feature.column: feature.image for feature in reversed(spec.features) if feature.image is not None
    }
    for index, feature in enumerate(spec.features):
        image = first.get(feature.column)
        if image is not None and (
            feature.image is None
            or (feature.image.folder, feature.image.unreadable) != (image.folder, image.unreadable)
        ):
            yield Breach(("spec", "features", index), feature.column)


@rule(
    "a column is optional, and so its value may be missing, which another part of the file forbids; drop one of them",
    why_no_cel=JOINED_LISTS,
)
def an_optional_column_may_be_missing(spec: MLSystemSpec) -> Iterator[Breach]:
    strict = {check.column for check in spec.data.checks if not check.nullable}
    for index, feature in enumerate(spec.features):
        if not feature.optional:
            continue
        location: Location = ("spec", "features", index, "optional")
        if feature.column in strict:
            message = f"contradicts `nullable: false` of {feature.column!r} in data.checks; drop one of them"
            yield Breach(location, message=message)
        elif feature.settings.needs_value:
            message = "contradicts `impute: DropRow`, which replaces no missing value; write impute: Median"
            yield Breach(location, message=message)


@rule(
    "does not go with the task; write it for a task that orders the rows of a group, and for no other",
    *(
        Cel(
            f"self.objective.task != '{task}' || {'' if 'group' in facts.keys else '!'}has(self.data.keys.group)",
            field="data.keys",
            message=f"{task} {'needs' if 'group' in facts.keys else 'has no use for'} data.keys.group",
        )
        for task, facts in TASK_FACTS.items()
    ),
)
def a_group_is_for_tasks_of_groups(spec: MLSystemSpec) -> Iterator[Breach]:
    task, group = TASK_FACTS[spec.objective.task], spec.data.keys.group
    if UNKNOWN in (spec.objective.target, spec.data.keys.id):
        return
    if group is None and "group" in task.keys:
        way = "add `group:` with the column whose rows are put in order together"
        yield Breach(("spec", "data", "keys"), message=f"has no group, which {task.name} needs; {way}")
    if group is not None and "group" not in task.keys:
        message = f"{group!r} says which rows are put in order together, and {task.name} orders none; drop it"
        yield Breach(("spec", "data", "keys", "group"), message=message)


@rule(
    "says when labels became known, but no column says when rows happened; name data.keys.time too, or drop it",
    Cel(
        "has(self.keys.time) || !has(self.label) || !has(self.label.availableAt)",
        "data",
        "label.availableAt",
    ),
)
def labels_are_dated_where_rows_are(spec: MLSystemSpec) -> Iterator[Breach]:
    available = spec.data.label.available_at
    if spec.data.keys.time is None and available not in (None, UNKNOWN):
        yield Breach(("spec", "data", "label", "availableAt"), available)


@rule(
    "are two ways to part the same rows; keep one of data.split.random, data.split.stratified and data.split.group",
    Cel(
        "[has(self.split.random), has(self.split.stratified), has(self.split.group)].filter(given, given).size() <= 1",
        "data",
        "split",
    ),
)
def rows_are_drawn_in_one_way(spec: MLSystemSpec) -> Iterator[Breach]:
    split = spec.data.split
    given = [one for one in (split.random, split.stratified, split.group) if one is not None]
    if len(given) > 1:
        way = "keep one of data.split.random, data.split.stratified and data.split.group"
        yield Breach(("spec", "data", "split"), message=f"has two ways to part the same rows; {way}")


@rule(
    "draws rows at random although data.keys.time dates them, so a model would be judged on days that it has learnt "
    "from; write byTime, or drop data.keys.time",
    *(
        Cel(f"!has(self.keys.time) || !has(self.split.{kind})", "data", f"split.{kind}")
        for kind in ("random", "stratified", "group")
    ),
)
def rows_are_drawn_where_they_have_no_time(spec: MLSystemSpec) -> Iterator[Breach]:
    split = spec.data.split
    for kind, drawn in (
        ("random", split.random),
        ("stratified", split.stratified),
        ("group", split.group),
    ):
        if spec.data.keys.time is not None and drawn is not None:
            message = (
                f"draws rows at random although {spec.data.keys.time!r} dates them, so a model would be judged on days "
                "that it has learnt from; write byTime, or drop data.keys.time"
            )
            yield Breach(("spec", "data", "split", kind), message=message)


@rule(
    "needs labels of classes; write random",
    *(
        Cel(
            f"self.objective.task != '{task}' || !has(self.data.split.stratified)",
            field="data.split.stratified",
            message=f"{task} has no classes to draw by; write random",
        )
        for task, facts in TASK_FACTS.items()
        if facts.label not in CLASSES
    ),
)
def rows_are_drawn_by_classes_that_are_there(spec: MLSystemSpec) -> Iterator[Breach]:
    task = TASK_FACTS[spec.objective.task]
    if spec.data.split.stratified is not None and task.label not in CLASSES:
        message = f"{task.name} has no classes to draw by; write random"
        yield Breach(("spec", "data", "split", "stratified"), message=message)


@rule("needs data.keys.time; name the column, or drop it", why_no_cel=UNTRIED)
def what_asks_for_times_has_them(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.data.keys.time is not None:
        return
    way = "name the column with the moment of each row in data.keys.time, or"
    split, window = spec.data.split, spec.training.window
    if "by_time" in split.model_fields_set:
        message = (
            f"parts rows by a time, and data.keys.time is not given; {way} write random, stratified or group"
        )
        yield Breach(("spec", "data", "split", "byTime"), message=message)
    if window.duration is not None:
        length = format_duration(window.duration)
        message = f"{length} is a stretch of time, and data.keys.time is not given; {way} drop it"
        yield Breach(("spec", "training", "window", "duration"), message=message)
    if spec.replay is not None:
        message = f"sends rows at their times, and data.keys.time is not given; {way} drop replay"
        yield Breach(("spec", "replay"), message=message)
    for index, gate in enumerate(spec.evaluation.gates):
        if gate.rival == "Champion":
            message = (
                f"{gate.metric} is compared with the champion on rows that it has not learnt from, and without "
                f"data.keys.time nobody knows which these are; {way} write `against: Baseline`, min or max: the "
                "shadow step compares with the champion"
            )
            yield Breach(("spec", "evaluation", "gates", index, "against"), message=message)


@rule(
    "has no label, from which the task learns; add `label: {column: …}` with the column of the true value",
    *(
        Cel(
            f"self.objective.task != '{task}' || has(self.data.label)",
            field="data",
            message=f"{task} learns from labels; add label: {{column: …}} with the column of the true value",
        )
        for task, facts in TASK_FACTS.items()
        if facts.needs_labels
    ),
)
def labels_are_there_where_they_are_learnt_from(spec: MLSystemSpec) -> Iterator[Breach]:
    facts = TASK_FACTS[spec.objective.task]
    if facts.needs_labels and not spec.data.has_label and spec.objective.target != UNKNOWN:
        way = f"add `label: {{column: {spec.objective.target}}}`"
        yield Breach(("spec", "data"), message=f"has no label, from which {facts.name} learns; {way}")


RULES = (
    labels_are_there_where_they_are_learnt_from,
    labels_are_dated_where_rows_are,
    rows_are_drawn_in_one_way,
    rows_are_drawn_where_they_have_no_time,
    rows_are_drawn_by_classes_that_are_there,
    what_asks_for_times_has_them,
    target_is_the_label,
    target_is_no_key,
    group_is_a_key_of_its_own,
    a_group_is_for_tasks_of_groups,
    label_is_dated_by_another_column,
    id_is_not_the_time,
    id_is_no_part_of_an_answer,
    another_engine_has_a_query,
    several_sources_have_a_query,
    no_feature_knows_the_answer,
    no_feature_is_called_as_all_together,
    allowed_leaks_are_features,
    slices_are_known_at_the_prediction,
    slices_that_alert_are_in_requests,
    a_check_is_of_numbers_or_of_categories,
    a_check_is_of_what_a_case_has,
    a_check_is_of_its_features_kind,
    an_optional_column_may_be_missing,
    a_column_of_images_is_read_as_images,
)
