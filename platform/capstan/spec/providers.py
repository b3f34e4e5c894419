"""What is known of each traffic provider without speaking to it; the file's grammar, commands and operator read it.

A provider is a row here, an adapter, and a module in `capstan.cluster.wiring.traffic` that says what it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, get_args

Provider = Literal[
    "Envoy",
    "Istio",
]
"""Names of the providers, as the file writes them."""


@dataclass(frozen=True)
class Right:
    """Verbs on resources of one API group."""

    group: str
    """Empty: the core group."""
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()
    """Of the only objects that it covers; empty: all."""


@dataclass(frozen=True)
class ProviderFacts:
    """One traffic provider."""

    name: Provider
    does: str
    """For the file's reference: what it does, and what it cannot."""
    kinds: Mapping[str, str]
    """Kinds of objects that a cluster must serve, with what brings them."""
    own_kind: str = ""
    """The kind by which `capstan doctor` tells whether the provider is installed; empty: nothing is to be installed."""
    on_one_machine: bool = False
    ingress_path: str = ""
    """Where clients ask behind its own ingress, with {namespace} and {system}; empty: Capstan's gateway is in front."""
    refuses: Mapping[str, str] = field(default_factory=dict)
    """Values of serving.runtime that do not go with it, with the reason and the way out."""
    keeps_units: bool = True
    """Whether a unit stays on its arm, as `data.keys.stickyBy` asks, and says so; else each request is drawn anew."""
    made_by: str = ""
    """The serving runtime that makes its versions whatever the file's `runtime` is; empty: the file's."""
    settles: timedelta = timedelta(0)
    """How long it may take, once it says new weights, until every request is drawn by them."""
    no_experiments: str = ""
    """Why experiments do not go with it, with the way out; empty: they do."""
    no_router: str = ""
    """Why no router draws each request of a bandit behind it, with the way out; empty: one does."""
    no_interleaving: str = ""
    """Why one list of two rankers does not go with it, with the way out; empty: it does."""
    rights: tuple[Right, ...] = ()
    """What the operator needs for it besides what it needs for every system."""

    @property
    def has_gateway(self) -> bool:
        """Whether pods of Capstan's gateway stand in front of the versions."""
        return not self.ingress_path


PROVIDERS: Mapping[str, ProviderFacts] = {
    facts.name: facts
    for facts in (
        ProviderFacts(
            "Envoy",
            "Envoy splits, mirrors, keeps users on a version and hides failures of a new one",
            kinds={},
            on_one_machine=True,
            no_router="whose requests go to the versions themselves and past Seldon's graphs; write per: Batch, or "
            "provider: Istio",
        ),
        ProviderFacts(
            "Istio",
            "Istio, only in a cluster and with Seldon, splits and mirrors",
            kinds={"SeldonDeployment": "Seldon Core v1", "VirtualService": "Istio"},
            own_kind="VirtualService",
            ingress_path="/seldon/{namespace}/{system}/v2/models/{system}/infer",
            refuses={"Deployment": "which splits inside one SeldonDeployment; write runtime: Seldon"},
            keeps_units=False,
            made_by="Seldon",
            settles=timedelta(minutes=1),
            no_experiments="which draws every request anew and keeps no user in an arm; write provider: Envoy, or a "
            "bandit, which goes by requests",
            no_interleaving="which asks one version for each request; write provider: Envoy",
            rights=(
                Right(
                    "networking.istio.io",
                    ("virtualservices",),
                    ("get",),
                    "read back the split of Seldon over Istio",
                ),
            ),
        ),
    )
}
"""By name."""
DEFAULT: Provider = get_args(Provider)[0]
RESERVED = ("GatewayApi", "Seldon")
"""Names that the grammar knows and no part runs yet."""
