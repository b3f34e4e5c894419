"""Images out of base64: their pixels as every model reads them, and what is kept of them where pixels are not.

One way of decoding for training, service, log and monitor, so that the same text is the same image for all. Pillow does
it, and is imported with the first image.
"""

from __future__ import annotations

import binascii
import hashlib
import math
import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

MOST_BYTES = 700_000
MOST_PIXELS = 67_108_864
"""What no setting may exceed."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes of 16 bits and of 32, as which it reads some of 16."""
_REMEMBERED = 20_000
_FACTS: dict[bytes, Facts | str] = {}
"""By the hash of the text and the limits: what was found, so that service, log and monitor decode once."""
_KEPT = re.compile(
    r"sha256:[0-9a-f]{64} bytes=([0-9]{1,9})(?: width=([0-9]{1,9}) height=([0-9]{1,9}) "
    r"mean=([0-9.]{1,20}(?:e-[0-9]{1,3})?) deviation=([0-9.]{1,20}(?:e-[0-9]{1,3})?))?"
)


class UnreadableImageError(Exception):
    """The rule that a value breaks as an image."""


@dataclass(frozen=True)
class Limits:
    """What an image may take; plain data, which is kept in JSON."""

    max_bytes: int = MOST_BYTES
    max_pixels: int = MOST_PIXELS

    @property
    def longest(self) -> int:
        """Characters of the longest text in base64."""
        return 4 * math.ceil(self.max_bytes / 3)


WIDEST = Limits()


@dataclass(frozen=True)
class Facts:
    """Numbers of an image that say little of what it shows."""

    bytes: int
    width: int
    """Pixels, once it is turned as its camera was."""
    height: int
    mean: float
    """Brightness of its pixels, from 0 for black to 1."""
    deviation: float
    """Standard deviation of that."""


def pixels_of(text: str, width: int, height: int, channels: str, limits: Limits) -> Pixels:
    """(channels, height, width): of an image in base64, resized; raises UnreadableImageError.

    `channels`: Gray or RGB. What Pillow resizes it by is bilinear, with all pixels that one covers.
    """
    from PIL import Image

    image = _decoded(_bytes_of(text, limits), limits)
    image = image.convert("L" if channels == "Gray" else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    found: Pixels = np.asarray(image, dtype=np.uint8)
    return found[np.newaxis] if found.ndim == 2 else np.ascontiguousarray(found.transpose(2, 0, 1))


def facts_of(text: str, limits: Limits = WIDEST) -> Facts:
    """Of an image in base64; raises UnreadableImageError."""
    digest = hashlib.sha256(f"{limits.max_bytes} {limits.max_pixels} {text}".encode("utf-8", "surrogatepass"))
    key = digest.digest()
    found = _FACTS.get(key)
    if found is None:
        try:
            found = _measured(text, limits)
        except UnreadableImageError as error:
            found = str(error)
        if len(_FACTS) >= _REMEMBERED:
            _FACTS.clear()
        _FACTS[key] = found
    if isinstance(found, str):
        raise UnreadableImageError(found)
    return found


def watched_facts(text: str) -> Facts:
    """Of an image in base64, or of what `kept_text` kept of one; raises UnreadableImageError.

    For those who read logs alone: a client could write such a text itself.
    """
    kept = _KEPT.fullmatch(text)
    if kept is None:
        return facts_of(text)
    if kept[2] is None:
        raise UnreadableImageError("was no image that can be read")
    try:
        return Facts(int(kept[1]), int(kept[2]), int(kept[3]), float(kept[4]), float(kept[5]))
    except ValueError:
        raise UnreadableImageError("was no image that can be read") from None


def kept_text(text: str, limits: Limits) -> str:
    """What logs keep in place of an image in base64: the hash of its bytes, and its facts where it can be read."""
    try:
        content = _bytes_of(text, limits)
    except UnreadableImageError:
        content = text.encode("utf-8", "surrogatepass")
    told = f"sha256:{hashlib.sha256(content).hexdigest()} bytes={len(content)}"
    try:
        facts = facts_of(text, limits)
    except UnreadableImageError:
        return told
    return f"{told} width={facts.width} height={facts.height} mean={facts.mean:.6g} deviation={facts.deviation:.6g}"


def _measured(text: str, limits: Limits) -> Facts:
    content = _bytes_of(text, limits)
    image = _decoded(content, limits).convert("L")
    counts = np.asarray(image.histogram(), dtype=np.float64)
    levels = np.arange(256) / 255
    total = counts.sum()
    mean = float(counts @ levels / total)
    deviation = math.sqrt(max(0.0, float(counts @ (levels - mean) ** 2 / total)))
    return Facts(len(content), image.width, image.height, mean, deviation)


def _bytes_of(text: str, limits: Limits) -> bytes:
    if len(text) > limits.longest:
        raise UnreadableImageError(
            f"has {len(text):,} characters, and an image of {limits.max_bytes:,} bytes (`maxBytes`) has "
            f"{limits.longest:,}"
        )
    try:
        content = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except ValueError:
        raise UnreadableImageError("is no base64") from None
    if len(content) > limits.max_bytes:
        raise UnreadableImageError(f"has {len(content):,} bytes, above `maxBytes` {limits.max_bytes:,}")
    return content


def _decoded(content: bytes, limits: Limits) -> Any:
    """The one picture as Pillow holds it, turned as its camera was, without alpha, of 8 bits for each channel."""
    import io

    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Its limit is beyond ours, and what it warns of in a file's notes changes no pixel.
            warnings.simplefilter("ignore")
            image: Any = Image.open(io.BytesIO(content), formats=FORMATS)
            width, height = image.size
            if width * height > limits.max_pixels:
                raise UnreadableImageError(
                    f"has {width:,} by {height:,} pixels, above `maxPixels` {limits.max_pixels:,}"
                )
            # Cameras write a small copy for screens behind a photo; that format's first picture is the photo.
            if image.format != "MPO" and getattr(image, "is_animated", False):
                raise UnreadableImageError(f"has {image.n_frames} pictures; send one of them")
            image.load()
            image = ImageOps.exif_transpose(image)
            return _of_8_bits(image)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError(f"is no image of {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"has more pixels than `maxPixels` {limits.max_pixels:,}") from None
    # Pillow's readers raise whatever a broken file makes them stumble over.
    except Exception as error:
        raise UnreadableImageError(f"cannot be read as an image: {type(error).__name__}: {error}") from None


def _of_8_bits(image: Any) -> Any:
    from PIL import Image

    if image.mode in _DEEP:
        deep = np.asarray(image).astype(np.int64)
        if deep.min(initial=0) < 0 or deep.max(initial=0) > 65_535:
            raise UnreadableImageError("has more than 16 bits for each pixel; write 8 or 16")
        # Pillow's own conversion makes white of all that is above 255.
        return Image.fromarray((deep >> 8).astype(np.uint8), "L")
    if image.mode == "F":
        raise UnreadableImageError("has floating-point pixels; write 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        above = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")
