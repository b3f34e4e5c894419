"""Answers of rankers, native and by the Open Inference Protocol, read and written with another order."""

import orjson
import pytest

from capstan.serving.combiner import answers
from capstan.serving.combiner.answers import NoRankingError

NATIVE = {
    "version": "v1",
    "request_id": "r1",
    "predictions": [
        {"score": -2.0, "rank": 3},
        {"score": 7.5, "rank": 1, "outside": [{"field": "distance"}]},
        {"score": 0.0, "rank": 2},
    ],
}
V2 = {
    "model_name": "toy",
    "model_version": "v1",
    "id": "r1",
    "outputs": [
        {"name": "score", "datatype": "FP64", "shape": [3], "data": [-2.0, 7.5, 0.0]},
        {"name": "rank", "datatype": "INT64", "shape": [3], "data": [3, 1, 2]},
    ],
    "parameters": {"outside": "distance"},
}
FORMS = [pytest.param(NATIVE, id="native"), pytest.param(V2, id="v2")]


@pytest.mark.parametrize("document", FORMS)
def test_an_answer_is_a_ranking_of_rows(document):
    found = answers.read(orjson.dumps(document))
    assert (found.ranks, found.ranking) == ((3, 1, 2), (1, 2, 0))


@pytest.mark.parametrize("document", FORMS)
def test_a_combined_answer_says_the_order_that_it_was_given_and_keeps_the_rest(document):
    found = answers.read(answers.combined(answers.read(orjson.dumps(document)), [2, 3, 1], "v1+v2"))
    assert found.ranking == (2, 0, 1)
    assert found.body.get("version", found.body.get("model_version")) == "v1+v2"
    assert found.body.get("request_id", found.body.get("id")) == "r1"
    if "outputs" in document:
        assert found.body["outputs"][0] == {**V2["outputs"][0], "data": [2 / 3, 1 / 3, 1.0]}
        assert found.body["parameters"] == V2["parameters"]
    else:
        assert found.body["predictions"][1] == {"score": 1 / 3, "rank": 3, "outside": [{"field": "distance"}]}


def test_scores_of_many_items_tell_each_place():
    scores = answers.scores_of(range(1, 2_001))
    assert sorted(scores, reverse=True) == scores
    assert len(set(scores)) == 2_000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"predictions":[{"score":1.0}]}', id="no ranks"),
        pytest.param(b'{"predictions":[{"rank":1},{"rank":1}]}', id="a rank twice"),
        pytest.param(b'{"predictions":[{"rank":"1"}]}', id="a text"),
        pytest.param(b'{"predictions":3}', id="a number"),
        pytest.param(b'{"outputs":[{"name":"score","data":[1.0]}]}', id="no tensor of ranks"),
    ],
)
def test_what_orders_nothing_is_told(body):
    with pytest.raises(NoRankingError):
        answers.read(body)
