"""A family that is not there: naive Bayes."""

from __future__ import annotations

from members.toy import Edit, Toy

FAMILY = Toy(
    "family",
    edits=(
        Edit(
            "platform/capstan/spec/training.py",
            "class Custom(FamilySettings, OwnCode):\n",
            '''class NaiveBayes(FamilySettings):
    """Each column by itself."""

    smoothing: Number = Field(1e-9, gt=0, description="Share of the largest variance.", examples=[1e-9])


''',
            before=True,
        ),
        Edit(
            "platform/capstan/spec/training.py", '        "gradient_boosting",\n', '        "naive_bayes",\n'
        ),
        Edit(
            "platform/capstan/spec/training.py",
            "    custom: Custom | None = Field(\n",
            '    naive_bayes: NaiveBayes | None = Field(None, description="Naive Bayes.", examples=[{}])\n',
            before=True,
        ),
        Edit(
            "platform/capstan/training/families/__init__.py",
            "FAMILIES: Mapping[type[FamilySettings], Family[Any]] = {\n",
            "    NaiveBayes: NaiveBayesFamily(),\n",
        ),
        Edit(
            "platform/capstan/training/families/__init__.py",
            "from capstan.training.families.most_frequent import MostFrequentFamily\n",
            "from capstan.spec.training import NaiveBayes\n"
            "from capstan.training.families.naive_bayes import NaiveBayesFamily\n",
        ),
    ),
    new={
        "platform/capstan/training/families/naive_bayes.py": '''"""Naive Bayes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capstan.spec.tasks import LabelKind
from capstan.spec.training import NaiveBayes
from capstan.training.families.family import EstimatorFamily, Make
from capstan.training.lesson import Lesson


def _classifier(settings: NaiveBayes, lesson: Lesson) -> Any:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB(var_smoothing=settings.smoothing)


class NaiveBayesFamily(EstimatorFamily[NaiveBayes]):
    """Each column by itself."""

    settings = NaiveBayes
    makes: Mapping[LabelKind, Make[NaiveBayes]] = {"Boolean": _classifier}
'''
    },
    check="""
from capstan.spec.training import Candidate
from capstan.testing import check_family
from capstan.training.families import family_of
one = Candidate.model_validate({"name": "one", "naiveBayes": {"smoothing": 1e-6}})
check_family(family_of(one), one.chosen)
""",
)
