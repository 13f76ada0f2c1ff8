"""One gzip member (RFC 1952) of chunks, none compressed again that was in the last one."""

from __future__ import annotations

import functools
import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

from nsexporter import libc

_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"  # deflate, no name, no time, fastest, unknown system
_END = b"\x03\0"  # an empty last block
_SMALL = 4096  # shorter chunks are compressed together
_MUCH = 4 << 20  # bytes freed among what is in use, which the C library would keep
_POLYNOMIAL = 0xEDB88320  # of crc32, with the coefficient of x^0 in the highest bit


@dataclass(frozen=True, slots=True)
class _Segment:
    """Deflate blocks, none of them the last, that end at a byte and refer to nothing before."""

    length: int
    deflated: bytes
    crc: int
    shift: int  # x^(8 * length) modulo the polynomial


class Part(Protocol):
    """Bytes, or what can be made bytes of, of known length."""

    def __len__(self) -> int: ...

    def __bytes__(self) -> bytes: ...


def plain(parts: Iterable[Part]) -> bytes:
    """The bytes of all parts."""
    return b"".join(map(bytes, parts))


class Chunk:
    """Bytes that are kept deflated only, in a tenth of the room, once they were compressed.

    Inflated again they cost 1.3 ms a megabyte: nothing beside the scrapes that ask for gzip.
    """

    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("_crc", "_length", "_plain", "_segment")

    def __init__(self, text: bytes) -> None:
        self._length = len(text)
        self._plain: bytes | None = text
        self._segment: _Segment | None = None
        self._crc: int | None = None

    def __len__(self) -> int:
        return self._length

    @property
    def plain(self) -> int:
        """How many bytes are kept as they are."""
        return 0 if self._plain is None else self._length

    def __bytes__(self) -> bytes:
        text = self._plain
        if text is None:
            assert self._segment is not None
            return zlib.decompressobj(-15).decompress(self._segment.deflated)
        return text

    def __eq__(self, other: object) -> bool:
        # What differs is told so without inflating it; of two that are plain memcmp(3) tells.
        return (
            isinstance(other, Chunk)
            and self._length == other._length
            and (self._segment is other._segment or self.crc == other.crc)
            and bytes(self) == bytes(other)
        )

    @property
    def crc(self) -> int:
        """crc32 of the bytes."""
        if self._crc is None:
            self._crc = zlib.crc32(bytes(self))
        return self._crc

    def segment(self, deflate: Callable[[bytes], _Segment]) -> _Segment:
        """Itself compressed, once; from any thread."""
        segment = self._segment
        if segment is None:
            segment = self._segment = deflate(bytes(self))
            self._crc, self._plain = segment.crc, None
        return segment


class Gzip:
    """Makes members and keeps the segments of the last one."""

    def __init__(self) -> None:
        self._zlib = _fastest()
        # By the ids of small parts; with them, so that no other object gets their ids.
        self._small: dict[tuple[int, ...], tuple[tuple[Part, ...], _Segment]] = {}

    def chunk(self, text: bytes) -> Chunk:
        """One that is compressed at once, so that the next takes the same memory."""
        chunk = Chunk(text)
        if _large(chunk):
            chunk.segment(self._segment)
        return chunk

    def member(self, parts: Sequence[Part]) -> list[bytes]:
        """One member of all `parts`, itself in parts."""
        before, self._small = self._small, {}
        body = [_HEAD]
        crc = length = freed = 0
        for group in _groups(parts):
            if isinstance(group, Chunk):
                freed += group.plain
                segment = group.segment(self._segment)
            else:
                key = tuple(map(id, group))
                kept = before.get(key) or (group, self._segment(plain(group)))
                self._small[key] = kept
                segment = kept[1]
            # crc32_combine of zlib: the crc of what came before, moved up by the length.
            crc = _product(segment.shift, crc) ^ segment.crc
            length += segment.length
            body.append(segment.deflated)
        end = crc.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")
        if freed >= _MUCH:
            libc.trim()
        return [*body, _END + end]

    def _segment(self, text: bytes) -> _Segment:
        # Level 1: higher ones cost ten times the rendering.
        deflate = self._zlib.compressobj(1, zlib.DEFLATED, -15)
        deflated = deflate.compress(text) + deflate.flush(self._zlib.Z_SYNC_FLUSH)
        length = len(text)
        return _Segment(length, deflated, zlib.crc32(text), _shift(length))


def _groups(parts: Sequence[Part]) -> Iterator[Chunk | tuple[Part, ...]]:
    """The parts in order, each large chunk alone and what is between them together."""
    small: list[Part] = []
    for part in parts:
        if _large(part):
            if small:
                yield tuple(small)
                small = []
            yield part
        else:
            small.append(part)
    if small:
        yield tuple(small)


def _large(part: Part) -> TypeGuard[Chunk]:
    return isinstance(part, Chunk) and len(part) >= _SMALL


def _fastest() -> Any:
    """isal's zlib, five times faster, where the extra `isal` is installed; else zlib."""
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib


def _by_x(a: int) -> int:
    """A polynomial over GF(2) times x, modulo the one of crc32."""
    return (a >> 1) ^ _POLYNOMIAL if a & 1 else a >> 1


def _by_x4(a: int) -> int:
    return _by_x(_by_x(_by_x(_by_x(a))))


_LOW = [_by_x4(a) for a in range(16)]  # of what goes beyond when x^4 is multiplied with


def _product(a: int, b: int) -> int:
    """The product of two polynomials, by four coefficients at a time: 2 us, one by one 5."""
    b1 = _by_x(b)
    b2 = _by_x(b1)
    b3 = _by_x(b2)
    b12, b23, b123 = b1 ^ b2, b2 ^ b3, b1 ^ b2 ^ b3
    table = [0, b3, b2, b23, b1, b1 ^ b3, b12, b123]
    table += [b ^ one for one in table]
    result = 0
    for place in range(0, 32, 4):
        result = (result >> 4) ^ _LOW[result & 15] ^ table[(a >> place) & 15]
    return result


_POWERS = [1 << 23]  # x^8, then each the square of the one before
while len(_POWERS) < 40:
    _POWERS.append(_product(_POWERS[-1], _POWERS[-1]))


def _shift(length: int) -> int:
    """x^(8 * length) modulo the polynomial."""
    result = _power(length & 255)
    for place in range(8, length.bit_length(), 8):
        result = _product(result, _power(length & 255 << place))
    return result


@functools.cache  # of one byte of a length at a time: there are not many
def _power(length: int) -> int:
    result = 1 << 31
    for power in _POWERS:
        if length & 1:
            result = _product(power, result)
        length >>= 1
    return result
