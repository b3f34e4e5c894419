"""A system written in Python is the same as one written as a file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem, MLSystemSpec, load, parse
from capstan.spec.data import CsvSource, Data, Keys, Label, Source
from capstan.spec.features import Categorical, Feature, Numeric
from capstan.spec.objective import Objective
from capstan.spec.rollout import Canary, Rollout, Step
from capstan.spec.system import Metadata

FLIGHTS = Path(__file__).parent / "flight_delays.yaml"


def written_in_python(**features: Numeric | Categorical) -> MLSystem:
    return MLSystem(
        metadata=Metadata(name="flight-delays"),
        spec=MLSystemSpec(
            objective=Objective(task="BinaryClassification", target="late"),
            data=Data(
                sources=(Source(name="flights", csv=CsvSource(path="data/flights.csv")),),
                keys=Keys(id="flight_id", time="scheduled_departure", sticky_by="tailnum"),
                label=Label(column="late", available_at="arrival", maximum_delay=timedelta(hours=36)),
            ),
            features=tuple(
                Feature(name=name, numeric=kind)
                if isinstance(kind, Numeric)
                else Feature(name=name, categorical=kind)
                for name, kind in features.items()
            ),
            rollout=Rollout(steps=(Step(canary=Canary(weight=10, duration=timedelta(days=2))),)),
        ),
    )


def test_objects_and_file_make_the_same_system() -> None:
    system = written_in_python(distance=Numeric(scale="Log"), carrier=Categorical())
    text = system.to_yaml()
    assert parse(text, base_dir=system.base_dir) == system
    assert text.startswith("apiVersion: capstan.dev/v1alpha1\nkind: MLSystem\n")
    assert "maximumDelay: 36h" in text
    assert parse(text, base_dir=system.base_dir).to_yaml() == text


def test_the_flights_file_survives_writing() -> None:
    system = load(FLIGHTS)
    assert parse(system.to_yaml(), base_dir=system.base_dir) == system


def test_words_that_yaml_reads_as_booleans_are_written_in_quotes() -> None:
    text = load(FLIGHTS).to_yaml()
    assert '[AA, UA, "NO"]' in text


def test_mistake_in_python_is_told_as_in_a_file() -> None:
    with pytest.raises(InvalidSpecError, match=r"^Canary\.weight: 140 is above 99; write 99 or less$"):
        Canary(weight=140)
    with pytest.raises(InvalidSpecError, match="unknown key; did you mean min_requests"):
        Canary(weight=10, min_request=3)  # type: ignore[call-arg]


def test_rules_between_fields_hold_in_python() -> None:
    with pytest.raises(InvalidSpecError, match=r"features\[1\]\.name: 'late' .*leakage"):
        written_in_python(distance=Numeric(), late=Numeric())


def test_a_system_does_not_change() -> None:
    system = load(FLIGHTS)
    with pytest.raises(ValidationError, match="frozen"):
        system.spec.objective.target = "other"  # type: ignore[misc]
