"""Every task on a real cluster: one file becomes a served model, its users, late labels, pairs in shadow, a promotion.

Two rankers are interleaved, and what users click decides between them. All systems live side by side in one namespace.
The loop itself is told in test_closed_loop.py; here is what a task may get wrong: answers, tensors, payloads, labels,
losses and the drift of outputs.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from cluster.access import reached, tokens
from cluster.loop.installed import installed
from cluster.loop.parcels import Row
from cluster.loop.shipments import BATCH, STEPS, TaskSystem, batch_of, past, write_past
from cluster.loop.story import Story
from cluster.loop.watched import Watched
from cluster.upstream import seldon_operator
from ruamel.yaml import YAML

import capstan
from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.own.monitor import HttpMonitor
from capstan.cluster.names import MONITOR_PORT
from capstan.domain.versions import Digest, VersionName
from capstan.errors import NotAllowedError

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]

GATEWAY_PORT = 80
TENSORS_OF_MODELS = ("near.probability", "near.label", "heavy.probability", "heavy.label")
TREES = {"gradientBoosting": {"iterations": 20, "leaves": 7}}
INTERLEAVE = {
    "event": "click",
    "window": "2s",
    "maximumDelay": "5s",
    "minUnits": 20,
    "decide": "UnlessWorse",
    "alpha": 0.001,
    "deadline": "1h",
}
WEBHOOK = {"sender": "warehouse", "secretFrom": {"secretKeyRef": {"name": "warehouse", "key": "webhook"}}}
SECRET = base64.b64encode(bytes(range(32))).decode()
SYSTEMS = (
    TaskSystem(
        task="Regression",
        name="minutes",
        target="minutes",
        loss="squaredError",
        output="value",
        answer=frozenset({"value"}),
        tensors=frozenset({"value"}),
        candidates=({"name": "baseline", "mostFrequent": {}}, {"name": "trees", **TREES}),
        objective={"losses": {"maximumError": 60}},
        spec={"retraining": {"triggers": [{"drift": {}}, {"webhook": WEBHOOK}], "cooldown": "1s"}},
    ),
    TaskSystem(
        task="MulticlassClassification",
        name="band",
        target="band",
        loss="logLoss",
        output="label",
        answer=frozenset({"label", "probabilities"}),
        tensors=frozenset({"label", "probabilities"}),
        candidates=({"name": "baseline", "mostFrequent": {}}, {"name": "trees", **TREES}),
    ),
    TaskSystem(
        task="Ranking",
        name="order",
        target="urgency",
        loss="ndcgAt3",
        output="score",
        answer=frozenset({"score", "rank"}),
        tensors=frozenset({"score", "rank"}),
        candidates=({"name": "baseline", "mostFrequent": {}}, {"name": "trees", **TREES}),
        group="batch",
        steps=(STEPS[0], {"interleave": INTERLEAVE}),
    ),
    TaskSystem(
        task="BinaryClassification",
        name="together",
        target="late",
        loss="logLoss",
        output="near.probability",
        answer=frozenset({"probability", "label", "models"}),
        tensors=frozenset({"probability", "label", *TENSORS_OF_MODELS}),
        candidates=({"name": "trees", **TREES},),
        spec={
            "models": [
                {"name": "near", "features": ["distance"]},
                {"name": "heavy", "features": ["weight", "carrier", "hour"]},
            ],
            "combine": {"rule": "Mean"},
        },
    ),
)


@dataclass
class Users:
    """Of one system: they ask batch after batch, and tell the truth of what was answered."""

    gateway: str
    token: str
    system: TaskSystem
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(11))
    number: int = 1_000_000
    answered: int = 0
    clicks: int = 0

    def ask(self, batches: int) -> list[Mapping[str, Any]]:
        """The answers of each parcel; every request must be answered."""
        answers: list[Mapping[str, Any]] = []
        labels = []
        for _ in range(batches):
            self.number += 1
            rows = batch_of(self.number, datetime.now(UTC), self.rng)
            requests = [rows] if self.system.group is not None else [[row] for row in rows]
            for request in requests:
                body = {"rows": [self.system.asked(row) for row in request]}
                answer = self._post("/predict", body)
                answers += answer["predictions"]
                if "+" in answer["version"]:
                    self._click(answer, request)
            labels += [
                {"id": row["parcel_id"], "label": row[self.system.target], "availableAt": row["known_at"]}
                for row in rows
            ]
        self.answered += len(answers)
        self._post("/feedback", {"labels": labels})
        return answers

    def _click(self, answer: Mapping[str, Any], request: Sequence[Row]) -> None:
        """The item at the top of a list of two rankers."""
        self.clicks += 1
        top = next(index for index, one in enumerate(answer["predictions"]) if one["rank"] == 1)
        item, told = request[top]["parcel_id"], answer["request_id"]
        event = {"eventId": f"click-{told}", "event": "click", "requestId": told, "id": item}
        self._post("/events", {"events": [event]})

    def _post(self, path: str, body: Any) -> Any:
        headers = {"authorization": f"Bearer {self.token}"} if path in ("/feedback", "/events") else {}
        answer = httpx.post(f"{self.gateway}{path}", json=body, headers=headers, trust_env=False, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def infer(self) -> dict[str, Any]:
        """Outputs of the Open Inference Protocol for one batch, by name."""
        self.number += 1
        rows = [self.system.asked(row) for row in batch_of(self.number, datetime.now(UTC), self.rng)]
        inputs = [
            {
                "name": name,
                "shape": [len(rows)],
                "datatype": "BYTES" if isinstance(rows[0][name], str) else "FP64",
                "data": [row[name] for row in rows],
            }
            for name in rows[0]
        ]
        answer = self._post(f"/v2/models/{self.system.name}/infer", {"inputs": inputs})
        return {one["name"]: one for one in answer["outputs"]}


@pytest.fixture(scope="module")
def stories(
    kube: KubeClient, new_namespace: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Story]]:
    """Every system, applied at once, so that their trainings wait for each other and not for the tests."""
    namespace = new_namespace()
    with (
        seldon_operator(kube, namespace),
        installed(kube, new_namespace(), systems=namespace) as platform,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in platform.storage_keys().items():
            patch.setenv(name, value)
        rows = past(datetime.now(UTC), minutes=30, per_second=10, seed=1)
        kube.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "warehouse", "namespace": namespace},
                "stringData": {"webhook": SECRET},
            }
        )
        told = {}
        for system in SYSTEMS:
            folder = tmp_path_factory.mktemp(system.name)
            YAML().dump(system.document(), folder / "system.yaml")
            write_past(folder / "data" / "past.csv", rows)
            watched = Watched.of(kube, namespace, system.name)
            told[system.name] = Story(kube, platform, system.name, namespace, folder, watched)
            told[system.name].push()
            told[system.name].run("kubectl", "-n", namespace, "apply", "-f", "system.yaml")
        yield told


@pytest.fixture(params=SYSTEMS, ids=lambda system: system.name)
def system(request: pytest.FixtureRequest) -> TaskSystem:
    found: TaskSystem = request.param
    return found


@pytest.fixture
def story(stories: Mapping[str, Story], system: TaskSystem) -> Story:
    return stories[system.name]


@pytest.fixture
def users(story: Story, system: TaskSystem) -> Iterator[Users]:
    story.watched.eventually(lambda: story.watched.champion != "", 400, "a first champion")
    story.watched.eventually(lambda: story.watched.rollout_phase() == "", 120, "the first rollout is over")
    names = story.watched.names
    with reached(story.kube, story.namespace, names.gateway, GATEWAY_PORT) as address:
        yield Users(address, tokens(story.kube, names)["feedback"], system)


@pytest.fixture
def monitor(story: Story) -> Iterator[HttpMonitor]:
    def nobody_asks(version: VersionName) -> tuple[str, Digest]:
        raise AssertionError(version)

    names = story.watched.names
    with ExitStack() as stack:
        address = stack.enter_context(reached(story.kube, story.namespace, names.monitor, MONITOR_PORT))
        client = stack.enter_context(httpx.Client(trust_env=False))
        yield HttpMonitor(client, address, token=tokens(story.kube, names)["internal"], bento=nobody_asks)


def test_a_task_goes_from_a_file_to_a_promotion(
    story: Story, system: TaskSystem, users: Users, monitor: HttpMonitor, tmp_path: Path
) -> None:
    watched, began = story.watched, datetime.now(UTC)
    answers = users.ask(4)
    assert {frozenset(answer) for answer in answers} == {system.answer}
    outputs = users.infer()
    assert set(outputs) == system.tensors
    assert {one["shape"][0] for one in outputs.values()} == {BATCH}

    before = watched.last_event
    version = story.inject(story.champions_model(tmp_path), f"another-{system.name}")
    deadline = time.monotonic() + 240
    while "Promoted" not in watched.told(after=before):
        assert time.monotonic() < deadline, watched.told_in_full()
        users.ask(2)
    assert "RolledBack" not in watched.told(after=before)

    def paired() -> Any:
        until = datetime.now(UTC) + timedelta(minutes=1)
        return monitor.paired(
            VersionName("v1"), version, metric=system.loss, since=began - timedelta(minutes=1), as_of=until
        )

    units = 30 if system.group is None else 30 // BATCH
    watched.eventually(lambda: paired().labelled_pairs >= units, 60, "labelled pairs of both versions")
    assert paired().nonfinite_answers == 0
    if "interleave" in system.steps[-1]:
        assert_clicks_decided(story, users, before)
        assert_both_said_the_same(story)

    def drift_of_outputs() -> list[Any]:
        windows = [one for one in monitor.windows() if one["has_enough_rows"]]
        return [one["outputs"] for one in windows if system.output in one["outputs"]]

    watched.eventually(lambda: users.ask(2) != [] and drift_of_outputs() != [], 120, "a judged window")


def test_a_table_is_answered_and_labelled_from_outside_by_the_commands(
    story: Story, system: TaskSystem, users: Users, tmp_path: Path
) -> None:
    where = ("--context", ".", "--namespace", story.namespace)
    rows = batch_of(5_000_000, datetime.now(UTC), users.rng)
    table, outcomes = tmp_path / "rows.jsonl", tmp_path / "outcomes.jsonl"
    table.write_text("".join(f"{json.dumps(system.asked(row))}\n" for row in rows))
    told = story.capstan("predict", "system.yaml", str(table), *where, "--json")
    *answers, last = [json.loads(line) for line in told.splitlines()]
    assert (last["summary"]["answered"], last["summary"]["refused"]) == (len(rows), 0)
    assert [answer["parcel_id"] for answer in answers] == [row["parcel_id"] for row in rows]

    labels = [{name: row[name] for name in ("parcel_id", system.target, "known_at")} for row in rows]
    outcomes.write_text("".join(f"{json.dumps(label)}\n" for label in labels))
    handed = json.loads(story.capstan("feedback", "system.yaml", str(outcomes), *where, "--json"))
    assert (handed["accepted"], handed["refused"]) == (len(rows), 0)
    assert handed["matched"]["count"] + handed["waiting"]["count"] == len(rows)

    listed = {
        one["name"]: one for one in json.loads(story.capstan("ls", *where, "--json")) if one["namespace"]
    }
    assert (listed[story.name]["namespace"], listed[story.name]["phase"]) == (story.namespace, "Serving")
    assert json.loads(story.capstan("drift", story.name, *where, "--json"))["windows"] is not None


def test_the_python_api_asks_labels_and_looks_at_the_system_in_its_cluster(
    story: Story, system: TaskSystem, users: Users
) -> None:
    rows = batch_of(6_000_000, datetime.now(UTC), users.rng)
    here = capstan.System.from_file(story.folder / "system.yaml", context=".", namespace=story.namespace)
    answers = here.predict(pd.DataFrame([system.asked(row) for row in rows]))
    champion = story.watched.state.champion
    assert champion is not None
    assert len(answers) == len(rows)
    assert set(answers["version"]) == {champion.name}

    truth = pd.DataFrame(
        [{name: row[name] for name in ("parcel_id", system.target, "known_at")} for row in rows]
    )
    handed = here.feedback(truth)
    assert handed.accepted == len(rows)
    # The champion was made by hand, and no training tells of it.
    assert here.versions["run"]["v1"] in here.runs().index
    assert "Promoted" in set(here.story()["reason"])
    with pytest.raises(NotAllowedError, match=re.escape("capstan retrain --context .")):
        here.train()


def test_a_signed_call_from_outside_starts_a_training_and_an_unsigned_one_does_not(
    stories: Mapping[str, Story], tmp_path: Path
) -> None:
    story = stories["minutes"]
    where = ("--context", ".", "--namespace", story.namespace)
    secret, wrong = tmp_path / "secret", tmp_path / "wrong"
    secret.write_text(SECRET)
    wrong.write_text(base64.b64encode(bytes(32)).decode())
    before = story.watched.last_event
    call = ("trigger", "system.yaml", "warehouse", "--reason", "the month is complete", *where)
    with pytest.raises(AssertionError, match="webhook-signature"):
        story.capstan(*call, "--secret-file", str(wrong))
    assert "TrainingRequested" not in story.watched.told(after=before)
    told = story.capstan(*call, "--id", "msg_one", "--secret-file", str(secret))
    assert "msg_one: taken" in told
    story.watched.eventually(
        lambda: "TrainingStarted" in story.watched.told(after=before), 120, "the training that was asked for"
    )
    asked = [
        event.message for _, event in story.watched.story(after=before) if event.reason == "TrainingRequested"
    ]
    assert len(asked) == 1
    assert "warehouse" in asked[0]
    assert "the month is complete" in asked[0]
    again = story.capstan(*call, "--id", "msg_one", "--secret-file", str(secret))
    assert "msg_one: taken before" in again


def assert_clicks_decided(story: Story, users: Users, before: int) -> None:
    told = [
        event.message for _, event in story.watched.story(after=before) if "challenger won" in event.message
    ]
    counts = re.search(r"challenger won ([\d,]+), lost ([\d,]+) and tied", told[-1] if told else "")
    assert counts is not None, story.watched.told_in_full()
    won, lost = (int(count.replace(",", "")) for count in counts.groups())
    assert 10 <= won + lost <= users.clicks, told[-1]


def assert_both_said_the_same(story: Story) -> None:
    """The challenger is the champion's model under another name."""
    where = ("--context", ".", "--namespace", story.namespace)
    found = json.loads(story.capstan("compare", story.name, *where, "--json"))
    assert (found["champion"], found["challenger"]) == ("v1", "v2")
    assert found["requests"] >= 30 // BATCH
    assert (found["exact"], found["disagreement"], found["distance"]) == (1.0, 0.0, 0.0)


def test_a_label_of_another_kind_is_refused_with_its_rule(users: Users) -> None:
    answer = httpx.post(
        f"{users.gateway}/feedback",
        json={"labels": [{"id": "p1", "label": {"so": "so"}, "availableAt": "2026-01-01T00:00:00Z"}]},
        headers={"authorization": f"Bearer {users.token}"},
        trust_env=False,
        timeout=10,
    )
    assert answer.status_code == 422, answer.text
    assert "label" in answer.json()["error"]["field"]
