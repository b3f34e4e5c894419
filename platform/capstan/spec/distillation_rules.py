"""Rules of candidates that learn what another one answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capstan.spec.families import Candidate, Distil, FineTune, Search
from capstan.spec.location import Location
from capstan.spec.rule import JOINED_LISTS, Breach, rule

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec


@rule(
    "has a teacher that says something, and another student that can learn it; name such",
    why_no_cel=JOINED_LISTS,
)
def a_student_can_learn_from_its_teacher(spec: MLSystemSpec) -> Iterator[Breach]:
    known = {candidate.name: candidate for candidate in spec.training.candidates}
    for index, candidate in enumerate(spec.training.candidates):
        if isinstance(candidate.chosen, Distil):
            place: Location = ("spec", "training", "candidates", index, candidate.key)
            yield from _breaches(place, candidate.chosen, known)


def _breaches(place: Location, distil: Distil, known: dict[str, Candidate]) -> Iterator[Breach]:
    teacher, student = known.get(distil.of), known.get(distil.into)
    if distil.of == distil.into:
        message = f"{distil.into!r} is the teacher too; name a smaller candidate as the student"
        yield Breach((*place, "into"), message=message)
        return
    if teacher is not None and teacher.is_baseline:
        message = (
            f"{distil.of!r} is a baseline, which says the same of every row; name one that looks at features"
        )
        yield Breach((*place, "of"), message=message)
    if student is None or isinstance(student.chosen, Search | FineTune):
        return
    if not student.chosen.can_be_taught:
        able = ", ".join(
            family for family, settings in Candidate.families().items() if settings.can_be_taught
        )
        message = f"{distil.into!r} is {student.key}, which can't learn answers in place of labels; name one of {able}"
        yield Breach((*place, "into"), message=message)
    elif getattr(student.chosen, "class_weights", None) is not None:
        message = (
            f"{distil.into!r} has `classWeights`, which count the rows of a class, and a student learns shares of "
            "classes; name one without"
        )
        yield Breach((*place, "into"), message=message)
    if distil.label_share >= 1:
        message = "100% leaves nothing to the teacher; write less, or drop the candidate"
        yield Breach((*place, "labelShare"), message=message)


RULES = (a_student_can_learn_from_its_teacher,)
