"""What each field of the file means, read from the grammar itself."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from capstan.spec.schema import schema
from capstan.spec.units import DURATION_PATTERN, QUANTITY_PATTERN, SHARE_PATTERN
from capstan.spec.writing import in_one_line

_PATTERN_NAMES = {
    DURATION_PATTERN: "duration",
    SHARE_PATTERN: "share",
    QUANTITY_PATTERN: "quantity",
}
_TYPE_NAMES = {"integer": "whole number", "number": "number", "boolean": "boolean", "string": "text"}


@dataclass(frozen=True)
class FieldDoc:
    """One field: where it stands, what it means and what it may be."""

    path: str
    """Dotted, without `spec.` and without indices: `rollout.steps.canary.weight`."""
    type: str
    description: str
    is_required: bool
    default: str | None
    """As it would stand in the file; None: there is no default."""
    example: str
    choices: tuple[str, ...]
    """The only values; empty: any value of the type."""
    one_of: tuple[str, ...]
    """Keys of which exactly one is written; empty for other fields."""
    children: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def depth(self) -> int:
        return self.path.count(".")


@cache
def all_fields() -> dict[str, FieldDoc]:
    """Every field by its path, in the order of the file."""
    root = schema()
    return {doc.path: doc for doc in _walk(root, "")}


def _walk(node: dict[str, Any], prefix: str) -> Iterator[FieldDoc]:
    required = node.get("required", [])
    for name, child in node.get("properties", {}).items():
        # `spec` itself is left out of paths, as people speak of `data.split`.
        path = f"{prefix}.{name}" if prefix else name
        if path == "spec":
            yield from _walk(child, "")
            continue
        inner = child.get("items", child)
        yield FieldDoc(
            path=path,
            type=_type(child),
            description=child.get("description", ""),
            is_required=name in required,
            default=in_one_line(child["default"]) if "default" in child else None,
            example=in_one_line({name: child["examples"][0]})[1:-1] if child.get("examples") else "",
            choices=tuple(map(in_one_line, inner.get("enum", ()))),
            one_of=tuple(inner.get("x-capstan-one-of", ())),
            children=tuple(inner.get("properties", {})),
        )
        yield from _walk(inner, path)


def _type(node: dict[str, Any]) -> str:
    if node.get("type") == "array":
        return f"list of {_type(node['items'])}"
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return "map of settings"
    if node.get("type") == "object":
        return "map" if "properties" in node else "map of texts"
    if node.get("pattern") in _PATTERN_NAMES:
        return _PATTERN_NAMES[node["pattern"]]
    if node.get("format") == "date":
        return "date"
    if node.get("x-kubernetes-int-or-string"):
        return "text or whole number"
    return _TYPE_NAMES[node["type"]] + _bounds(node)


def _bounds(node: dict[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    above = "above" if node.get("exclusiveMinimum") else "from"
    below = "below" if node.get("exclusiveMaximum") else "to"
    return "".join(f" {word} {bound:,}" for word, bound in ((above, low), (below, high)) if bound is not None)


def plain_path(text: str) -> str:
    """`spec.rollout.steps[2].canary` as `rollout.steps.canary`."""
    path = re.sub(r"\[[^\]]*\]|\.[0-9]+(?=\.|$)", "", text.strip().strip("."))
    return path.removeprefix("spec.") if path != "spec" else ""


def find_field(text: str) -> FieldDoc | None:
    """The field of that path, also when it is written with `spec.`, indices or in another case."""
    path = plain_path(text)
    docs = all_fields()
    if path in docs:
        return docs[path]
    matches = [doc for known, doc in docs.items() if known.lower() == path.lower()]
    return matches[0] if matches else None


def similar_fields(text: str) -> list[str]:
    """At most three paths that could have been meant: fields of that very name first, then near spellings."""
    path = plain_path(text).lower()
    last = path.rpartition(".")[2]
    docs = all_fields()
    same_name = [known for known, doc in docs.items() if doc.name.lower() == last]
    lowered = {known.lower(): known for known in docs}
    near = [lowered[match] for match in difflib.get_close_matches(path, lowered, n=3, cutoff=0.6)]
    names = {doc.name.lower(): known for known, doc in reversed(docs.items())}
    near_names = [names[match] for match in difflib.get_close_matches(last, names, n=2, cutoff=0.7)]
    return list(dict.fromkeys([*same_name, *near, *near_names]))[:3]


_ALIKE = 0.6
"""Least similarity of two words of which one is a slip of the other."""
_NEARLY_THE_SAME = 0.8
"""Least similarity of two names that are not made of equally many words."""


def nearest(word: str, known: list[str]) -> str | None:
    """The known word that was probably meant: a slip of it, not another thing whose name ends alike."""
    lowered = {name.lower(): name for name in known}
    typed = word.replace("_", "")
    for match in difflib.get_close_matches(typed.lower(), lowered, n=3, cutoff=_ALIKE):
        if _is_slip(typed, lowered[match]):
            return lowered[match]
    return None


def _is_slip(typed: str, name: str) -> bool:
    words, wanted = _words(typed), _words(name)
    if len(words) == len(wanted):
        return all(_similarity(*pair) >= _ALIKE for pair in zip(words, wanted, strict=True))
    one, other = typed.lower(), name.lower()
    return other.startswith(one) or _similarity(one, other) >= _NEARLY_THE_SAME


def _words(name: str) -> list[str]:
    """`logisticRegression` -> [logistic, regression]."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+", name)]


def _similarity(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
