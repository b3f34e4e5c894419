"""What opens the object storage that a source's path names: S3 by pyarrow, Google's and Azure's by obstore.

Keys come from a secret and are in no message.
"""

from __future__ import annotations

import configparser
import io
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from typing import Any

import pyarrow as pa
from pyarrow import fs

from capstan.artifacts.complaints import Names, storage_complaint
from capstan.artifacts.store import object_storage
from capstan.data.sources.reading import Reading
from capstan.data.sources.secret_text import secret_text
from capstan.errors import InvalidDataError, MissingExtraError
from capstan.spec.data import FileSource

_CONNECT_SECONDS, _REQUEST_SECONDS, _RETRIES = 5, 30, 3
_KEYS = {
    "aws_access_key_id": "access_key",
    "aws_secret_access_key": "secret_key",
    "aws_session_token": "session_token",
}
"""Name in a file of credentials -> pyarrow's."""
_OPTIONS = ("region", "endpoint_url")
_S3_FORM = "[default] and below it the lines aws_access_key_id = ... and aws_secret_access_key = ..."
_S3_NAMES = Names(
    key="aws_access_key_id",
    secret="aws_secret_access_key",  # noqa: S106
    token="aws_session_token",  # noqa: S106
    endpoint="endpoint_url in the secret of credentialsFrom",
    region="write the right one into the secret of credentialsFrom, such as region = eu-central-1",
    rights="list and read",
)
_GS_FORM = "the key of a service account as Google gives it, a JSON object with client_email and private_key"
_AZ_FORM = "a connection string such as AccountName=...;AccountKey=...;EndpointSuffix=core.windows.net"
_AZ_PARTS = {
    "accountname": "azure_storage_account_name",
    "accountkey": "azure_storage_account_key",
    "sharedaccesssignature": "azure_storage_sas_key",
    "blobendpoint": "azure_storage_endpoint",
}
"""Part of a connection string -> obstore's name."""
_AZ_OTHERS = frozenset(
    {"defaultendpointsprotocol", "endpointsuffix", "queueendpoint", "tableendpoint", "fileendpoint"}
)
_STATUS = re.compile(r"status code\W*(\d{3})")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_WORDS = {
    **dict.fromkeys(
        ("400", "401", "403"),
        "the object storage refuses the keys, or lets them neither list nor read; correct {keys}, or let their owner "
        "list and read below the address",
    ),
    "404": "there is no such bucket or container, or no such file; create it, or correct the address",
    **dict.fromkeys(
        ("429", "500", "502", "503", "504"),
        "the object storage is busy or has a fault of its own; it was asked again, and its own log says more",
    ),
}
_AWAY = (
    "nobody answers there, or too slowly; check that the object storage runs, and that {endpoint} is right"
)


@dataclass(frozen=True)
class Storage:
    """An object storage for reading."""

    scheme: str
    system: Any
    """File system of pyarrow; paths are BUCKET/PATH."""
    errors: tuple[type[Exception], ...]
    """What its client raises."""
    words: Callable[[Exception], str]
    """What is wrong, without what server or client wrote."""

    def shown(self, name: str) -> str:
        """The address of BUCKET/PATH."""
        return f"{self.scheme}://{name}"

    def complaint(self, name: str, error: Exception) -> str:
        """What is wrong at an address."""
        return f"{self.shown(name)}: {self.words(error)}"


def opened_storage(reading: Reading, settings: FileSource) -> Storage:
    """The storage of the path; raises InvalidDataError for a secret of another form, MissingExtraError."""
    scheme, _, path = settings.path.partition("://")
    if scheme == "s3":
        options, keys = _s3_keys(reading, settings)
        words = partial(storage_complaint, names=_S3_NAMES)
        try:
            system = object_storage(path.partition("/")[0], options, keys)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise InvalidDataError(f"{reading.field}: {scheme}://{path}: {words(error)}") from None
        return Storage(scheme, system, (OSError, pa.ArrowException, ValueError), words)
    require_obstore(reading, scheme)
    from obstore.exceptions import BaseError
    from obstore.fsspec import FsspecStore
    from obstore.store import from_url

    config = client_options(reading, settings)
    names = _obstore_names(settings, config)
    client: Any = {
        "config": {name: value for name, value in config.items() if name != "allow_http"},
        "client_options": {
            "allow_http": "allow_http" in config,
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "timeout": timedelta(seconds=_REQUEST_SECONDS),
        },
        "retry_config": {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_REQUEST_SECONDS)},
    }
    try:
        bucket = from_url(f"{scheme}://{path.partition('/')[0]}", **client)
        listed = FsspecStore(scheme, skip_instance_cache=True, **client)
    except (BaseError, ValueError):
        raise InvalidDataError(
            f"{reading.field}: {scheme}://{path}: the object storage cannot be opened; correct {names['keys']}"
        ) from None
    return Storage(
        scheme,
        fs.PyFileSystem(_Handler(listed, bucket)),
        (OSError, pa.ArrowException, ValueError, BaseError),
        lambda error: _obstore_words(error, names),
    )


def client_options(reading: Reading, settings: FileSource) -> dict[str, str]:
    """Keys and address by the names of the library object_store, which obstore and delta-rs share.

    Empty where the environment tells them. Raises InvalidDataError for a secret of another form.
    """
    scheme = settings.path.partition("://")[0]
    if scheme == "gs":
        return _gs_options(reading, settings)
    if scheme == "az":
        return _az_options(reading, settings)
    options, keys = _s3_keys(reading, settings)
    found = {name: keys[other] for name, other in _KEYS.items() if other in keys}
    if "region" in options or "endpoint_override" in options:
        found["aws_region"] = options.get("region", "us-east-1")
    if "endpoint_override" in options:
        found["aws_endpoint"] = f"{options['scheme']}://{options['endpoint_override']}"
        found |= {"allow_http": "true"} if options["scheme"] == "http" else {}
    return found


def require_obstore(reading: Reading, scheme: str) -> None:
    """Raises MissingExtraError without the client of Google's and Azure's storages."""
    if find_spec("obstore") is None:
        raise MissingExtraError(f"{reading.field}: files of {scheme}://", "storage")


def _gs_options(reading: Reading, settings: FileSource) -> dict[str, str]:
    if settings.credentials_from is None:
        return {}
    text = secret_text(reading, settings.credentials_from, _GS_FORM)
    try:
        key = json.loads(text)
    except json.JSONDecodeError:
        key = None
    if not isinstance(key, dict) or not {"client_email", "private_key"} <= set(key):
        # The parser's own words repeat what it read.
        raise InvalidDataError(
            f"{_where(reading, settings)} is no key of a service account; write {_GS_FORM}"
        )
    plain = str(key.get("gcs_base_url", "")).startswith("http://")
    return {"google_service_account_key": text, **({"allow_http": "true"} if plain else {})}


def _az_options(reading: Reading, settings: FileSource) -> dict[str, str]:
    if settings.credentials_from is None:
        if not os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"):
            raise InvalidDataError(
                f"{reading.field}: az:// names a container, and nothing names the account; write credentialsFrom, "
                "whose secret is a connection string, or set AZURE_STORAGE_ACCOUNT_NAME"
            )
        return {}
    text = secret_text(reading, settings.credentials_from, _AZ_FORM)
    where = _where(reading, settings)
    parts = dict(part.strip().partition("=")[::2] for part in text.split(";") if part.strip())
    values = {name.strip().lower(): value.strip() for name, value in parts.items()}
    if "accountname" not in values or not {"accountkey", "sharedaccesssignature"} & set(values):
        raise InvalidDataError(f"{where} is no connection string; write {_AZ_FORM}")
    if unknown := set(values) - set(_AZ_PARTS) - _AZ_OTHERS:
        raise InvalidDataError(f"{where} has {len(unknown)} parts that are not read; write {_AZ_FORM}")
    found = {_AZ_PARTS[name]: value for name, value in values.items() if name in _AZ_PARTS}
    protocol = values.get("defaultendpointsprotocol", "https")
    if "blobendpoint" not in values and (suffix := values.get("endpointsuffix")):
        found["azure_storage_endpoint"] = f"{protocol}://{values['accountname']}.blob.{suffix}"
    endpoint = found.get("azure_storage_endpoint", "https://")
    if not re.fullmatch(r"https?://[^@]*", endpoint):
        raise InvalidDataError(f"{where} has a BlobEndpoint that is no address; write {_AZ_FORM}")
    return found | ({"allow_http": "true"} if endpoint.startswith("http://") else {})


def _obstore_names(settings: FileSource, config: Mapping[str, str]) -> dict[str, str]:
    if settings.credentials_from is None:
        return {"keys": "the keys of the environment", "endpoint": "the address of the environment"}
    if "google_service_account_key" in config:
        return {
            "keys": "the key of the service account in the secret of credentialsFrom",
            "endpoint": "the network",
        }
    return {
        "keys": "AccountName and AccountKey or SharedAccessSignature in the secret of credentialsFrom",
        "endpoint": "BlobEndpoint or EndpointSuffix in the secret of credentialsFrom",
    }


def status_words(error: Exception) -> str:
    """What is wrong by the status that a client of object_store tells, without its own words."""
    return _obstore_words(
        error,
        {
            "keys": "the keys in the secret of credentialsFrom",
            "endpoint": "the address in the secret of credentialsFrom",
        },
    )


def _obstore_words(error: Exception, names: Mapping[str, str]) -> str:
    text = _COLOURS.sub("", str(error))
    status = _STATUS.search(text)
    if status is None:
        is_away = re.search(r"error sending request|connect|timed out|timeout|dns", text, re.IGNORECASE)
        words = _AWAY if is_away else "the object storage refuses it; its own log says why"
    else:
        words = _WORDS.get(
            status[1], f"the object storage refuses it (status {status[1]}); its own log says why"
        )
    return words.format(**names)


def _where(reading: Reading, settings: FileSource) -> str:
    assert settings.credentials_from is not None
    secret = settings.credentials_from.secret_key_ref
    return f"{reading.field}: the secret {secret.name}/{secret.key}"


def _s3_keys(reading: Reading, settings: FileSource) -> tuple[dict[str, str], dict[str, str]]:
    """Options of an address, and keys by pyarrow's names; both empty where the environment tells them."""
    if settings.credentials_from is None:
        variables = [name for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if os.environ.get(name)]
        if not variables:
            return {}, {}
        return _endpoint(variables[0], f"{reading.field}: there is a variable", os.environ[variables[0]]), {}
    text = secret_text(reading, settings.credentials_from, f"the keys, as {_S3_FORM},")
    where = _where(reading, settings)
    parsed = configparser.RawConfigParser()
    try:
        parsed.read_string(text)
    except configparser.Error:
        # The parser's own words repeat lines, which are keys.
        raise InvalidDataError(f"{where} is no file of credentials; write {_S3_FORM}") from None
    sections = parsed.sections()
    if "default" not in sections:
        raise InvalidDataError(f"{where} has no section [default]; write {_S3_FORM}")
    values = dict(parsed["default"])
    if unknown := sorted(set(values) - {*_KEYS, *_OPTIONS}):
        raise InvalidDataError(
            f"{where} has {len(unknown)} lines that are not read; the names are {', '.join((*_KEYS, *_OPTIONS))}"
        )
    missing = [name for name in ("aws_access_key_id", "aws_secret_access_key") if not values.get(name)]
    if missing:
        raise InvalidDataError(f"{where} lacks {' and '.join(missing)}; write {_S3_FORM}")
    keys = {_KEYS[name]: value for name, value in values.items() if name in _KEYS}
    options = {"region": values["region"]} if values.get("region") else {}
    if endpoint := values.get("endpoint_url"):
        options |= _endpoint("endpoint_url", f"{where} has an", endpoint)
    return options, keys


def _endpoint(name: str, where: str, endpoint: str) -> dict[str, str]:
    scheme, mark, host = endpoint.rstrip("/").partition("://")
    if not mark or scheme not in ("http", "https") or not host or "@" in host:
        raise InvalidDataError(
            f"{where} {name} that is no address; write one such as https://storage.example.com:9000"
        )
    return {"scheme": scheme, "endpoint_override": host}


class _Handler(fs.FSSpecHandler):  # type: ignore[misc]
    """Files whose bytes are asked for as they are needed, without a buffer that reads ahead."""

    def __init__(self, listed: Any, bucket: Any) -> None:
        super().__init__(listed)
        self._bucket = bucket

    def open_input_file(self, path: str) -> Any:
        return pa.PythonFile(_Ranged(self._bucket, path.partition("/")[2]), mode="r")

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)


class _Ranged(io.RawIOBase):
    def __init__(self, bucket: Any, key: str) -> None:
        self._bucket, self._key = bucket, key
        self._size: int = bucket.head(key)["size"]
        self._place = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._place, 0)
        wanted = left if size < 0 else min(size, left)
        if not wanted:
            return b""
        found = bytes(self._bucket.get_range(self._key, start=self._place, length=wanted))
        self._place += len(found)
        return found

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
