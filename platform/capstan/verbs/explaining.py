"""What a field of the file means."""

from __future__ import annotations

import difflib
import textwrap

from capstan.errors import NotFoundError
from capstan.spec.fields import FieldDoc, all_fields, find_field, similar_fields
from capstan.verbs.runbooks import alerts


def explained(field: str) -> FieldDoc:
    """The field of that path, such as `data.split`; raises NotFoundError that names the fields that may be meant."""
    doc = find_field(field)
    if doc is None:
        guesses = [*difflib.get_close_matches(field, alerts(), 1), *similar_fields(field)]
        hint = f"did you mean {' or '.join(guesses)}?" if guesses else "`capstan explain` lists all fields"
        raise NotFoundError(f"{field}: there is no such field or alert; {hint}")
    return doc


def page(doc: FieldDoc, width: int) -> str:
    """The field as text, in lines of at most `width` characters."""
    rows = [("type", doc.type + (", required" if doc.is_required else ""))]
    if not doc.is_required:
        own = doc.default == "{}" and bool(doc.children)
        rows.append(("default", "that of each of its fields" if own else doc.default or "none"))
    if len(doc.choices) > 1:
        rows.append(("choices", ", ".join(doc.choices)))
    if doc.one_of:
        rows.append(("one of", f"exactly one of {', '.join(doc.one_of)}"))
    rows.append(("example", doc.example))
    lines = [doc.path, *_wrapped(doc.description, "  ", width), ""]
    for name, text in rows:
        first, *rest = _wrapped(text, " " * 11, width)
        lines += [f"  {name:<9}{first.strip()}", *rest]
    if doc.children:
        lines += ["", "  fields"]
        for child in doc.children:
            inner = all_fields()[f"{doc.path}.{child}"]
            mark = " *" if inner.is_required else ""
            first, *rest = _wrapped(inner.description, " " * 27, width)
            lines += [f"    {child + mark:<22} {first.strip()}", *rest]
    return "\n".join(lines)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent) or [""]
