"""Why artifacts cannot be reached and what to do about it, in words of the person who gave the address and the keys."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Names:
    """What the person calls what they gave."""

    key: str = "AWS_ACCESS_KEY_ID"
    secret: str = "AWS_SECRET_ACCESS_KEY"  # noqa: S105
    token: str = "AWS_SESSION_TOKEN"  # noqa: S105
    endpoint: str = "endpoint_override and scheme of the address"
    region: str = "write the right one into the address, such as region=eu-central-1"
    rights: str = "list, read and write"


OF_ARTIFACTS = Names()
_CODES = (re.compile(r"ExceptionName: (\w+)"), re.compile(r"AWS Error ([A-Z_0-9]+)"))
"""Where the client does not know the server's name of an error, it says both."""
_STATUS = re.compile(r"HTTP status (?P<status>\d{3})")
_KEYS = (
    "the object storage refuses the keys; correct {key} and {secret}, and the region where the server expects "
    "another"
)
_BUSY = "the object storage is busy or has a fault of its own; it is asked again, and its own log says more"
_AWAY = (
    "nobody answers there, or too slowly; check that the object storage runs, and that {endpoint} is right"
)
_REGION = "the bucket is in another region; {region}"
_FULL = "no room is left in the object storage; free some space there, or raise its quota"
_WORDS = {
    "ACCESS_DENIED": (
        "the object storage does not allow it with these keys; correct {key} and {secret}, or let their owner {rights} "
        "below the address"
    ),
    **dict.fromkeys(
        (
            *(
                "INVALID_ACCESS_KEY_ID",
                "SIGNATURE_DOES_NOT_MATCH",
                "INVALID_SIGNATURE",
                "UNRECOGNIZED_CLIENT",
            ),
            *("MISSING_AUTHENTICATION_TOKEN", "INCOMPLETE_SIGNATURE", "INVALID_CLIENT_TOKEN_ID"),
        ),
        _KEYS,
    ),
    **dict.fromkeys(
        ("ExpiredToken", "INVALID_TOKEN", "InvalidToken"),
        "the keys have expired; give new ones in {key}, {secret} and {token}",
    ),
    "NO_SUCH_BUCKET": "there is no such bucket; create it, or correct the address",
    **dict.fromkeys(("NETWORK_CONNECTION", "REQUEST_TIMEOUT", "REQUEST_EXPIRED"), _AWAY),
    **dict.fromkeys(("SLOW_DOWN", "THROTTLING", "SERVICE_UNAVAILABLE", "INTERNAL_FAILURE"), _BUSY),
    **dict.fromkeys(("PermanentRedirect", "AuthorizationHeaderMalformed"), _REGION),
    "REQUEST_TIME_TOO_SKEWED": "the clocks of this machine and of the object storage differ; set them",
    **dict.fromkeys(("QuotaExceeded", "XMinioStorageFull"), _FULL),
}
"""The client's name of an error, or the server's where the client knows none."""
_STATUSES = {
    "301": _REGION,
    "401": _KEYS,
    "403": _WORDS["ACCESS_DENIED"],
    "500": _BUSY,
    "503": _BUSY,
    "507": _FULL,
}


def storage_complaint(error: Exception, names: Names = OF_ARTIFACTS) -> str:
    """What is wrong with object storage; repeats nothing of what client or server wrote but the error's name."""
    text = str(error)
    code = next((found[1] for pattern in _CODES if (found := pattern.search(text))), None)
    status = _STATUS.search(text)
    words = _WORDS.get(code or "") or _STATUSES.get(status["status"] if status else "")
    if words is not None:
        return words.format(**asdict(names))
    known = ", ".join(
        [*([code] if code and code != "UNKNOWN" else []), *([f"status {status['status']}"] if status else [])]
    )
    return f"the object storage refuses it{f' ({known})' if known else ''}; its own log says why"


def folder_complaint(path: str, error: Exception) -> str:
    """What is wrong with a file in a folder."""
    if Path(path).is_dir():
        return "is a folder where a file belongs; move it away"
    number = getattr(error, "errno", None)
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "may not be read or written; give this user the right to, or name another folder as artifacts"
    reason = f" ({os.strerror(number)})" if number else ""
    return f"cannot be read or written{reason}; check that the disk or volume is there and whole"
