"""Grammar errors as a person wants to read them: the value, the rule and the way out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from capstan.errors import Mistake
from capstan.spec.cluster import DNS_NAME_PATTERN, VARIABLE_PATTERN
from capstan.spec.experiment import VERSION_PATTERN
from capstan.spec.grammar import (
    CONDITION_PATTERN,
    DELIMITER_PATTERN,
    NAME_PATTERN,
    OWN_METRIC_PATTERN,
    SYSTEM_NAME_PATTERN,
    SYSTEM_NAME_RULE,
)
from capstan.spec.location import Location, path_text
from capstan.spec.online import EVENT_PATTERN
from capstan.spec.receivers import CHANNEL_PATTERN, MAIL_PATTERN, SERVER_PATTERN, URL_PATTERN
from capstan.spec.secrets import KEY_PATTERN

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_NOT_IN_THIS_VERSION = {
    "training.ensemble": "ensembles",
    "features.embedding": "embeddings",
    "features.cross": "feature crosses",
    "features.categorical.dimensions": "embeddings",
    "data.sources.kafka": "Kafka sources",
    "data.sources.spark": "Spark sources",
    "data.sources.iceberg": "Iceberg sources",
}
"""Fields that people expect by other tools or earlier drafts, with what they would do."""
PATTERN_WORDS = {
    DELIMITER_PATTERN: "one character, such as a tab or a caret; no letter, digit or quote",
    NAME_PATTERN: "lower-case letters, digits and dashes, beginning and ending with a letter or digit",
    SYSTEM_NAME_PATTERN: SYSTEM_NAME_RULE,
    r"^[a-z_][a-z0-9_]*$": "lower-case letters, digits and underscores, as SQL names are",
    KEY_PATTERN: "letters, digits, dashes, dots and underscores; not a dot alone, and not two at its beginning",
    OWN_METRIC_PATTERN: "letters and digits, beginning with a letter",
    VERSION_PATTERN: "v and the registry's number, such as v3",
    EVENT_PATTERN: "letters, digits, dots, dashes and underscores, beginning with a letter",
    CONDITION_PATTERN: "comparisons of `result` with numbers, joined by `and` or by `or`, such as result < 0.05",
    VARIABLE_PATTERN: "letters, digits and underscores, not beginning with a digit",
    URL_PATTERN: "an address such as https://pager.example.com/capstan, with no name and no password before the host",
    CHANNEL_PATTERN: "the name of one channel, such as #flights",
    MAIL_PATTERN: "one address of mail, such as ops@example.com",
    SERVER_PATTERN: "a host and its port, such as smtp.example.com:587",
    DNS_NAME_PATTERN: "lower-case letters, digits, dashes and dots, with a letter or digit on both sides of each dot",
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){1,9}$": "a namespace and a table, such as shop.orders",
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,2}$": "a table's name, optionally schema.table",
}
"""What a text of a certain form is, in words that follow `write`."""
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "dict_type": "a map",
}
_BOUNDS = {
    "greater_than": "is not above {gt:,}; write a larger number",
    "greater_than_equal": "is below {ge:,}; write {ge:,} or more",
    "less_than": "is not below {lt:,}; write a smaller number",
    "less_than_equal": "is above {le:,}; write {le:,} or less",
}
# Follow-ups of another mistake that is listed anyway.
IGNORED = frozenset({"default_factory_not_called"})


def shown(value: Any) -> str:
    """The value as it stands in the file, shortened."""
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    text = json.dumps(value) if isinstance(value, bool | int | float | None) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def explained(error: ErrorDetails, data: Any) -> str:
    """The message of one grammar error; `data` is the whole document, used to name the item it lies in."""
    location: Location = error["loc"]
    return _message(error, location) + _inside(location, data)


def grammar_errors(error: ValidationError) -> Sequence[ErrorDetails]:
    """The errors that a person can act on."""
    return [
        detail
        for detail in error.errors(include_url=False)
        if detail["type"] not in IGNORED and not _counts_only_valid_items(detail)
    ]


def _counts_only_valid_items(detail: ErrorDetails) -> bool:
    """Whether a list is long enough as it was written: pydantic does not count items that are wrong themselves."""
    written = detail["input"]
    return (
        detail["type"] == "too_short"
        and isinstance(written, list | tuple)
        and len(written) >= detail.get("ctx", {}).get("min_length", 0)
    )


def mistakes_of(error: ValidationError, written: type[BaseModel]) -> list[Mistake]:
    """The mistakes of an object written in Python; its class stands before the fields' paths."""
    mistakes = []
    for detail in grammar_errors(error):
        location: Location = detail["loc"]
        path = f"{written.__name__}.{path_text(location)}" if location else written.__name__
        if detail["type"] == "extra_forbidden" and len(location) == 1:
            message = _not_among(str(location[0]), list(written.model_fields))
        else:
            message = explained(detail, None)
        mistakes.append(Mistake(path, message))
    return mistakes


def _message(error: ErrorDetails, location: Location) -> str:
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "missing":
        return _missing(location)
    if kind == "extra_forbidden":
        return _unknown_key(location)
    if value is None and kind != "one_of":
        return f"is empty; write {_EXPECTED.get(kind, 'a value')}, or {{}} for the defaults of a map, or drop the key"
    if kind in _EXPECTED:
        return _wrong_type(kind, value)
    if kind == "value_error":
        return f"{shown(value)} {context['error']}"
    if kind == "literal_error":
        return _not_a_choice(value, context)
    if kind == "string_pattern_mismatch":
        rule = PATTERN_WORDS.get(context["pattern"], f"text that matches {context['pattern']}")
        return f"{shown(value)} is not allowed here; write {rule}"
    if kind in _BOUNDS:
        return f"{shown(value)} {_BOUNDS[kind].format(**context)}"
    if kind == "string_too_short":
        return "is empty text; write something"
    if kind == "string_too_long":
        return f"{shown(value)} is longer than {context['max_length']} characters; shorten it"
    if kind == "too_short":
        return f"has {context['actual_length']} items; write {context['min_length']} or more"
    if kind == "too_long":
        return f"has more than {context['max_length']} items; drop some"
    if kind == "finite_number":
        return f"{shown(value)} is not a finite number; write one"
    return f"{shown(value)} {error['msg']}" if not isinstance(value, Mapping | list) else error["msg"]


def _missing(location: Location) -> str:
    from capstan.spec.fields import find_field

    doc = find_field(_dotted(location))
    way_out = f"; add `{doc.example}`" if doc is not None and doc.example else ""
    return f"is required{way_out}"


def meant(location: Location) -> Location | None:
    """Where the field stands that an unknown key was probably meant for."""
    from capstan.spec.fields import nearest

    guess = nearest(str(location[-1]), _keys_beside(location))
    return (*location[:-1], guess) if guess else None


def _unknown_key(location: Location) -> str:
    if what := _NOT_IN_THIS_VERSION.get(_dotted(location).removeprefix("spec.")):
        return f"is not in this version ({what}); drop it"
    return _not_among(str(location[-1]), _keys_beside(location))


def _keys_beside(location: Location) -> list[str]:
    from capstan.spec.fields import all_fields, find_field

    if len(location) == 1:
        return ["apiVersion", "kind", "metadata", "spec"]
    if location[:-1] == ("spec",):
        return [
            key for key in all_fields() if "." not in key and key not in ("apiVersion", "kind", "metadata")
        ]
    parent = find_field(_dotted(location[:-1]))
    return list(parent.children) if parent is not None else []


def _not_among(name: str, known: list[str]) -> str:
    from capstan.spec.fields import nearest

    if guess := nearest(name, known):
        return f"unknown key; did you mean {guess}?"
    return (
        f"unknown key; the keys here are {', '.join(known)}" if known else "unknown key; nothing is set here"
    )


def _wrong_type(kind: str, value: Any) -> str:
    expected = _EXPECTED[kind]
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f'{shown(value)} is not text; put it in quotes: "{shown(value)}"'
    if kind in ("int_type", "float_type") and isinstance(value, str):
        return f"{shown(value)} is text; write {expected} without quotes"
    if kind == "tuple_type" and not isinstance(value, Mapping):
        return f"{shown(value)} is not a list; write [{value!s}]"
    return f"{shown(value)} is not {expected}; write {expected}"


def _not_a_choice(value: Any, context: Mapping[str, Any]) -> str:
    from capstan.spec.fields import nearest

    expected = str(context["expected"]).replace("'", "").replace(" or ", ", ")
    choices = expected.split(", ")
    if len(choices) == 1:
        return f"{shown(value)} is not {choices[0]}, the only value in this version"
    guess = nearest(str(value), choices)
    hint = f"; did you mean {guess}?" if guess else ""
    return f"{shown(value)} is not one of {expected}{hint}"


def _dotted(location: Location) -> str:
    return ".".join(part for part in location if isinstance(part, str))


def _inside(location: Location, data: Any) -> str:
    """` (in "trees")`: the name of the innermost named list item around the mistake."""
    name, node = None, data
    for part in location:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            break
        if isinstance(part, int) and isinstance(node, Mapping):
            name = node.get("name")
    return f" (in {shown(name)})" if isinstance(name, str) and location[-1] != "name" else ""
