"""What a binary label may be written as, in a table and in feedback alike."""

from __future__ import annotations

YES = ("true", "1", "1.0", "yes")
NO = ("false", "0", "0.0", "no")
FORMS = "true/false, 1/0 or yes/no"


def truth_of_label(value: object) -> bool | None:
    """True, "True", 1, "1.0", "yes", …: what it says, whatever its case; None if it says neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    text = value.lower() if isinstance(value, str) else ""
    return True if text in YES else False if text in NO else None
