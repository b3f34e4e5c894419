"""A story that branches wherever the loop may be killed; each branch is lived until its end is known.

Nothing is left to chance in a world in memory, so two things are lived once: points between which nothing is changed
leave the same world to the next process of the loop; and branches that come to the same future share their end.
"""

from __future__ import annotations

import gc
import hashlib
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from simulation.world import World

from capstan.engine import Outcome

SAME = "same"


@dataclass
class Branch:
    """What became of the world after a kill."""

    first: str
    """The first of the points that it stands for: between them nothing changes, so the next process finds the same."""
    points: int = 1
    verdict: str = ""
    is_shared: bool = False
    """Whether its end is that of an earlier branch."""


class Branching(World):
    """Before and after every call the process forks: in the branch the loop is killed, here it goes on undisturbed."""

    def __init__(self) -> None:
        super().__init__()
        self.is_branch = False
        self.branches: list[Branch] = []
        self._found = ""
        self._is_looked_at = False
        """Whether nothing but the loop, which changes things by calls only, has acted since they were looked at."""
        self._ends: dict[str, str] = {}
        """How the branches went on from each future that was lived, by its hash."""
        self._future = ""
        self._teller = -1

    def dies(self, when: str) -> bool:
        if self.is_branch:
            return False
        is_same = when == "before" and self._is_looked_at
        found = self._found if is_same else self.found_by_the_next()
        self._is_looked_at = True
        if found == self._found:
            self.branches[-1].points += 1
            return False
        self._found = found
        branch = Branch(f"{when} call {len(self.calls)} ({self.calls[-1]})")
        self.branches.append(branch)
        listener, self._teller = os.pipe()
        pid = os.fork()
        if pid == 0:
            self.is_branch = True
            gc.disable()
            return True
        os.close(self._teller)
        with open(listener) as words:
            future, _, branch.verdict = words.read().partition(" ")
        os.waitpid(pid, 0)
        branch.is_shared = future in self._ends
        self._ends.setdefault(future, branch.verdict)
        return False

    def settle(self, most: int = 200) -> Outcome:
        self._is_looked_at = False
        outcome = super().settle(most)
        if self.is_branch and not self._future:
            self._future = hashlib.sha256(self.future().encode()).hexdigest()
            if self._future in self._ends:
                self.end_branch(self._ends[self._future])
        return outcome

    def end_branch(self, verdict: str) -> None:
        os.write(self._teller, f"{self._future} {verdict[-4000:]}".encode())
        os._exit(0)


def live_all_branches(script: Callable[[World], None], judge: Callable[[World], str]) -> Branching:
    """The story undisturbed, with what `judge` said at the end of each branch: SAME, or what is wrong."""
    world, verdict = Branching(), "it ended halfway"
    try:
        script(world)
        verdict = judge(world)
    except BaseException:
        if not world.is_branch:
            raise
        verdict = traceback.format_exc()
    finally:
        # A branch must never go back to whoever runs the tests.
        if world.is_branch:
            world.end_branch(verdict)
    return world
