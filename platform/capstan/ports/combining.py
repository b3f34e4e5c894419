"""What the gateway tells the combiner with each request that is to be interleaved.

All that the combiner goes by comes with the request. So it keeps no state, and follows a change of the traffic in the
moment in which the gateway does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from capstan.domain.verdicts.interleaving import Method
from capstan.domain.versions import VersionName
from capstan.ports.serving import Endpoint

INSTRUCTION_HEADER = "x-capstan-interleave"
"""Header with the instruction; the gateway takes it away from what clients send."""
COMBINER = VersionName("combiner")
"""Name under which the combiner stands among versions: as an arm of the gateway, and in its payloads."""
INTERLEAVED_METRIC = "capstan_interleaved_total"
"""Counter of what came of asking a challenger, by its labels `version` and `outcome`."""
OUTCOMES = ("answered", "refused", "failed")
"""Values of `outcome`: an answer, 4xx, or neither while the user could wait."""


@dataclass(frozen=True)
class Instruction:
    """Whom to ask and how to make one list of the two answers."""

    champion: VersionName
    challenger: VersionName
    endpoints: Mapping[VersionName, Endpoint]
    """Of both."""
    method: Method
    salt: str
    """Goes into the coins of each request."""

    def header(self) -> str:
        """The header's value: one line of JSON in ASCII."""
        told = {
            "champion": self._place(self.champion),
            "challenger": self._place(self.challenger),
            "method": self.method,
            "salt": self.salt.encode().hex(),
        }
        return orjson.dumps(told).decode()

    def _place(self, version: VersionName) -> list[str | int]:
        endpoint = self.endpoints[version]
        return [version, endpoint.host, endpoint.port]


def instruction_of(header: str | bytes) -> Instruction:
    """The instruction that the header spells; raises ValueError for anything else."""
    told = orjson.loads(header)
    try:
        places = {role: told[role] for role in ("champion", "challenger")}
        named = {role: VersionName(str(place[0])) for role, place in places.items()}
        return Instruction(
            named["champion"],
            named["challenger"],
            {named[role]: Endpoint(str(place[1]), int(place[2])) for role, place in places.items()},
            Method(told["method"]),
            bytes.fromhex(told["salt"]).decode(),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{INSTRUCTION_HEADER} is not complete: {error!r}") from error
