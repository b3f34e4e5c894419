"""What paired evidence is, read from real Parquet files by real DuckDB: in the loop's process, and by a monitor."""

from __future__ import annotations

import copy
import json
import math
import random
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from sent_payloads import body
from starlette.testclient import TestClient

from capstan.adapters.own.evidence import ParquetEvidence
from capstan.adapters.own.monitor import HttpMonitor
from capstan.domain.triggers import WebhookCall, Webhooks
from capstan.domain.verdicts.evidence import PairedEvidence
from capstan.domain.versions import Digest, VersionName
from capstan.errors import UnavailableError
from capstan.monitoring.monitor import MonitorConfig, MonitorService
from capstan.ports.measurements import EvidenceSource
from capstan.recording.collector.boots import Heading
from capstan.recording.collector.intake import Intake
from capstan.recording.webhooks import WebhookBook
from capstan.spec import MLSystem, parse

V1, V2 = VersionName("v1"), VersionName("v2")
NEW_YORK = ZoneInfo("America/New_York")
SINCE = datetime(2013, 3, 1, tzinfo=NEW_YORK).astimezone(UTC)
WALL = datetime(2026, 1, 1, tzinfo=UTC)


def flights() -> dict[str, object]:
    file = Path(__file__).parents[1] / "unit" / "spec" / "flight_delays.yaml"
    return json.loads(json.dumps(YAML(typ="safe").load(file.read_text()), default=str))


SYSTEM: MLSystem = parse(flights(), base_dir=Path())


def payload(
    request: str,
    version: str,
    role: str,
    when: datetime,
    prediction: float | None,
    **more: object,
) -> dict[str, object]:
    key = f"{request}/{version}/{role}/{more.get('attempt')}/{more.get('row')}"
    sequence = zlib.crc32(key.encode())
    return {
        "id": f"boot{version}-{sequence}",
        "source": f"/capstan/flight-delays/{version}",
        "data": {
            "request_id": request, "version": version, "role": role, "attempt": 1, "row": 0,
            "event_time": when.isoformat(), "entity_id": f"e-{request}", "status": 200, "latency_seconds": 0.01,
            "outputs": {"probability": prediction}, "nonfinite": False, "inputs": {}, **more,
        },
    }  # fmt: skip


def label(request: str, value: bool | None, at: datetime, *, by_request: bool = False) -> dict[str, object]:
    case: dict[str, object] = {"requestId": request} if by_request else {"id": f"e-{request}"}
    return {
        **case,
        "availableAt": at.isoformat(),
        **({"noLabel": True} if value is None else {"label": value}),
    }


class Stored:
    """A state directory that payloads and labels are put into as a collector does."""

    def __init__(self, root: Path, kind: str = "parquet") -> None:
        self.root = root
        self.systems = root / "systems"
        self.folder = self.systems / "flight-delays"
        self.folder.mkdir(parents=True)
        (self.folder / "spec.json").write_bytes(orjson.dumps(flights()))
        self.intake = Intake(root / "collector", self.systems)
        self.source = self.monitor() if kind == "monitor" else ParquetEvidence(self.folder, SYSTEM)

    def monitor(self) -> EvidenceSource:
        """The monitor's own routes, spoken to over HTTP."""
        (self.root / "token").write_text("secret")
        config = MonitorConfig(port=0, folder=self.folder, token=self.root / "token", detectors="Scipy")
        self.client = TestClient(MonitorService(config).app())
        return HttpMonitor(self.client, "http://testserver", token="secret", bento=_no_bento)

    def put(self, *payloads: dict[str, object], heading: Heading | None = None, flush: bool = True) -> None:
        self.intake.receive(heading, body(payloads), WALL)
        if flush:
            self.intake.flush()

    def put_labels(self, *labels: dict[str, object], flush: bool = True) -> None:
        self.intake.feedback(orjson.dumps({"labels": list(labels)}), WALL, system=None)
        if flush:
            self.intake.flush()

    def paired(self, as_of: datetime, since: datetime = SINCE, *, metric: str = "logLoss") -> PairedEvidence:
        return self.source.paired(V1, V2, metric=metric, since=since, as_of=as_of)


def _no_bento(version: VersionName) -> tuple[str, Digest]:
    raise AssertionError(f"nobody asked to watch {version}")


@pytest.fixture(params=["parquet", "monitor"])
def stored(tmp_path: Path, request: pytest.FixtureRequest) -> Stored:
    return Stored(tmp_path, request.param)


def pair(request: str, when: datetime, p: float, q: float) -> list[dict[str, object]]:
    return [payload(request, "v1", "champion", when, p), payload(request, "v2", "shadow", when, q)]


def test_losses_are_paired_clipped_and_signed_towards_the_challenger(stored: Stored) -> None:
    noon = SINCE + timedelta(hours=12)
    stored.put(*pair("a", noon, 0.2, 0.7), *pair("b", noon, 0.0, 0.4), *pair("c", noon, 0.9, 0.9))
    stored.put_labels(label("a", True, noon), label("b", True, noon), label("c", None, noon))
    evidence = stored.paired(SINCE + timedelta(days=1))
    expected = (-math.log(0.2) + math.log(0.7)) + (-math.log(0.001) + math.log(0.4))
    assert len(evidence.blocks) == 1
    block = evidence.blocks[0]
    assert block.start == SINCE
    assert (block.count, block.coverage) == (2, 1.0)
    assert block.loss_difference == pytest.approx(expected, abs=1e-9)
    assert (evidence.paired_requests, evidence.labelled_pairs) == (3, 2)
    assert evidence.disagreement == pytest.approx(1 / 3)
    assert evidence.clipped_share == pytest.approx(0.5)


def test_pairs_are_compared_by_the_metric_that_is_asked_for(stored: Stored) -> None:
    noon = SINCE + timedelta(hours=12)
    stored.put(*pair("a", noon, 0.2, 0.7), *pair("b", noon, 0.0, 0.4))
    stored.put_labels(label("a", True, noon), label("b", True, noon))

    (block,) = stored.paired(SINCE + timedelta(days=1), metric="brierScore").blocks

    assert block.loss_difference == pytest.approx((0.8**2 - 0.3**2) + (1.0**2 - 0.6**2), abs=1e-9)


def test_a_metric_that_no_single_prediction_has_gives_no_evidence(stored: Stored) -> None:
    with pytest.raises(UnavailableError, match="loss of a single prediction"):
        stored.paired(SINCE + timedelta(days=1), metric="rocAuc")


def test_a_block_is_a_local_day_even_when_clocks_change(stored: Stored) -> None:
    start = datetime(2013, 3, 10, tzinfo=NEW_YORK).astimezone(UTC)  # 23 hours long
    times = [start, start + timedelta(hours=22, minutes=59), start + timedelta(hours=23)]
    for index, when in enumerate(times):
        stored.put(*pair(f"r{index}", when, 0.5, 0.6))
        stored.put_labels(label(f"r{index}", True, when))
    blocks = stored.paired(start + timedelta(days=3), since=start).blocks
    assert [(block.start, block.count) for block in blocks] == [(start, 2), (start + timedelta(hours=23), 1)]


def test_a_block_closes_by_coverage_or_by_the_maximum_delay_never_before(stored: Stored) -> None:
    noon, midnight = SINCE + timedelta(hours=12), SINCE + timedelta(days=1)
    for n in range(100):
        stored.put(*pair(f"r{n}", noon, 0.5, 0.6), flush=False)
    stored.put_labels(*(label(f"r{n}", True, noon + timedelta(hours=1)) for n in range(97)))
    stored.put_labels(label("r97", False, midnight + timedelta(hours=5)))
    assert stored.paired(midnight - timedelta(seconds=1)).blocks == ()
    assert stored.paired(midnight + timedelta(hours=4)).blocks == ()
    assert [b.coverage for b in stored.paired(midnight + timedelta(hours=5)).blocks] == [0.98]
    stored.put(*pair("r100", noon, 0.5, 0.6), *pair("r101", noon, 0.5, 0.6))
    assert stored.paired(midnight + timedelta(hours=5)).blocks == ()
    (late,) = stored.paired(midnight + timedelta(days=3)).blocks
    assert late.coverage == pytest.approx(98 / 102)


def test_a_block_of_requests_closes_when_it_is_full_and_labelled_whatever_the_day(stored: Stored) -> None:
    document = copy.deepcopy(flights())
    document["spec"]["rollout"]["blockRequests"] = 10  # type: ignore[index]
    document["spec"]["rollout"]["analyses"][0]["blocks"] = "Requests"  # type: ignore[index]
    evidence = ParquetEvidence(stored.folder, parse(document, base_dir=Path()))

    def blocks(after: timedelta) -> list[tuple[datetime, int]]:
        found = evidence.paired(V1, V2, metric="logLoss", since=SINCE, as_of=SINCE + after).blocks
        return [(block.start, block.count) for block in found]

    def minute(number: int) -> datetime:
        return SINCE + timedelta(minutes=number)

    for n in range(20):
        stored.put(*pair(f"r{n}", minute(n), 0.5, 0.6), flush=False)
    stored.put_labels(*(label(f"r{n}", True, minute(n)) for n in range(10)))
    # The second block is full, and nobody knows yet that no request of the same moment follows.
    assert blocks(timedelta(hours=1)) == [(SINCE, 10)]
    stored.put(*pair("r20", minute(20), 0.5, 0.6))
    assert blocks(timedelta(hours=1)) == [(SINCE, 10)]
    stored.put_labels(*(label(f"r{n}", True, minute(30)) for n in range(10, 20)))
    assert blocks(timedelta(hours=1)) == [(SINCE, 10), (minute(10), 10)]


def test_blocks_enter_in_event_order(stored: Stored) -> None:
    first, second = SINCE + timedelta(hours=1), SINCE + timedelta(days=1, hours=1)
    stored.put(*pair("open", first, 0.5, 0.6), *pair("done", second, 0.5, 0.6))
    stored.put_labels(label("done", True, second))
    assert stored.paired(SINCE + timedelta(days=2)).blocks == ()
    stored.put_labels(label("open", True, second))
    assert [block.count for block in stored.paired(SINCE + timedelta(days=2)).blocks] == [1, 1]


def test_no_label_from_the_future_is_seen(stored: Stored) -> None:
    noon = SINCE + timedelta(hours=12)
    stored.put(*pair("a", noon, 0.2, 0.7))
    stored.put_labels(label("a", True, noon + timedelta(days=1)), label("a", False, noon + timedelta(days=2)))
    assert stored.paired(noon + timedelta(hours=23)).labelled_pairs == 0
    early = stored.paired(noon + timedelta(days=1))
    late = stored.paired(noon + timedelta(days=2))
    assert early.blocks[0].loss_difference > 0 > late.blocks[0].loss_difference


def test_only_answers_are_paired_and_the_last_attempt_counts(stored: Stored) -> None:
    noon = SINCE + timedelta(hours=12)
    stored.put(
        payload("retried", "v1", "champion", noon, 0.1, attempt=1),
        payload("retried", "v1", "champion", noon, 0.8, attempt=2),
        payload("retried", "v2", "shadow", noon, 0.8),
        payload("failed", "v1", "champion", noon, None, status=500),
        payload("failed", "v2", "shadow", noon, 0.8),
        payload("unmirrored", "v1", "champion", noon, 0.8),
        payload("canary", "v2", "challenger", noon, 0.8),
        payload("before", "v1", "champion", SINCE - timedelta(seconds=1), 0.1),
        payload("before", "v2", "shadow", SINCE - timedelta(seconds=1), 0.1),
    )
    stored.put_labels(label("retried", True, noon, by_request=True))
    evidence = stored.paired(SINCE + timedelta(days=1))
    assert (evidence.paired_requests, evidence.labelled_pairs) == (1, 1)
    assert evidence.blocks[0].loss_difference == 0


@pytest.mark.parametrize(
    "answer",
    [{"outputs": None, "nonfinite": True, "status": 500}, {"outputs": {"probability": 1.5}}],
    ids=["not_a_number", "out_of_range"],
)
def test_an_answer_that_is_no_probability_is_counted_never_paired(
    stored: Stored, answer: dict[str, object]
) -> None:
    noon = SINCE + timedelta(hours=12)
    stored.put(
        payload("a", "v1", "champion", noon, 0.5),
        payload("a", "v2", "shadow", noon, None, **answer),
    )
    evidence = stored.paired(SINCE + timedelta(days=1))
    assert (evidence.nonfinite_answers, evidence.paired_requests) == (1, 0)


def test_a_request_that_only_the_challenger_refused_is_counted_and_one_that_both_refused_is_not(
    stored: Stored,
) -> None:
    noon = SINCE + timedelta(hours=12)
    refused = {"status": 422, "outputs": None}
    stored.put(
        payload("strict", "v1", "champion", noon, 0.5),
        payload("strict", "v2", "shadow", noon, None, **refused),
        payload("bad", "v1", "champion", noon, None, **refused),
        payload("bad", "v2", "shadow", noon, None, **refused),
        payload("good", "v1", "champion", noon, 0.5),
        payload("good", "v2", "shadow", noon, 0.5),
        payload("before", "v1", "champion", SINCE - timedelta(seconds=1), 0.5),
        payload("before", "v2", "shadow", SINCE - timedelta(seconds=1), None, **refused),
    )
    evidence = stored.paired(SINCE + timedelta(days=1))
    assert (evidence.refused_answers, evidence.paired_requests) == (1, 1)


def test_lost_payloads_of_both_versions_are_a_share(stored: Stored) -> None:
    noon = SINCE + timedelta(hours=12)
    stored.put(*pair("a", noon, 0.5, 0.5), heading=Heading("bootv1", "v1", 4, 2))
    assert stored.paired(SINCE + timedelta(days=1)).lost_share == pytest.approx(2 / 4)
    assert stored.paired(SINCE + timedelta(days=9), since=SINCE + timedelta(days=5)).lost_share == 0


def test_nothing_stored_is_no_evidence(stored: Stored) -> None:
    assert stored.paired(SINCE + timedelta(days=30)) == PairedEvidence()
    assert stored.paired(SINCE) == PairedEvidence()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"champion": ""}, "champion"),
        ({"challenger": "v" * 64}, "challenger"),
        ({"metric": "rocAuc"}, "metric"),
        ({"since": "2013-03-01"}, "since"),
        ({"as_of": "2013-03-01T00:00:00 01:00"}, "as_of"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_a_wrong_question_for_evidence_is_named(tmp_path: Path, changes: dict[str, str], field: str) -> None:
    stored = Stored(tmp_path, "monitor")
    asked = {
        "champion": "v1",
        "challenger": "v2",
        "metric": "logLoss",
        "since": SINCE.isoformat(),
        "as_of": WALL.isoformat(),
    }
    token = {"authorization": "Bearer secret"}
    assert stored.client.get("/evidence", params=asked, headers=token).status_code == 200
    answer = stored.client.get("/evidence", params={**asked, **changes}, headers=token)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_evidence_is_for_the_internal_token_and_an_absent_monitor_is_unavailable(tmp_path: Path) -> None:
    stored = Stored(tmp_path, "monitor")
    for address, client in (
        ("http://testserver", stored.client),
        ("http://127.0.0.1:1", httpx.Client(trust_env=False)),
    ):
        source = HttpMonitor(client, address, token="wrong", bento=_no_bento)
        with pytest.raises(UnavailableError, match="the monitor"):
            source.paired(V1, V2, metric="logLoss", since=SINCE, as_of=WALL)


_DAYS = 4
_REQUESTS = [
    (f"r{n}", SINCE + timedelta(hours=7 * n + 1), (n * 37 % 97) / 97, (n * 53 % 89) / 89, n % 3 == 0)
    for n in range(13)
]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.randoms(use_true_random=False), flushes=st.sets(st.integers(0, 60), max_size=5))
def test_any_order_and_repetition_of_deliveries_gives_identical_evidence(
    tmp_path_factory: pytest.TempPathFactory, order: random.Random, flushes: set[int]
) -> None:
    deliveries: list[tuple[str, dict[str, object]]] = []
    for request, when, p, q, truth in _REQUESTS:
        deliveries += [("p", one) for one in pair(request, when, p, q)]
        deliveries.append(("l", label(request, truth, when + timedelta(hours=3))))
        if truth:
            deliveries.append(("l", label(request, False, when + timedelta(hours=3))))
    straight = Stored(tmp_path_factory.mktemp("straight"))
    shuffled = Stored(tmp_path_factory.mktemp("shuffled"))
    mixed = deliveries + order.sample(deliveries, 10)
    order.shuffle(mixed)
    for target, sequence in ((straight, deliveries), (shuffled, mixed)):
        for index, (kind, what) in enumerate(sequence):
            flush = target is shuffled and index in flushes
            (target.put if kind == "p" else target.put_labels)(what, flush=flush)
        target.intake.flush()
    as_of = SINCE + timedelta(days=_DAYS, hours=12)
    assert len(straight.paired(as_of).blocks) == _DAYS
    assert shuffled.paired(as_of) == straight.paired(as_of)


def test_merged_segments_say_the_same_even_while_their_parts_are_there(stored: Stored) -> None:
    noon = SINCE + timedelta(hours=12)
    parts: dict[Path, bytes] = {}
    for n in range(30):
        stored.put(*pair(f"r{n}", noon, 0.2, 0.3), flush=True)
        stored.put_labels(label(f"r{n}", n % 2 == 0, noon))
        parts |= {path: path.read_bytes() for path in stored.systems.glob("flight-delays/**/t0-*.parquet")}
    files = list(stored.systems.glob("flight-delays/payloads/day=*/*.parquet"))
    assert 1 < len(files) < 30
    before = stored.paired(SINCE + timedelta(days=1))
    assert (before.paired_requests, before.labelled_pairs) == (30, 30)
    for path, content in parts.items():
        path.write_bytes(content)
    assert stored.paired(SINCE + timedelta(days=1)) == before


def test_served_answers_carry_their_version_and_truth(stored: Stored) -> None:
    noon = SINCE + timedelta(hours=12)
    stored.put(
        *pair("a", noon, 0.2, 0.7),
        payload("b", "v2", "challenger", noon, None, status=500, attempt=1),
        payload("b", "v1", "champion", noon, 0.4, attempt=2),
        payload("c", "v2", "challenger", noon, 0.6),
        payload("d", "v1", "champion", noon, 0.6),
    )
    stored.put_labels(label("a", True, noon), label("b", False, noon), label("c", None, noon))
    evidence = ParquetEvidence(stored.systems / "flight-delays", SYSTEM)
    rows = evidence.answered_with_labels(SINCE, SINCE + timedelta(days=1)).table.to_pylist()
    assert [
        (row["request_id"], row["version"], row["outputs"]["probability"], row["label"], row["no_label"])
        for row in rows
    ] == [
        ("a", "v1", 0.2, True, False),
        ("b", "v1", 0.4, False, False),
        ("c", "v2", 0.6, None, True),
        ("d", "v1", 0.6, None, None),
    ]
    assert rows[0]["event_time"] == noon


def test_three_weeks_of_flights_are_judged_in_little_time(stored: Stored) -> None:
    for day in range(21):
        when = SINCE + timedelta(days=day, hours=12)
        rows = [one for n in range(330) for one in pair(f"{day}-{n}", when, 0.2, 0.3)]
        stored.put(*rows)
        stored.put_labels(*(label(f"{day}-{n}", n % 5 == 0, when) for n in range(330)))
    evidence = ParquetEvidence(stored.systems / "flight-delays", SYSTEM)
    times = []
    for _ in range(5):
        began = time.process_time()
        found = evidence.paired(V1, V2, metric="logLoss", since=SINCE, as_of=SINCE + timedelta(days=21))
        times.append(time.process_time() - began)
    assert len(found.blocks) == 21
    assert found.labelled_pairs == 21 * 330
    assert min(times) < 0.3, times
    print(f"paired evidence: {min(times) * 1000:.0f} ms CPU")


def test_signed_calls_are_told_as_they_were_taken(stored: Stored) -> None:
    assert stored.source.webhooks() == Webhooks()
    book = WebhookBook(stored.folder)
    book.take("airflow", "msg_1", "August is complete", WALL)
    book.note_closed({"etl": "its secret is missing"})
    number = int(WALL.timestamp() * 1e6)
    call = WebhookCall(number, "airflow", "msg_1", "August is complete")
    assert stored.source.webhooks() == Webhooks((call,), {"etl": "its secret is missing"})


def test_new_labels_are_counted_once_each_and_only_those_of_the_span(stored: Stored) -> None:
    stored.put_labels(
        label("early", True, SINCE),
        *(label("a", value, SINCE + timedelta(hours=hours)) for value, hours in ((True, 1), (False, 2))),
        label("b", None, SINCE + timedelta(hours=1)),
        label("c", True, SINCE + timedelta(days=40), by_request=True),
        label("d", True, SINCE + timedelta(days=40, seconds=1)),
    )
    assert stored.source.labelled(since=SINCE, as_of=SINCE + timedelta(days=40)) == 2
    assert stored.source.labelled(since=SINCE - timedelta(days=1), as_of=SINCE + timedelta(days=1)) == 2
    assert stored.source.labelled(since=SINCE + timedelta(days=41), as_of=SINCE + timedelta(days=42)) == 0
