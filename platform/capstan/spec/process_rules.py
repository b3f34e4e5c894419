"""Rules of what trains and serves: windows, resources, variables, providers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capstan.spec.cluster import OWN_VARIABLES
from capstan.spec.location import Location
from capstan.spec.providers import DEFAULT, PROVIDERS
from capstan.spec.rule import ARITHMETIC, Breach, Cel, rule
from capstan.spec.units import format_bytes, format_cores, format_duration

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec


@rule("is not longer than validation and test together; make it longer", why_no_cel=ARITHMETIC)
def a_window_leaves_rows_to_learn_from(spec: MLSystemSpec) -> Iterator[Breach]:
    window, held_out = spec.training.window, spec.data.split.by_time
    judged = held_out.validation + held_out.test
    dated = spec.data.keys.time is not None
    if dated and window.duration is not None and window.duration <= judged:
        yield Breach(
            ("spec", "training", "window", "duration"),
            message=f"{format_duration(window.duration)} is not longer than validation and test together "
            f"({format_duration(judged)}), so no row is left to learn from; make it longer",
        )


@rule("is above the limit; raise the limit", why_no_cel=ARITHMETIC)
def requests_are_within_limits(spec: MLSystemSpec) -> Iterator[Breach]:
    for part, resources in (("training", spec.training.resources), ("serving", spec.serving.resources)):
        location: Location = ("spec", part, "resources", "requests")
        requests, limits = resources.requests, resources.limits
        if requests.cpu is not None and limits.cpu is not None and requests.cpu > limits.cpu:
            above = f"{format_cores(requests.cpu)} is above limits.cpu ({format_cores(limits.cpu)})"
            yield Breach((*location, "cpu"), message=f"{above}; raise the limit")
        if requests.memory is not None and limits.memory is not None and requests.memory > limits.memory:
            above = f"{format_bytes(requests.memory)} is above limits.memory ({format_bytes(limits.memory)})"
            yield Breach((*location, "memory"), message=f"{above}; raise the limit")


_FOREIGN = " && ".join(f"!self.name.startsWith('{start}')" for start in OWN_VARIABLES)


@rule(
    "is set by Capstan itself; use another name",
    Cel(_FOREIGN, "training.environment[]", "name"),
    Cel(_FOREIGN, "serving.environment[]", "name"),
)
def variables_are_not_capstans_own(spec: MLSystemSpec) -> Iterator[Breach]:
    for part, variables in (("training", spec.training.environment), ("serving", spec.serving.environment)):
        for index, variable in enumerate(variables):
            if variable.name.startswith(OWN_VARIABLES):
                yield Breach(("spec", part, "environment", index, "name"), variable.name)


def _refused(provider: str, runtime: str) -> str:
    """Why the runtime does not go with the provider; empty: it does."""
    why = PROVIDERS[provider].refuses.get(runtime, "")
    return why and f"{runtime} does not go with traffic.provider: {provider}, {why}, or provider: {DEFAULT}"


@rule(
    "the runtime does not go with traffic.provider; write another of the two",
    *(
        Cel(
            f"self.traffic.provider != '{provider}' || self.runtime != '{runtime}'",
            "serving",
            "runtime",
            _refused(provider, runtime),
        )
        for provider, facts in PROVIDERS.items()
        for runtime in facts.refuses
    ),
)
def a_provider_goes_with_the_runtime(spec: MLSystemSpec) -> Iterator[Breach]:
    why = _refused(spec.serving.traffic.provider, spec.serving.runtime)
    if why:
        yield Breach(("spec", "serving", "runtime"), message=why)


def _unkept(provider: str) -> str:
    return (
        f"keeps users on a version, which traffic.provider: {provider} cannot, since it draws each request of a canary "
        f"or a bandit anew; drop stickyBy, or write provider: {DEFAULT}"
    )


@rule(
    "keeps users on a version, which traffic.provider cannot; drop stickyBy, or the canaries and bandits",
    *(
        Cel(
            f"self.serving.traffic.provider != '{provider}' || !has(self.data.keys.stickyBy) || "
            "!self.rollout.steps.exists(s, has(s.canary) || "
            "(has(s.bandit) && !(has(s.bandit.per) && s.bandit.per == 'Request')))",
            field="data.keys.stickyBy",
            message=_unkept(provider),
        )
        for provider, facts in PROVIDERS.items()
        if not facts.keeps_units
    ),
)
def a_provider_keeps_users_where_it_should(spec: MLSystemSpec) -> Iterator[Breach]:
    provider, sticky = spec.serving.traffic.provider, spec.data.keys.sticky_by
    splits = any(
        step.canary is not None or (step.bandit is not None and step.bandit.per == "Batch")
        for step in spec.rollout.steps
    )
    if sticky is not None and splits and not PROVIDERS[provider].keeps_units:
        yield Breach(("spec", "data", "keys", "stickyBy"), message=f"{sticky!r} {_unkept(provider)}")


RULES = (
    a_window_leaves_rows_to_learn_from,
    requests_are_within_limits,
    variables_are_not_capstans_own,
    a_provider_goes_with_the_runtime,
    a_provider_keeps_users_where_it_should,
)
