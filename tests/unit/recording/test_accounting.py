"""What the collector's counts promise, whatever is delivered how often and in which order."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sent_payloads import blocks, body, judged

from capstan.adapters.own.collector import CollectorStats
from capstan.errors import InvalidRequestError
from capstan.features.values import category
from capstan.recording.blocks import accepted, count_of, judge, parse_blocks
from capstan.recording.collector.boots import Heading
from capstan.recording.collector.intake import Intake
from capstan.recording.collector.intervals import Intervals
from capstan.recording.collector.ledger import Ledger, restore
from capstan.recording.collector.write_ahead_log import WriteAheadLog
from capstan.recording.labels import FEEDBACK, labels_of
from capstan.recording.payloads import columns_of

NOW = datetime(2013, 3, 1, tzinfo=UTC)


def event(sequence: int, **data: object) -> dict[str, object]:
    return {
        "id": f"b-{sequence}",
        "source": "/capstan/flights/v1",
        "data": {
            "request_id": f"r{sequence}", "role": "champion", "attempt": 1, "row": 0,
            "event_time": NOW.isoformat(), "status": 200, "outputs": {"probability": 0.5}, **data,
        },
    }  # fmt: skip


@given(st.lists(st.integers(0, 60)))
def test_intervals_are_a_set(numbers: list[int]) -> None:
    seen: set[int] = set()
    intervals = Intervals()
    for number in numbers:
        assert intervals.add(number) == (number not in seen)
        seen.add(number)
    bounds = intervals.bounds()
    assert {n for start, end in bounds for n in range(start, end + 1)} == seen
    assert all(end + 1 < start for (_, end), (start, _) in pairwise(bounds))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9))))
def test_a_run_of_numbers_is_added_whole_or_not_at_all(runs: list[tuple[int, int]]) -> None:
    seen: set[int] = set()
    intervals = Intervals()
    for first, length in runs:
        numbers = range(first, first + length)
        if intervals.add_run(numbers):
            assert seen.isdisjoint(numbers)
            seen.update(numbers)
        else:
            for number in numbers:
                assert intervals.add(number) == (number not in seen)
                seen.add(number)
    assert {n for start, end in intervals.bounds() for n in range(start, end + 1)} == seen


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=8), st.integers(0, 8))
def test_counts_add_up_and_survive_a_restart_anywhere(batches: list[list[int]], cut: int) -> None:
    whole, parted = Ledger(), Ledger()
    for index, batch in enumerate(batches):
        if index == cut:
            parted = restore(orjson.loads(orjson.dumps(parted.dump())))
        for ledger in (whole, parted):
            ledger.book(Heading("b", "v1", 31, index), judged(*map(event, batch)), NOW)
    distinct = {n for batch in batches for n in batch}
    assert whole.stored == whole.answered == len(distinct)
    assert whole.duplicates == sum(map(len, batches)) - len(distinct)
    assert whole.lost == max(0, len(batches) - 1)
    assert parted.statistics() == whole.statistics()
    assert parted.losses == whole.losses


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


_FIELDS = ("boot", "system", "version", "first", "names", "rows", "columns", "same")


@settings(max_examples=200, deadline=None)
@given(field=st.sampled_from([*event(1)["data"], "inputs"]), value=_JSON, place=st.integers(0, 2))
def test_a_poisoned_value_costs_its_own_payload_only(field: str, value: object, place: int) -> None:
    payloads = [event(number) for number in range(3)]
    payloads[place]["data"][field] = value  # type: ignore[index]
    try:
        sent = body(payloads)
    except (TypeError, AttributeError, orjson.JSONEncodeError):
        return
    kept, refused = [], []
    for block in orjson.loads(sent):
        found = judge(block, strict=True)
        refused += [refusal.id for refusal in found.refused.values()]
        if found.rows is not None:
            rows = found.rows.take([at for at in range(found.size) if at not in found.refused])
            assert columns_of([(rows, NOW)], {"distance": "numeric"}, None).num_rows == len(rows)
            kept += [*rows.sequences]
            if not found.refused:
                assert accepted(block).fixed == found.rows.fixed
    assert {*kept, *(int(name.rpartition("-")[2]) for name in refused)} == {0, 1, 2}
    assert set(refused) <= {f"b-{place}"}


@settings(max_examples=200, deadline=None)
@given(field=st.sampled_from(_FIELDS), value=_JSON)
def test_no_value_of_a_blocks_field_breaks_the_judge(field: str, value: object) -> None:
    (block,) = blocks([event(1), event(2)])
    block[field] = value
    for strict in (True, False):
        found = judge(block, strict=strict)
        assert found.size == count_of(block) > 0
        assert (found.rows is None) == (len(found.refused) == found.size)
        if found.rows is not None and not found.refused:
            assert columns_of([(found.rows, NOW)], {}, None).num_rows == found.size


def beside(**changes: object) -> dict[str, object]:
    """A block of columns and rows, the first of which is an object that a client sent."""
    return {
        "boot": "b", "system": "flights", "version": "v1", "first": 1,
        "names": ["request_id", "event_time", "output.probability", "input.distance", "input.dest"],
        "same": {"role": "champion", "attempt": 1, "row": 0, "status": 200},
        "columns": [["r1", "r2", "r3"], [NOW.isoformat()] * 3, [0.5, 0.25, 0.125]],
        "rows": [{"dest": "LAX", "distance": 1400}, [337, "JFK"], {"dest": "SFO"}], **changes,
    }  # fmt: skip


def test_columns_and_rows_of_one_block_are_read_beside_each_other() -> None:
    for found in (judge(beside(), strict=True).rows, accepted(beside())):
        assert found is not None
        assert {name: [*values] for name, values in found.inputs.items()} == {
            "distance": [1400, 337, None],
            "dest": ["LAX", "JFK", "SFO"],
        }
        assert (found.of("request_id"), found.outputs) == (
            ["r1", "r2", "r3"],
            {"probability": [0.5, 0.25, 0.125]},
        )
    objects = [{"dest": "LAX", "distance": n} for n in range(3)]
    whole = judge(beside(rows=objects), strict=True).rows
    assert whole is not None
    assert {name: [*values] for name, values in whole.inputs.items()} == {
        "distance": [0, 1, 2],
        "dest": ["LAX"] * 3,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": [{"dest": "LAX", "distance": 1, "shoe": 44}, [1, "a"], [2, "b"]]},
        {"rows": [{"dest": "LAX", "shoe": 44}] * 3},
        {"rows": [[1, "a"]] * 2},
        {"rows": [[1, "a", 2]] * 3},
        {"rows": []},
        {"rows": None},
        {"columns": [["r1", "r2", "r3"], [NOW.isoformat()] * 3], "rows": [{"dest": "LAX"}] * 3},
        {"columns": []},
    ],
    ids=[
        "an unknown column", "an unknown column in all", "too few", "too wide", "none", "no rows",
        "an output in an object", "no columns",
    ],
)  # fmt: skip
def test_a_block_whose_rows_do_not_fit_its_columns_is_refused(changes: dict[str, object]) -> None:
    found = judge(beside(**changes), strict=True)
    assert found.rows is None
    assert {one.field for one in found.refused.values()} <= {"rows", "columns"}
    assert len(found.refused) == found.size > 0


@settings(max_examples=200, deadline=None)
@given(field=st.sampled_from(_FIELDS), value=_JSON, rows=st.lists(_JSON, max_size=3))
def test_no_value_breaks_the_judge_of_columns_beside_rows(
    field: str, value: object, rows: list[object]
) -> None:
    for changes in ({field: value}, {"rows": rows}, {"rows": [{"dest": value}, [value, 1], {field: 1}]}):
        found = judge(beside(**changes), strict=True)
        assert (found.rows is None) == (len(found.refused) == found.size)
        if found.rows is not None and not found.refused:
            assert columns_of([(found.rows, NOW)], {}, None).num_rows == found.size


@settings(max_examples=60, deadline=None)
@given(inputs=st.dictionaries(st.text(max_size=12), _JSON, max_size=5), output=_SCALARS)
def test_what_the_judge_takes_can_be_stored(
    tmp_path_factory: pytest.TempPathFactory, inputs: dict[str, object], output: object
) -> None:
    root = tmp_path_factory.mktemp("store")
    intake = labelled(root)
    try:
        sent = body([event(1, inputs=inputs, outputs={"probability": output}), event(2)])
    except (TypeError, orjson.JSONEncodeError):
        return
    taken = intake.receive(None, sent, NOW).taken
    intake.flush()
    files = list(root.glob("systems/flights/payloads/day=*/*.parquet"))
    assert taken >= 1
    assert len(files) == 1


def test_a_torn_tail_is_cut_and_what_is_before_it_is_kept(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    log.append(b"one", b"1" * 100)
    log.append(b"two", b"2" * 100)
    log.close()
    file = tmp_path / "00000001.wal"
    content = file.read_bytes()
    for size in range(len(content)):
        file.write_bytes(content[:size])
        whole = [record.meta for record in WriteAheadLog(tmp_path).read(1)]
        assert whole == [b"one"] * (size >= len(content) // 2)
    flipped = bytearray(content)
    flipped[len(content) // 2 + 30] ^= 1
    file.write_bytes(flipped)
    assert [record.meta for record in WriteAheadLog(tmp_path).read(1)] == [b"one"]


def test_numbers_of_log_files_are_never_used_again(tmp_path: Path) -> None:
    (tmp_path / "systems" / "flights").mkdir(parents=True)
    for expected in (1, 2, 3):
        intake = Intake(tmp_path / "collector", tmp_path / "systems")
        intake.receive(None, body([event(expected)]), NOW)
        intake.close()
    names = sorted(path.name for path in tmp_path.glob("systems/flights/payloads/day=*/*.parquet"))
    assert names == ["t0-00000001.parquet", "t0-00000002.parquet", "t0-00000003.parquet"]


def test_a_label_of_a_binary_task_is_a_class(tmp_path: Path) -> None:
    folder = tmp_path / "systems" / "flights"
    folder.mkdir(parents=True)
    spec = {"spec": {"features": [], "objective": {"task": "BinaryClassification"}}}
    (folder / "spec.json").write_bytes(orjson.dumps(spec))
    intake = Intake(tmp_path / "collector", tmp_path / "systems")
    with pytest.raises(InvalidRequestError, match=r"labels\[1\].label"):
        intake.feedback(b'{"labels": [{"id": "a", "label": 1}, {"id": "b", "label": 7.5}]}', NOW, system=None)
    assert intake.ledger.labels == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (3.0, "3"), ("3", "3"), (True, "true"), (2.5, "2.5"), (None, None), (float("nan"), None)],
    ids=str,
)
def test_a_category_has_one_text_whatever_type_it_came_in(value: object, text: str | None) -> None:
    assert category(value) == text


def test_a_body_of_lone_surrogates_or_too_many_events_is_refused() -> None:
    many = blocks([event(1)])
    many[0]["rows"] *= 10_001
    with pytest.raises(InvalidRequestError, match="10000"):
        parse_blocks(orjson.dumps(many))
    sent = body([event(1, request_id="LONE"), event(2)]).replace(b"LONE", b"\\ud800")
    (block,), strict = parse_blocks(sent)
    found = judge(block, strict=strict)
    assert [refusal.field for refusal in found.refused.values()] == ["request_id"]
    assert (found.size, strict) == (2, False)


def test_lost_copies_hide_no_lost_answer() -> None:
    ledger = Ledger()
    answers, copies = [event(n) for n in range(1, 8)], [event(n, role="shadow") for n in range(8, 11)]
    found = judged(*answers, *copies)
    # Of twelve requests, each with a copy, two answers and seven copies were dropped; one answer vanished.
    for _ in range(2):
        ledger.book(Heading("b", "v1", 19, 9, lost_copies=7), found, NOW)
    ledger.book(Heading("b", "v1", 19, 9, ended=True, lost_copies=7), [], NOW)
    told = restore(orjson.loads(orjson.dumps(ledger.dump()))).statistics()
    counts = {name: told[name] for name in ("stored", "lost", "lost_copies", "answered")}
    assert counts == {"stored": 10, "lost": 9, "lost_copies": 7, "answered": 7}
    zero = dict.fromkeys(("refused", "duplicates", "labels", "no_labels"), 0)
    assert CollectorStats(**counts, **zero).unaccounted(10) == 1


@pytest.mark.parametrize("kept", [range(5), range(1), range(1, 5), range(2, 3), range(0)], ids=str)
def test_a_request_of_many_rows_is_accounted_for_once_whichever_of_them_are_lost(kept: range) -> None:
    ledger = Ledger()
    rows = [event(n + 1, row=n, request_id="r") for n in kept]
    lost = [row for row in range(5) if row not in kept]
    heading = Heading("b", "v1", 5, len(lost), lost_copies=sum(row > 0 for row in lost))
    ledger.book(heading, judged(*rows), NOW)
    told = ledger.statistics()
    counts = {name: told[name] for name in ("stored", "lost", "lost_copies", "answered")}
    zero = dict.fromkeys(("refused", "duplicates", "labels", "no_labels"), 0)
    assert CollectorStats(**counts, **zero).unaccounted(1) == 0


def test_refused_requests_are_told_apart_from_answers_and_survive() -> None:
    ledger = Ledger()
    refusals = [event(n, status=422, outputs=None) for n in range(1, 14)]
    copy = event(40, status=422, outputs=None, role="shadow")
    answers = [event(n) for n in range(14, 23)]
    for _ in range(2):
        ledger.book(Heading("b", "v1", 40, 0), judged(*refusals, *answers, copy), NOW)
    told = restore(orjson.loads(orjson.dumps(ledger.dump()))).statistics()
    assert (told["answered"], told["refused_requests"]) == (22, 13)


def test_losses_that_no_producer_counts_are_shown_by_version_and_reason_and_survive(tmp_path: Path) -> None:
    ledger = Ledger()
    good, bad = event(1), event(2, entity_id="")
    for _ in range(2):
        ledger.book(Heading("b", "v1", 2, 0, system="flights"), judged(good, bad), NOW)
    ledger.book(Heading("executor.v2.ab", "v2", 4, 3, system="flights"), [], NOW)
    # A service of ours counts its own losses: they are told once.
    ledger.book(Heading("c", "v3", 9, 9, system="flights"), [], NOW)
    told = {"flights": {"v1": {"refused": 1}, "v2": {"unpaired": 3}}}
    assert ledger.unknown_losses == told
    assert restore(orjson.loads(orjson.dumps(ledger.dump()))).unknown_losses == told


def test_ids_are_stored_as_the_text_that_was_sent_and_large_numbers_are_not_rounded(tmp_path: Path) -> None:
    folder = tmp_path / "systems" / "flights"
    folder.mkdir(parents=True)
    spec = {"features": [{"name": "size", "numeric": {}}], "data": {"keys": {"id": "flight"}}}
    (folder / "spec.json").write_bytes(orjson.dumps({"spec": spec}))
    intake = Intake(tmp_path / "collector", tmp_path / "systems")
    large = 2**53
    for number in range(2):
        inputs = {"flight": large + number, "size": large + number, "free": large + number}
        intake.receive(None, body([event(number, inputs=inputs)]), NOW)
    intake.flush()
    (file,) = folder.glob("payloads/day=*/*.parquet")
    rows = pq.read_table(file, partitioning=None).to_pydict()
    assert rows["input.flight"] == [str(large), str(large + 1)]
    assert rows["input.free"] == [str(large), str(large + 1)]
    assert rows["input.size"] == [float(large), float(large + 1)]


def test_a_heading_cannot_name_a_folder_that_is_no_system(tmp_path: Path) -> None:
    (tmp_path / "systems" / "flights").mkdir(parents=True)
    intake = Intake(tmp_path / "collector", tmp_path / "systems")
    intake.receive(Heading("b", "v1", 9, 9, system="elsewhere"), b"[]", NOW)
    intake.close()
    assert [path.name for path in (tmp_path / "systems").iterdir()] == ["flights"]


def labelled(tmp_path: Path) -> Intake:
    folder = tmp_path / "systems" / "flights"
    folder.mkdir(parents=True)
    spec = {"spec": {"features": [], "objective": {"task": "BinaryClassification"}}}
    (folder / "spec.json").write_bytes(orjson.dumps(spec))
    return Intake(tmp_path / "collector", tmp_path / "systems")


def test_a_label_is_taken_as_the_table_writes_it(tmp_path: Path) -> None:
    intake = labelled(tmp_path)
    said = [True, "yes", "True", 1, 1.0, "1.0", "no", "FALSE", 0, "0"]
    labels = [{"id": str(number), "label": label} for number, label in enumerate(said)]
    taken = intake.feedback(orjson.dumps({"labels": labels}), NOW, system=None)
    assert (len(taken.entries), taken.known) == (len(said), frozenset())
    intake.flush()
    (file,) = (tmp_path / "systems" / "flights" / "labels").glob("*.parquet")
    rows = pq.read_table(file, partitioning=None).sort_by("entity_id").to_pydict()
    assert rows["label_boolean"] == [True] * 6 + [False] * 4


@pytest.mark.parametrize(
    ("entry", "field", "value", "rule"),
    [
        ({"id": "a"}, "labels[0].label", None, "is missing"),
        ({"id": "a", "label": "maybe"}, "labels[0].label", "maybe", "write true/false, 1/0 or yes/no"),
        ({"id": "a", "label": 7}, "labels[0].label", 7, "write true/false, 1/0 or yes/no"),
        ({"id": "a", "label": [1]}, "labels[0].label", "a list of 1", "is no label"),
        ({"label": True}, "labels[0]", "an object of 1", "one of id and requestId"),
        ({"id": "", "label": True}, "labels[0].id", "", "1 to 512 characters"),
        (
            {"id": "a", "label": True, "availableAt": "10000-01-01T00:00:00Z"},
            "labels[0].availableAt",
            "10000-01-01T00:00:00Z",
            "is after 2199",
        ),
        (
            {"id": "a", "label": True, "availableAt": "1500-01-01T00:00:00Z"},
            "labels[0].availableAt",
            "1500-01-01T00:00:00Z",
            "is before 1900",
        ),
    ],
)
def test_a_bad_label_is_told_in_words_and_json(
    tmp_path: Path, entry: dict[str, object], field: str, value: object, rule: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        labelled(tmp_path).feedback(orjson.dumps({"labels": [entry]}), NOW, system=None)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert rule in caught.value.rule


def test_a_body_of_feedback_that_is_no_json_is_quoted_as_it_was_sent(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        labelled(tmp_path).feedback(b"{'labels': []}", NOW, system=None)
    assert caught.value.value == "{'labels': []}"


@pytest.mark.parametrize("written", ["2", "2.5", '"maybe"'])
def test_a_label_that_is_none_is_told_as_it_was_written(written: str) -> None:
    entries = FEEDBACK.parse(f'{{"labels": [{{"id": "a", "label": {written}}}]}}'.encode()).entries
    with pytest.raises(InvalidRequestError) as caught:
        labels_of(entries, ["Boolean"])
    assert str(caught.value).startswith(f"labels[0].label: {written} is no label")


def test_labels_of_two_systems_about_one_id_are_no_duplicates(tmp_path: Path) -> None:
    intake = labelled(tmp_path)
    shutil.copytree(tmp_path / "systems" / "flights", tmp_path / "systems" / "trains")
    known = [
        intake.feedback(
            orjson.dumps({"system": system, "labels": [{"id": "a", "label": True}]}), NOW, system=None
        ).known
        for system in ("flights", "trains", "flights")
    ]
    assert known == [frozenset(), frozenset(), frozenset({0})]


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [(b'{"labels": "x"}', "labels", "x"), (b"[1]", "body", "a list of 1"), (b"{}", "labels", None)],
    ids=["a text", "a list", "nothing"],
)
def test_a_body_without_labels_is_told_with_what_stood_there(
    tmp_path: Path, body: bytes, field: str, value: object
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        labelled(tmp_path).feedback(body, NOW, system=None)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert '{"labels": [{"id": "...", "label": true}]}' in caught.value.rule


@pytest.mark.parametrize("first", [10**30, 2**64 - 1, -6])
def test_a_number_that_is_none_is_refused_and_kept_nowhere(tmp_path: Path, first: int) -> None:
    """Numbers beyond 64 bits would be in no state, so that nothing was flushed any more; a negative one is another."""
    (tmp_path / "systems" / "flights").mkdir(parents=True)
    intake = Intake(tmp_path / "collector", tmp_path / "systems")
    good, bad = blocks([event(1)])[0], blocks([event(2), event(3)])[0]
    bad["first"] = first
    body_of_both = json.dumps([good, bad, {"is": float("nan")}]).encode()
    assert intake.receive(Heading("b", "v1", 1, 0), body_of_both, NOW).taken == 1
    intake.flush()
    later = intake.receive(Heading("b", "v1", 6, 0), body([event(5)]), NOW)
    assert (later.taken, later.duplicates) == (1, 0)
    intake.close()


def test_files_of_batches_are_forgotten_before_a_service_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capstan.recording.collector.ledger.MOST_BOOTS", 3)
    ledger = Ledger()
    ledger.book(Heading("b", "v1", 9, 8), judged(event(9)), NOW)
    for number in range(5):
        ledger.book(None, judged(event(1, role="batch", row=1) | {"id": f"batch-{number}-1"}), NOW)
    ledger.book(Heading("b", "v1", 9, 8), judged(event(9)), NOW)
    assert (ledger.lost, ledger.duplicates, list(ledger.boots)) == (8, 1, ["b", "batch-3", "batch-4"])
