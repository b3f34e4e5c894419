"""The page that lists every field, written from the grammar.

`python -m capstan.spec.reference > platform/docs/spec.md` brings it up to date.
"""

from __future__ import annotations

import sys

from capstan.spec.fields import FieldDoc, all_fields

_HEAD = """# The file

Every field of an MLSystem, in the order of the file. This page is written from the grammar by `make docs`; the same
words come from `capstan explain FIELD`. Paths leave out the leading `spec.`.

| values | written as |
|---|---|
| duration | a whole number and one of `ms`, `s`, `m`, `h`, `d`: `500ms`, `10m`, `7d` |
| share | a percentage: `80%` |
| quantity | as in Kubernetes: `50Mi`, `1Gi`, `500m` |
| date | `2013-02-01` |
| text | quoted where YAML could read something else: `"NO"` |
"""


def reference() -> str:
    """The whole page as Markdown."""
    lines = [_HEAD]
    for doc in all_fields().values():
        if doc.depth == 0:
            lines += _section(doc)
    return "\n".join(lines).rstrip() + "\n"


def _section(doc: FieldDoc) -> list[str]:
    inner = [child for child in all_fields().values() if child.path.startswith(f"{doc.path}.")]
    lines = [f"## {doc.path}", "", doc.description, "", f"    {doc.example}", ""]
    if not inner:
        return [*lines, f"{doc.type}; {_default(doc)}{_choices(doc)}", ""]
    rows = [
        f"| `{child.path}` | {child.type} | {_default(child)} | {_cell(child.description)}{_choices(child)} "
        f"| `{_cell(child.example)}` |"
        for child in inner
    ]
    return [*lines, "| field | type | default | meaning | example |", "|---|---|---|---|---|", *rows, ""]


def _default(doc: FieldDoc) -> str:
    if doc.is_required:
        return "required"
    if doc.default is None:
        return "none"
    return "its own" if doc.default == "{}" and doc.children else f"`{_cell(doc.default)}`"


def _choices(doc: FieldDoc) -> str:
    if doc.one_of:
        return f" Exactly one of {', '.join(f'`{key}`' for key in doc.one_of)}."
    return f" One of {', '.join(f'`{choice}`' for choice in doc.choices)}." if len(doc.choices) > 1 else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
