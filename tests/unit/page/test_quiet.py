"""Claims about what stops all answers of a page at once: nothing does while people look at it."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import gc, json, sys
from capstan_page.app import SWITCH_SECONDS, quieten
def told(phase, info):
    if phase == "stop":
        counted.append(info["generation"])
def use():
    counted.clear()
    kept = [[n] for n in range(1_000_000)]
    return counted.count(2)
counted = []
gc.callbacks.append(told)
before = use()
quieten()
print(json.dumps({
    "before": before, "after": use(), "young": counted.count(0), "frozen": gc.get_freeze_count(),
    "turns": sys.getswitchinterval() == SWITCH_SECONDS,
}))
"""


def test_a_heap_that_grows_is_not_searched_whole_while_people_wait() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    assert found["before"] > 0, "Python's own rule searches everything as the heap grows"
    assert found["after"] == 0
    assert found["young"] > 0, "what is short-lived is still found"
    assert found["frozen"] > 10_000
    assert found["turns"]
