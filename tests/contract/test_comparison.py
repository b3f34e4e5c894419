"""Predictions of two versions, compared request by request without labels: real Parquet files, real DuckDB."""

from __future__ import annotations

import copy
import json
import random
import tracemalloc
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.recorded_task import DAY, NOON, START, V1, V2, RecordedTask
from scipy.stats import ks_2samp, wasserstein_distance

from capstan.domain import comparison
from capstan.domain.comparison import PredictionComparison
from capstan.ports.codec import to_json
from capstan.spec import parse

DOCUMENT: dict[str, Any] = {
    "apiVersion": "capstan.dev/v1alpha1",
    "kind": "MLSystem",
    "metadata": {"name": "shop"},
    "spec": {
        "objective": {"task": "BinaryClassification", "target": "late"},
        "data": {
            "sources": [{"name": "orders", "csv": {"path": "orders.csv"}}],
            "keys": {"id": "id", "time": "at"},
            "label": {"column": "late", "availableAt": "known", "maximumDelay": "3d"},
        },
        "features": [
            {"name": "carrier", "categorical": {}},
            {"name": "distance", "numeric": {}},
            {"name": "income", "numeric": {}},
        ],
        "evaluation": {"slices": ["carrier", "warehouse"]},
        "rollout": {"shownInputs": ["distance", "carrier"]},
    },
}


class Shop(RecordedTask):
    """Answers of both versions to the same requests."""

    def __init__(
        self, root: Path, document: Mapping[str, Any] = DOCUMENT, kind: str = "parquet", **spec: Any
    ) -> None:
        document = copy.deepcopy(dict(document))
        document["spec"] |= spec
        super().__init__(root, document, kind)

    def ask(
        self,
        request: str,
        one: Mapping[str, Any],
        other: Mapping[str, Any] | None,
        row: int = 0,
        **inputs: object,
    ) -> None:
        """`other` None: nothing of the challenger reached the collector."""
        inputs = {"carrier": "UA", "distance": 100.0, "income": 1234567.0, **inputs}
        events = [self.event(request, V1, one, row=row, inputs=inputs)]
        if other is not None:
            events.append(self.event(request, V2, other, row=row, inputs=inputs))
        self.receive(events)

    def compare(self) -> PredictionComparison:
        self.intake.flush()
        return self.source.compared(V1, V2, since=START, as_of=START + DAY)


def probability(value: float) -> dict[str, float]:
    return {"probability": value}


@pytest.fixture(params=["parquet", "monitor"])
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    return Shop(tmp_path, kind=request.param)


def test_pairs_are_compared_whether_or_not_a_label_is_there(shop: Shop) -> None:
    shop.ask("a", probability(0.2), probability(0.2 + 1e-15))
    shop.ask("b", probability(0.3), probability(0.4))
    shop.ask("c", probability(0.4), probability(0.9))
    shop.ask("d", probability(0.8), None)
    found = shop.compare()
    assert (found.requests, found.pairs, found.unpaired, found.unsound) == (3, 3, 1, 0)
    assert found.exact == pytest.approx(1 / 3)
    assert (found.disagreement, found.agreement) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert found.distance == pytest.approx(0.2)
    (output,) = found.outputs
    assert (output.name, output.mean_distance, output.shift) == (
        "probability",
        pytest.approx(0.2),
        pytest.approx(0.2),
    )


def test_nothing_stored_compares_nothing_and_claims_nothing(shop: Shop) -> None:
    found = shop.compare()
    assert (found.requests, found.exact, found.disagreement, found.distance, found.agreement) == (
        0,
        *[None] * 4,
    )
    assert found.outputs == found.slices == found.most_different == ()
    assert found.slices_not_recorded == ("warehouse",)


def test_distances_of_distributions_and_deciles_are_those_of_scipy_and_numpy(shop: Shop) -> None:
    rng = np.random.default_rng(1)
    first = rng.random(400)
    second = np.clip(first + rng.normal(0.05, 0.1, 400), 0, 1)
    for index, (one, other) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        shop.ask(f"r{index}", probability(one), probability(other))
    (output,) = shop.compare().outputs
    assert output.sampled == 400
    assert output.ks == pytest.approx(ks_2samp(first, second).statistic)
    assert output.wasserstein == pytest.approx(wasserstein_distance(first, second))
    assert output.shift == pytest.approx((second - first).mean())
    assert [decile.pairs for decile in output.deciles] == [40] * 10
    lowest = np.argsort(first)[:40]
    assert output.deciles[0].champion == pytest.approx(first[lowest].mean())
    assert output.deciles[0].challenger == pytest.approx(second[lowest].mean())


def test_slices_tell_where_the_two_differ(shop: Shop) -> None:
    for index in range(6):
        shop.ask(f"u{index}", probability(0.2), probability(0.2), carrier="UA")
    for index in range(3):
        shop.ask(f"d{index}", probability(0.2), probability(0.7), carrier="DL")
    shop.ask("n", probability(0.2), probability(0.1), carrier=None)
    found = shop.compare()
    assert [(each.column, each.value, each.pairs) for each in found.slices] == [
        ("carrier", "UA", 6),
        ("carrier", "DL", 3),
        ("carrier", "(missing)", 1),
    ]
    united, delta, missing = found.slices
    assert (united.exact, united.disagreement, united.mean_distance) == (1, 0, 0)
    assert (delta.exact, delta.disagreement, delta.mean_distance) == (0, 1, pytest.approx(0.5))
    assert missing.shift == pytest.approx(-0.1)


def test_the_requests_that_differ_most_come_with_the_inputs_that_may_be_shown_and_no_others(
    shop: Shop,
) -> None:
    for index in range(25):
        shop.ask(f"r{index:02}", probability(0.5), probability(0.5 + index / 100), distance=float(index))
    found = shop.compare()
    assert [pair.request_id for pair in found.most_different] == [f"r{index}" for index in range(24, 14, -1)]
    first = found.most_different[0]
    assert (first.at, first.row, first.distance) == (NOON, 0, pytest.approx(0.24))
    assert (first.champion, first.challenger) == ({"probability": 0.5}, {"probability": pytest.approx(0.74)})
    assert first.inputs == {"distance": 24.0, "carrier": "UA"}
    told = json.dumps(to_json(found))
    assert "income" not in told
    assert "1234567" not in told


def test_without_the_files_leave_no_input_is_shown(tmp_path: Path) -> None:
    shop = Shop(tmp_path, rollout={})
    shop.ask("a", probability(0.1), probability(0.9))
    (pair,) = shop.compare().most_different
    assert pair.inputs == {}


def test_no_order_of_arrival_changes_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capstan.recording.comparison.SAMPLED", 30)
    rng = np.random.default_rng(2)
    answers = [(f"r{index}", float(rng.random()), round(float(rng.random()), 1)) for index in range(120)]
    found = []
    for turn in range(2):
        shop = Shop(tmp_path / str(turn))
        for number, (request, one, other) in enumerate(random.Random(turn).sample(answers, len(answers))):
            shop.ask(request, probability(one), probability(other))
            if number % 50 == 0:
                shop.intake.flush()
        found.append(shop.compare())
    assert found[0].outputs[0].sampled == 30
    assert found[0].most_different == found[1].most_different
    for one, other in zip(found[0].outputs, found[1].outputs, strict=True):
        assert (one.ks, one.wasserstein, one.deciles) == (other.ks, other.wasserstein, other.deciles)
    assert found[0].distance == pytest.approx(found[1].distance)


def test_answers_that_the_challenger_failed_to_give_are_told_apart_from_those_never_copied(
    shop: Shop,
) -> None:
    shop.ask("a", probability(0.2), probability(0.3))
    shop.ask("b", probability(0.2), None)
    shop.ask("c", probability(0.2), None)
    shop.receive([shop.event("c", V2, None, status=500)])
    found = shop.compare()
    assert (found.requests, found.unpaired, found.unsound) == (1, 2, 1)


def test_several_classes_are_compared_by_all_their_probabilities(tmp_path: Path) -> None:
    shop = Shop(tmp_path, objective={"task": "MulticlassClassification", "target": "late"})

    def said(label: str, **shares: float) -> dict[str, object]:
        return {"label": label, **{f"probability.{name}": share for name, share in shares.items()}}

    shop.ask("a", said("x", x=0.6, y=0.4), said("y", x=0.3, y=0.7))
    shop.ask("b", said("x", x=0.6, y=0.4), said("x", x=0.5, y=0.3, z=0.2))
    found = shop.compare()
    assert (found.exact, found.disagreement) == (0, 0.5)
    assert found.distance == pytest.approx((0.3 + 0.2) / 2)
    (output,) = found.outputs
    assert (output.name, output.shift) == ("probability", pytest.approx((-0.3 - 0.1) / 2))
    assert found.most_different[0].challenger["label"] == "y"


def test_numbers_are_compared_in_their_own_unit(tmp_path: Path) -> None:
    shop = Shop(tmp_path, objective={"task": "Regression", "target": "late", "losses": {"maximumError": 100}})
    shop.ask("a", {"value": 10.0}, {"value": 12.0})
    shop.ask("b", {"value": 10.0}, {"value": 40.0})
    found = shop.compare()
    assert (found.distance, found.disagreement) == (16, 0.5)
    assert found.outputs[0].wasserstein == pytest.approx(16)


def test_a_ranking_disagrees_by_whole_requests_and_a_torn_one_is_no_pair(tmp_path: Path) -> None:
    data = copy.deepcopy(DOCUMENT["spec"]["data"])
    data["keys"]["group"] = "search"
    training = {"candidates": [{"name": "trees", "gradientBoosting": {}}]}
    shop = Shop(
        tmp_path, data=data, objective={"task": "Ranking", "target": "late"}, training=training, evaluation={}
    )
    for row, (one, other) in enumerate([(0.9, 0.8), (0.1, 0.2)]):
        shop.ask("same", {"score": one, "rank": row + 1}, {"score": other, "rank": row + 1}, row=row)
        shop.ask("turned", {"score": one, "rank": row + 1}, {"score": -one, "rank": 2 - row}, row=row)
        shop.ask(
            "torn", {"score": one, "rank": row + 1}, {"score": one, "rank": row + 1} if row else None, row=row
        )
    found = shop.compare()
    assert (found.requests, found.pairs, found.disagreement, found.unpaired) == (2, 4, 0.5, 1)
    assert [output.name for output in found.outputs] == ["score"]


def test_of_several_models_each_is_compared_beside_their_common_answer(tmp_path: Path) -> None:
    models = [
        {
            "name": name,
            "target": target,
            "features": ["carrier", "distance", "income"],
            "candidates": ["line"],
        }
        for name, target in (("leaves", "left_late"), ("travels", "was_slow"))
    ]
    training = {"candidates": [{"name": "line", "logisticRegression": {}}]}
    shop = Shop(tmp_path, models=models, combine={"rule": "Max"}, training=training)

    def said(leaves: float, travels: float) -> dict[str, float]:
        both = {"leaves.probability": leaves, "travels.probability": travels}
        return {"probability": max(leaves, travels), **both}

    shop.ask("a", said(0.2, 0.6), said(0.4, 0.6))
    found = shop.compare()
    assert {output.name: round(output.shift, 6) for output in found.outputs} == {
        "probability": 0,
        "leaves.probability": 0.2,
        "travels.probability": 0,
    }
    assert (found.exact, found.distance, found.disagreement) == (0, 0, 0)


def test_memory_does_not_grow_with_the_pairs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capstan.recording.comparison.SAMPLED", 500)
    for start in range(0, 6000, 1000):
        events = []
        for index in range(start, start + 1000):
            for version, value in ((V1, 0.3), (V2, 0.3 + index / 100_000)):
                inputs = {"carrier": f"c{index}", "distance": 1.0, "income": 1.0}
                at = NOON + timedelta(seconds=index)
                events.append(shop.event(f"r{index}", version, probability(value), inputs=inputs, at=at))
        shop.receive(events)
    tracemalloc.start()
    found = shop.compare()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.pairs == 6000
    assert found.outputs[0].sampled == 500
    assert len(found.slices) == comparison.MOST_SLICES
    assert found.slices[0].value == "(other values)"
    assert found.slices[0].pairs == 5000
    assert len(found.most_different) == comparison.MOST_DIFFERENT
    assert peak < 40e6


def test_only_inputs_can_be_allowed_to_be_shown() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["spec"]["rollout"] = {"shownInputs": ["late"]}
    with pytest.raises(Exception, match=r"rollout.shownInputs\[0\]: 'late' is no input of a request"):
        parse(document, base_dir=Path())


def test_a_monitor_compares_for_its_token_alone_and_refuses_a_wrong_question(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    client, until = shop.monitor(), START + DAY
    good = {
        "champion": "v1",
        "challenger": "v2",
        "since": START.isoformat(),
        "as_of": until.isoformat(),
    }
    headers = {"authorization": "Bearer secret"}
    assert client.post("/evidence/compared", json=good, headers=headers).status_code == 200
    assert client.post("/evidence/compared", json=good).status_code == 401
    for wrong in (
        {},
        {**good, "champion": ""},
        {**good, "since": "2026-03-01"},
        {**good, "metric": "logLoss"},
    ):
        answer = client.post("/evidence/compared", json=wrong, headers=headers)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, "body")
