"""A family that is not there: the nearest centre."""

from __future__ import annotations

from members.toy import Edit, Toy

FAMILY = Toy(
    "family",
    edits=(
        Edit(
            "platform/capstan/spec/families.py",
            "class Custom(FamilySettings, OwnCode):\n",
            '''class NearestCenter(FamilySettings):
    """The class whose mean row is nearest."""

    smoothing: Number = Field(1e-9, gt=0, description="Share of the largest variance.", examples=[1e-9])


''',
            before=True,
        ),
        Edit(
            "platform/capstan/spec/families.py",
            '        "gradient_boosting",\n',
            '        "nearest_center",\n',
        ),
        Edit(
            "platform/capstan/spec/families.py",
            "    custom: Custom | None = Field(\n",
            '    nearest_center: NearestCenter | None = Field(None, description="Nearest centre.", examples=[{}])\n',
            before=True,
        ),
        Edit(
            "platform/capstan/training/families/__init__.py",
            "FAMILIES: Mapping[type[FamilySettings], Family[Any]] = {\n",
            "    NearestCenter: NearestCenterFamily(),\n",
        ),
        Edit(
            "platform/capstan/training/families/__init__.py",
            "from capstan.training.families.most_frequent import MostFrequentFamily\n",
            "from capstan.spec.families import NearestCenter\n"
            "from capstan.training.families.nearest_center import NearestCenterFamily\n",
        ),
    ),
    new={
        "platform/capstan/training/families/nearest_center.py": '''"""The nearest centre."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capstan.spec.tasks import LabelKind
from capstan.spec.families import NearestCenter
from capstan.training.families.family import EstimatorFamily, Make
from capstan.training.lesson import Lesson


def _classifier(settings: NearestCenter, lesson: Lesson) -> Any:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB(var_smoothing=settings.smoothing)


class NearestCenterFamily(EstimatorFamily[NearestCenter]):
    """The class whose mean row is nearest."""

    settings = NearestCenter
    makes: Mapping[LabelKind, Make[NearestCenter]] = {"Boolean": _classifier}
'''
    },
    check="""
from capstan.spec.families import Candidate
from capstan.testing import check_family
from capstan.training.families import family_of
one = Candidate.model_validate({"name": "one", "nearestCenter": {"smoothing": 1e-6}})
check_family(family_of(one), one.chosen)
""",
)
