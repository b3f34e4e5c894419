"""Which arm a request is assigned to, as Envoy draws it: by the xxHash64 of its salted key.

A request without a key is drawn by its own id; Envoy draws it by chance.
"""

from __future__ import annotations

import struct

from capstan.domain.assignment import stretches
from capstan.domain.traffic import Arm, TrafficSplit

_MASK = (1 << 64) - 1
_P1, _P2, _P3, _P4, _P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)


def arm_of(split: TrafficSplit, key: str) -> Arm:
    """The arm of a unit; a split of one arm draws nothing."""
    if len(split.arms) == 1:
        return split.arms[0]
    parts = stretches(split)
    place = xxhash64(f"{split.salt}/{key}".encode()) % sum(part.weight for part in parts)
    for part in parts:
        if place < part.weight:
            return part
        place -= part.weight
    raise AssertionError("weights sum up to more than any place")


def is_drawn(percent: int, key: str) -> bool:
    """Whether a request is in so many percent of them, by its id: the same in every backtest."""
    return percent >= 100 or xxhash64(f"mirror/{key}".encode()) % 100 < percent


def xxhash64(content: bytes) -> int:
    """XXH64 with the seed 0 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md), as Envoy takes of a header."""
    size, place = len(content), 0
    if size >= 32:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        while place <= size - 32:
            words = struct.unpack_from("<4Q", content, place)
            lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
            place += 32
        found = sum(_rotate(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane in lanes:
            found = ((found ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        found = _P5
    found = (found + size) & _MASK
    while place + 8 <= size:
        found ^= _round(0, struct.unpack_from("<Q", content, place)[0])
        found = (_rotate(found, 27) * _P1 + _P4) & _MASK
        place += 8
    if place + 4 <= size:
        found ^= (struct.unpack_from("<I", content, place)[0] * _P1) & _MASK
        found = (_rotate(found, 23) * _P2 + _P3) & _MASK
        place += 4
    for byte in content[place:]:
        found ^= (byte * _P5) & _MASK
        found = (_rotate(found, 11) * _P1) & _MASK
    found = ((found ^ (found >> 33)) * _P2) & _MASK
    found = ((found ^ (found >> 29)) * _P3) & _MASK
    return found ^ (found >> 32)


def _round(lane: int, word: int) -> int:
    return (_rotate((lane + word * _P2) & _MASK, 31) * _P1) & _MASK


def _rotate(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & _MASK
