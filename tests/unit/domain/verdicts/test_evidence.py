"""Sums over arms: nothing is counted twice, and no order of days changes a bit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from capstan.domain.verdicts.evidence import ArmDay, ArmsEvidence, ArmSums
from capstan.domain.versions import VersionName
from capstan.ports.codec import from_json, to_json

V1, V2 = VersionName("v1"), VersionName("v2")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = tuple(
    ArmDay(
        MONDAY + timedelta(days=number),
        {V1: ArmSums(assigned=3, closed=2, units=1, total=value, squares=value**2, covariate_known=1)},
    )
    for number, value in enumerate((0.1, 1e16, 0.2, -1e16))
)


def test_an_arms_total_is_the_sum_of_its_days_in_whatever_order_they_come() -> None:
    straight = ArmsEvidence(DAYS).total(V1)
    assert (straight.assigned, straight.closed, straight.units, straight.covariate_known) == (12, 8, 4, 4)
    assert straight.total == 0.30000000000000004
    assert ArmsEvidence(tuple(reversed(DAYS))).total(V1) == straight


def test_an_arm_without_a_unit_has_empty_sums() -> None:
    assert ArmsEvidence(DAYS).total(V2) == ArmSums()
    assert ArmsEvidence().total(V1) == ArmSums()


def test_evidence_by_arms_survives_the_way_between_two_processes() -> None:
    evidence = ArmsEvidence(DAYS, crossed=2, lost_share=0.01, clipped_share=0.2, nonfinite_answers={V2: 4})
    assert from_json(ArmsEvidence, to_json(evidence)) == evidence
