"""Whatever a file holds, the answer is a system or a list of mistakes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem, load, parse

FLIGHTS = Path(__file__).parent / "flight_delays.yaml"
TEXT = FLIGHTS.read_text()
DATA = load(FLIGHTS).model_dump(mode="json", by_alias=True, exclude_unset=True)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["7d", "0s", "80%", "50Mi", "late", "rocAuc", "a:b", "2013-02-01", "UTC", "quality"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(node: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))][
        0 if path else 1 :
    ]


def answer(document: Any) -> MLSystem | None:
    try:
        return parse(document, base_dir=Path("/somewhere"))
    except InvalidSpecError as error:
        refusal = error
    assert refusal.mistakes
    assert all(mistake.path and mistake.message for mistake in refusal.mistakes)
    return None


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_mutated_document_is_a_system_or_a_list_of_mistakes(data: st.DataObject) -> None:
    document = copy.deepcopy(DATA)
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(places(document)))
        parent = document
        for part in path[:-1]:
            parent = parent[part]
        if data.draw(st.booleans()):
            parent[path[-1]] = data.draw(values)
        else:
            del parent[path[-1]]
        if not places(document):
            break
    system = answer(document)
    if system is not None:
        assert parse(system.to_yaml(), base_dir=system.base_dir) == system
        dumped = json.dumps(system.model_dump(mode="json", by_alias=True, exclude_unset=True))
        assert parse(dumped, base_dir=system.base_dir) == system


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.integers(0, len(TEXT)), st.integers(0, 40), st.text(max_size=12))
def test_mutated_text_is_a_system_or_a_list_of_mistakes(start: int, length: int, insertion: str) -> None:
    answer((TEXT[:start] + insertion + TEXT[start + length :]).encode("utf-8", "surrogatepass"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="{}[]:,-&*!|>'\"%@`#?\n\t ab1", max_size=60))
def test_any_bytes_are_a_list_of_mistakes(content: bytes | str) -> None:
    assert answer(content) is None


@given(values)
def test_any_mapping_is_a_list_of_mistakes(value: Any) -> None:
    assert answer({"spec": value, "metadata": value}) is None
