"""A version's card is one file that loads nothing, holds what was measured, and escapes what others wrote."""

from __future__ import annotations

import re
from copy import deepcopy
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from unit.pipelines.test_own_metric import DOCUMENT, Trained, document, write_home

from capstan.domain.versions import VersionName
from capstan.evaluation.card.page import card_html
from capstan.evaluation.card.pictures import picture
from capstan.evaluation.card.story import Moment, with_story
from capstan_pipelines.steps.documents import read_document
from capstan_pipelines.steps.register import Made

EVIL = '<script>alert("x")</script>'


class Tags(HTMLParser):
    """All elements and attributes; raises nothing, counts what is open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def made(trained: Trained) -> Made:
    folder = trained.folder
    trained.packaged()
    from capstan.training.job import Job

    files = (folder / name for name in ("report", "choice", "evaluation", "package"))
    return Made(
        Job(folder / "job"),
        *(read_document(str(file)) for file in files),
        manifests={0: read_document(str(trained.model / "manifest.json"))},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = write_home(tmp_path_factory.mktemp("visits") / "home")
    written: dict[str, Any] = deepcopy(document(choose={"metric": "rocAuc"}))
    written["spec"]["objective"]["business"] = f"Warn early {EVIL}"
    written["spec"]["objective"]["ml"] = "Order visits by how likely they are late"
    written["spec"]["requirements"] = {"scale": {"users": 1234}}
    written["spec"]["training"]["candidates"] = DOCUMENT["spec"]["training"]["candidates"][:2]
    written["spec"]["evaluation"]["gates"] = [{"metric": "rocAuc", "min": 0.6}]
    return Trained(tmp_path_factory.mktemp("card"), home, written)


@pytest.fixture(scope="module")
def html(trained: Trained) -> str:
    return card_html(made(trained).card(VersionName("v7")))


def test_it_tells_what_was_measured_with_intervals(html: str, trained: Trained) -> None:
    value = trained.evaluation["metrics"]["rocAuc"]
    low, high = trained.evaluation["intervals"]["rocAuc"]
    assert low < value < high
    assert f"<th scope='row'>ROC-AUC</th><td>{value:.4f}</td><td>{low:.4f}</td><td>{high:.4f}</td>" in html
    for part in ("v7", "cost of a visit", "Confusion matrix", "Slices by side", "Ladder", "Learning curve"):
        assert part in html, part
    assert '<b class="good">passed</b>' in html
    assert "No fairness between groups was asked for" in html
    assert f"{trained.evaluation['rows']:,} test rows" in html


def test_it_tells_what_the_file_asks_and_expects(html: str) -> None:
    assert "Order visits by how likely they are late" in html
    assert "1,234 users" in html


def test_it_draws_how_good_how_calibrated_and_how_the_answer_moves(html: str) -> None:
    labels = [attrs.get("aria-label") for tag, attrs in Tags(html).found if tag == "svg"]
    assert labels == ["ROC", "Precision and recall", "Calibration", "Learning curve", "Answer by delay"]


def test_it_loads_and_runs_nothing(html: str) -> None:
    found = Tags(html).found
    assert not {tag for tag, _ in found} & {"script", "link", "img", "iframe", "object", "image", "a", "form"}
    for tag, attrs in found:
        assert not [name for name in attrs if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith("#"), (tag, attrs)
    assert not re.search(r"url\((?!#)|@import", html)


def test_what_others_wrote_is_text(html: str) -> None:
    assert EVIL not in html
    assert "Warn early &lt;script&gt;" in html
    drawn = picture(
        {"title": EVIL, "x": EVIL, "y": "5 $ a day $", "series": [{"name": EVIL, "points": [["<b>", 2]]}]}
    )
    assert "<script" not in drawn
    assert "<b>" not in drawn
    assert "5 $ a day $" in drawn


def test_it_names_sources_and_no_path_address_query_or_secret(html: str, trained: Trained) -> None:
    assert "rows (csv)" in html
    assert "rows.csv" not in html
    assert str(trained.folder) not in html
    assert "secret" not in html.lower()


def test_its_story_goes_on_to_the_promotion(html: str) -> None:
    later = [
        Moment(datetime(2024, 3, 20, 5, tzinfo=UTC), "DriftDetected", "ks(delay) 0.2 > 0.1"),
        Moment(datetime(2024, 4, 9, 7, 30, tzinfo=UTC), "Promoted", f"v7 is champion {EVIL}"),
    ]
    told = with_story(html, later)
    assert "2024-04-09 07:30" in told
    assert "<b>DriftDetected</b> ks(delay) 0.2 &gt; 0.1" in told
    assert EVIL not in told
    assert told.count('<section id="story">') == 1
    assert "a test" in html, "before, it tells why the training began"
    assert with_story("no card", later) == "no card"


def test_the_same_documents_give_the_same_bytes(html: str, trained: Trained) -> None:
    assert card_html(made(trained).card(VersionName("v7"))) == html
