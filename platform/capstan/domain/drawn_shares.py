"""The shares by which a router of a graph drew the arm of one request, as they stand beside that request."""

from __future__ import annotations

import re
from collections.abc import Mapping

from capstan.domain.payload_limits import PLAIN_NAME
from capstan.domain.versions import VersionName

ARM, SHARES = "capstan_arm", "capstan_shares"
"""Parameters of a request by the Open Inference Protocol, in which `platform/images/bandit-router` tells both."""
_ONE = re.compile(r"([^ =]+)=(\d{1,3})")
_LONGEST = 1000


def read_shares(text: object) -> dict[VersionName, int] | None:
    """Whole percents by version out of `v1=60 v2=40`; None for anything else, and where they do not make 100."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    found: dict[VersionName, int] = {}
    for part in text.split(" "):
        one = _ONE.fullmatch(part)
        if one is None or not PLAIN_NAME.fullmatch(one[1]) or one[1] in found:
            return None
        found[VersionName(one[1])] = int(one[2])
    return found if sum(found.values()) == 100 else None


def spelled_shares(shares: Mapping[VersionName, int]) -> str:
    """`v1=60 v2=40`."""
    return " ".join(f"{version}={share}" for version, share in shares.items())
