"""Labels of several annotators become one for each item, and how far they agree is told and can be asked for."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

from capstan.cli.main import app
from capstan.data import agreements_told, extract
from capstan.data.agreement import MOST_NUMBERS
from capstan.data.annotations import agreements
from capstan.errors import InvalidDataError, InvalidSpecError
from capstan.spec import MLSystem, parse

NOW = datetime(2026, 3, 1, tzinfo=UTC)
VOTES = """\
comment,who,toxic,at
c1,anna,yes,2026-01-01
c1,ben,yes,2026-01-02
c1,cleo,no,2026-01-03
c2,anna,no,2026-01-01
c2,ben,no,2026-01-02
c3,anna,yes,2026-01-01
c3,ben,no,2026-01-05
c4,cleo,yes,2026-01-03
c5,ben,,2026-01-04
"""


def document(folder: Path, votes: str = VOTES, *, dated: bool = False, **annotations: Any) -> dict[str, Any]:
    (folder / "votes.csv").write_text(votes)
    items = sorted({line.split(",")[0] for line in votes.splitlines()[1:]})
    (folder / "comments.csv").write_text("comment,length\n" + "".join(f"{c},{len(c)}\n" for c in items))
    settings = {"item": "comment", "annotator": "who", "label": "toxic", **annotations}
    times = {"timeColumn": "at"} if dated else {}
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "comments"},
        "spec": {
            "objective": {"task": "MulticlassClassification", "target": "toxic"},
            "data": {
                "sources": [
                    {"name": "comments", "csv": {"path": "comments.csv"}},
                    {"name": "votes", "csv": {"path": "votes.csv", **times}, "annotations": settings},
                ],
                "query": "select * from comments join votes using (comment)",
                "keys": {"id": "comment"},
                "label": {"column": "toxic"},
                "split": {"random": {}},
                "checks": [{"column": "annotators", "min": 0}, {"column": "agreement", "max": 1}],
            },
            "features": [{"name": "length", "numeric": {}}],
            "training": {"candidates": [{"name": "baseline", "mostFrequent": {}}]},
        },
    }


def system(folder: Path, votes: str = VOTES, *, dated: bool = False, **annotations: Any) -> MLSystem:
    return parse(document(folder, votes, dated=dated, **annotations), base_dir=folder)


def decided(one: MLSystem, as_of: datetime | None = NOW) -> dict[str, str | None]:
    table = extract(one, as_of=as_of, labels_as_of=as_of)
    return dict(zip(table["comment"].to_pylist(), table["toxic"].to_pylist(), strict=True))


def test_the_label_that_most_gave_is_learnt_and_a_tie_is_no_label(tmp_path: Path) -> None:
    one = system(tmp_path)
    assert decided(one) == {"c1": "yes", "c2": "no", "c3": None, "c4": "yes", "c5": None}
    table = extract(one, as_of=NOW, labels_as_of=NOW)
    assert table["annotators"].to_pylist() == [3, 2, 2, 1, 0]
    assert table["agreement"].to_pylist() == [pytest.approx(2 / 3), 1.0, None, 1.0, None]


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ({"decide": "Unanimous"}, [None, "no", None, "yes", None]),
        ({"minAnnotators": 2}, ["yes", "no", None, None, None]),
        ({"decide": "Trusted", "trust": ["cleo", "anna"]}, ["no", "no", "yes", "yes", None]),
        ({"decide": "Trusted", "trust": ["ben"]}, ["yes", "no", "no", None, None]),
    ],
)
def test_the_file_says_which_label_counts(tmp_path: Path, settings: Any, labels: list[str | None]) -> None:
    assert list(decided(system(tmp_path, **settings)).values()) == labels


def test_labels_given_later_are_not_read(tmp_path: Path) -> None:
    one = system(tmp_path, dated=True)
    assert decided(one, datetime(2026, 1, 2, 12, tzinfo=UTC)) == {"c1": "yes", "c2": "no", "c3": "yes"}
    assert decided(one)["c3"] is None


def test_the_newest_label_of_an_annotator_counts(tmp_path: Path) -> None:
    votes = "comment,who,toxic,at\nc1,anna,no,2026-01-01\nc1,anna,yes,2026-01-02\nc2,anna,no,2026-01-01\n"
    assert decided(system(tmp_path, votes, dated=True)) == {"c1": "yes", "c2": "no"}
    with pytest.raises(
        InvalidDataError, match=r"votes\.annotations: 'anna' labels 'c1' both 'no' and 'yes'.*timeColumn"
    ):
        decided(system(tmp_path, votes))


def drawn(levels: int, *, seed: int = 3) -> tuple[str, np.ndarray]:
    """Annotations of four annotators who err and skip items; as CSV, and annotators x items with nan."""
    random = np.random.default_rng(seed)
    truth = random.integers(levels, size=60)
    given = np.where(random.random((4, 60)) < 0.7, truth, random.integers(levels, size=(4, 60))).astype(float)
    given[random.random((4, 60)) < 0.3] = np.nan
    rows = [
        f"i{item},a{who},{int(given[who, item])},2026-01-01"
        for item in range(60)
        for who in range(4)
        if not np.isnan(given[who, item])
    ]
    return "\n".join(["comment,who,toxic,at", *rows]) + "\n", given


@pytest.mark.parametrize(
    ("scale", "level"), [("Nominal", "nominal"), ("Ordinal", "ordinal"), ("Interval", "interval")]
)
def test_alpha_is_that_of_the_package_on_the_whole_matrix(tmp_path: Path, scale: str, level: str) -> None:
    votes, given = drawn(4)
    (found,) = agreements(system(tmp_path, votes, scale=scale), as_of=NOW, secrets=tmp_path)
    assert found.alpha == pytest.approx(krippendorff.alpha(given, level_of_measurement=level), abs=1e-12)
    assert found.alpha < 0.99


def test_alpha_is_that_of_krippendorffs_own_example(tmp_path: Path) -> None:
    # Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C: 0.743 nominal, 0.849 interval.
    table = [
        "1 2 3 3 2 1 4 1 2 * * *",
        "1 2 3 3 2 2 4 1 2 5 * 3",
        "* 3 3 3 2 3 4 2 2 5 1 *",
        "1 2 3 3 2 4 4 1 2 5 1 *",
    ]
    rows = [
        f"u{unit:02},{who},{value},2026-01-01"
        for who, line in enumerate(table)
        for unit, value in enumerate(line.split())
        if value != "*"
    ]
    votes = "\n".join(["comment,who,toxic,at", *rows]) + "\n"
    for scale, alpha in (("Nominal", 0.743), ("Interval", 0.849)):
        (found,) = agreements(system(tmp_path, votes, scale=scale), as_of=NOW, secrets=tmp_path)
        assert found.alpha == pytest.approx(alpha, abs=5e-4)


def test_kappa_of_two_annotators_is_scikit_learns(tmp_path: Path) -> None:
    votes, given = drawn(3)
    (found,) = agreements(system(tmp_path, votes), as_of=NOW, secrets=tmp_path)
    assert len(found.pairs) == 6
    for pair in found.pairs:
        first, second = (given[int(name[1:])] for name in (pair.first, pair.second))
        both = ~np.isnan(first) & ~np.isnan(second)
        assert pair.items == both.sum()
        assert pair.kappa == pytest.approx(cohen_kappa_score(first[both], second[both]))
        assert pair.same == pytest.approx(np.mean(first[both] == second[both]))


def test_disputed_items_are_listed_with_who_said_what(tmp_path: Path) -> None:
    (found,) = agreements(system(tmp_path), as_of=NOW, secrets=tmp_path)
    listed = {one.item: (dict(one.labels), one.decided) for one in found.disagreements}
    assert listed == {
        "c1": ({"anna": "yes", "ben": "yes", "cleo": "no"}, "yes"),
        "c3": ({"anna": "yes", "ben": "no"}, None),
    }
    assert dict(found.annotators) == {"anna": 3, "ben": 3, "cleo": 2}
    assert (found.items, found.shared, found.undecided) == (4, 3, 2)


def test_a_training_is_told_and_refused_where_annotators_agree_too_little(tmp_path: Path) -> None:
    (told,) = agreements_told(extract(system(tmp_path), as_of=NOW, labels_as_of=NOW))
    assert told.startswith("votes: 8 labels of 3 annotators on 4 items, alpha ")
    assert told.endswith("hardly to be relied on, 2 disputed, 2 without a label")
    with pytest.raises(
        InvalidDataError, match=r"sources\.votes\.annotations\.minAgreement: .*at least 0\.9 is asked for"
    ):
        decided(system(tmp_path, minAgreement=0.9))
    # The list of what is disputed is there all the same.
    (found,) = agreements(system(tmp_path, minAgreement=0.9), as_of=NOW, secrets=tmp_path)
    assert found.alpha is not None
    decided(system(tmp_path, minAgreement=found.alpha))


@pytest.mark.parametrize(
    ("votes", "why"),
    [
        ("c1,anna,yes,\nc2,ben,no,\n", "no item has two labels"),
        ("c1,anna,yes,\nc1,ben,yes,\nc2,ben,no,\n", "all labels are the same"),
    ],
)
def test_agreement_that_is_not_known_is_not_enough(tmp_path: Path, votes: str, why: str) -> None:
    one = system(tmp_path, f"comment,who,toxic,at\n{votes}", minAgreement=-1)
    with pytest.raises(InvalidDataError, match=f"agreement not known since {why}"):
        decided(one)


@pytest.mark.parametrize(
    ("settings", "votes", "said"),
    [
        (
            {"item": "post"},
            VOTES,
            r"annotations\.item: there is no column 'post'; the columns are comment, who",
        ),
        (
            {},
            VOTES + "c6,,yes,2026-01-01\n",
            r"annotations\.annotator: 1 row has no value in 'who', so nobody knows who",
        ),
        ({}, VOTES + ",anna,yes,2026-01-01\n", r"annotations\.item: 1 row has no value in 'comment'"),
        (
            {"decide": "Trusted", "trust": ["dora"]},
            VOTES,
            "trust: 'dora' labels nothing; the annotators are anna, ben",
        ),
        ({"scale": "Ordinal"}, VOTES, "scale: Ordinal needs numbers, and 'toxic' holds 'no'; write Nominal"),
    ],
)
def test_what_cannot_be_decided_is_refused(tmp_path: Path, settings: Any, votes: str, said: str) -> None:
    with pytest.raises(InvalidDataError, match=said):
        decided(system(tmp_path, votes, **settings))


def test_alpha_of_too_many_numbers_is_refused(tmp_path: Path) -> None:
    rows = [f"c{n},{who},{n + who / 2},2026-01-01" for n in range(MOST_NUMBERS) for who in (0, 1)]
    votes = "\n".join(["comment,who,toxic,at", *rows]) + "\n"
    with pytest.raises(InvalidDataError, match=r"scale: Interval of 4,000 different labels; .* round them"):
        agreements(system(tmp_path, votes, scale="Interval"), as_of=NOW, secrets=tmp_path)


@pytest.mark.parametrize("scale", ["Nominal", "Ordinal"])
def test_numbers_that_are_written_in_several_ways_are_one_label(tmp_path: Path, scale: str) -> None:
    votes = "comment,who,toxic,at\nc1,a,1.10,\nc1,b,1.1,\nc1,c,2,\nc2,a,1,\nc2,b,1.0,\nc2,c,2,\nc2,d,2,\n"
    (found,) = agreements(system(tmp_path, votes, scale=scale), as_of=NOW, secrets=tmp_path)
    assert {one.item: None if one.decided is None else float(one.decided) for one in found.disagreements} == {
        "c1": 1.1,
        "c2": None,
    }


def test_an_empty_label_takes_an_earlier_one_back(tmp_path: Path) -> None:
    votes = "comment,who,toxic,at\nc1,anna,no,2026-01-01\nc1,anna,,2026-01-02\nc2,anna,no,2026-01-01\n"
    assert decided(system(tmp_path, votes, dated=True)) == {"c1": None, "c2": "no"}


@pytest.mark.parametrize("name", ["annotators", "agreement"])
def test_what_only_labelled_rows_have_is_no_feature(tmp_path: Path, name: str) -> None:
    asked = document(tmp_path)
    asked["spec"]["features"].append({"name": name, "numeric": {}})
    with pytest.raises(
        InvalidSpecError, match=f"'{name}' is a column of the annotations: known only with the label"
    ):
        parse(asked, base_dir=tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"annotator": "comment"}, "item, annotator and label are three columns"),
        ({"label": "agreement"}, "annotators and agreement are columns that the table gets"),
        ({"decide": "Trusted"}, "trust and decide: Trusted belong together"),
        ({"trust": ["anna"]}, "trust and decide: Trusted belong together"),
        ({"minAgreement": 2}, "minAgreement"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, settings: Any, said: str) -> None:
    with pytest.raises(InvalidSpecError, match=said):
        system(tmp_path, **settings)


def written(folder: Path, document: Any) -> str:
    (folder / "system.yaml").write_text(json.dumps(document))
    return str(folder / "system.yaml")


def test_the_verb_shows_and_writes_what_is_disputed(tmp_path: Path) -> None:
    file = written(tmp_path, document(tmp_path))
    out = tmp_path / "disputed.csv"
    done = CliRunner().invoke(app, ["labels", file, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "votes: 8 labels of 3 annotators on 4 items" in done.output
    assert "anna yes, ben no" in done.output
    with out.open() as opened:
        rows = list(csv.reader(opened))
    assert rows[0] == ["source", "item", "annotator", "label", "decided"]
    assert rows[-2:] == [["votes", "c3", "anna", "yes", ""], ["votes", "c3", "ben", "no", ""]]
    told = json.loads(CliRunner().invoke(app, ["labels", file, "--json"]).output)
    assert told["agreements"][0]["shared"] == 3


def test_the_verb_names_the_way_out_where_no_source_has_annotations(tmp_path: Path) -> None:
    plain = document(tmp_path)
    del plain["spec"]["data"]["sources"][1]["annotations"]
    done = CliRunner().invoke(app, ["labels", written(tmp_path, plain)])
    assert done.exit_code != 0
    assert "capstan explain data.sources.annotations" in done.output
