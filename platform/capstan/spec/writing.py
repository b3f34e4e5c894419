"""Plain data as YAML text that every YAML reader understands alike."""

from __future__ import annotations

import io
import json
import re
from typing import Any

_PLAIN = re.compile(
    r"^[A-Za-z_/][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*$|^[0-9]+(ms|s|m|h|d|%|Ki|Mi|Gi)$|^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
)
_READ_AS_SOMETHING_ELSE = re.compile(r"^(y|n|yes|no|on|off|true|false|null)$", re.IGNORECASE)


def is_plain(text: str) -> bool:
    """Whether the text needs no quotes in any version of YAML."""
    return bool(_PLAIN.match(text)) and not _READ_AS_SOMETHING_ELSE.match(text)


def in_one_line(value: Any) -> str:
    """The value on one line as it would stand in a file."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {in_one_line(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(in_one_line(item) for item in value) + "]"
    if isinstance(value, str) and is_plain(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def in_blocks(data: dict[str, Any]) -> str:
    """A whole file: blocks outside, one line for small maps."""
    from ruamel.yaml import YAML

    # Dates stay text: written plain they are read back as text, also by our own reader.
    writer = YAML(typ="rt", pure=True)
    writer.width = 110
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    writer.dump(_styled(data), stream)
    return stream.getvalue()


def _styled(value: Any) -> Any:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, dict):
        styled = CommentedMap((_styled(key), _styled(item)) for key, item in value.items())
        if (
            not any(isinstance(item, dict | list) and item for item in value.values())
            and len(in_one_line(value)) < 80
        ):
            styled.fa.set_flow_style()
        return styled
    if isinstance(value, list):
        items = CommentedSeq(_styled(item) for item in value)
        if not any(isinstance(item, dict | list) for item in value):
            items.fa.set_flow_style()
        return items
    if isinstance(value, str) and not is_plain(value):
        return DoubleQuotedScalarString(value)
    return value
