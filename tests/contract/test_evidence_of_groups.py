"""A request of a group is one pair, one loss and one disagreement: real Parquet files, real DuckDB."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pytest
from contract.recorded_task import DAY, NOON, START, V1, V2, RecordedTask

from capstan.domain.verdicts.evidence import PairedEvidence
from capstan.errors import InvalidRequestError
from capstan.monitoring.quality import measure
from capstan.spec import MLSystem, parse
from capstan.tasks import TASKS

NEXT_DAY = START + DAY
SECOND = 1 / math.log2(3)
"""nDCG of a group whose only relevant item is second."""


def document() -> dict[str, object]:
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "shelf"},
        "spec": {
            "objective": {"task": "Ranking", "target": "relevance"},
            "data": {
                "sources": [{"name": "items", "csv": {"path": "items.csv"}}],
                "keys": {"id": "item", "time": "asked", "group": "search"},
                "label": {"column": "relevance", "availableAt": "seen", "maximumDelay": "3d"},
            },
            "features": [{"name": "price", "numeric": {}}],
            "training": {"candidates": [{"name": "trees", "gradientBoosting": {}}]},
        },
    }


SYSTEM: MLSystem = parse(document(), base_dir=Path())


class Shelf(RecordedTask):
    """Orders of the items of searches."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, document())

    def answer(
        self,
        request: str,
        version: str,
        scores: Sequence[float],
        *,
        at: datetime = NOON,
        rows: Sequence[int] | None = None,
    ) -> None:
        """What a version said of the request's items; the payloads of `rows` alone reach the collector."""
        ranks = np.argsort(np.argsort([-score for score in scores], kind="stable")) + 1
        self.receive(
            [
                self.event(
                    request,
                    version,
                    {"score": score, "rank": rank},
                    row=row,
                    entity=f"{request}-{row}",
                    at=at,
                    inputs={"search": request},
                )
                for row, (score, rank) in enumerate(zip(scores, ranks.tolist(), strict=True))
                if rows is None or row in rows
            ]
        )

    def ask(self, request: str, one: Sequence[float], other: Sequence[float], *, at: datetime = NOON) -> None:
        """Answered by both versions."""
        self.answer(request, V1, one, at=at)
        self.answer(request, V2, other, at=at)

    def label(self, request: str, relevance: Sequence[float | None], *, at: datetime = NOON) -> None:
        """None: there will never be one."""
        self.feedback(
            [
                {
                    "id": f"{request}-{row}",
                    "availableAt": at.isoformat(),
                    **({"noLabel": True} if value is None else {"label": value}),
                }
                for row, value in enumerate(relevance)
            ]
        )

    def paired(self, as_of: datetime = NEXT_DAY, *, metric: str = "ndcgAt10") -> PairedEvidence:
        return self.pairs(metric, as_of=as_of)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_group_is_one_pair_with_one_loss(shelf: Shelf) -> None:
    shelf.ask("a", [3, 2, 1], [1, 2, 3])
    shelf.label("a", [1, 0, 0])
    shelf.ask("b", [1, 2], [2, 1])
    shelf.label("b", [2, 0])
    evidence = shelf.paired()
    (block,) = evidence.blocks
    assert (evidence.paired_requests, evidence.labelled_pairs, block.count) == (2, 2, 2)
    # Champion minus challenger: its order of `a` is right, that of `b` is turned.
    expected = (0 - (1 - 1 / 2)) + ((1 - SECOND) - 0)
    assert block.loss_difference == pytest.approx(expected, abs=1e-9)
    assert evidence.disagreement == 1


def test_the_analysis_names_the_metric(shelf: Shelf) -> None:
    shelf.ask("a", [3, 2, 1], [1, 2, 3])
    shelf.label("a", [1, 0, 0])
    assert shelf.paired(metric="precisionAt1").blocks[0].loss_difference == pytest.approx(-1)
    assert shelf.paired(metric="meanReciprocalRank").blocks[0].loss_difference == pytest.approx(-2 / 3)


def test_orders_that_share_their_top_do_not_disagree(shelf: Shelf) -> None:
    shelf.ask("a", [3, 2, 1], [3, 1, 2])
    shelf.ask("b", [3, 2, 1], [1, 2, 3])
    assert shelf.paired().disagreement == 0.5


def test_a_group_waits_until_each_of_its_items_has_a_label_or_never_will(shelf: Shelf) -> None:
    shelf.ask("a", [3, 2, 1], [1, 2, 3])
    shelf.label("a", [1, 0])
    assert shelf.paired().labelled_pairs == 0
    later = NEXT_DAY + timedelta(hours=1)
    shelf.label("a", [1, 0, None], at=later)
    assert shelf.paired().labelled_pairs == 0, "what becomes known later is not known yet"
    assert shelf.paired(later).labelled_pairs == 1
    # Without the item that never gets a label.
    assert shelf.paired(later).blocks[0].loss_difference == pytest.approx(-(1 - SECOND))


def test_a_group_without_a_relevant_item_has_no_loss_and_holds_no_block_open(shelf: Shelf) -> None:
    shelf.ask("a", [3, 2], [2, 3])
    shelf.label("a", [0, 0])
    shelf.ask("b", [3, 2], [2, 3])
    shelf.label("b", [1, 0])
    evidence = shelf.paired()
    assert (evidence.paired_requests, evidence.labelled_pairs) == (2, 1)
    assert (evidence.blocks[0].count, evidence.blocks[0].coverage) == (1, 1)


@pytest.mark.parametrize("rows", [[0, 1], [1, 2], [0, 2]], ids=["last", "first", "middle"])
@pytest.mark.parametrize("version", [V1, V2])
def test_a_group_of_which_a_payload_was_lost_is_no_pair(shelf: Shelf, version: str, rows: list[int]) -> None:
    """The others would be judged in an order that no user got."""
    shelf.answer("a", V1, [3, 2, 1], rows=rows if version == V1 else None)
    shelf.answer("a", V2, [1, 2, 3], rows=rows if version == V2 else None)
    shelf.label("a", [1, 0, 0])
    assert shelf.paired().paired_requests == 0


def test_a_challenger_of_reversed_orders_loses_and_one_of_equal_scores_is_worth_chance(shelf: Shelf) -> None:
    for number in range(20):
        shelf.ask(f"r{number}", [4, 3, 2, 1], [1, 2, 3, 4])
        shelf.label(f"r{number}", [3, 0, 0, 0])
    reversed_block = shelf.paired().blocks[0]
    assert reversed_block.loss_difference / reversed_block.count == pytest.approx(-(1 - 1 / math.log2(5)))
    constant = Shelf(shelf.root / "constant")
    for number in range(20):
        constant.ask(f"c{number}", [4, 3, 2, 1], [1, 1, 1, 1])
        constant.label(f"c{number}", [3, 0, 0, 0])
    block = constant.paired().blocks[0]
    chance = np.mean([1 / math.log2(place + 1) for place in range(1, 5)])
    assert block.loss_difference / block.count == pytest.approx(-(1 - chance))


def test_answers_that_are_no_scores_are_counted_and_never_paired(shelf: Shelf) -> None:
    shelf.ask("a", [3, 2, 1], [1, 2, 3])
    shelf.answer("b", V1, [1.0])
    shelf.receive([shelf.event("b", V2, {"score": None, "rank": 1}, entity="b-0", inputs={"search": "b"})])
    evidence = shelf.paired()
    assert (evidence.paired_requests, evidence.nonfinite_answers) == (1, 1)


def test_what_users_got_is_judged_by_whole_groups(shelf: Shelf) -> None:
    for day in range(4):
        at = NOON + timedelta(days=day)
        shelf.answer(f"whole{day}", V1, [3, 2, 1], at=at)
        shelf.label(f"whole{day}", [1, 0, 0], at=at)
        shelf.answer(f"open{day}", V1, [1, 2, 3], at=at)
        shelf.label(f"open{day}", [1, 0], at=at)
    shelf.intake.flush()
    served = shelf.evidence.answered_with_labels(START, START + timedelta(days=4))
    labelled = served.labelled
    assert (len(served), len(labelled)) == (24, 12)
    assert labelled.groups is not None
    metric = TASKS["Ranking"].metrics["ndcgAt10"]
    days = np.repeat(np.arange(4), 3)
    found = measure(metric, labelled.truth, labelled.predictions, days, groups=labelled.groups)
    assert (found.value, found.blocks) == (1, 4)


def test_a_label_names_an_item_and_never_the_request_of_its_group(shelf: Shelf) -> None:
    shelf.ask("a", [3, 2, 1], [1, 2, 3])
    body = orjson.dumps({"labels": [{"requestId": "a", "label": 1}]})
    with pytest.raises(InvalidRequestError, match="label each of them by its id"):
        shelf.intake.feedback(body, NOON, system=None)
    with pytest.raises(InvalidRequestError, match="a number from 0 on"):
        shelf.intake.feedback(orjson.dumps({"labels": [{"id": "a-0", "label": -1}]}), NOON, system=None)
