"""One gzip member (RFC 1952) of chunks, none compressed again that was in the last one."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"  # deflate, no name, no time, fastest, unknown system
_END = b"\x03\0"  # an empty last block
_SMALL = 4096  # shorter chunks are compressed together, and anew
_POLYNOMIAL = 0xEDB88320  # of crc32, with the coefficient of x^0 in the highest bit


@dataclass(frozen=True, slots=True)
class _Segment:
    """Deflate blocks, none of them the last, that end at a byte and refer to nothing before."""

    chunk: bytes
    deflated: bytes
    crc: int
    shift: int  # x^(8 * length) modulo the polynomial


class Gzip:
    """Makes members and keeps the segments of the last one."""

    def __init__(self) -> None:
        self._zlib = _fastest()
        self._segments: dict[int, _Segment] = {}  # by the chunk's id, which is its as it is kept

    def member(self, chunks: Sequence[bytes]) -> list[bytes]:
        """One member of all `chunks`, itself in chunks."""
        before, self._segments = self._segments, {}
        body = [_HEAD]
        small: list[bytes] = []
        crc = length = 0
        for chunk in (*chunks, None):
            if chunk is not None and len(chunk) < _SMALL:
                small.append(chunk)
                continue
            segments = [self._segment(b"".join(small))] if small else []
            small.clear()
            if chunk is not None:
                segment = before.get(id(chunk)) or self._segment(chunk)
                self._segments[id(chunk)] = segment
                segments.append(segment)
            for segment in segments:
                # crc32_combine of zlib: the crc of what came before, moved up by the length.
                crc = _product(segment.shift, crc) ^ segment.crc
                length += len(segment.chunk)
                body.append(segment.deflated)
        end = crc.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")
        return [*body, _END + end]

    def _segment(self, chunk: bytes) -> _Segment:
        # Level 1: higher ones cost ten times the rendering.
        deflate = self._zlib.compressobj(1, zlib.DEFLATED, -15)
        deflated = deflate.compress(chunk) + deflate.flush(self._zlib.Z_SYNC_FLUSH)
        return _Segment(chunk, deflated, zlib.crc32(chunk), _shift(len(chunk)))


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
