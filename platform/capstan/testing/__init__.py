"""Conformance suites for members, ours and a person's own: `check_family(family)` raises if the family breaks a rule.

Each suite runs one member on toy data in seconds and tells every broken rule at once, as scikit-learn's
`check_estimator` does for an estimator.
"""

from __future__ import annotations

from capstan.testing.conformance import NotConformingError
from capstan.testing.detectors import check_detector
from capstan.testing.families import check_family
from capstan.testing.features import check_feature_kind
from capstan.testing.metrics import check_metric
from capstan.testing.online_detectors import check_online_detector
from capstan.testing.questions import check_question
from capstan.testing.sources import check_source
from capstan.testing.steps import check_step
from capstan.testing.tasks import check_task
from capstan.testing.triggers import check_trigger

__all__ = [
    "NotConformingError",
    "check_detector",
    "check_family",
    "check_feature_kind",
    "check_metric",
    "check_online_detector",
    "check_question",
    "check_source",
    "check_step",
    "check_task",
    "check_trigger",
]
