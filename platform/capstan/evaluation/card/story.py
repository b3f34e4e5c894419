"""The last part of a card: what led to the version and what became of it, written anew when the card is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

_BEGIN, _END = '<section id="story">', "</section>"


@dataclass(frozen=True)
class Moment:
    """One thing that happened to the version."""

    at: datetime | None
    """None: while it was trained."""
    what: str
    told: str


def story_html(story: Sequence[Moment]) -> str:
    """The part of a card."""
    lines = "".join(
        f"<li>{f'<time>{one.at:%Y-%m-%d %H:%M}</time> ' if one.at is not None else ''}"
        f"<b>{escape(one.what)}</b> {escape(one.told)}</li>"
        for one in story
    )
    return f"{_BEGIN}<h2>From the alert to the promotion</h2><ol>{lines}</ol>{_END}"


def with_story(html: str, story: Sequence[Moment]) -> str:
    """The card with what is known of its version by now."""
    begin = html.find(_BEGIN)
    end = html.find(_END, begin)
    if begin < 0 or end < 0:
        return html
    return html[:begin] + story_html(story) + html[end + len(_END) :]
