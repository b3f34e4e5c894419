"""The page of faults names tests; a name that is none would claim what nobody shows."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "platform/docs/faults.md"
REFERENCE = re.compile(r"`((?:\w+/)+\w+\.py)?(?:::(\w+))?`")
STORIES = re.compile(r"[Ss]tor(?:y|ies) ((?:`\w+`(?:, )?)+)")


def test_every_test_that_the_page_names_exists() -> None:
    named, file = 0, ""
    for match in REFERENCE.finditer(PAGE.read_text()):
        file = match[1] or file
        # What every adapter of a port does stands in the package, for those of other people too.
        code = (TESTS.parent / file if file.startswith("platform/") else TESTS / file).read_text()
        if match[2]:
            named += 1
            assert f"def {match[2]}(" in code, f"{file} has no {match[2]}"
    assert named > 50


def test_every_story_that_the_page_names_exists() -> None:
    names = [name for found in STORIES.findall(PAGE.read_text()) for name in re.findall(r"\w+", found)]
    assert len(names) > 10
    for name in names:
        assert (TESTS / "simulation/stories" / f"{name}.txt").is_file(), name
