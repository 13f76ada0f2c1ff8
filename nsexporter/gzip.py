"""One gzip member (RFC 1952) of chunks, none compressed again that was in the last one."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"  # deflate, no name, no time, fastest, unknown system
_END = b"\x03\0"  # an empty last block
_SMALL = 4096  # shorter chunks are compressed together
_POLYNOMIAL = 0xEDB88320  # of crc32, with the coefficient of x^0 in the highest bit


@dataclass(frozen=True, slots=True)
class _Segment:
    """Deflate blocks, none of them the last, that end at a byte and refer to nothing before."""

    chunks: tuple[bytes, ...]  # kept, so that no other object gets their ids
    length: int
    deflated: bytes
    crc: int
    shift: int  # x^(8 * length) modulo the polynomial


class Gzip:
    """Makes members and keeps the segments of the last one."""

    def __init__(self) -> None:
        self._zlib = _fastest()
        self._segments: dict[tuple[int, ...], _Segment] = {}  # by the ids of their chunks

    def member(self, chunks: Sequence[bytes]) -> list[bytes]:
        """One member of all `chunks`, itself in chunks."""
        before, self._segments = self._segments, {}
        body = [_HEAD]
        crc = length = 0
        for group in _groups(chunks):
            key = tuple(map(id, group))
            segment = self._segments[key] = before.get(key) or self._segment(group)
            # crc32_combine of zlib: the crc of what came before, moved up by the length.
            crc = _product(segment.shift, crc) ^ segment.crc
            length += segment.length
            body.append(segment.deflated)
        end = crc.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")
        return [*body, _END + end]

    def _segment(self, chunks: tuple[bytes, ...]) -> _Segment:
        chunk = b"".join(chunks)
        # Level 1: higher ones cost ten times the rendering.
        deflate = self._zlib.compressobj(1, zlib.DEFLATED, -15)
        deflated = deflate.compress(chunk) + deflate.flush(self._zlib.Z_SYNC_FLUSH)
        length = len(chunk)
        return _Segment(chunks, length, deflated, zlib.crc32(chunk), _shift(length))


def _groups(chunks: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    """The chunks in order, small ones that follow each other together."""
    for small, group in groupby(chunks, lambda chunk: len(chunk) < _SMALL):
        if small:
            yield tuple(group)
        else:
            yield from ((chunk,) for chunk in group)


def _fastest() -> Any:
    """isal's zlib, five times faster, where the extra `isal` is installed; else zlib."""
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib


def _product(a: int, b: int) -> int:
    """The product of two polynomials over GF(2), modulo the one of crc32."""
    result = 0
    bit = 1 << 31
    while bit:
        if a & bit:
            result ^= b
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
        bit >>= 1
    return result


_POWERS = [1 << 23]  # x^8, then each the square of the one before
while len(_POWERS) < 40:
    _POWERS.append(_product(_POWERS[-1], _POWERS[-1]))


def _shift(length: int) -> int:
    """x^(8 * length) modulo the polynomial."""
    result = 1 << 31
    for power in _POWERS:
        if length & 1:
            result = _product(power, result)
        length >>= 1
    return result
