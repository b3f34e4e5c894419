"""Notation that YAML readers disagree about, or that is meant to harm, is refused with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec import parse
from capstan.spec.document import read_document

Broken = Callable[[str, str], list[Mistake]]


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


def chain(levels: int) -> str:
    return "\n".join(["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{x: *a{i - 1}}}" for i in range(1, levels))])


UNREADABLE: dict[str, tuple[str | bytes, int | None, str]] = {
    "empty": ("", None, "is empty"),
    "only a comment": ("# nothing\n", None, "is empty"),
    "null": ("~", None, "is empty"),
    "a list": ("- a\n", 1, "holds a list"),
    "text": ("hello", 1, "holds plain text"),
    "not closed": ("a:\n  b: [1,\n", 3, "not YAML at column"),
    "tab": ("a:\n\tb: 1\n", 2, "indent with spaces"),
    "indentation": ("a: 1\n b: 2\n", 2, "not YAML at column"),
    "two documents": ("a: 1\n---\nb: 2\n", 2, "second document"),
    "latin-1": ("a: 1\nb: caf\xe9\n".encode("latin-1"), 2, "0xe9 is not UTF-8"),
    "utf-16": ("a: 1".encode("utf-16"), 1, "is not UTF-8"),
    "control character": ("a: 1\nb: \x07\n", 2, "control character"),
    "alias bomb": (bomb(9), None, "aliases make it too large"),
    "alias chain": (chain(60), None, "aliases make it too large or too deep"),
    "alias of itself": ("a: &a [*a]", 1, "inside or before its anchor"),
    "unknown alias": ("a: *b", 1, "inside or before its anchor"),
    "deep list": ("[" * 50_000, 1, "nested deeper"),
    "deep map": ("{a: " * 50_000, 1, "nested deeper"),
    "deep JSON": ('{"a": ' * 50_000, 1, "nested deeper"),
    "huge": ("a: " + "x" * 600_000, None, "at most 524288"),
    "many parts": ("a: [" + "1," * 30_000 + "]", 1, "more than 20000 parts"),
}


@pytest.mark.parametrize(("text", "line", "words"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_text_is_one_mistake_with_its_line(
    text: str | bytes, line: int | None, words: str
) -> None:
    with pytest.raises(InvalidSpecError) as raised:
        parse(text, base_dir=Path())
    (mistake,) = raised.value.mistakes
    assert mistake.path == "file"
    assert words in mistake.message
    if line is not None:
        assert mistake.line == line


@pytest.mark.parametrize("word", ["NO", "no", "yes", "on", "Off", "y", "N"])
def test_word_that_kubectl_reads_as_a_boolean_must_be_quoted(mistakes_after: Broken, word: str) -> None:
    (mistake,) = mistakes_after('[AA, UA, "NO"]', f"[AA, UA, {word}]")
    assert mistake.path == "data.checks[1].allowed[2]"
    assert f'write "{word}" in quotes' in mistake.message
    assert mistakes_after('[AA, UA, "NO"]', f"[AA, UA, '{word}']") == []


def test_yes_for_a_boolean_is_told_true(mistakes_after: Broken) -> None:
    (mistake,) = mistakes_after("refit: true", "refit: yes")
    assert mistake.path == "data.split.refit"
    assert "true for the boolean" in mistake.message


def test_key_written_twice_names_both_lines(mistakes_after: Broken, line_of: Callable[[str], int]) -> None:
    line = line_of("deletionPolicy")
    (mistake,) = mistakes_after("  deletionPolicy: Retain", "  suspend: true\n  suspend: false")
    assert (mistake.path, mistake.line) == ("suspend", line + 1)
    assert mistake.message == f"written twice, first in line {line}; keep one of them"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!python/object:os.system x", "tag tag:yaml.org,2002:python/object:os.system"),
        ("a: &a {b: 1}\nc: {<<: *a}", "merge keys"),
        ("? [1]\n: 2", "a key is a list or a map"),
        ("on: 1", "key on is a boolean"),
    ],
    ids=["tag", "merge", "list as key", "boolean as key"],
)
def test_notation_outside_plain_data_is_refused(text: str, words: str) -> None:
    assert any(words in mistake.message for _, mistake in read_document(text.encode()).mistakes)


def test_small_aliases_are_fine() -> None:
    document = read_document(b"a: &a {x: 1}\nb: *a\nc: [*a, *a]\n")
    assert document.mistakes == []
    assert document.data == {"a": {"x": 1}, "b": {"x": 1}, "c": [{"x": 1}, {"x": 1}]}


def test_plain_values_are_read_as_yaml_1_2_reads_them() -> None:
    text = b'{a: 1, b: -2.5, c: 1e3, d: true, e: ~, f: "1", g: 2013-02-01, h: 12:30, i: .inf, j: 0x1F}'
    assert read_document(text).data == {
        "a": 1, "b": -2.5, "c": 1000.0, "d": True, "e": None, "f": "1", "g": "2013-02-01", "h": "12:30",
        "i": float("inf"), "j": "0x1F",
    }  # fmt: skip


def test_every_part_knows_its_line() -> None:
    lines = read_document(b"a:\n  - x\n  - b:\n      c: 1\n").lines
    assert lines[("a", 0)] == 2
    assert lines[("a", 1, "b", "c")] == 4


def test_byte_order_mark_is_no_mistake() -> None:
    assert read_document(b"\xef\xbb\xbfa: 1").data == {"a": 1}
