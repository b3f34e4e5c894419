"""YAML text as plain data, with the line of every part.

The text is read event by event instead of by a constructor: so duplicate keys, YAML 1.1 booleans, several documents and
alias bombs are seen before anything is built, and no depth of nesting can exhaust the stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from capstan.errors import Mistake
from capstan.spec.location import Document, Location, path_text

LARGEST_FILE = 512 * 1024
MOST_PARTS = 20_000
DEEPEST = 32

_YAML_1_1_BOOLEANS = re.compile(r"^(y|yes|n|no|on|off)$", re.IGNORECASE)
_NULL = re.compile(r"^(~|null|Null|NULL|)$")
_BOOLEAN = re.compile(r"^(true|True|TRUE|false|False|FALSE)$")
_INTEGER = re.compile(r"^[-+]?[0-9]{1,400}$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_SPECIAL_FLOAT = re.compile(r"^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")


@dataclass
class _Node:
    event: MappingStartEvent | SequenceStartEvent | ScalarEvent
    items: list[_Node] = field(default_factory=list)
    """Of a sequence its items, of a mapping keys and values in turn."""

    @property
    def line(self) -> int:
        return int(self.event.start_mark.line) + 1


class _UnreadableError(Exception):
    def __init__(self, message: str, line: int | None) -> None:
        self.message = message
        self.line = line
        super().__init__(message)


def read_document(content: bytes) -> Document:
    """The one YAML document in `content`; notation that is wrong is listed in `mistakes`, never raised."""
    document = Document()
    try:
        root = _compose(_events(content))
        _fill(document, root)
    except _UnreadableError as error:
        document.is_readable = False
        document.mistakes.append(((), Mistake("file", error.message, error.line)))
    return document


def _events(content: bytes) -> Iterator[Event]:
    if len(content) > LARGEST_FILE:
        raise _UnreadableError(f"{len(content)} bytes; a system's file has at most {LARGEST_FILE}", None)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = content[: error.start].count(b"\n") + 1
        raise _UnreadableError(
            f"byte {content[error.start]:#04x} is not UTF-8; save the file with the encoding UTF-8", place
        ) from None
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        column = "" if mark is None else f" at column {mark.column + 1}"
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        hint = "; indent with spaces" if "\\t" in what or "'\t'" in what else ""
        raise _UnreadableError(
            f"not YAML{column}: {what}{hint or '; fix the notation there'}", line
        ) from None
    except ReaderError as error:
        place = text[: error.position].count("\n") + 1
        raise _UnreadableError("holds a control character; remove it", place) from None
    except (YAMLError, ValueError, IndexError, AttributeError, TypeError, AssertionError) as error:
        # ruamel's scanner answers some broken texts (`%YAML` lines, stray escapes) with a bare Python error.
        raise _UnreadableError(
            f"not YAML: {str(error) or type(error).__name__}; fix the notation", None
        ) from None


def _compose(events: Iterator[Event]) -> _Node:
    root: _Node | None = None
    stack: list[_Node] = []
    anchors: dict[str, _Node] = {}
    documents = parts = 0
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _UnreadableError("a second document begins here; keep one system per file", line)
        if not isinstance(event, MappingStartEvent | SequenceStartEvent | ScalarEvent | AliasEvent):
            if stack and type(event).__name__ in ("MappingEndEvent", "SequenceEndEvent"):
                closed = stack.pop()
                if closed.event.anchor:
                    anchors[closed.event.anchor] = closed
            continue
        parts += 1
        if parts > MOST_PARTS:
            raise _UnreadableError(f"more than {MOST_PARTS} parts; no system needs so many", line)
        if isinstance(event, AliasEvent):
            if event.anchor not in anchors:
                raise _UnreadableError(
                    f"alias *{event.anchor} stands inside or before its anchor; write the value out", line
                )
            node = anchors[event.anchor]
        else:
            node = _Node(event)
        if root is None:
            root = node
        elif stack:
            stack[-1].items.append(node)
        if isinstance(event, ScalarEvent) and event.anchor:
            anchors[event.anchor] = node
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            stack.append(node)
            if len(stack) > DEEPEST:
                raise _UnreadableError(f"nested deeper than {DEEPEST} levels; no system needs that", line)
    if root is None or (isinstance(root.event, ScalarEvent) and _is_null(root.event)):
        raise _UnreadableError("is empty; `capstan explain` shows what a system's file holds", None)
    if not isinstance(root.event, MappingStartEvent):
        what = "a list" if isinstance(root.event, SequenceStartEvent) else "plain text"
        raise _UnreadableError(
            f"holds {what}; a system's file is a map that begins with apiVersion, kind, metadata, spec", 1
        )
    return root


def _fill(document: Document, root: _Node) -> None:
    parts = 0

    def build(node: _Node, location: Location, line: int) -> Any:
        nonlocal parts
        parts += 1
        # Aliases are counted as often as they are used: this is what stops a bomb.
        if parts > MOST_PARTS or len(location) > DEEPEST:
            raise _UnreadableError("aliases make it too large or too deep; write the values out", node.line)
        document.lines[location] = line
        if node.event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            _note(document, location, line, f"tag {node.event.tag} is not known here; write the plain value")
        if isinstance(node.event, ScalarEvent):
            return _scalar(document, node.event, location, line)
        if isinstance(node.event, SequenceStartEvent):
            return [build(item, (*location, i), item.line) for i, item in enumerate(node.items)]
        result: dict[str, Any] = {}
        for key_node, value_node in zip(node.items[::2], node.items[1::2], strict=True):
            key = _key(document, key_node, location)
            if key is None:
                continue
            if key in result:
                first = document.lines[(*location, key)]
                _note(
                    document,
                    (*location, key),
                    key_node.line,
                    f"written twice, first in line {first}; keep one of them",
                )
                continue
            result[key] = build(value_node, (*location, key), key_node.line)
        return result

    document.data = build(root, (), root.line)


def _key(document: Document, node: _Node, location: Location) -> str | None:
    line = node.line
    if not isinstance(node.event, ScalarEvent):
        _note(document, location, line, "a key is a list or a map; keys are plain words")
        return None
    key = str(node.event.value)
    if key == "<<" and node.event.style is None:
        _note(document, location, line, "merge keys (<<) are not known here; write the fields out")
        return None
    if node.event.style is None and (_YAML_1_1_BOOLEANS.match(key) or _BOOLEAN.match(key)):
        _note(document, location, line, f"key {key} is a boolean to some YAML readers; write it in quotes")
    return key


def _scalar(document: Document, event: ScalarEvent, location: Location, line: int) -> Any:
    text = str(event.value)
    if event.style is not None or event.tag == "tag:yaml.org,2002:str":
        return text
    if _YAML_1_1_BOOLEANS.match(text):
        boolean = "true" if text.lower() in ("y", "yes", "on") else "false"
        _note(
            document,
            location,
            line,
            f'{text} is a boolean to some YAML readers (kubectl) and text to others; write "{text}" in quotes '
            f"for the text or {boolean} for the boolean",
        )
        return text
    if _NULL.match(text):
        return None
    if _BOOLEAN.match(text):
        return text.lower() == "true"
    if _INTEGER.match(text):
        return int(text)
    if _SPECIAL_FLOAT.match(text):
        return float(text.replace(".", "").lower())
    if _FLOAT.match(text):
        return float(text)
    return text


def _is_null(event: ScalarEvent) -> bool:
    return event.style is None and bool(_NULL.match(str(event.value)))


def _note(document: Document, location: Location, line: int, message: str) -> None:
    document.mistakes.append((location, Mistake(path_text(location), message, line)))
